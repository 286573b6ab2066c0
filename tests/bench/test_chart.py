"""The picture of a run: what is compared, in which unit, and where it was measured."""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree as ET

import pytest

from scripts.benchmark.chart import OURS, PEER, drawn
from scripts.benchmark.measurements import (
    ENCRYPT_AMONG,
    IMPORT,
    OPENBAO_IMPORT,
    TOKEN_UNWRAP,
    Latency,
    Measurement,
    Results,
)

SVG: Final = "{http://www.w3.org/2000/svg}"
ALONE: Final = (
    Measurement(TOKEN_UNWRAP, 2, 1000, 1.0),
    Measurement(IMPORT, 1, 300, 1.0),
    Measurement(IMPORT, 8, 600, 1.0),
    Measurement(ENCRYPT_AMONG, 32, 1, 1.0, Latency(8.0, 9.0), keys=10),
    Measurement(ENCRYPT_AMONG, 32, 1, 1.0, Latency(9.0, 9.0), keys=100_000),
)
WITH_PEER: Final = (*ALONE, Measurement(OPENBAO_IMPORT, 8, 150, 1.0))


def picture(measurements: tuple[Measurement, ...]) -> ET.Element:
    return ET.fromstring(drawn(Results(measurements), {"cpu": "abacus <&>", "cores": "2"}))  # noqa: S314 - our own


def texts(root: ET.Element) -> str:
    return "\n".join(each.text or "" for each in root.iter(f"{SVG}text"))


def heights(root: ET.Element, colour: str) -> list[float]:
    """Return the heights of the bars of a colour, without the square that explains the colour."""
    boxes = [each for each in root.iter(f"{SVG}rect") if each.get("fill") == colour]
    return [float(each.attrib["height"]) for each in boxes[1:]]


def test_it_says_what_in_which_unit_and_where() -> None:
    said = texts(picture(WITH_PEER))
    for part in ("per second", "milliseconds", "requests at once", "keys in the database", "OpenBao", "abacus <&>"):
        assert part in said


def test_bars_are_as_high_as_the_rates() -> None:
    root = picture(WITH_PEER)
    one, eight = heights(root, OURS)
    (peer,) = heights(root, PEER)
    assert eight / one == pytest.approx(2.0, abs=0.01)
    assert eight / peer == pytest.approx(4.0, abs=0.02)


def test_a_run_without_the_peer_shows_none() -> None:
    root = picture(ALONE)
    assert "OpenBao's" not in texts(root)
    assert not heights(root, PEER)


def test_nothing_is_outside_of_the_picture() -> None:
    root = picture(WITH_PEER)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for each in root.iter(f"{SVG}rect"):
        assert 0 <= float(each.get("x", 0)) <= width - float(each.attrib["width"])
        assert 0 <= float(each.get("y", 0)) <= height - float(each.attrib["height"])
