"""No secret is in anything that a deployment writes or says: log, audit trail, database, commands, errors.

Everything of an end-to-end run is searched for each secret in it: raw, in hexadecimal, in base64 wherever it begins,
and in the other byte order. What a client must be given is not in the search: that is the answers to its own requests.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e import database_file, raw
from tests.e2e.process_memory import forms
from tests.e2e.running import hsmkms, until
from tests.e2e.ways_of_huawei_uses import with_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import CloudClient, Failure
    from tests.e2e.huawei_client import HuaweiClient
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

NOT_SEARCHED: Final = ("pin", "credential.json", "tokens", "token", "nss")
"""Files where a secret belongs: the operator's own, and the token."""


def needles(kept: dict[str, bytes]) -> dict[str, bytes]:
    """Return all that must not be found, by the name of the secret and the form."""
    both = {**kept, **{f"{name}, backwards": value[::-1] for name, value in kept.items()}}
    return {f"{name}: {form}": text for name, value in both.items() for form, text in forms(value).items()}


def found(everything: bytes, kept: dict[str, bytes]) -> list[str]:
    return [name for name, text in needles(kept).items() if text in everything]


@dataclass
class Run:
    """What clients do with secrets, and what they are told when they are refused."""

    service: RunningService
    kept: dict[str, bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        instance = self.service.instance
        own, other = instance.credential(), instance.another_credential("other")
        shown = instance.another_credential("other", "--auth-token")
        self.auth_token = shown["auth_token"]
        self.kept |= {
            "PIN": (instance.folder / "pin").read_bytes().strip(),
            "secret key": own["secret_key"].encode(),
            "secret key of another": other["secret_key"].encode(),
            "auth token": self.auth_token.encode(),
        }

    def refused(self, failure: Failure | raw.Answer) -> None:
        """Keep an answer that refuses."""
        if isinstance(failure, raw.Answer):
            assert b"rror" in failure.body, failure.body
            self.told.append(repr(failure.headers) + failure.body.decode())
        else:
            self.told.append(f"{failure.code} {failure.message}")

    def import_with(self, name: str, client: CloudClient) -> str:
        """Bring material, after attempts that put secrets where they do not belong."""
        key_id, material = client.external_key(), secrets.token_bytes(32)
        parameters = client.parameters(key_id)
        self.kept |= {f"material of {name}": material, f"import token of {name}": parameters.import_token.encode()}
        plain = base64.b64encode(material).decode()
        for encrypted in (plain, base64.b64encode(material * 8).decode(), material.hex(), parameters.import_token):
            self.refused(client.failure(client.import_, key_id, parameters, encrypted))
        self.refused(client.failure(client.import_, parameters.import_token, parameters, plain))
        short = client.wrapped(parameters, material[:-1])
        self.refused(client.failure(client.import_, key_id, parameters, short))
        client.import_(key_id, parameters, client.wrapped(parameters, material))
        return key_id

    def use_with(self, name: str, client: CloudClient, key_id: str) -> None:
        """Encrypt, decrypt and make data keys, and be refused with a plaintext in hand."""
        plaintext = secrets.token_hex(24).encode()
        ciphertext = client.encrypt(key_id, plaintext)
        assert client.decrypt(client.re_encrypt(ciphertext, client.generated_key())) == client.decrypt(ciphertext)
        made = client.data_key(key_id)
        assert client.decrypt(made.ciphertext) == made.plaintext
        self.kept |= {f"plaintext of {name}": plaintext, f"data key of {name}": made.plaintext}
        self.kept[f"random bytes of {name}"] = client.random(32)
        self.refused(client.failure(client.encrypt, plaintext.decode(), plaintext))
        self.refused(client.failure(client.decrypt, plaintext * 4))
        self.refused(client.failure(client.decrypt, ciphertext, {plaintext.decode(): plaintext.decode()}))


def refuse_tencent(run: Run, client: TencentClient) -> None:
    plaintext = base64.b64encode(run.kept["plaintext of tencent"]).decode()
    for fields in (
        {"EncryptionContext": plaintext},
        {"Plaintext": f"{plaintext}="},
        {"KeyId": [plaintext]},
    ):
        body = {"KeyId": client.generated_key(), "Plaintext": plaintext, **fields}
        run.refused(raw.signed(client.endpoint, client.keys, "Encrypt", body))
    # The name of a field that there is not is repeated to whoever sent it, and to nobody else.
    unknown = {"KeyId": client.generated_key(), "Plaintext": plaintext, plaintext: 1}
    assert plaintext in raw.signed(client.endpoint, client.keys, "Encrypt", unknown).error[1]
    mistaken = {"secret_id": client.keys["secret_key"], "secret_key": client.keys["secret_key"]}
    run.refused(raw.signed(client.endpoint, mistaken, "DescribeKey", {"KeyId": plaintext}))
    run.refused(raw.signed(client.endpoint, client.keys, client.keys["secret_key"], {"KeyId": plaintext}))
    run.refused(raw.signed(client.endpoint, client.keys, "Encrypt", plaintext.encode()))


def refuse_huawei(run: Run, client: HuaweiClient) -> None:
    own_data_key = secrets.token_bytes(32)
    run.kept["data key of the client"] = own_data_key
    key_id = client.generated_key()
    sized = {"key_id": key_id, "datakey_plain_length": "32"}
    made = client.call("encrypt_datakey", plain_text=with_digest(own_data_key), **sized)
    client.call("decrypt_datakey", key_id=key_id, cipher_text=made.cipher_text, datakey_cipher_length="32")
    spoilt = with_digest(own_data_key)[:-2] + "zz"
    run.refused(client.failure(client.call, "encrypt_datakey", **{**sized, "plain_text": spoilt}))
    account, token = client.keys["account"], run.auth_token
    run.refused(raw.with_token(client.endpoint, account, token, "list-keys", {}))  # another account's
    run.refused(raw.with_token(client.endpoint, "other", token[:-1] + "!", "list-keys", {}))
    run.refused(raw.with_token(client.endpoint, token, token, "list-keys", {}))
    run.refused(raw.with_token(client.endpoint, "other", token, "describe-key", {"key_id": own_data_key.hex()}))
    run.refused(raw.with_token(client.endpoint, "other", token, "describe-key", {own_data_key.hex(): 1}))
    run.refused(raw.with_token(client.endpoint, "other", token, own_data_key.hex(), {}))


def written(service: RunningService) -> dict[str, bytes]:
    """Return everything that the deployment has written, by where: log, database with its WAL, what else is there."""
    folder = service.instance.folder
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    searched = [path for path in files if path.relative_to(folder).parts[0] not in NOT_SEARCHED]
    return {path.name: path.read_bytes() for path in searched}


def said(service: RunningService, key_id: str) -> bytes:
    """Return what the commands show."""
    config = ("--config", str(service.instance.config))
    asked = (("audit", "export"), ("audit", "verify"), ("key", "show", key_id), ("credential", "list"))
    done = [hsmkms(*words, *config, expect=None) for words in asked]
    assert [each.returncode for each in done[:3]] == [0, 0, 0], [each.stderr for each in done]
    return "".join(each.stdout + each.stderr for each in done).encode()


@pytest.mark.parametrize("service", ["softhsm"], indirect=True)
def test_no_secret_is_in_anything_that_is_written_or_said(
    service: RunningService, client: TencentClient, huawei: HuaweiClient
) -> None:
    assert 'level = "debug"' in service.instance.config.read_text()
    run, key_id = Run(service), ""
    refuse: tuple[Callable[[], None], ...] = (
        lambda: refuse_tencent(run, client),
        lambda: refuse_huawei(run, huawei),
    )
    for name, each in (("tencent", client), ("huawei", huawei)):
        key_id = run.import_with(name, each)
        run.use_with(name, each, key_id)
    for step in refuse:
        step()
    decrypted = "SELECT count(*) FROM events WHERE tag = 'key:decrypted' AND key_id = ?"
    until(lambda: database_file.run(service.instance, decrypted, key_id)[0][0], "the trail is written")
    files = written(service)
    assert {"hsmkms.db", "hsmkms.db-wal", service.log.name} <= set(files)
    parts = {**files, "commands": said(service, key_id), "errors": "\n".join(run.told).encode()}
    assert len(run.told) > 25
    assert len(run.kept) == 15
    assert {where: names for where, content in parts.items() if (names := found(content, run.kept))} == {}
    everything = b"\n".join(parts.values())
    # The controls: what is written is there, and what would be there is found.
    assert key_id.encode() in everything
    assert service.verbs("Decrypt") > 0, "the log tells of each use"
    planted = b"\n".join(needles(run.kept).values())
    assert found(everything + planted, run.kept) == list(needles(run.kept))
