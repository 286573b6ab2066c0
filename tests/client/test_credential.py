from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hsmkms.client import credential
from hsmkms.core.errors import InputUnusable
from tests.client.played import Heard

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"account": "demo", "secret_id": "AKID_x-1", "secret_key": "never-shown"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "credential.json"
    path.write_text(json.dumps(GOOD))
    path.chmod(0o400)
    return path


def test_a_credential_is_read_and_its_secret_not_shown(file: Path) -> None:
    heard = Heard()
    read = credential.read(file, heard)
    assert (read.secret_id, read.secret_key.reveal()) == ("AKID_x-1", b"never-shown")
    assert "never-shown" not in repr(read)
    assert heard.warnings == []


@pytest.mark.parametrize("mode", [0o440, 0o404])
def test_one_that_others_read_is_warned_of(file: Path, mode: int) -> None:
    file.chmod(mode)
    heard = Heard()
    credential.read(file, heard)
    assert heard.warnings == [f"The credential {file} can be read by others; use: chmod 600 {file}"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "never-shown",
        "[]",
        '{"secret_id": "never-shown"}',
        json.dumps({"account": "demo", "secret_id": "AKIDx", "auth_token": "never-shown"}),
        json.dumps({**GOOD, "secret_key": ""}),
        json.dumps({**GOOD, "secret_key": 5}),
        json.dumps({**GOOD, "secret_id": "x\r\nX-Injected: never-shown"}),
    ],
)
def test_what_is_no_credential_is_refused_and_not_repeated(file: Path, text: str) -> None:
    file.chmod(0o600)
    file.write_text(text)
    with pytest.raises(InputUnusable, match="is no credential with a secret key") as caught:
        credential.read(file, Heard())
    assert "never-shown" not in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="cannot be read"):
        credential.read(tmp_path / "none", Heard())
