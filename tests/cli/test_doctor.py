"""How `hsmkms doctor` words what a probe found, on reports that no token of ours gives."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from hsmkms.cli import doctor
from hsmkms.cli.doctor import _show, _show_sealing
from hsmkms.core.ciphertexts import CipherAlgorithm
from hsmkms.core.custody import SEALING_ROLES, CustodyObject, Deployment
from hsmkms.core.ids import Instant
from hsmkms.core.material import Edition
from hsmkms.core.ports import SealedCount
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.hsm.report import (
    RANDOM,
    ZERO_PADDED,
    AlgorithmFinding,
    CheckFinding,
    CipherFinding,
    HostProtection,
    LengthFinding,
    TokenDescription,
    TokenReport,
    UnknownKey,
)
from hsmkms.service.rotating import SealingVersion
from hsmkms.wiring.commands import Examination
from tests.cli.commands import run
from tests.cli.test_configuration import GOOD

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from hsmkms.config import Settings

SHA_256 = WrappingAlgorithm.RSAES_OAEP_SHA_256
SHA_1 = WrappingAlgorithm.RSAES_OAEP_SHA_1
PKCS1 = WrappingAlgorithm.RSAES_PKCS1_V1_5


def length(size: int, plaintext: str, refused_by: str = "", detail: str = "") -> LengthFinding:
    return LengthFinding(
        length_bytes=size, plaintext=plaintext, accepted=not refused_by, refused_by=refused_by, detail=detail
    )


def algorithm(name: WrappingAlgorithm, *lengths: LengthFinding, why_not: str = "") -> AlgorithmFinding:
    return AlgorithmFinding(algorithm=name, works=not why_not, why_not=why_not, damaged="", lengths=lengths)


CIPHERS = (
    CipherFinding(algorithm=CipherAlgorithm.AES_256_GCM, works=True, why_not=""),
    CipherFinding(algorithm=CipherAlgorithm.SM4_GCM, works=False, why_not="[red]because"),
)


def report_of(*algorithms: AlgorithmFinding, checks: tuple[CheckFinding, ...] = ()) -> TokenReport:
    token = TokenDescription(
        label="t",
        serial="1",
        manufacturer="m",
        model="m",
        module="m",
        module_description="",
        module_version="1",
        profile="",
    )
    return TokenReport(
        token=token,
        edition=Edition.FIPS,
        algorithms=algorithms,
        ciphers=CIPHERS,
        checks=checks,
        value_len="",
        fingerprint_algorithm="",
        fingerprint_note="",
    )


def shown(*algorithms: AlgorithmFinding, checks: tuple[CheckFinding, ...] = ()) -> str:
    """Return what is shown of a token, where the configuration names two of the three algorithms."""
    out = io.StringIO()
    _show(Console(file=out, width=200), report_of(*algorithms, checks=checks), (SHA_256, SHA_1))
    return out.getvalue()


def test_what_works_and_what_is_offered_are_two_things() -> None:
    text = shown(algorithm(SHA_256, why_not="refused"), algorithm(SHA_1), algorithm(PKCS1))
    assert re.search(r"works on this token +offered to clients", text)
    assert re.search(rf"{SHA_256} +no: refused +no ", text)
    assert re.search(rf"{SHA_1} +yes +yes ", text)
    assert re.search(rf"{PKCS1} +yes +no: not in import\.wrapping_algorithms", text)


def test_each_cipher_is_shown_and_why_it_is_not_offered() -> None:
    text = shown(algorithm(SHA_1))
    assert re.search(r"cipher of keys +offered to clients", text)
    assert re.search(r"AES_256_GCM +yes *$", text, re.MULTILINE)
    assert re.search(r"SM4_GCM +no: \[red\]because", text)


def test_zeros_in_material_of_the_right_length_do_not_look_like_a_failure() -> None:
    text = shown(
        algorithm(
            SHA_1,
            length(32, RANDOM),
            length(32, ZERO_PADDED),
            length(33, ZERO_PADDED, "unwrapping", "DataLenRange"),
            length(24, RANDOM, "size of the sealed blob"),
        )
    )
    assert re.search(r"32 bytes +random +accepted +of the right length *$", text, re.MULTILINE)
    assert re.search(r"32 bytes +zero-padded +accepted +of the right length: the zeros are part of it", text)
    assert re.search(r"33 bytes +zero-padded +refused +by unwrapping \(DataLenRange\)", text)
    assert re.search(r"24 bytes +random +refused +by size of the sealed blob *$", text, re.MULTILINE)
    assert "WRONG LENGTH" not in text


def test_a_wrong_length_that_came_through_is_shown_as_what_it_is() -> None:
    text = shown(algorithm(SHA_1, length(32, RANDOM), length(24, RANDOM)))
    assert re.search(r"24 bytes +random +accepted +A WRONG LENGTH CAME THROUGH", text)
    assert "let 24 bytes through" in text


def test_what_a_token_says_is_no_markup() -> None:
    refused = CheckFinding(check="c", passed=False, finding="f", exception="[bold]x")
    text = shown(algorithm(SHA_1, why_not="[red]why"), checks=(refused,))
    assert "[bold]x" in text
    assert "[red]why" in text


def test_sealing_keys_that_the_database_does_not_name_are_named_each_version_once() -> None:
    present = [SealingVersion(version, version == 4, False, Instant(0), None, SealedCount()) for version in (3, 4)]
    unknown = [
        UnknownKey(label=label, version=version)
        for label, version in (("[red] a", 0), ("m", 1), ("p", 1), ("m v5", 5), ("p v5", 5))
    ]
    out = io.StringIO()
    _show_sealing(Console(file=out, width=200), present, unknown)
    lines = [line for line in out.getvalue().splitlines() if line]
    assert len(lines) == 4
    assert lines[0].startswith("sealing keys: version 4 seals, ")
    assert lines[1:3] == [
        "the token has an object '[red] a', which has our name and is not ours",
        "version 1 is retired and still in the token: run 'hsmkms sealing retire 1' again",
    ]
    assert lines[3].startswith("version 5 is in the token, and the database does not know it: a rotation was interr")


def test_what_the_host_found_is_shown_and_is_in_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = msgspec.structs.replace(
        report_of(algorithm(SHA_1)), unknown_keys=(UnknownKey(label="hsmkms d material-sealing", version=1),)
    )
    objects = tuple(CustodyObject(role, bytes(16), version=2) for role in SEALING_ROLES)
    deployment = Deployment("d", Edition.FIPS, ready=True, created_at=Instant(0), token_serial="1", objects=objects)

    async def examine(_: Settings) -> Examination:
        return Examination(deployment, report, HostProtection(dumpable=False, not_locked=""))

    monkeypatch.setattr(doctor, "examine", examine)
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD)
    said = run("doctor", "--config", str(path))
    assert said.code == 0
    assert "version 1 is retired and still in the token: run 'hsmkms sealing retire 1' again" in said.stdout
    found = json.loads(run("doctor", "--config", str(path), "--json").stdout)
    assert found["unknown_keys"] == [{"label": "hsmkms d material-sealing", "version": 1}]
    assert found["sealing_versions"] == [2]
