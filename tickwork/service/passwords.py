"""Passwords and other secrets, as they are kept."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from tickwork.errors import InvalidInputError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["check_password", "digest", "hashed", "is_password_of"]

_SHORTEST = 12
_LONGEST = 1_000

_at_once = BoundedSemaphore(2)
"""A hash takes 64 MiB for a moment; many at a time would be a way to fill the memory."""


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobodys() -> str:
    return _hasher().hash("nobody has this password")


def check_password(password: str) -> None:
    """Refuse a password that is easily guessed.

    Raises:
        InvalidInputError: it is too short or too long, or the same few characters.
    """
    if not _SHORTEST <= len(password) <= _LONGEST or len(set(password)) < _SHORTEST // 3:
        raise InvalidInputError(
            f"a password has at least {_SHORTEST} characters, not all of them alike; several words "
            "are good"
        )


def hashed(password: str) -> str:
    """Return the argon2 hash of a password."""
    with _at_once:
        return _hasher().hash(password)


def is_password_of(known: str | None, password: str) -> bool:
    """Whether a password has this hash; takes as long where there is none."""
    from argon2.exceptions import VerificationError

    if len(password) > _LONGEST:
        return False
    with _at_once:
        try:
            _hasher().verify(known or _nobodys(), password)
        except VerificationError:
            return False
    return known is not None


def digest(secret: str) -> str:
    """Return what is kept of a secret that nobody could guess: a hash without salt finds it."""
    return sha256(secret.encode()).hexdigest()
