"""Signatures under stored definitions, so that nobody who can write to a store can forge one.

A definition names a function and its arguments: whoever could change it in the store could have
anything called that is importable. Its text is stored as `signed:KEY:MAC:TEXT`; the MAC (HMAC with
SHA-256, hexadecimal) covers the name of the key and the text, and is compared, in constant time,
before anything of the text is looked at. A signature isn't bound to a task: that a signed
definition was copied to another id, or an old one put back, isn't noticed.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256

from tickwork.errors import InvalidInputError, UnreadableRecordError

__all__ = ["Signer", "unsigned"]

_MARK = "signed:"
_SHORTEST = 16
_ADVICE = 'make one with: python -c "import secrets; print(secrets.token_hex(32))"'


class Signer:
    """Signs with the first of its keys and accepts all of them; secrets by the keys' names.

    To change keys, put the new one first and keep the old one for as long as it stands under
    something.

    Raises:
        InvalidInputError: no key, a name that isn't one, or a secret of less than 16 bytes.
    """

    def __init__(self, keys: Mapping[str, str | bytes]) -> None:
        given: object = keys
        if not isinstance(given, Mapping) or not given:
            raise InvalidInputError(
                f"signing_keys must be a dict of secrets by name, {{'2026': '...'}}; {_ADVICE}"
            )
        self._keys = {name: _secret(name, key) for name, key in keys.items()}
        self._first = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"Signer({', '.join(self._keys)})"

    def signed(self, text: str) -> str:
        """Return a text under the signature of the first key."""
        return f"{_MARK}{self._first}:{self._mac(self._first, text)}:{text}"

    def verified(self, text: str) -> str:
        """Return the text under a signature.

        Raises:
            UnreadableRecordError: there is none, it is by an unknown key, or it isn't right.
        """
        name, mac, content = _parts(text)
        if name not in self._keys:
            known = ", ".join(repr(each) for each in self._keys)
            raise UnreadableRecordError(
                f"signed with the key {name!r}, which isn't known here (known: {known}); "
                "add it to signing_keys"
            )
        if not hmac.compare_digest(mac.encode(), self._mac(name, content).encode()):
            raise UnreadableRecordError(
                f"its signature by the key {name!r} is wrong: it was changed in the store, or "
                "the key's secret is another one"
            )
        return content

    def _mac(self, name: str, text: str) -> str:
        return hmac.new(self._keys[name], f"{name}:{text}".encode(), sha256).hexdigest()


def unsigned(text: str) -> str:
    """Return a text that must not be signed: without keys nothing can be verified.

    Raises:
        UnreadableRecordError: it is signed.
    """
    if text.startswith(_MARK):
        name, _, _ = _parts(text)
        raise UnreadableRecordError(
            f"signed with the key {name!r}, and no signing_keys are given here"
        )
    return text


def _parts(text: str) -> tuple[str, str, str]:
    mark, _, rest = text.partition(":")
    name, _, rest = rest.partition(":")
    mac, separator, content = rest.partition(":")
    if f"{mark}:" != _MARK or not separator:
        raise UnreadableRecordError(
            "not signed, and signing_keys are given here: add the task again, or take the keys away"
        )
    return name, mac, content


def _secret(name: object, key: object) -> bytes:
    if not isinstance(name, str) or not name.isprintable() or not name or ":" in name:
        raise InvalidInputError(
            f"{name!r} can't be the name of a signing key; use a short text without a colon"
        )
    if not isinstance(key, str | bytes):
        raise InvalidInputError(f"the signing key {name!r} must be text or bytes; {_ADVICE}")
    secret = key.encode() if isinstance(key, str) else key
    if len(secret) < _SHORTEST:
        raise InvalidInputError(
            f"the signing key {name!r} has {len(secret)} bytes, at least {_SHORTEST} are needed; "
            f"{_ADVICE}"
        )
    return secret
