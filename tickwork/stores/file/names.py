"""Names of files for the ids of tasks: readable, one each, on every file system.

Ids are any text. Lower-case letters, digits, `-`, `_` and `.` stand for themselves, `+a` for `A`
(some file systems don't tell the cases apart), `%3a` for any other byte of UTF-8. A leading dot
would hide the file, and Windows reserves some names: there the first character is written as a
byte. What would be too long for a file name ends in `~` and a digest instead; the id itself stands
in the file.
"""

from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase, digits

__all__ = ["SUFFIX", "file_name", "id_of"]

SUFFIX = ".json"

_LONGEST = 200
_KEPT = 120
_PLAIN = frozenset((ascii_lowercase + digits + "-_.").encode())
_LARGE = frozenset(ascii_uppercase.encode())
_WRITTEN = [
    chr(byte) if byte in _PLAIN else f"+{chr(byte).lower()}" if byte in _LARGE else f"%{byte:02x}"
    for byte in range(256)
]
_RESERVED = {
    *("con", "prn", "aux", "nul"),
    *(f"{device}{number}" for device in ("com", "lpt") for number in range(10)),
}


def file_name(task_id: str) -> str:
    """Return the name of a task's file."""
    data = task_id.encode("utf-8", "surrogatepass")
    name = "".join([_WRITTEN[byte] for byte in data]) or "~"
    if name.startswith(".") or name.partition(".")[0] in _RESERVED:
        name = f"%{data[0]:02x}{name[1:]}"
    if len(name) > _LONGEST:
        name = f"{name[:_KEPT]}~{sha256(data).hexdigest()}"
    return name + SUFFIX


def id_of(name: str) -> str:
    """Return the id for which a file is named; its name itself where that doesn't say it."""
    written = name.removesuffix(SUFFIX)
    try:
        found = _decoded(written)
    except ValueError:
        return written
    return found if file_name(found) == name else written


def _decoded(written: str) -> str:
    data = bytearray()
    signs = iter(written)
    for sign in signs:
        if sign == "+":
            data += next(signs, "").upper().encode()
        elif sign == "%":
            data.append(int(next(signs, "") + next(signs, ""), 16))
        else:
            data += sign.encode()
    return data.decode("utf-8", "surrogatepass")
