"""`hsmkms credential ...` where the token is not asked: auth tokens, lists, and what withdraws a credential."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from hsmkms import config
from hsmkms.audit.chain import link
from hsmkms.core.credentials import Credential, Role
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import AccessId, AccountName, Instant, KeyId
from hsmkms.core.keys import Key, KeyUsage, Origin
from hsmkms.store.database import open_store
from hsmkms.store.versions import upgrade
from tests.cli.commands import Done, run
from tests.cli.test_configuration import GOOD
from tests.contract.store_contract import plan, proved

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hsmkms.core.ports import Writing

WRONG_INPUT: Final = 65
KEY_ID: Final = KeyId("6d8b6a3e-0000-4000-8000-000000000001")
NEVER_WAS: Final = KeyId("6d8b6a3e-0000-4000-8000-000000000002")
SIGNER: Final = AccessId("AKIDsigner")
MADE: Final = Instant(1_700_000_000_500)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The configuration of a deployment that is ready, with a key and a credential that signs."""
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD)
    asyncio.run(_furnish(config.load(path).store.url))
    return path


async def _furnish(url: str) -> None:
    await upgrade(url)
    store = await open_store(url, link=link, busy_seconds=5)
    async with store.initialising(plan()) as initialising:
        await initialising.mark_ready(
            proved(initialising.deployment), Event(EventTag.DEPLOYMENT_INITIALISED, MADE, None, "operator")
        )
    await store.write(_add_key_and_credential)
    await store.close()


def _add_key_and_credential(writing: Writing) -> None:
    account = writing.ensure_account(AccountName("acme"))
    writing.add_key(Key(KEY_ID, account.name, "k", "", KeyUsage.ENCRYPT_DECRYPT, Origin.EXTERNAL, MADE))
    writing.add_credential(Credential(SIGNER, account, frozenset(Role), MADE, record=b"sealed"))


async def _events(url: str) -> list[Event]:
    store = await open_store(url, link=link, busy_seconds=5)
    try:
        return [each.event for each in await store.trail().events(0, 100)]
    finally:
        await store.close()


def credential(configuration: Path, word: str, *words: str) -> Done:
    return run("credential", word, "--config", str(configuration), *words)


def made(configuration: Path, *words: str) -> dict[str, Any]:
    """Make an auth token, and return its object."""
    wanted = ("--account", "acme", "--roles", "user,auditor", "--auth-token", "--json")
    done = credential(configuration, "create", *wanted, *words)
    assert (done.code, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    return dict(json.loads(done.stdout))


def listed(configuration: Path, *words: str) -> list[dict[str, Any]]:
    done = credential(configuration, "list", "--json", *words)
    assert (done.code, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    return list(json.loads(done.stdout))


def states(configuration: Path) -> dict[str, str]:
    return {each["access_id"]: each["state"] for each in listed(configuration)}


def refused(done: Done, *says: str) -> None:
    assert (done.code, done.stdout) == (WRONG_INPUT, "")
    assert done.stderr.startswith("hsmkms: ")
    assert done.stderr.count("\n") == 1
    assert all(words in done.stderr for words in says)


# --- create -----------------------------------------------------------------------------------------------------


def test_what_limits_it_is_kept_and_listed(configuration: Path) -> None:
    limits = ("--key", KEY_ID, "--tag", "team=cards", "--tag", "url=a=b", "--valid-days", "30")
    issued = made(configuration, *limits)
    assert list(issued) == ["account", "secret_id", "auth_token"]
    shown = {each["access_id"]: each for each in listed(configuration)}[issued["secret_id"]]
    assert shown["valid_to"] - shown.pop("created_at") == 30 * 86_400
    del shown["valid_to"]
    assert shown == {
        "access_id": issued["secret_id"],
        "account": "acme",
        "roles": ["auditor", "user"],
        "keys": [KEY_ID],
        "tags": ["team=cards", "url=a=b"],
        "kind": "auth token",
        "state": "enabled",
        "replaced_by": None,
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--key", "nonsense"), "key"),
        (("--key", NEVER_WAS), NEVER_WAS),
        (("--tag", "team"), "NAME=VALUE"),
        (("--tag", "=cards"), "NAME=VALUE"),
        (("--tag", "team=\udcff"), "NAME=VALUE"),
    ],
)
def test_a_limit_that_no_key_can_meet_is_refused(configuration: Path, words: Sequence[str], says: str) -> None:
    wanted = ("--account", "acme", "--roles", "user", "--auth-token")
    refused(credential(configuration, "create", *wanted, *words), says)
    assert len(listed(configuration)) == 1


def test_in_words_its_end_is_said(configuration: Path) -> None:
    wanted = ("--account", "acme", "--roles", "user", "--auth-token", "--valid-days", "1")
    done = credential(configuration, "create", *wanted)
    assert re.fullmatch(r"account +acme\nsecret id +AKID\w{32}\nauth token +\w{43}\n", done.stdout)
    assert re.fullmatch(r"Keep the auth token now: .*\nIt ends at \d{4}-\d\d-\d\dT.*Z\.\n", done.stderr)


# --- list -------------------------------------------------------------------------------------------------------


def test_a_list_names_every_credential_and_shows_no_secret(configuration: Path) -> None:
    issued = made(configuration)
    shown = listed(configuration)
    assert shown[0] == {
        "access_id": SIGNER,
        "account": "acme",
        "roles": ["admin", "auditor", "importer", "user"],
        "keys": [],
        "tags": [],
        "kind": "secret key",
        "created_at": 1_700_000_000,
        "valid_to": None,
        "state": "enabled",
        "replaced_by": None,
    }
    assert [each["access_id"] for each in shown] == [SIGNER, issued["secret_id"]]
    digest = hashlib.sha256(issued["auth_token"].encode()).hexdigest()
    for done in (credential(configuration, "list"), credential(configuration, "list", "--json")):
        for secret in (issued["auth_token"], digest, "sealed", b"sealed".hex()):
            assert secret not in done.stdout


def test_in_words_it_is_the_same(configuration: Path) -> None:
    issued = made(configuration, "--key", KEY_ID, "--tag", "team=cards")
    credential(configuration, "disable", SIGNER)
    done = credential(configuration, "list")
    assert (done.code, done.stderr) == (0, "")
    head, signer, token = done.stdout.splitlines()
    assert head.split()[:3] == ["access", "id", "account"]
    assert signer.split()[:3] == [SIGNER, "acme", "admin"]
    assert signer.split()[-3:] == ["-", "disabled", "-"]
    assert "2023-11-14T22:13:20Z" in signer
    assert token.split()[:6] == [issued["secret_id"], "acme", "auditor", "user", KEY_ID, "team=cards"]
    assert token.split()[-2:] == ["enabled", "-"]
    new = json.loads(credential(configuration, "rotate", issued["secret_id"], "--json").stdout)["secret_id"]
    replaced = credential(configuration, "list").stdout.splitlines()[2]
    assert (replaced.split()[0], replaced.split()[-2:]) == (issued["secret_id"], ["enabled", new])


def test_a_list_of_one_account(configuration: Path) -> None:
    done = credential(configuration, "create", "--account", "other", "--roles", "user", "--auth-token", "--json")
    other = json.loads(done.stdout)["secret_id"]
    assert [each["access_id"] for each in listed(configuration, "--account", "other")] == [other]
    assert [each["access_id"] for each in listed(configuration, "--account", "acme")] == [SIGNER]
    assert listed(configuration, "--account", "nobody") == []
    refused(credential(configuration, "list", "--account", "A"), "a-z")


# --- disable, enable, rotate ------------------------------------------------------------------------------------


def test_one_is_disabled_and_enabled_again_and_that_is_in_the_audit_trail(configuration: Path) -> None:
    other = made(configuration)["secret_id"]
    for word, state in (("disable", "disabled"), ("enable", "enabled")):
        done = credential(configuration, word, SIGNER)
        assert (done.code, done.stdout, done.stderr) == (0, f"{SIGNER} is {state}.\n", "")
        assert states(configuration) == {SIGNER: state, other: "enabled"}
        again = credential(configuration, word, SIGNER)
        assert (again.code, again.stdout) == (0, f"{SIGNER} was {state} already; nothing changed.\n")
    tags = [each.tag for each in asyncio.run(_events(config.load(configuration).store.url))]
    assert tags[-2:] == [EventTag.CREDENTIAL_DISABLED, EventTag.CREDENTIAL_ENABLED]


def test_an_auth_token_is_replaced_by_an_auth_token(configuration: Path) -> None:
    old = made(configuration)
    done = credential(configuration, "rotate", old["secret_id"], "--json")
    assert (done.code, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    new = json.loads(done.stdout)
    assert list(new) == ["account", "secret_id", "auth_token"]
    shown = {each["access_id"]: each for each in listed(configuration)}
    before, after = shown[old["secret_id"]], shown[new["secret_id"]]
    assert before["valid_to"] - after["created_at"] == 24 * 3600, "the default overlap"
    assert (after["roles"], after["kind"], after["valid_to"]) == (before["roles"], "auth token", None)
    assert states(configuration) == {SIGNER: "enabled", old["secret_id"]: "enabled", new["secret_id"]: "enabled"}
    assert (before["replaced_by"], after["replaced_by"]) == (new["secret_id"], None)
    again = credential(configuration, "rotate", old["secret_id"])
    refused(
        again, f"was replaced by {new['secret_id']}; rotate that one, with --overlap-hours 0 if its secret was lost."
    )


def test_without_an_overlap_the_old_one_has_ended_and_stays_so(configuration: Path) -> None:
    old = made(configuration)["secret_id"]
    done = credential(configuration, "rotate", old, "--overlap-hours", "0")
    assert re.fullmatch(r"account +acme\nsecret id +AKID\w{32}\nauth token +\w{43}\n", done.stdout)
    assert states(configuration)[old] == "ended"
    refused(credential(configuration, "enable", old), "has ended")
    refused(credential(configuration, "rotate", old), "was replaced by AKID")


@pytest.mark.parametrize("word", ["disable", "enable", "rotate"])
def test_one_that_there_is_not(configuration: Path, word: str) -> None:
    refused(credential(configuration, word, "AKIDunknown"), "no such credential", "hsmkms credential list")
