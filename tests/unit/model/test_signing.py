import hmac
import json
from hashlib import sha256
from typing import Any

import pytest

from tickwork.errors import InvalidInputError, UnreadableRecordError
from tickwork.model.definition import DefinitionCodec, Unreadable
from tickwork.model.signing import Signer
from tickwork.testing.store_contract.bench import definition
from tickwork.wiring import load_trigger

OLD = {"old": "an old secret of enough bytes"}
NEW = {"new": "a new secret of enough bytes!"}


def codec(keys: dict[str, str] | None) -> DefinitionCodec:
    return DefinitionCodec(load_trigger, None if keys is None else Signer(keys))


def why(codec: DefinitionCodec, text: str) -> str:
    shown = codec.read(text)
    assert isinstance(shown, Unreadable)
    assert shown.text == text
    return shown.reason


def test_what_was_signed_comes_back() -> None:
    signed = codec(NEW).encode(definition())
    assert codec(NEW).decode(signed) == definition()
    assert codec(NEW).encode(definition()) == signed


def test_the_signature_is_an_hmac_that_others_can_compute() -> None:
    mark, name, mac, text = codec(NEW).encode(definition()).split(":", 3)
    expected = hmac.new(NEW["new"].encode(), f"new:{text}".encode(), sha256).hexdigest()
    assert (mark, name, mac) == ("signed", "new", expected)
    assert json.loads(text)["function"] == "shop.jobs:close_day"


def test_keys_are_changed_by_putting_the_new_one_first() -> None:
    before = codec(OLD).encode(definition())
    both = codec(NEW | OLD)
    assert both.decode(before) == definition()
    assert codec(NEW).decode(both.encode(definition())) == definition()


def test_an_unknown_key_is_named() -> None:
    reason = why(codec(NEW), codec(OLD).encode(definition()))
    assert "'old', which isn't known here (known: 'new')" in reason


def test_nothing_of_a_forged_text_is_decoded() -> None:
    def never(data: Any) -> Any:
        raise AssertionError("looked at before it was verified")

    signed = codec(NEW).encode(definition())
    strict = DefinitionCodec(never, Signer(NEW))
    for forged in (signed.replace("close_day", "open_door"), signed[:-1], signed + " "):
        assert "its signature by the key 'new' is wrong" in why(strict, forged)
    for broken in ("signed:new", "signed:new:abc", "", "{}", codec(None).encode(definition())):
        assert "not signed" in why(strict, broken)
    assert "is wrong" in why(strict, "signed:new:\u00e9:{}")


def test_without_keys_a_signed_text_is_not_decoded() -> None:
    reason = why(codec(None), codec(NEW).encode(definition()))
    assert reason == "signed with the key 'new', and no signing_keys are given here"


def test_the_name_of_the_key_is_signed_too() -> None:
    same = {"a": NEW["new"], "b": NEW["new"]}
    signed = codec(same).encode(definition())
    with pytest.raises(UnreadableRecordError, match="is wrong"):
        codec(same).decode(signed.replace("signed:a:", "signed:b:"))


@pytest.mark.parametrize(
    ("keys", "advice"),
    [
        ({}, "must be a dict"),
        ("secret", "must be a dict"),
        ({"a": "short"}, "has 5 bytes, at least 16"),
        ({"a": 7}, "must be text or bytes"),
        ({"": "x" * 16}, "can't be the name"),
        ({"a:b": "x" * 16}, "can't be the name"),
        ({7: "x" * 16}, "can't be the name"),
    ],
)
def test_keys_that_can_not_be(keys: Any, advice: str) -> None:
    with pytest.raises(InvalidInputError, match=advice):
        Signer(keys)


def test_secrets_are_not_shown() -> None:
    assert repr(Signer(NEW | OLD)) == "Signer(new, old)"
