"""The commands on a real instance: what they print, how they end, and what they leave alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import stat
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.commands import run
from tests.e2e.running import Instance, hsmkms

UNUSABLE: Final = 78
WRONG_INPUT: Final = 65
USAGE: Final = 2
COMMANDS: Final = (
    (),
    ("new",),
    ("init",),
    ("serve",),
    ("doctor",),
    ("credential",),
    ("credential", "create"),
    ("credential", "list"),
    ("credential", "disable"),
    ("credential", "enable"),
    ("credential", "rotate"),
    ("key",),
    ("key", "show"),
)
ALGORITHMS: Final = {
    "softhsm": {"RSAES_OAEP_SHA_256": False, "RSAES_OAEP_SHA_1": True, "RSAES_PKCS1_V1_5": True},
    "nss": {"RSAES_OAEP_SHA_256": True, "RSAES_OAEP_SHA_1": True, "RSAES_PKCS1_V1_5": True},
}
PROBED_LENGTHS: Final = {0, 1, 15, 16, 17, 24, 31, 32, 33, 48, 64}


@pytest.fixture(scope="module", params=[("softhsm", "fips"), ("nss", "sm")], ids="-".join)
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Instance:
    token, edition = request.param
    return Instance.new(tmp_path_factory.mktemp("commands") / token, token, edition)


def command(instance: Instance, *words: str) -> str:
    """Run a command on an instance, and return what it says on standard output."""
    done = hsmkms(*words, "--config", str(instance.config))
    return done.stdout


def one_json_object(text: str) -> dict[str, Any]:
    """Return the object that a text is, and nothing else."""
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return dict(json.loads(text))


# --- help --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_what_it_is_for(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run(*words, "--help")
    assert (done.code, done.stderr) == (0, "")
    sentences = [line for line in done.stdout.splitlines() if re.match(r" [A-Z].*[a-z]", line)]
    assert len(sentences) >= 2, "usage, and a sentence"
    options = re.findall(r"--[a-z-]+(?: +\S+)* {2,}(?P<help>[A-Za-z].*?) *│", done.stdout)
    assert len(options) == len(re.findall(r"│[ *]*--", done.stdout)), "an option without a word of help"


@pytest.mark.parametrize("words", [(), ("credential",), ("key",)], ids=" ".join)
def test_a_command_that_needs_another_word_shows_its_help(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.code == USAGE
    assert "Commands" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("serve",),
        ("init", "--nonsense"),
        ("key", "show", "--config", "f"),
        ("new", "d", "--port", "0"),
        ("new", "d", "--token", "yubikey"),
        ("new", "d", "--edition", "gm"),
        ("credential", "create", "--config", "f", "--account", "a"),
        ("credential", "create", "--config", "f", "--account", "a", "--roles", "user", "--valid-days", "0"),
        ("credential", "rotate", "--config", "f"),
        ("credential", "rotate", "--config", "f", "AKID", "--overlap-hours", "-1"),
    ],
    ids=" ".join,
)
def test_wrong_words_are_usage_errors(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert (done.code, done.stdout) == (USAGE, "")
    assert "Error" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("--version")
    assert done.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)


# --- new and init ------------------------------------------------------------------------------------------


def test_new_makes_a_folder_that_only_its_owner_reads(instance: Instance) -> None:
    def mode(name: str) -> int:
        return stat.S_IMODE((instance.folder / name).stat().st_mode)

    assert mode(".") == 0o700
    assert mode("pin") == 0o400
    assert mode("credential.json") == 0o400
    assert mode("hsmkms.db") == 0o600
    assert set(instance.credential()) == {"account", "secret_id", "secret_key"}


def test_new_leaves_a_folder_with_anything_in_it_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = run("new", str(tmp_path))
    assert (done.code, done.stdout) == (UNUSABLE, "")
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_new_leaves_an_instance_alone(instance: Instance) -> None:
    before = _state(instance)
    assert "not empty" in hsmkms("new", str(instance.folder), expect=UNUSABLE).stderr
    assert _state(instance) == before


def test_new_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("new", str(tmp_path / "file" / "folder"))
    assert done.code == UNUSABLE
    assert "name another one" in done.stderr


@pytest.mark.parametrize(("token", "package"), [("softhsm", "softhsm2"), ("nss", "libnss3-tools")])
def test_new_without_the_tokens_tool_names_the_package(
    token: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("new", str(tmp_path / "i"), "--token", token)
    assert done.code == UNUSABLE
    assert f"install the package {package}." in done.stderr
    assert not (tmp_path / "i").exists()


def _state(instance: Instance) -> object:
    """Return everything an instance holds, but for what SoftHSM and NSS rewrite at every login."""
    with contextlib.closing(sqlite3.connect(instance.database)) as database:
        rows = list(database.iterdump())
    files = {
        str(path.relative_to(instance.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(instance.folder.rglob("*"))
        if path.is_file() and not path.name.startswith(("hsmkms.db", "token.object"))
    }
    return rows, files


def test_init_run_again_changes_nothing(instance: Instance) -> None:
    before = _state(instance)
    assert "already initialised" in command(instance, "init")
    assert _state(instance) == before


# --- credential --------------------------------------------------------------------------------------------


def test_a_credential_as_json_is_exactly_its_object(instance: Instance) -> None:
    made = one_json_object(
        command(instance, "credential", "create", "--account", "acme", "--roles", "admin, importer", "--json")
    )
    assert set(made) == {"account", "secret_id", "secret_key"}
    assert made["account"] == "acme"
    with contextlib.closing(sqlite3.connect(instance.database)) as database:
        ((roles, record),) = database.execute(
            "SELECT roles, record FROM credentials WHERE access_id = ?", (made["secret_id"],)
        ).fetchall()
    assert set(re.findall(r"\w+", roles)) == {"admin", "importer"}
    assert made["secret_key"].encode() not in record


def test_a_credential_in_words(instance: Instance) -> None:
    done = hsmkms(
        *("credential", "create", "--config", str(instance.config), "--account", "acme", "--roles", "auditor")
    )
    assert re.fullmatch(r"account +acme\nsecret id +AKID\w{32}\nsecret key +\w{43}\n", done.stdout)
    assert done.stderr == "Keep the secret key now: it is not shown again.\n"


AUTH_TOKEN: Final = ("credential", "create", "--account", "acme", "--roles", "admin, importer", "--auth-token")


def test_an_auth_token_as_json_is_exactly_its_object(instance: Instance) -> None:
    made = one_json_object(command(instance, *AUTH_TOKEN, "--json"))
    assert list(made) == ["account", "secret_id", "auth_token"]
    assert made["account"] == "acme"
    token = made["auth_token"].encode()
    with contextlib.closing(sqlite3.connect(instance.database)) as database:
        rows = database.execute(
            "SELECT roles, record, token_digest FROM credentials WHERE access_id = ?", (made["secret_id"],)
        ).fetchall()
        assert made["auth_token"] not in "".join(database.iterdump())
    assert rows == [("admin importer", None, hashlib.sha256(token).digest())]


def test_an_auth_token_in_words(instance: Instance) -> None:
    done = hsmkms(*AUTH_TOKEN, "--config", str(instance.config))
    assert re.fullmatch(r"account +acme\nsecret id +AKID\w{32}\nauth token +\w{43}\n", done.stdout)
    assert done.stderr == "Keep the auth token now: it is not shown again.\n"


def test_an_auth_token_needs_no_token_device(instance: Instance) -> None:
    blind = instance.variant("blind", {'pin_file = "pin"': 'pin_file = "nothing"'})
    assert one_json_object(command(blind, *AUTH_TOKEN, "--json"))["auth_token"]
    blind.config.unlink()


def test_an_auth_token_needs_a_deployment_that_is_ready(instance: Instance, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with contextlib.closing(sqlite3.connect(instance.database)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    with contextlib.closing(sqlite3.connect(copy)) as database, database:
        database.execute("UPDATE deployment SET ready = 0")
    unready = instance.variant("unready", {'"sqlite:///hsmkms.db"': f'"sqlite:///{copy}"'})
    refused = hsmkms(*AUTH_TOKEN, "--config", str(unready.config), expect=UNUSABLE)
    assert (refused.stdout, "run 'hsmkms init'" in refused.stderr) == ("", True)
    unready.config.unlink()


def test_the_help_says_what_an_auth_token_is_for_and_what_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    said = " ".join(run("credential", "create", "--help").stdout.split())
    for words in ("plain REST clients of the Huawei API", "X-Auth-Token", "a secret key is the better choice"):
        assert words in said


@pytest.mark.parametrize(
    ("account", "roles", "says"),
    [
        ("Acme", "admin", "a-z"),
        ("", "admin", "a-z"),
        ("a" * 65, "admin", "64"),
        ("acme", "root", "'root'"),
        ("acme", "", "importer"),
        ("acme", "admin,,user", "importer"),
    ],
)
def test_a_wrong_account_or_role(instance: Instance, account: str, roles: str, says: str) -> None:
    done = run("credential", "create", "--config", str(instance.config), "--account", account, "--roles", roles)
    assert (done.code, done.stdout) == (WRONG_INPUT, "")
    assert says in done.stderr


# --- key show ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_id", ["00000000-0000-4000-8000-000000000000", "nonsense"])
def test_a_key_that_is_not_there(instance: Instance, key_id: str) -> None:
    for words in ((key_id,), (key_id, "--json")):
        done = run("key", "show", "--config", str(instance.config), *words)
        assert (done.code, done.stdout) == (WRONG_INPUT, "")
        assert re.fullmatch(r"hsmkms: .*\bkey\b.*\.\n", done.stderr)


# --- doctor ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(instance: Instance) -> dict[str, Any]:
    return one_json_object(command(instance, "doctor", "--json"))


def test_doctor_tells_per_algorithm_what_works(instance: Instance, report: dict[str, Any]) -> None:
    found = {finding["algorithm"]: finding["works"] for finding in report["algorithms"]}
    assert found == ALGORITHMS[instance.token]
    for finding in report["algorithms"]:
        assert bool(finding["why_not"]) is not finding["works"]
        assert bool(finding["damaged"]) is finding["works"]


def test_doctor_tells_per_length_what_becomes_of_it(instance: Instance, report: dict[str, Any]) -> None:
    assert report["edition"] == instance.edition
    for finding in report["algorithms"]:
        if not finding["works"]:
            continue
        lengths = {each["length_bytes"] for each in finding["lengths"]}
        assert lengths >= PROBED_LENGTHS
        assert {each["plaintext"] for each in finding["lengths"]} == {"random", "zero-padded"}
        for each in finding["lengths"]:
            assert each["accepted"] is (each["length_bytes"] == instance.material_bytes), each
            assert bool(each["refused_by"]) is not each["accepted"]


def test_doctor_tells_every_exception(instance: Instance, report: dict[str, Any]) -> None:
    checks = report["checks"]
    assert checks
    assert all(each["passed"] or each["exception"] for each in checks), "or the service would not start"
    assert any(each["exception"] for each in checks) or instance.token != "nss", "NSS does not enforce EXTRACTABLE"


def test_doctor_in_words_shows_the_same(instance: Instance, report: dict[str, Any]) -> None:
    done = hsmkms("doctor", "--config", str(instance.config), env={"COLUMNS": "300"})
    for finding in report["algorithms"]:
        assert finding["algorithm"] in done.stdout
        for each in finding["lengths"]:
            verdict = "accepted" if each["accepted"] else "refused"
            assert re.search(rf"\b{each['length_bytes']} bytes +{each['plaintext']} +{verdict}", done.stdout), each
    for check in report["checks"]:
        assert check["check"] in done.stdout
        assert check["exception"][:30] in done.stdout, "before its line is broken"


def test_commands_leave_no_process(instance: Instance) -> None:
    here = {entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_host(entry, instance)}
    assert here == set()


def _is_host(entry: Path, instance: Instance) -> bool:
    try:
        return (
            os.fsencode(instance.folder) in (entry / "environ").read_bytes()
            and b"hsm.host" in (entry / "cmdline").read_bytes()
        )
    except OSError:
        return False
