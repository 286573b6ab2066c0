"""Places in what a running service has, and how what is found there is spoilt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Live(NamedTuple):
    """A value of the running service's."""

    kind: str
    """A method of `fuzz_stock.Stock`."""
    number: int
    flaw: str = ""
    """How it is spoilt, of `FLAWS`; nothing: not at all."""
    place: int = 0
    """Where it is spoilt."""


def _with_tail(text: str, _at: int) -> str:
    """Set stray bits before the padding of base64, where there is one."""
    body = text.rstrip("=")
    return body[:-1] + ("B" if body[-1:] != "B" else "D") + text[len(body) :]


FLAWS: Final[Mapping[str, Callable[[str, int], str]]] = {
    "flip": lambda text, at: text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :],
    "cut": lambda text, at: text[:at],
    "extend": lambda text, at: text + text[: at + 1],
    "tail": _with_tail,
    "case": lambda text, _at: text.swapcase(),
    "space": lambda text, at: f"{text[:at]}\n{text[at:]}",
    "url": lambda text, _at: text.replace("+", "-").replace("/", "_"),
    "unpadded": lambda text, _at: text.rstrip("="),
}
