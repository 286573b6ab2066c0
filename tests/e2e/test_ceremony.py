"""The ceremony, from a key without material to one that is enabled, by the official SDK alone."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from tests.e2e.running import hsmkms

if TYPE_CHECKING:
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient


def test_a_key_is_imported_and_its_attributes_read_back(service: RunningService, client: TencentClient) -> None:
    key_id = client.external_key()
    assert client.state(key_id) == "PendingImport"
    client.bring(key_id, secrets.token_bytes(service.instance.material_bytes))
    assert client.state(key_id) == "Enabled"
    shown = json.loads(hsmkms("key", "show", "--config", str(service.instance.config), key_id, "--json").stdout)
    assert shown["state"] == "Enabled"
    assert shown["length_bits"] == 8 * service.instance.material_bytes
    assert shown["fingerprint_matches"] is True
    attributes = shown["attributes"]
    assert (attributes["SENSITIVE"], attributes["EXTRACTABLE"], attributes["LOCAL"]) == (True, False, False)
