"""Credentials of a running service: limited, withdrawn and replaced by command, as the official SDKs see it."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.running import hsmkms, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import CloudClient
    from tests.e2e.running import RunningService

HOLDS_SECONDS: Final = 5.5
"""What is promised, and half a second for the request that finds out."""
NOT_AUTHENTICATED: Final = {"AuthFailure.SecretIdNotFound", "APIGW.0301"}


@pytest.fixture(scope="module")
def softhsm(serving: Callable[[str, str], RunningService]) -> RunningService:
    return serving("softhsm", "fips")


def clients(service: RunningService, keys: dict[str, str]) -> tuple[CloudClient, CloudClient]:
    return service.client(keys), service.huawei(keys)


def command(service: RunningService, word: str, *words: str) -> Any:
    """Run `hsmkms credential ...` beside the service, and return the JSON that it prints, if any."""
    done = hsmkms("credential", word, "--config", str(service.instance.config), *words)
    return json.loads(done.stdout) if "--json" in words else done.stdout


def refuses(clouds: tuple[CloudClient, CloudClient], key_id: str) -> None:
    """Wait until both clouds' clients are refused as nobody, within the time that is promised."""
    started = time.monotonic()
    for client in clouds:

        def refused(client: CloudClient = client) -> bool:
            try:
                client.describe(key_id)
            except Exception:  # noqa: BLE001 - each SDK has its own
                return client.failure(client.describe, key_id).code in NOT_AUTHENTICATED
            return False

        until(refused, "withdrawn", HOLDS_SECONDS)
    assert time.monotonic() - started < HOLDS_SECONDS


def test_a_credential_for_some_keys_is_disabled_enabled_and_replaced(softhsm: RunningService) -> None:
    admin, team = softhsm.client(), secrets.token_hex(3)
    made = {
        name: admin.call("CreateKey", Alias=f"{name}-{team}", Type=2, Tags=[{"TagKey": name, "TagValue": team}]).KeyId
        for name in ("cards", "loans")
    }
    limits = ("--tag", f"cards={team}", "--valid-days", "1")
    keys = softhsm.instance.another_credential(admin.keys["account"], *limits, roles="auditor,importer")
    old = clients(softhsm, keys)
    for client in old:
        client.describe(made["cards"])
        client.parameters(made["cards"])
        assert "limited to other keys" in client.failure(client.describe, made["loans"]).message
        assert "role admin" in client.failure(client.disable, made["cards"]).message
    assert [each.KeyId for each in softhsm.client(keys).call("ListKeys").Keys] == [made["cards"]]
    assert softhsm.huawei(keys).call("list_keys").keys == [made["cards"]]

    assert command(softhsm, "disable", keys["secret_id"]) == f"{keys['secret_id']} is disabled.\n"
    refuses(old, made["cards"])
    command(softhsm, "enable", keys["secret_id"])
    for client in old:
        client.describe(made["cards"])

    new_keys = command(softhsm, "rotate", keys["secret_id"], "--overlap-hours", "0", "--json")
    assert list(new_keys) == list(keys), "the form of credential.json"
    for client in clients(softhsm, new_keys):
        client.describe(made["cards"])
        assert "limited to other keys" in client.failure(client.describe, made["loans"]).message
        assert "role admin" in client.failure(client.disable, made["cards"]).message
    refuses(old, made["cards"])

    shown = {each["access_id"]: each for each in command(softhsm, "list", "--json")}
    before, after = shown[keys["secret_id"]], shown[new_keys["secret_id"]]
    assert (before["state"], after["state"]) == ("ended", "enabled")
    assert after["valid_to"] - after["created_at"] == 86_400
    for member in ("account", "roles", "keys", "tags", "kind"):
        assert after[member] == before[member]
