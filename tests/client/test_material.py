from __future__ import annotations

import base64
import os
import pickle
import secrets
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.client import material
from hsmkms.client.material import ALL_BITS, KeyMaterial, require_length, warn_of_text
from hsmkms.core.errors import InputUnusable
from tests.client.played import Heard

if TYPE_CHECKING:
    from pathlib import Path

RAW = bytes(range(0x80, 0xA0))


def of(value: bytes) -> KeyMaterial:
    return KeyMaterial(bytearray(value))


def refusal_of(value: bytes, *bits: int) -> str:
    with pytest.raises(InputUnusable) as caught:
        require_length(of(value), *(bits or (256,)))
    return caught.value.message


# --- reading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 16, 32, 33, 4096])
def test_a_file_is_read_byte_for_byte(tmp_path: Path, size: int) -> None:
    path = tmp_path / "key.bin"
    path.write_bytes(secrets.token_bytes(size))
    path.chmod(0o600)
    heard = Heard()
    assert bytes(material.read(str(path), heard).reveal()) == path.read_bytes()
    assert heard.warnings == []


def test_a_pipe_is_read_to_its_end_however_it_arrives(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, RAW[:7])
    os.write(writing, RAW[7:])
    os.close(writing)
    try:
        assert bytes(material.read(f"/dev/fd/{reading}", Heard()).reveal()) == RAW
    finally:
        os.close(reading)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_read_is_warned_of(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.bin"
    path.write_bytes(RAW)
    path.chmod(mode)
    heard = Heard()
    material.read(str(path), heard)
    assert heard.warnings == ["The file with the key material can be read by others; use: chmod 600 FILE"]


def test_what_cannot_be_material_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputUnusable, match=says):
            material.read(str(path), Heard())
    with pytest.raises(InputUnusable, match="more than 4096 bytes: that is no key material, which is 16 or 32 bytes"):
        material.read("/dev/zero", Heard())


def test_a_terminal_is_not_read_from() -> None:
    leader, follower = os.openpty()
    kept = os.dup(0)
    try:
        os.dup2(follower, 0)
        with pytest.raises(InputUnusable, match="Standard input is a terminal"):
            material.read("-", Heard())
    finally:
        os.dup2(kept, 0)
        for each in (kept, leader, follower):
            os.close(each)


# --- keeping -----------------------------------------------------------------------------------------------


def test_it_is_overwritten_when_its_block_ends_however_it_ends() -> None:
    value = bytearray(RAW)

    def fail() -> None:
        with KeyMaterial(value):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert value == bytes(32)


def test_it_cannot_be_shown_or_pickled() -> None:
    held = of(b"visible-material")
    assert repr(held) == str(held) == f"{held}" == "<KeyMaterial of 16 bytes>"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(held)


# --- lengths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(65))
@pytest.mark.parametrize("bits", [(256,), (128,), ALL_BITS])
def test_no_length_but_the_right_one_passes(size: int, bits: tuple[int, ...]) -> None:
    value = of(secrets.token_bytes(size))
    if size * 8 in bits:
        require_length(value, *bits)
        return
    with pytest.raises(InputUnusable, match=f"^The key material is {size} bytes; it must be exactly"):
        require_length(value, *bits)


@pytest.mark.parametrize("size", [16, 32])
def test_text_and_line_breaks_are_named_with_the_cure(size: int) -> None:
    value, bits = RAW[:size], 8 * size
    for end in ("", "\n", "\r\n"):
        for spelled in (value.hex(), value.hex().upper()):
            said = refusal_of(f"{spelled}{end}".encode(), bits)
            assert f"looks like {size} bytes in hex; convert it with 'xxd -r -p FILE > key.bin'. It was" in said
        said = refusal_of(base64.b64encode(value) + end.encode(), bits)
        assert f"looks like {size} bytes in base64; convert it with 'base64 -d FILE > key.bin'. It was" in said
    for end in ("\n", "\r\n"):
        assert f"with 'head -c {size} FILE > key.bin'. It was" in refusal_of(value + end.encode(), bits)


def test_the_other_editions_length_is_named() -> None:
    assert "other edition" in refusal_of(RAW[:16], 256)
    assert "other edition" in refusal_of(RAW, 128)
    assert "other edition" not in refusal_of(RAW[:17], 256)


@given(st.binary(max_size=90))
def test_a_refusal_never_shows_the_material(value: bytes) -> None:
    if len(value) * 8 in ALL_BITS:
        return
    said = refusal_of(value, *ALL_BITS)
    for start in range(len(value) - 7):
        part = value[start : start + 8]
        assert part.hex() not in said
        assert part.decode("latin-1") not in said or part.decode("latin-1").isspace()


@pytest.mark.parametrize(
    ("value", "warned"),
    [(b"0123456789abcdef0123456789ABCDEF", True), (b"correct horse ba", True), (RAW, False), (b"\n" * 16, False)],
)
def test_text_of_the_right_length_is_warned_of_and_taken(value: bytes, warned: bool) -> None:
    heard = Heard()
    held = of(value)
    require_length(held, *ALL_BITS)
    warn_of_text(held, heard)
    assert len(heard.warnings) == warned
    assert value.decode("latin-1") not in heard.everything
