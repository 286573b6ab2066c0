"""Values with some of their fields replaced: `dataclasses.replace` at half its cost.

An import makes twelve such values of its key, ticket and pair, and `dataclasses.replace` looks at each field of each.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Shape = tuple[Callable[[Any], tuple[Any, ...]], Mapping[str, int]]
    """What returns all fields of a value, as its constructor takes them, and the place of each among them."""

Value = TypeVar("Value")

_SHAPES: Final[dict[type, Shape]] = {}


def replaced(value: Value, **changes: object) -> Value:
    """Return a value of a dataclass with some fields replaced; all of its fields are arguments of its constructor.

    Raises:
        KeyError: it has no field of such a name.
    """
    kind = type(value)
    read, places = _SHAPES.get(kind) or _shape(kind)
    arguments = [*read(value)]
    for name, new in changes.items():
        arguments[places[name]] = new
    return kind(*arguments)


def _shape(kind: type) -> Shape:
    names = [each.name for each in fields(kind)]
    shape = _SHAPES[kind] = attrgetter(*names), {name: place for place, name in enumerate(names)}
    return shape
