"""A run as a picture: SVG 1.1, written here so that nothing has to be installed for it.

One panel for each operation, with a bar for each concurrency, of ours and of the peer; then p50 by the number of keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, log10
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from scripts.benchmark import measurements as names
from scripts.benchmark.ratios import p50s

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scripts.benchmark.measurements import Results

OURS: Final = "#1f6feb"
PEER: Final = "#d9822b"
_ANY: Final = "#7a5cc4"
_TOKEN: Final = "#57606a"  # noqa: S105 - a colour
_INK: Final = "#1f2328"
_FAINT: Final = "#d0d7de"
_WIDTH: Final = 1120
_MARGIN: Final = 30
_COLUMNS: Final = 3
_PANEL_WIDTH: Final = (_WIDTH - 2 * _MARGIN) / _COLUMNS
_PANEL_HEIGHT: Final = 290
_HEAD: Final = 96
_FOOT: Final = 58
_PLOT_LEFT, _PLOT_TOP, _PLOT_WIDTH, _PLOT_HEIGHT = 62.0, 52.0, 270.0, 178.0
_FEW_TICKS: Final = 6
_SMALL: Final = 10


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one kind: `values[x]` is the height at the place `x`."""

    title: str
    colour: str
    values: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram."""

    title: str
    unit: str
    across: str
    """What the places are."""
    series: Sequence[Series]
    lines: bool = False
    limit: tuple[str, float] | None = None
    """A height to compare with, and what it is."""


@dataclass(slots=True)
class _Drawing:
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, said: str, *, size: int = 12, anchor: str = "start", **style: str) -> None:
        more = "".join(f" {name.replace('_', '-')}={quoteattr(value)}" for name, value in style.items())
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{more}>{escape(said)}</text>'
        )

    def line(self, x: tuple[float, float], y: tuple[float, float], colour: str, *, dashed: bool = False) -> None:
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<line x1="{x[0]:.1f}" y1="{y[0]:.1f}" x2="{x[1]:.1f}" y2="{y[1]:.1f}" stroke="{colour}"{dashes}/>'
        )

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def dot(self, x: float, y: float, colour: str) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')


def drawn(results: Results, machine: Mapping[str, str]) -> str:
    """Return the picture of a run; `machine` is where it was measured."""
    panels = [panel for panel in _panels(results) if panel.series]
    height = _HEAD + ceil(len(panels) / _COLUMNS) * _PANEL_HEIGHT + _FOOT
    drawing = _Drawing()
    drawing.text(
        _MARGIN, 38, "hsmkms: what it does in a second, and how long one request takes", size=20, font_weight="600"
    )
    peer = bool(results.named(names.OPENBAO_IMPORT))
    said = "hsmkms with a SoftHSM token, SQLite with full synchronous commits, audit trail on"
    drawing.box(_MARGIN, 55, 12, 12, OURS)
    drawing.text(_MARGIN + 18, 66, said)
    if peer:
        drawing.box(_MARGIN + 560, 55, 12, 12, PEER)
        drawing.text(_MARGIN + 578, 66, "OpenBao's transit engine, raft on the same disk, audit device on")
    for place, panel in enumerate(panels):
        row, column = divmod(place, _COLUMNS)
        _draw(drawing, panel, _MARGIN + column * _PANEL_WIDTH, _HEAD + row * _PANEL_HEIGHT)
    for number, line in enumerate(_machine(machine)):
        drawing.text(_MARGIN, height - 30 + 17 * number, line, size=11, fill=_TOKEN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" fill="{_INK}">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(drawing.parts) + "\n</svg>\n"
    )


def _machine(machine: Mapping[str, str]) -> tuple[str, str]:
    facts = [f"{name}: {fact}" for name, fact in machine.items()]
    return (
        "Measured in one run, by one client on the same cores. Read ratios: rates say little of other machines.",
        "machine: " + "; ".join(facts),
    )


def _panels(results: Results) -> Iterable[Panel]:
    unwraps = None
    if results.named(names.TOKEN_UNWRAP):
        unwraps = ("the bare token's C_UnwrapKey", results.reference(names.TOKEN_UNWRAP))
    for title, ours, peer, limit in (
        ("Import of wrapped material", names.IMPORT, names.OPENBAO_IMPORT, unwraps),
        ("Whole ceremony (OpenBao: import)", names.CEREMONY, names.OPENBAO_IMPORT, unwraps),
        ("Encrypt 32 bytes", names.ENCRYPT, names.OPENBAO_ENCRYPT, None),
        ("Data key of 256 bits", names.DATA_KEY, names.OPENBAO_DATA_KEY, None),
    ):
        rates, peers = _rates(results, ours), _rates(results, peer)
        series = [Series("hsmkms", OURS, rates), *([Series("OpenBao", PEER, peers)] if peers else [])]
        yield Panel(title, "per second", "requests at once", series if rates else (), limit=limit)
    for title, found in (
        ("Import: p50 by the number of keys", [Series("hsmkms", OURS, p50s(results, names.IMPORT_AMONG))]),
        (
            "Encrypt: p50 by the number of keys",
            [
                Series("the same 10 keys", OURS, p50s(results, names.ENCRYPT_AMONG)),
                Series("another key each time", _ANY, p50s(results, names.ENCRYPT_ANY)),
            ],
        ),
    ):
        yield Panel(title, "milliseconds", "keys in the database", [each for each in found if each.values], lines=True)


def _rates(results: Results, name: str) -> dict[int, float]:
    return {each.concurrency: each.rate for each in results.named(name)}


def _draw(drawing: _Drawing, panel: Panel, left: float, top: float) -> None:
    drawing.text(left + 8, top + 18, panel.title, size=14, font_weight="600")
    drawing.text(left + 8, top + 36, panel.unit, size=11, fill=_TOKEN)
    highest = max(max(each.values.values()) for each in panel.series)
    if panel.limit is not None:
        highest = max(highest, panel.limit[1])
    step = _step(highest)
    ceiling = step * ceil(highest / step)
    left, top = left + _PLOT_LEFT, top + _PLOT_TOP
    bottom = top + _PLOT_HEIGHT
    for number in range(round(ceiling / step) + 1):
        y = bottom - _PLOT_HEIGHT * number * step / ceiling
        drawing.line((left, left + _PLOT_WIDTH), (y, y), _FAINT)
        drawing.text(left - 7, y + 4, f"{number * step:,g}", size=11, anchor="end")
    places = sorted({x for each in panel.series for x in each.values})
    scale = _PLOT_HEIGHT / ceiling
    middle = {x: left + _PLOT_WIDTH * (number + 0.5) / len(places) for number, x in enumerate(places)}
    for x in places:
        drawing.text(middle[x], bottom + 17, f"{x:,}", anchor="middle")
    drawing.text(left + _PLOT_WIDTH / 2, bottom + 35, panel.across, size=11, anchor="middle", fill=_TOKEN)
    (_draw_lines if panel.lines else _draw_bars)(drawing, panel.series, middle, bottom, scale)
    if panel.limit is not None:
        y = bottom - panel.limit[1] * scale
        drawing.line((left, left + _PLOT_WIDTH), (y, y), _TOKEN, dashed=True)
        drawing.text(left + 3, y - 5, f"{panel.limit[0]}: {_short(panel.limit[1])}", size=11, fill=_TOKEN)


def _draw_bars(
    drawing: _Drawing, series: Sequence[Series], middle: Mapping[int, float], bottom: float, scale: float
) -> None:
    width = 0.72 * _PLOT_WIDTH / len(middle) / len(series)
    for number, each in enumerate(series):
        for x, value in each.values.items():
            left = middle[x] + width * (number - len(series) / 2)
            drawing.box(left + 1, bottom - value * scale, width - 2, value * scale, each.colour)
            drawing.text(left + width / 2, bottom - value * scale - 4, _short(value), size=10, anchor="middle")


def _draw_lines(
    drawing: _Drawing, series: Sequence[Series], middle: Mapping[int, float], bottom: float, scale: float
) -> None:
    for number, each in enumerate(series):
        places = sorted(each.values)
        at = {x: (middle[x], bottom - each.values[x] * scale) for x in places}
        for one, other in pairwise(places):
            drawing.line((at[one][0], at[other][0]), (at[one][1], at[other][1]), each.colour)
        for x in places:
            drawing.dot(*at[x], each.colour)
            drawing.text(at[x][0], at[x][1] - 9, f"{each.values[x]:.3g}", size=11, anchor="middle", fill=each.colour)
        if len(series) > 1:
            y = bottom - _PLOT_HEIGHT - 6 - 15 * (len(series) - 1 - number)
            drawing.text(middle[max(middle)] + 40, y, each.title, size=11, anchor="end", fill=each.colour)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= _SMALL else f"{value:.1f}"


def _step(highest: float) -> float:
    """Return a round distance between the lines of a scale up to `highest`: 1, 2 or 5 by a power of ten."""
    rough = highest / _FEW_TICKS
    power = 10.0 ** (ceil(log10(rough)) - 1)
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
