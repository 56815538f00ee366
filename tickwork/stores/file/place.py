"""Where a file store is: what users write, as a folder and a durability."""

from pathlib import Path
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit
from urllib.request import url2pathname

from tickwork.errors import InvalidInputError

__all__ = ["Durability", "place_of"]

Durability = Literal["full", "normal"]

_OPTIONS = ("durability", "prefix")


def place_of(
    url: str | Path, prefix: str, durability: Durability | None
) -> tuple[Path, Durability]:
    """Return the folder and the durability that a user means.

    In a URL, both options may stand in the query; arguments count more.

    Raises:
        InvalidInputError: they mean nothing.
    """
    path, options = _read(url)
    chosen = durability or options.get("durability", "full")
    if chosen not in get_args(Durability):
        raise InvalidInputError(
            f"durability={chosen!r} isn't known; use 'full' (a step survives a power cut) or "
            "'normal' (faster, survives a crash of the process only)"
        )
    within = prefix or options.get("prefix", "")
    if within in {".", ".."} or any(sign in within for sign in "/\\:\0"):
        raise InvalidInputError(
            f"prefix={within!r} can't be the name of a folder; use letters, digits and _"
        )
    return (path / within if within else path).absolute(), "full" if chosen == "full" else "normal"


def _read(url: str | Path) -> tuple[Path, dict[str, str]]:
    if isinstance(url, Path):
        return url, {}
    if not url:
        raise InvalidInputError("an empty name isn't a folder; use file:///folder or a path")
    if "://" not in url:
        return Path(url), {}
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or parts.path in {"", "/"}:
        raise InvalidInputError(
            f"{url!r} doesn't name a folder; use file:///folder, with three slashes and the "
            "whole path, or the path alone"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise InvalidInputError(
                f"{name!r} in {url!r} isn't an option of this store; it takes {', '.join(_OPTIONS)}"
            )
    return Path(url2pathname(parts.path)), options
