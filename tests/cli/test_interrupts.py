"""Ctrl-C, wherever it comes."""

import signal
import sys
from typing import Any

import pytest

from tickwork.cli.interrupts import Interrupts


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_what_goes_on() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        interrupts.wait(0)
        with pytest.raises(KeyboardInterrupt):
            press()
        assert interrupts.pressed
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_that_comes_within_a_finalizer_ends_the_next_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dropped: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: dropped.append(what.exc_type))

    class Finalized:
        def __del__(self) -> None:
            press()

    with Interrupts() as interrupts:
        Finalized()
        assert dropped == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            interrupts.wait(60)
