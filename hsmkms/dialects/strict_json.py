"""Reading a body as JSON (RFC 8259) without the liberties that parsers take with each other.

Two parsers that disagree on a body (duplicate members, NaN, lone surrogates) let a request mean one thing to whoever
checks it and another to whoever obeys it. Here such a body means nothing.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from hsmkms.core.errors import BodyMalformed

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_DEPTH: Final = 16
"""How many objects and arrays may contain each other, the outermost counted."""
MOST_DIGITS: Final = 19
"""Enough for every 64-bit integer."""

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, JsonValue]

_ESCAPED: Final = rb"\u"
"""With which a lone surrogate must be spelled: it has no UTF-8."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def read_object(body: bytes) -> JsonObject:
    """Return the one object that `body` is.

    Raises:
        BodyMalformed: it is not UTF-8, not JSON, not an object at the top, names a member twice, nests deeper than
            `MOST_DEPTH`, or holds NaN, Infinity, a number out of range or a lone surrogate.
    """
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except (ValueError, RecursionError):
        # `from None`: the parser's own message and position would carry the body into a log.
        raise BodyMalformed from None
    if not isinstance(value, dict):
        raise BodyMalformed
    if _ESCAPED in body or body.count(b"{") + body.count(b"[") > MOST_DEPTH:
        _require_sound(value)  # only where it may be otherwise: looking at every value takes longer than reading it
    return value


def _object(members: list[tuple[str, JsonValue]]) -> JsonObject:
    made = dict(members)
    if len(made) != len(members):
        raise BodyMalformed("The body names a member of an object twice.")
    return made


def _no_constant(_text: str) -> NoReturn:
    raise BodyMalformed("NaN and Infinity are not JSON.")


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise BodyMalformed("The body holds an integer that is too long.")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BodyMalformed("The body holds a number that is out of range.")
    return value


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer, parse_float=_finite
)


def _require_sound(top: JsonObject) -> None:
    """Look at everything in `top`, level by level, so that the walk's own depth does not depend on the body's."""
    level: list[JsonValue] = [top]
    depth = 0
    while level:
        for value in level:
            if isinstance(value, str) and _SURROGATE.search(value):
                raise BodyMalformed("The body holds half of a surrogate pair.")
        containers = [value for value in level if isinstance(value, (dict, list))]
        depth += bool(containers)
        if depth > MOST_DEPTH:
            raise BodyMalformed(f"The body nests deeper than {MOST_DEPTH} levels.")
        level = [inner for container in containers for inner in _contents(container)]


def _contents(container: JsonObject | list[JsonValue]) -> Iterator[JsonValue]:
    yield from container  # of an object: its names, which must be whole text as well
    if isinstance(container, dict):
        yield from container.values()
