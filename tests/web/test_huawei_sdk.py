"""The official SDK, unmodified, against the real app; behind it a service double."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkcore.signer.algorithm import SigningAlgorithm
from huaweicloudsdkkms import v2

from hsmkms.core import errors
from hsmkms.core.ciphertexts import context_of_text
from hsmkms.core.ids import KeyId, from_seconds
from hsmkms.core.keys import KeyAction, KeyState, Origin
from hsmkms.core.material import Edition
from hsmkms.core.secrets import ImportToken, Plaintext
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.dialects.huawei.dialect import HuaweiDialect
from hsmkms.dialects.huawei.states import POLICY
from hsmkms.service import commands
from hsmkms.web.app import Health, Limits, build_app
from tests.dialects.scripted_service import (
    ACCESS_ID,
    ACCOUNT,
    AUTH_TOKEN,
    KEY_ID,
    NOW,
    SECRET,
    TOKEN_ACCESS_ID,
    ScriptedService,
    StoppedClock,
    shown,
)
from tests.web.serving import exchange, no_obstacle, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BY_ID = {"key_id": KEY_ID}
IMPORT = {"import_token": "dHR0" * 50, "encrypted_key_material": "QUFB" * 86, **BY_ID}

OTHER_ID = KeyId("9c6a6bd2-2b8e-4f7e-8a53-6b8a2c8e1f00")
AAD = {"additional_authenticated_data": "aad"}
CONTEXT = context_of_text("aad")
CIPHERTEXT = b"HKMS" + bytes(range(92))
CIPHERTEXT_TEXT = base64.b64encode(CIPHERTEXT).decode()
DATA_KEY = bytes(64)
DIGEST = hashlib.sha256(DATA_KEY).digest()


@pytest.fixture
async def port(service: ScriptedService, clock: StoppedClock, no_proxy: None) -> AsyncIterator[int]:
    dialect = HuaweiDialect(service, clock, Edition.FIPS)
    async with serving(build_app([dialect], Limits(), Health(no_obstacle))) as served:
        yield served.port


def credentials(
    access_id: str = ACCESS_ID, secret: str = SECRET.reveal().decode(), project_id: str | None = ACCOUNT.name
) -> Any:  # noqa: ANN401  # the SDK has no annotations
    return BasicCredentials(access_id, secret, project_id)


def client(port: int, who: Any = None, algorithm: Any = SigningAlgorithm.HMAC_SHA256) -> Any:  # noqa: ANN401
    """Build a client as a user of the SDK does."""
    config = HttpConfig.get_default_config()
    config.timeout = (10, 10)
    config.signing_algorithm = algorithm
    builder = v2.KmsClient.new_builder().with_credentials(who or credentials()).with_http_config(config)
    return builder.with_endpoint(f"http://127.0.0.1:{port}").build()


async def call(port: int, method: str, body: object = None, **how: Any) -> Any:  # noqa: ANN401
    """Call an operation of the SDK by its name."""
    name = "".join(part.title() for part in method.split("_"))
    request = getattr(v2, f"{name}Request")(**({} if body is None else {"body": body}))
    return await asyncio.to_thread(getattr(client(port, **how), method), request)


async def refused(port: int, method: str, body: object = None, **how: Any) -> tuple[int, str, str]:  # noqa: ANN401
    with pytest.raises(ServiceResponseException) as raised:
        await call(port, method, body, **how)
    assert raised.value.request_id
    return raised.value.status_code, raised.value.error_code, raised.value.error_msg


async def test_a_key_is_created_and_shown(port: int, service: ScriptedService) -> None:
    service.outcome = shown(KeyState.PENDING_IMPORT)
    body = v2.CreateKeyRequestBody(
        key_alias="demo-ext",
        key_spec="AES_256",
        key_usage="ENCRYPT_DECRYPT",
        key_description="测试 desc",
        origin="external",
        enterprise_project_id="0",
    )
    created = await call(port, "create_key", body)
    assert service.command == commands.CreateKey("demo-ext", "测试 desc", Origin.EXTERNAL)
    assert (created.key_info.key_id, created.key_info.domain_id) == (KEY_ID, "acme")
    details = (await call(port, "list_key_detail", v2.OperateKeyRequestBody(**BY_ID))).key_info
    assert (details.key_state, details.origin, details.creation_date) == ("5", "external", f"{NOW - 60}000")
    assert (details.key_description, details.expiration_time, details.realm) == ("测试 desc", "", "on-prem")


async def test_keys_are_listed_page_by_page(port: int, service: ScriptedService) -> None:
    service.outcome = commands.KeysShown(3, [shown(), shown()])
    first = await call(port, "list_keys", v2.ListKeysRequestBody(limit="2", key_state="2"))
    assert (first.truncated, first.next_marker, first.total, first.keys) == ("true", "2", 3, [KEY_ID] * 2)
    service.outcome = commands.KeysShown(3, [shown()])
    last = await call(port, "list_keys", v2.ListKeysRequestBody(limit="2", marker=first.next_marker))
    assert (last.truncated, last.next_marker, last.key_details[0].key_alias) == ("false", "", "demo-ext")
    states = frozenset({KeyState.ENABLED})
    assert [command for _caller, command in service.asked] == [
        commands.ListKeys(0, 2, states=states, newest_first=False),
        commands.ListKeys(2, 2, newest_first=False),
    ]


async def test_parameters_are_fetched(port: int, service: ScriptedService) -> None:
    service.outcome = commands.ImportParameters(KEY_ID, ImportToken(b"dHR0"), b"0\x82", from_seconds(NOW))
    body = v2.GetParametersForImportRequestBody(wrapping_algorithm="RSAES_OAEP_SHA_256", **BY_ID)
    answer = await call(port, "create_parameters_for_import", body)
    assert service.command == commands.GetImportParameters(
        KEY_ID, WrappingAlgorithm.RSAES_OAEP_SHA_256, "wrapping_algorithm", POLICY
    )
    assert (answer.import_token, answer.public_key, answer.expiration_time) == ("dHR0", "MII=", NOW)


@pytest.mark.parametrize("expiration", [NOW, str(NOW)])
async def test_material_is_imported(expiration: int | str, port: int, service: ScriptedService) -> None:
    body = v2.ImportKeyMaterialRequestBody(expiration_time=expiration, **IMPORT)
    assert (await call(port, "import_key_material", body)).status_code == 200
    assert service.command == commands.ImportMaterial(
        KEY_ID, ImportToken(b"dHR0" * 50), b"AAA" * 86, from_seconds(NOW), "wrapping_algorithm", POLICY
    )


async def test_material_is_deleted(port: int, service: ScriptedService) -> None:
    assert (await call(port, "delete_imported_key_material", v2.OperateKeyRequestBody(**BY_ID))).status_code == 200
    assert service.command == commands.DeleteMaterial(KEY_ID, POLICY)


@pytest.mark.parametrize(("method", "on"), [("enable_key", True), ("disable_key", False)])
async def test_a_key_is_switched(method: str, on: bool, port: int, service: ScriptedService) -> None:
    service.outcome = shown(KeyState.ENABLED if on else KeyState.DISABLED)
    answer = await call(port, method, v2.OperateKeyRequestBody(**BY_ID))
    assert service.command == commands.SwitchKey(KEY_ID, on=on, policy=POLICY)
    assert (answer.key_info.key_id, answer.key_info.key_state) == (KEY_ID, "2" if on else "3")


async def test_a_key_is_relabelled(port: int, service: ScriptedService) -> None:
    service.outcome = shown()
    renamed = await call(port, "update_key_alias", v2.UpdateKeyAliasRequestBody(key_alias="other", **BY_ID))
    described = await call(
        port, "update_key_description", v2.UpdateKeyDescriptionRequestBody(key_description="more", **BY_ID)
    )
    assert [command for _caller, command in service.asked] == [
        commands.RelabelKey(KEY_ID, alias="other", policy=POLICY),
        commands.RelabelKey(KEY_ID, description="more", policy=POLICY),
    ]
    assert (renamed.key_info.key_alias, described.key_info.key_description) == ("demo-ext", "测试 desc")


async def test_a_text_is_encrypted_and_decrypted(port: int, service: ScriptedService) -> None:
    service.outcome = commands.Encrypted(KEY_ID, CIPHERTEXT)
    encrypted = await call(port, "encrypt_data", v2.EncryptDataRequestBody(plain_text="测试", **AAD, **BY_ID))
    assert (encrypted.key_id, encrypted.cipher_text) == (KEY_ID, CIPHERTEXT_TEXT)
    plaintext = Plaintext("测试".encode())
    service.outcome = commands.Decrypted(KEY_ID, plaintext)
    body = v2.DecryptDataRequestBody(
        cipher_text=encrypted.cipher_text, encryption_algorithm="SYMMETRIC_DEFAULT", **AAD, **BY_ID
    )
    decrypted = await call(port, "decrypt_data", body)
    assert (decrypted.key_id, decrypted.plain_text) == (KEY_ID, "测试")
    assert base64.b64decode(decrypted.plain_text_base64) == plaintext.reveal()
    assert [command for _caller, command in service.asked] == [
        commands.Encrypt(KEY_ID, plaintext, CONTEXT, POLICY),
        commands.Decrypt(CIPHERTEXT, CONTEXT, KEY_ID, POLICY),
    ]


async def test_a_plaintext_that_is_no_text_arrives_in_base64(port: int, service: ScriptedService) -> None:
    service.outcome = commands.Decrypted(KEY_ID, Plaintext(b"\xff\x00"))
    decrypted = await call(port, "decrypt_data", v2.DecryptDataRequestBody(cipher_text=CIPHERTEXT_TEXT))
    assert (decrypted.plain_text, decrypted.plain_text_base64) == ("\N{REPLACEMENT CHARACTER}\0", "/wA=")


async def test_a_ciphertext_is_re_encrypted(port: int, service: ScriptedService) -> None:
    service.outcome = commands.ReEncrypted(KEY_ID, OTHER_ID, CIPHERTEXT, changed=True)
    body = v2.ReEncryptRequestBody(
        source_key_id=KEY_ID,
        source_additional_authenticated_data="aad",
        destination_key_id=OTHER_ID,
        cipher_text=CIPHERTEXT_TEXT,
    )
    answer = await call(port, "re_encrypt", body)
    assert service.command == commands.ReEncrypt(CIPHERTEXT, CONTEXT, OTHER_ID, b"", KEY_ID, POLICY)
    assert (answer.key_id, answer.source_key_id, answer.cipher_text) == (OTHER_ID, KEY_ID, CIPHERTEXT_TEXT)
    assert answer.source_encryption_algorithm == answer.destination_encryption_algorithm == "SYMMETRIC_DEFAULT"


async def test_data_keys_are_made(port: int, service: ScriptedService) -> None:
    service.outcome = commands.DataKeyMade(KEY_ID, CIPHERTEXT, Plaintext(DATA_KEY))
    made = await call(port, "create_datakey", v2.CreateDatakeyRequestBody(key_spec="AES_128", **AAD, **BY_ID))
    assert (made.key_id, bytes.fromhex(made.plain_text)) == (KEY_ID, DATA_KEY)
    assert bytes.fromhex(made.cipher_text) == CIPHERTEXT
    service.outcome = commands.DataKeyMade(KEY_ID, CIPHERTEXT, None)
    body = v2.CreateDatakeyRequestBody(datakey_length="512", **BY_ID)
    hidden = await call(port, "create_datakey_without_plaintext", body)
    assert (hidden.key_id, bytes.fromhex(hidden.cipher_text)) == (KEY_ID, CIPHERTEXT)
    assert [command for _caller, command in service.asked] == [
        commands.MakeDataKey(KEY_ID, 16, CONTEXT, shown=True, policy=POLICY),
        commands.MakeDataKey(KEY_ID, 64, shown=False, policy=POLICY),
    ]


async def test_a_data_key_is_encrypted_and_decrypted(port: int, service: ScriptedService) -> None:
    service.outcome = commands.Encrypted(KEY_ID, CIPHERTEXT)
    body = v2.EncryptDatakeyRequestBody(plain_text=(DATA_KEY + DIGEST).hex(), datakey_plain_length="64", **BY_ID)
    encrypted = await call(port, "encrypt_datakey", body)
    assert (encrypted.key_id, encrypted.datakey_length) == (KEY_ID, "64")
    service.outcome = commands.Decrypted(KEY_ID, Plaintext(DATA_KEY))
    ciphertext = v2.DecryptDatakeyRequestBody(cipher_text=encrypted.cipher_text, datakey_cipher_length="64", **BY_ID)
    decrypted = await call(port, "decrypt_datakey", ciphertext)
    assert (bytes.fromhex(decrypted.data_key), bytes.fromhex(decrypted.datakey_dgst)) == (DATA_KEY, DIGEST)
    assert decrypted.datakey_length == "64"
    assert [command for _caller, command in service.asked] == [
        commands.Encrypt(KEY_ID, Plaintext(DATA_KEY), policy=POLICY),
        commands.Decrypt(CIPHERTEXT, b"", KEY_ID, POLICY),
    ]


async def test_a_data_key_that_is_not_its_digests_is_refused(port: int, service: ScriptedService) -> None:
    body = v2.EncryptDatakeyRequestBody(plain_text=(DATA_KEY + bytes(32)).hex(), datakey_plain_length="64", **BY_ID)
    assert (await refused(port, "encrypt_datakey", body))[:2] == (400, "KMS.2103")
    assert not service.asked


async def test_random_bits_are_returned(port: int, service: ScriptedService) -> None:
    service.outcome = commands.RandomMade(Plaintext(b"\0\xffABC"))
    answer = await call(port, "create_random", v2.GenRandomRequestBody(random_data_length="40"))
    assert service.command == commands.MakeRandom(5)
    assert answer.random_data == "00FF414243"


async def test_a_deletion_is_scheduled_and_cancelled(port: int, service: ScriptedService) -> None:
    service.outcome = shown(KeyState.PENDING_DELETE)
    doomed = await call(port, "delete_key", v2.ScheduleKeyDeletionRequestBody(pending_days="7", **BY_ID))
    assert (doomed.key_id, doomed.key_state) == (KEY_ID, "4")
    service.outcome = shown(KeyState.PENDING_IMPORT)
    kept = await call(port, "cancel_key_deletion", v2.OperateKeyRequestBody(**BY_ID))
    assert (kept.key_id, kept.key_state) == (KEY_ID, "5")
    assert [command for _caller, command in service.asked] == [
        commands.ScheduleDeletion(KEY_ID, 7, POLICY),
        commands.CancelDeletion(KEY_ID, POLICY),
    ]


async def test_no_key_is_rotated(port: int, service: ScriptedService) -> None:
    service.outcome = shown()
    status = await call(port, "show_key_rotation_status", v2.OperateKeyRequestBody(**BY_ID))
    assert service.command == commands.DescribeKey(KEY_ID)
    assert (status.key_rotation_enabled, status.number_of_rotations, status.rotation_interval) == (False, 0, 0)
    assert (status.last_rotation_time, status.key_materials) == ("", [])


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (KeyState.DISABLED, "KMS.0209"),
        (KeyState.PENDING_DELETE, "KMS.0210"),
        (KeyState.PENDING_IMPORT, "KMS.0310"),
        (KeyState.ARCHIVED, "KMS.0209"),
    ],
)
async def test_a_key_that_cannot_encrypt_says_why(
    state: KeyState, code: str, port: int, service: ScriptedService
) -> None:
    service.outcome = errors.KeyStateForbids(state, KeyAction.ENCRYPT, (KeyState.ENABLED,))
    body = v2.EncryptDataRequestBody(plain_text="x", **BY_ID)
    assert (await refused(port, "encrypt_data", body))[:2] == (400, code)


async def test_the_operations_without_a_key(port: int, service: ScriptedService) -> None:
    service.outcome = commands.ServiceShown(Edition.FIPS, (), 3, 5)
    assert (await call(port, "show_user_instances")).instance_num == 3
    keys, grants = (await call(port, "show_user_quotas")).quotas.resources
    assert (keys.type, keys.used, keys.quota, grants.type) == ("CMK", 3, 5, "grant_per_CMK")
    [version] = (await call(port, "show_versions")).versions
    assert (version.id, version.links[0].href) == ("v1.0", "/v1.0")
    request = v2.ShowVersionRequest(version_id="v1.0")
    assert (await asyncio.to_thread(client(port).show_version, request)).version["id"] == "v1.0"


async def test_a_client_without_a_project_id_asks_for_it(port: int, service: ScriptedService) -> None:
    service.outcome = shown()
    endpoint = f"http://127.0.0.1:{port}"
    who = credentials(project_id=None).with_iam_endpoint(endpoint)

    def describe() -> Any:  # noqa: ANN401
        # Building the client asks for the project.
        builder = v2.KmsClient.new_builder().with_credentials(who).with_region(Region("cn-north-7", endpoint))
        return builder.build().list_key_detail(v2.ListKeyDetailRequest(v2.OperateKeyRequestBody(**BY_ID)))

    assert (await asyncio.to_thread(describe)).key_info.domain_id == "acme"


async def test_a_client_with_an_endpoint_and_no_project_id_is_told_which(port: int) -> None:
    status, code, message = await refused(
        port, "list_key_detail", v2.OperateKeyRequestBody(**BY_ID), who=credentials(project_id=None)
    )
    assert (status, code) == (403, "APIGW.0302")
    assert "acme" in message


async def test_a_request_with_a_signature_and_an_auth_token_is_the_signatures(
    port: int, service: ScriptedService
) -> None:
    service.outcome = shown()
    both = client(port)
    both.preset_headers = {"X-Auth-Token": "of nobody"}
    request = v2.ListKeyDetailRequest(v2.OperateKeyRequestBody(**BY_ID))
    await asyncio.to_thread(both.list_key_detail, request)
    assert service.asked[0][0].access_id == ACCESS_ID


async def test_a_plain_client_shows_an_auth_token(port: int, service: ScriptedService) -> None:
    service.outcome = shown()
    body = b'{"key_id": "%s"}' % KEY_ID.encode()
    request = (
        b"POST /v1.0/acme/kms/describe-key HTTP/1.1\r\nHost: h\r\nX-Auth-Token: %s\r\nContent-Length: %d\r\n\r\n%s"
    )
    answer = await exchange(port, request % (AUTH_TOKEN.reveal(), len(body), body))
    assert answer.status == 200
    assert answer.json["key_info"]["key_id"] == KEY_ID
    assert service.asked[0][0].access_id == TOKEN_ACCESS_ID
    assert answer.headers["X-Request-Id"] == service.asked[0][0].request_id


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.MaterialLengthWrong(256), 400, "KMS.2604"),
        (errors.KeyNotFound(), 404, "KMS.0207"),
        (errors.TokenNotAsked(), 503, "KMS.0102"),
        (errors.RecordBroken(), 500, "KMS.0101"),
    ],
)
async def test_an_error_is_an_exception_with_status_code_and_message(
    error: errors.HsmkmsError, status: int, code: str, port: int, service: ScriptedService
) -> None:
    service.outcome = error
    said = await refused(port, "import_key_material", v2.ImportKeyMaterialRequestBody(**IMPORT))
    assert said == (status, code, error.message)


@pytest.mark.parametrize("who", [credentials(secret="another"), credentials(access_id="AKIDUNKNOWN")])
async def test_who_is_not_known_is_refused(who: Any, port: int) -> None:  # noqa: ANN401
    status, code, message = await refused(port, "show_user_quotas", who=who)
    assert (status, code) == (401, "APIGW.0301")
    assert message.startswith("Incorrect IAM authentication information: ")


@pytest.mark.parametrize("skew", [-1000, 1000])
async def test_a_clock_that_is_off_is_refused(skew: int, port: int, clock: StoppedClock) -> None:
    clock.second += skew
    assert (await refused(port, "show_user_quotas"))[:2] == (401, "APIGW.0301")


async def test_another_algorithm_of_the_sdk_is_refused_and_the_right_one_named(port: int) -> None:
    status, code, message = await refused(port, "show_user_quotas", algorithm=SigningAlgorithm.HMAC_SM3)
    assert (status, code) == (401, "APIGW.0301")
    assert "SDK-HMAC-SHA256" in message


async def test_an_operation_that_is_not_offered(port: int) -> None:
    body = v2.OperateKeyRequestBody(**BY_ID)
    assert (await refused(port, "enable_key_rotation", body))[:2] == (404, "APIGW.0101")


async def test_sm2_is_refused_and_what_there_is_named(port: int) -> None:
    body = v2.GetParametersForImportRequestBody(wrapping_algorithm="SM2_ENCRYPT", **BY_ID)
    status, code, message = await refused(port, "create_parameters_for_import", body)
    assert (status, code) == (400, "KMS.0308")
    assert "RSAES_OAEP_SHA_256" in message


async def test_a_body_over_the_limit_is_an_exception_and_not_a_broken_connection(port: int) -> None:
    body = v2.CreateKeyRequestBody(key_alias="a", key_description="x" * 70_000)
    assert (await refused(port, "create_key", body))[:2] == (400, "KMS.0203")


async def test_a_defect_is_an_internal_error_to_the_client(port: int, service: ScriptedService) -> None:
    service.outcome = commands.Done()  # no outcome of describe-key
    said = await refused(port, "list_key_detail", v2.OperateKeyRequestBody(**BY_ID))
    assert said[:2] == (500, "KMS.0101")


async def test_the_log_says_who_was_not_believed_and_why(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await refused(port, "list_key_detail", v2.OperateKeyRequestBody(**BY_ID), who=credentials("AKIDUNKNOWN"))
    [line] = [record.__dict__ for record in caplog.records if record.message == "request"]
    assert (line["dialect"], line["status"], line["code"]) == ("huawei", 401, "APIGW.0301")
    assert (line["fault"], line["claimed_access_id"]) == ("CredentialUnknown", "AKIDUNKNOWN")
    assert not [value for value in line.values() if "Signature=" in str(value)]
