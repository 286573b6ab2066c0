"""`import-key` and `wrap` as a user meets them: options, sentences, exit codes, and what is on which output."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hsmkms.cli.main import app
from tests.cli.commands import Done, run
from tests.client.played import UNAVAILABLE, Played, answer, playing, refusal
from tests.client.test_ceremony import KEY_ID, LATER, OAEP_SHA_256, PRIVATE, PUBLIC, key, script
from tests.client.test_keys import FIPS, TAKEN, listed

if TYPE_CHECKING:
    from pathlib import Path

REFUSED: Final = 1
WRONG: Final = 2
RAW: Final = bytes(range(0x90, 0xB0))
SECRET_KEY: Final = "made-up-secret-key"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a credential and material, both as they should be."""
    (tmp_path / "credential.json").write_text(json.dumps({"secret_id": "AKIDx", "secret_key": SECRET_KEY}))
    (tmp_path / "key.bin").write_bytes(RAW)
    (tmp_path / "public").write_text(PUBLIC)
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    return tmp_path


def import_key(files: Path, *arguments: str, url: str = "http://127.0.0.1:9", name: str = "key.bin") -> Done:
    credential = ("--credential", str(files / "credential.json"))
    return run("import-key", "--endpoint", url, *credential, *arguments, str(files / name))


def by_id(files: Path, played: Played, *arguments: str) -> Done:
    return import_key(files, "--key-id", KEY_ID, *arguments, url=played.url)


# --- help --------------------------------------------------------------------------------------------------


def test_every_word_of_the_commands_is_explained() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group, which typer does not say
    for name in ("import-key", "wrap"):
        assert re.match(r"[A-Z].*\.", commands[name].help)
        for parameter in commands[name].params:
            assert re.match(r"[A-Z].*\.", parameter.help or ""), parameter.name


def test_help_shows_clients_commands_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    before, after = run("--help").stdout.split("Commands for clients of the API")
    assert "serve" in before
    assert "import-key" not in before
    assert re.findall(r"^│ ([a-z-]+) ", after, re.MULTILINE) == ["import-key", "wrap"]


# --- what is wrong before anything is sent -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Name the key by one of --key-id and --create."),
        (("--key-id", KEY_ID, "--create", "a"), "Name the key by one of --key-id and --create."),
        (("--key-id", "alias/demo"), "--key-id: The key id must be a lower-case UUID of 36 characters."),
        (("--key-id", KEY_ID, "--valid-to", "tomorrow"), "--valid-to 'tomorrow' is no time; write Unix seconds"),
        (("--key-id", KEY_ID, "--valid-to", "2030-01-31T12:00:00"), "is no time; write Unix seconds, a time with its"),
        (("--key-id", KEY_ID, "--valid-to", "1000"), "--valid-to must be later than now"),
        (("--key-id", KEY_ID, "--valid-to", "2147443201"), "not after 2038-01-18T16:00:00Z."),
        (("--key-id", KEY_ID, "--valid-to", "9" * 30), "not after 2038-01-18T16:00:00Z."),
        (("--key-id", KEY_ID, "--ca", "ca.pem"), "--ca is for an https:// endpoint."),
    ],
)
def test_wrong_options_are_said(files: Path, arguments: tuple[str, ...], says: str) -> None:
    done = import_key(files, *arguments)
    assert (done.code, done.stdout) == (WRONG, "")
    assert done.stderr.startswith("hsmkms: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_latest_expiry_named_is_the_latest_accepted(files: Path) -> None:
    with playing(script()) as played:
        assert by_id(files, played, "--valid-to", "2038-01-18T16:00:00Z").code == 0
    assert played.of("ImportKeyMaterial")[0].fields["ValidTo"] == 2147443200


def test_plain_http_elsewhere_is_refused(files: Path) -> None:
    done = import_key(files, "--key-id", KEY_ID, url="http://kms.example")
    assert done.code == WRONG
    assert "--insecure-http" in done.stderr


@pytest.mark.parametrize("size", [0, 15, 17, 31, 33, 64])
def test_what_no_edition_imports_is_refused_without_a_connection(files: Path, size: int) -> None:
    (files / "key.bin").write_bytes(RAW[:1] * size)
    with playing({}) as played:
        done = by_id(files, played)
    assert (done.code, done.stdout, played.requests) == (WRONG, "", [])
    assert f"The key material is {size} bytes; it must be exactly 16 bytes (128 bits) or exactly 32" in done.stderr


def test_files_that_are_not_there_are_said(files: Path) -> None:
    assert "key material cannot be read (No such file" in import_key(files, "--key-id", KEY_ID, name="none").stderr
    (files / "credential.json").unlink()
    done = import_key(files, "--key-id", KEY_ID)
    assert done.code == WRONG
    assert "credential.json cannot be read (No such file" in done.stderr


# --- what the service says ---------------------------------------------------------------------------------


def test_the_result_is_on_standard_output_and_the_steps_are_not(files: Path) -> None:
    with playing(script(DescribeKey=[key("PendingImport"), key("Enabled", ValidTo=LATER)])) as played:
        done = by_id(files, played, "--valid-to", str(LATER))
    assert done.code == 0
    assert done.stdout == f"key id    {KEY_ID}\nstate     Enabled\nvalid to  2030-03-17T17:46:40Z\n"
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["key", "parameters", "wrapped", "imported"]


def test_json_is_one_value(files: Path) -> None:
    with playing(script()) as played:
        done = by_id(files, played, "--json")
    assert json.loads(done.stdout) == {
        "key_id": KEY_ID,
        "state": "Enabled",
        "valid_to": None,
        "length_bits": 256,
        "algorithm": "RSAES_OAEP_SHA_256",
        "already_held": False,
    }
    assert done.stdout.count("\n") == 1


def test_the_algorithm_named_is_the_one_asked_for(files: Path) -> None:
    with playing(script()) as played:
        assert by_id(files, played, "--algorithm", "RSAES_PKCS1_V1_5").code == 0
    assert played.of("GetParametersForImport")[0].fields["WrappingAlgorithm"] == "RSAES_PKCS1_V1_5"


def test_a_key_is_found_or_made_by_its_alias(files: Path) -> None:
    replies = script(ListAlgorithms=[FIPS], CreateKey=[TAKEN], ListKeyDetail=[listed("mine")])
    with playing(replies) as played:
        done = import_key(files, "--create", "mine", url=played.url)
    assert (done.code, done.stdout.split()[2]) == (0, KEY_ID)
    assert "key found" in done.stderr


def test_no_key_is_made_for_material_that_it_could_not_take(files: Path) -> None:
    (files / "key.bin").write_bytes(RAW[:16])
    with playing({"ListAlgorithms": [FIPS]}) as played:
        done = import_key(files, "--create", "mine", url=played.url)
    assert (done.code, done.stdout, len(played.requests)) == (WRONG, "", 1)
    assert "other edition" in done.stderr


@pytest.mark.parametrize("code", ["ResourceUnavailable.CmkNotFound", "AuthFailure.SignatureFailure"])
def test_a_refusal_ends_with_its_sentence(files: Path, code: str) -> None:
    with playing({"DescribeKey": [refusal(code)]}) as played:
        done = by_id(files, played, "--json")
    assert (done.code, done.stdout) == (REFUSED, "")
    assert done.stderr.startswith("hsmkms: The service refused DescribeKey: Do it otherwise. (")
    assert code in done.stderr


def test_a_service_that_is_none_ends_it(files: Path) -> None:
    done = import_key(files, "--key-id", KEY_ID, url=f"https://{'x' * 70}")
    assert (done.code, done.stdout) == (REFUSED, "")
    assert "There is no host xxx" in done.stderr


def test_waiting_is_shown(files: Path) -> None:
    with playing(script(ImportKeyMaterial=[refusal(UNAVAILABLE), answer()])) as played:
        done = by_id(files, played)
    assert done.code == 0
    assert "waiting     ImportKeyMaterial: the service says that it is unavailable for the moment" in done.stderr


def test_files_that_others_read_are_warned_of(files: Path) -> None:
    (files / "credential.json").chmod(0o644)
    (files / "key.bin").chmod(0o644)
    with playing(script()) as played:
        done = by_id(files, played)
    assert done.code == 0
    assert len(re.findall("^warning .* can be read by others", done.stderr, re.MULTILINE)) == 2


def test_nothing_secret_is_shown_however_it_ends(files: Path) -> None:
    for script_ in (script(), script(ImportKeyMaterial=[refusal("InvalidParameter.DecryptMaterialError")])):
        with playing(script_) as played:
            done = by_id(files, played)
        for secret in (
            SECRET_KEY,
            RAW.hex(),
            base64.b64encode(RAW).decode(),
            RAW.decode("latin-1"),
            "aW1wb3J0LXRva2Vu",
        ):
            assert secret not in done.stdout + done.stderr


# --- wrap --------------------------------------------------------------------------------------------------


def wrap(files: Path, *arguments: str) -> Done:
    return run("wrap", "--public-key", str(files / "public"), *arguments, str(files / "key.bin"))


def test_material_is_wrapped_without_a_service(files: Path) -> None:
    done = wrap(files)
    assert done.code == 0
    assert len(done.stdout) == 344 + 1
    assert PRIVATE.decrypt(base64.b64decode(done.stdout), OAEP_SHA_256) == RAW
    assert done.stderr == "wrapped     256 bits by RSAES_OAEP_SHA_256 under an RSA-2048 public key\n"


def test_it_is_written_to_a_new_file_only(files: Path) -> None:
    target = files / "wrapped"
    assert (wrap(files, "--output", str(target)).stdout, len(target.read_text())) == ("", 344 + 1)
    for there in (target, files / "key.bin"):
        before = there.read_bytes()
        done = wrap(files, "--output", str(there))
        assert (done.code, there.read_bytes()) == (WRONG, before)
        assert "cannot be written (File exists); name a new file." in done.stderr


@pytest.mark.parametrize(("bits", "right"), [("256", 32), ("128", 16)])
def test_one_length_is_wrapped(files: Path, bits: str, right: int) -> None:
    for size in range(65):
        (files / "key.bin").write_bytes((RAW + RAW + RAW)[:size])
        done = wrap(files, "--bits", bits)
        assert done.code == (0 if size == right else WRONG), size
        assert (done.stdout == "") == (size != right)


def test_a_key_of_another_size_is_refused(files: Path) -> None:
    other = rsa.generate_private_key(65537, 3072).public_key()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (files / "public").write_bytes(other.public_bytes(*form))
    done = wrap(files)
    assert (done.code, done.stdout) == (WRONG, "")
    assert done.stderr == "hsmkms: The public key must be RSA of 2048 bits; it has 3072.\n"


def test_standard_input_is_read(files: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hsmkms", "wrap", "--public-key", str(files / "public"), "-"],
        input=RAW,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert PRIVATE.decrypt(base64.b64decode(done.stdout), OAEP_SHA_256) == RAW
