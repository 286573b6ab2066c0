"""Several nodes on one database and one token: whichever is asked, it is one service."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms import config
from hsmkms.core.credentials import Grant, KeyScope, Role
from hsmkms.core.ids import AccessId
from hsmkms.core.ids import account_name as parse_account
from hsmkms.core.ids import key_id as parse_key_id
from hsmkms.service.credentials import CredentialUseCases
from hsmkms.wiring.adapters import SystemClock, opened_store
from hsmkms.wiring.commands import attached
from hsmkms.wiring.credentials import rotate_credential, turn_credential
from hsmkms.wiring.sealing import rotate_sealing_keys, transfer_material
from tests.e2e.nodes import FIRST, code_of
from tests.e2e.running import RunningService, hsmkms, until
from tests.e2e.test_refusing_to_start import sentence_of
from tests.e2e.token_objects import act, objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hsmkms.config import Settings
    from hsmkms.service.credentials import IssuedCredential
    from tests.e2e.nodes import Nodes
    from tests.e2e.running import Instance
    from tests.e2e.tencent_client import TencentClient

STATE_SECONDS: Final = 1.0
"""Within which a change of a key's state holds on every node."""
CREDENTIAL_SECONDS: Final = 5.0
ROTATION_SECONDS: Final = 5.0
"""Each node looks once a second; while other tests run it may take longer to act."""
SWEEP_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.1
UNUSABLE: Final = 78
NOBODY: Final = "AuthFailure.SecretIdNotFound"
PLAINTEXT: Final = b"said on one node"


def holds_within(seconds: float, *refused: Callable[[], bool]) -> None:
    """Wait until all are refused; none may pass that is asked later than so many seconds from now."""
    changed = time.monotonic()
    for each in refused:
        while True:
            asked = time.monotonic()
            if each():
                break
            assert asked - changed <= seconds, f"it passed {asked - changed:.1f} seconds after the change"
            time.sleep(_PAUSE_SECONDS)


def both_ways(nodes: Nodes) -> tuple[tuple[TencentClient, TencentClient], ...]:
    one, other = nodes.clients()
    return (one, other), (other, one)


# --- the ceremony ------------------------------------------------------------------------------------------


def test_a_ceremony_goes_from_node_to_node(nodes: Nodes) -> None:
    one, other = nodes.clients()
    key_id, material = one.external_key(), secrets.token_bytes(32)
    parameters = one.parameters(key_id)
    encrypted = one.wrapped(parameters, material)
    other.import_(key_id, parameters, encrypted)
    one.import_(key_id, parameters, encrypted)
    ciphertext = one.encrypt(key_id, PLAINTEXT)
    assert other.decrypt(ciphertext) == PLAINTEXT
    one.delete_material(key_id)
    assert other.state(key_id) == "PendingImport"
    other.bring(key_id, material)
    assert one.decrypt(ciphertext) == PLAINTEXT
    wrong = one.parameters(key_id)
    assert other.import_code(key_id, wrong, other.wrapped(wrong, secrets.token_bytes(32))).endswith("MaterialNotMatch")
    expected = {
        ("key:created", FIRST),
        ("key:material:imported", "node-2"),
        ("key:encrypted", FIRST),
        ("key:decrypted", "node-2"),
        ("key:material:deleted", FIRST),
        ("key:decrypted", FIRST),
        ("key:material:refused", "node-2"),
    }
    until(lambda: expected <= set(nodes.events(key_id)), "who did it on which node", 5)
    assert nodes.tags(key_id).count("key:material:imported") == 2, "a repeated import is none"
    exported = hsmkms("audit", "export", "--config", str(nodes.running[1].instance.config)).stdout
    told = [json.loads(line) for line in exported.splitlines()]
    assert expected <= {(each["tag"], each["node"]) for each in told if each["key_id"] == key_id}
    assert {each["actor"] for each in told if (each["tag"], each["key_id"]) == ("key:decrypted", key_id)} == {
        one.keys["secret_id"]
    }


def test_nodes_share_a_wrapping_pair(nodes: Nodes) -> None:
    one, other = nodes.clients()
    keys = [one.external_key() for _ in range(4)]
    issued = [client.parameters(key_id) for client, key_id in zip((one, other, one, other), keys, strict=True)]
    assert len({each.public_key for each in issued}) == 1
    for key_id, parameters, client in zip(keys, issued, (other, one, one, other), strict=True):
        client.import_(key_id, parameters, client.wrapped(parameters, secrets.token_bytes(32)))


def test_each_chain_holds_and_is_sealed(nodes: Nodes) -> None:
    for client in nodes.clients():
        client.external_key()
    ends = dict(nodes.ask("SELECT node, max(sequence) FROM events GROUP BY node"))
    assert set(ends) == {FIRST, "node-2"}

    def sealed() -> bool:
        seals = dict(nodes.ask("SELECT node, max(sequence) FROM audit_seals GROUP BY node"))
        return all(seals.get(node, 0) >= end for node, end in ends.items())

    until(sealed, "both chains are sealed", 10)
    (first, *_), (second, *_) = (
        nodes.ask("SELECT tag FROM events WHERE node = %s ORDER BY sequence LIMIT 1", each) for each in sorted(ends)
    )
    assert (first, second) == (("deployment:initialised",), ("node:joined",))
    report = json.loads(hsmkms("audit", "verify", "--config", str(nodes.first.config), "--json").stdout)
    assert report["holds"]
    assert {each["node"] for each in report["nodes"]} == set(ends)


def test_expiry_is_seen_by_all_and_swept_by_one(nodes: Nodes) -> None:
    one, other = nodes.clients()
    key_id = one.external_key()
    expiry = int(time.time()) + 2
    one.bring(key_id, secrets.token_bytes(32), expiry)
    ciphertext = other.encrypt(key_id, PLAINTEXT)
    until(lambda: time.time() >= expiry, "its end")
    for client in (one, other):
        assert client.failure(client.decrypt, ciphertext).code == "ResourceUnavailable.CmkStateNotSupport"
    until(lambda: "key:material:expired" in nodes.tags(key_id), "a sweep", SWEEP_SECONDS)
    assert nodes.tags(key_id).count("key:material:expired") == 1
    assert nodes.ask("SELECT key_id FROM materials WHERE key_id = %s", key_id) == []


# --- what one node changes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda client, key_id: client.disable(key_id),
        lambda client, key_id: client.call("ArchiveKey", KeyId=key_id),
        lambda client, key_id: (client.disable(key_id), client.schedule_deletion(key_id)),
        lambda client, key_id: client.delete_material(key_id),
    ],
    ids=["disable", "archive", "schedule deletion", "delete material"],
)
def test_a_change_of_state_holds_on_the_other_node(
    nodes: Nodes, change: Callable[[TencentClient, str], object]
) -> None:
    for here, there in both_ways(nodes):
        key_id = here.external_key()
        here.bring(key_id, secrets.token_bytes(32))
        there.encrypt(key_id, PLAINTEXT)  # so that it knows the key as it was
        change(here, key_id)

        def refused(client: TencentClient = there, key_id: str = key_id) -> bool:
            return code_of(lambda: client.encrypt(key_id, PLAINTEXT)).startswith("ResourceUnavailable.")

        holds_within(STATE_SECONDS, refused)


def test_a_key_that_is_switched_on_again_serves_on_the_other_node(nodes: Nodes) -> None:
    for here, there in both_ways(nodes):
        key_id = here.generated_key()
        here.disable(key_id)
        assert code_of(lambda: there.encrypt(key_id, PLAINTEXT)) == "ResourceUnavailable.CmkDisabled"  # noqa: B023
        here.enable(key_id)
        holds_within(STATE_SECONDS, lambda: code_of(lambda: there.encrypt(key_id, PLAINTEXT)) == "")  # noqa: B023


def test_what_a_credential_may_do_is_the_same_on_every_node(nodes: Nodes) -> None:
    one, _ = nodes.clients()
    mine, another = one.external_key(), one.external_key()
    first, second = (config.load(each.instance.config) for each in nodes.running)
    account = one.keys["account"]
    limited, withdrawn = asyncio.run(_two_credentials(first, account, mine))
    for service in nodes.running:
        for keys in (limited, withdrawn):
            service.client(keys).describe(mine)
        assert "limited to other keys" in service.client(limited).failure(service.client(limited).describe, another)[1]
    asyncio.run(turn_credential(second, AccessId(withdrawn["secret_id"]), on=False))
    asyncio.run(rotate_credential(first, AccessId(limited["secret_id"]), 0))
    clients = [service.client(keys) for service in nodes.running for keys in (limited, withdrawn)]

    def refused(client: TencentClient) -> bool:
        return code_of(lambda: client.describe(mine)) == NOBODY

    holds_within(CREDENTIAL_SECONDS, *(functools.partial(refused, each) for each in clients))


async def _two_credentials(settings: Settings, account: str, key_id: str) -> list[dict[str, str]]:
    """Make one that is limited to a key, and one that is not."""
    scopes = (KeyScope(frozenset({parse_key_id(key_id)})), KeyScope())
    async with opened_store(settings) as store, attached(settings, store) as hsm:
        use_cases = CredentialUseCases(store, hsm, SystemClock(), settings.edition)
        return [_keys(await use_cases.create(Grant(parse_account(account), frozenset(Role), each))) for each in scopes]


def _keys(issued: IssuedCredential) -> dict[str, str]:
    secret = issued.secret.reveal().decode()
    return {"account": issued.account, "secret_id": issued.access_id, "secret_key": secret}


# --- the sealing keys --------------------------------------------------------------------------------------


def until_followed(nodes: Nodes, version: int) -> None:
    """Wait until every host of each node seals under a version."""

    def followed() -> bool:
        logs = [each.log_lines() for each in nodes.running]
        return all(any(line.get("seals") == version for line in lines) for lines in logs)

    until(followed, f"both nodes seal under version {version}", ROTATION_SECONDS)


def test_all_nodes_go_along_when_the_sealing_keys_are_rotated(nodes: Nodes) -> None:
    """From a first version that lets no material go, to one that does, and on to the next."""
    one, other = nodes.clients()
    settings = config.load(nodes.first.config)
    made = []
    for version in (1, 2, 3):
        if version > 1:
            asyncio.run(rotate_sealing_keys(settings, transferable=True, replace_unknown=False))
            # At once, while the nodes may not have heard of it: each opens what the other seals.
            for client, reader in both_ways(nodes):
                assert reader.decrypt(client.encrypt(client.generated_key(), PLAINTEXT)) == PLAINTEXT
            until_followed(nodes, version)
        made.append(one.encrypt(one.generated_key(), PLAINTEXT))
        key_id = other.external_key()
        one.bring(key_id, secrets.token_bytes(32))
        made.append(other.encrypt(key_id, PLAINTEXT))

    under = "SELECT sealing_version, count(*) FROM materials GROUP BY sealing_version"
    before = dict(nodes.ask(under))
    done = asyncio.run(transfer_material(settings, nodes.first.folder / "so-pin", lambda _: None))
    assert (done.resealed, len(done.not_transferable), done.broken) == (before[2], before[1], [])
    assert dict(nodes.ask(under)) == {1: before[1], 3: before[2] + before[3]}
    for client in (one, other):
        assert [client.decrypt(each) for each in made] == [PLAINTEXT] * 6


# --- who may be a node -------------------------------------------------------------------------------------


@contextlib.contextmanager
def copied_token(nodes: Nodes, name: str) -> Iterator[Instance]:
    """Configure a node of this name with a token of its own: a copy of the one that the others share."""
    copy = nodes.first.folder / f"token-of-{name}"
    copy.mkdir(mode=0o700)
    shutil.copytree(nodes.first.folder / "tokens", copy / "tokens")
    library = nodes.first.folder / "softhsm2.conf"
    own = copy / library.name
    own.write_text(library.read_text().replace(str(nodes.first.folder), str(copy)))
    try:
        yield nodes.node(name, changes={str(library): str(own)})
    finally:
        shutil.rmtree(copy)


def test_a_node_with_other_objects_in_its_token_refuses_to_start(nodes: Nodes) -> None:
    with copied_token(nodes, "node-3") as node:
        act(node, "replace", secrets.choice(objects(node)).label)
        assert "known answer" in sentence_of("serve", node.config)
    assert nodes.ask("SELECT tag FROM events WHERE node = 'node-3'") == []


def test_a_node_with_another_token_refuses_to_start(nodes: Nodes, instance: Instance) -> None:
    other = instance.folder / "softhsm2.conf"
    ours = nodes.first.folder / other.name
    node = nodes.node("node-4", changes={str(ours): str(other), '"pin"': f'"{instance.folder / "pin"}"'})
    assert "serial number" in sentence_of("serve", node.config)
    assert nodes.ask("SELECT tag FROM events WHERE node = 'node-4'") == []


@pytest.fixture(scope="module", autouse=True)
def rival(nodes: Nodes) -> Iterator[RunningService]:
    """A second process of a node's name: it waits a while for the first one to end, and the other tests go on."""
    started = RunningService(nodes.node("node-2", "rival"))
    started.start(ready=False)
    yield started
    started.end()


def test_a_second_process_of_the_same_name_refuses_to_start(nodes: Nodes, rival: RunningService) -> None:
    assert rival.process.wait(60) == UNUSABLE
    (line,) = [line for line in rival.log.read_text().splitlines() if not line.startswith("{")]
    assert "node 'node-2'" in line
    assert "store.node" in line
    assert nodes.ask("SELECT count(*) FROM events WHERE tag = 'node:joined' AND node = 'node-2'") == [(1,)]
