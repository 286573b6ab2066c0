"""Tokens that do not do the edition's cipher: use is refused by name, nothing stands in for it, all else works."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.database_file import uses_leased
from tests.e2e.forgeries import forged
from tests.e2e.running import hsmkms
from tests.e2e.ways_of_uses import PLAINTEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import CloudClient
    from tests.e2e.running import RunningService

CODES: Final = {"tencent": "UnsupportedOperation", "huawei": "KMS.0308"}
LACKING: Final = {"fips": "AES_256_GCM", "sm": "SM4_GCM"}


@pytest.fixture(scope="module", params=[("softhsm", "sm"), ("nss", "sm"), ("nss", "fips")], ids="-".join)
def lacking(request: pytest.FixtureRequest, serving: Callable[[str, str], RunningService]) -> RunningService:
    """A service whose token does not do the edition's cipher."""
    return serving(*request.param)


def test_keys_are_imported_and_not_used(lacking: RunningService) -> None:
    clients: dict[str, CloudClient] = {"tencent": lacking.client(), "huawei": lacking.huawei()}
    edition, size = lacking.instance.edition, lacking.instance.material_bytes
    for name, client in clients.items():
        key_id = client.external_key()
        client.bring(key_id, secrets.token_bytes(size))
        assert client.state(key_id) in {"Enabled", "2"}
        for each in clients.values():
            assert len(each.random(16)) == 16
        refusals = {
            client.failure(client.encrypt, key_id, PLAINTEXT),
            client.failure(client.decrypt, forged(key_id)),
            client.failure(client.re_encrypt, forged(key_id), key_id),
            client.failure(client.data_key, key_id),
        }
        ((code, message, _status),) = refusals
        assert code == CODES[name]
        assert f"does not offer {LACKING[edition]}" in message
        assert "hsmkms doctor" in message
        assert uses_leased(lacking.instance, key_id) == 0
    assert lacking.client().call("ListAlgorithms").SymmetricAlgorithms == []


def test_the_doctor_says_why(lacking: RunningService) -> None:
    report = json.loads(hsmkms("doctor", "--config", str(lacking.instance.config), "--json").stdout)
    findings = {finding["algorithm"]: finding for finding in report["ciphers"]}
    finding = findings[LACKING[lacking.instance.edition]]
    assert finding["works"] is False
    assert finding["why_not"]
