"""What a client encrypts, and the data keys it gets, are kept nowhere: in no log line and in no file."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.e2e.process_memory import forms
from tests.e2e.ways_of_huawei_uses import with_digest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.huawei_client import HuaweiClient
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient


def content(folder: Path) -> bytes:
    """Return everything in the files of a folder, and below."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("service", ["softhsm"], indirect=True)
def test_plaintexts_and_data_keys_are_kept_nowhere(
    service: RunningService, client: TencentClient, huawei: HuaweiClient
) -> None:
    assert 'level = "debug"' in service.instance.config.read_text()
    key_id = client.generated_key()
    plaintext, own_data_key = secrets.token_hex(24).encode(), secrets.token_bytes(32)
    kept = {"plaintext": plaintext, "data key of the client": own_data_key}
    for name, each in (("tencent", client), ("huawei", huawei)):
        ciphertext = each.encrypt(key_id, plaintext)
        assert each.decrypt(ciphertext) == each.decrypt(each.re_encrypt(ciphertext, client.generated_key()))
        made = each.data_key(key_id)
        assert each.decrypt(made.ciphertext) == made.plaintext
        kept |= {f"data key of {name}": made.plaintext, f"random bytes of {name}": each.random(32)}
    encrypted = huawei.call(
        "encrypt_datakey", key_id=key_id, plain_text=with_digest(own_data_key), datakey_plain_length="32"
    )
    fields = {"cipher_text": encrypted.cipher_text, "datakey_cipher_length": "32"}
    huawei.call("decrypt_datakey", key_id=key_id, **fields)
    # Refused requests are logged at length: none of them may say what was in it.
    sent = base64.b64encode(plaintext).decode()
    client.code("Encrypt", KeyId=key_id, Plaintext=sent, EncryptionContext="no object")
    client.code("Encrypt", KeyId=key_id, Plaintext=f"{sent}=")
    huawei.failure(huawei.call, "encrypt_data", key_id="no key", plain_text=plaintext.decode())
    spoilt = with_digest(own_data_key)[:-2] + "zz"
    huawei.failure(huawei.call, "encrypt_datakey", key_id=key_id, plain_text=spoilt, datakey_plain_length="32")
    everything = content(service.instance.folder)
    assert key_id.encode() in everything, "the control: what is kept is found"
    assert service.verbs("Decrypt") > 0, "the control: the log tells of each use"
    assert any(text in sent.encode() for text in forms(plaintext).values()), "the control: what was sent is recognised"
    found = [(name, form) for name, value in kept.items() for form, text in forms(value).items() if text in everything]
    assert not found
