"""The official SDK, unmodified, against the real app; behind it a service double."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, models

from hsmkms.core import errors
from hsmkms.core.ciphertexts import context_of_pairs
from hsmkms.core.ids import from_seconds
from hsmkms.core.keys import KeyState, Origin
from hsmkms.core.material import Edition
from hsmkms.core.ports import TagFilter
from hsmkms.core.secrets import ImportToken, Plaintext
from hsmkms.dialects.tencent.dialect import TencentDialect
from hsmkms.dialects.tencent.states import POLICY
from hsmkms.service import commands
from hsmkms.web.app import Health, Limits, build_app
from tests.dialects.scripted_service import ACCESS_ID, KEY_ID, NOW, SECRET, ScriptedService, StoppedClock, key, shown
from tests.web.serving import no_obstacle, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The SDK computes the UTC date with a function that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")


@pytest.fixture
async def port(service: ScriptedService, clock: StoppedClock, no_proxy: None) -> AsyncIterator[int]:
    dialect = TencentDialect(service, clock, Edition.FIPS)
    async with serving(build_app([dialect], Limits(), Health(no_obstacle))) as served:
        yield served.port


async def call(
    port: int,
    action: str,
    members: dict[str, Any] | None = None,
    *,
    scheme: str = "",
    access_id: str = ACCESS_ID,
    secret: str = SECRET.reveal().decode(),
    **profile: Any,  # noqa: ANN401  # whatever the SDK's profile takes
) -> Any:  # noqa: ANN401  # the SDK has no annotations
    """Call an action as a user of the SDK does."""
    http = HttpProfile(
        protocol="http", endpoint=f"{scheme}127.0.0.1:{port}", reqMethod=profile.pop("reqMethod", "POST"), reqTimeout=10
    )
    client_profile = ClientProfile(httpProfile=http, signMethod=profile.pop("signMethod", None))
    client_profile.unsignedPayload = profile.pop("unsignedPayload", False)
    assert not profile
    client = kms_client.KmsClient(Credential(access_id, secret), "ap-guangzhou", client_profile)
    request = getattr(models, f"{action}Request")()
    for name, value in (members or {}).items():
        setattr(request, name, value)
    return await asyncio.to_thread(getattr(client, action), request)


async def refused(port: int, action: str, members: dict[str, Any] | None = None, **how: Any) -> tuple[str, str]:  # noqa: ANN401
    with pytest.raises(TencentCloudSDKException) as raised:
        await call(port, action, members, **how)
    assert raised.value.get_request_id()
    return raised.value.get_code(), raised.value.get_message()


ABC = Plaintext(b"ABC")
CONTEXT = context_of_pairs({"k": "v"})
GET_PARAMETERS = {"KeyId": KEY_ID, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}


async def test_a_key_is_created_and_shown(port: int, service: ScriptedService) -> None:
    service.outcome = shown(KeyState.PENDING_IMPORT)
    answer = await call(port, "CreateKey", {"Alias": "demo-ext", "Description": "测试 desc", "Type": 2})
    assert service.command == commands.CreateKey("demo-ext", "测试 desc", Origin.EXTERNAL)
    assert (answer.KeyId, answer.KeyState, answer.Description) == (KEY_ID, "PendingImport", "测试 desc")
    assert answer.RequestId == service.asked[0][0].request_id
    assert (await call(port, "DescribeKey", {"KeyId": KEY_ID})).KeyMetadata.Origin == "EXTERNAL"


async def test_parameters_are_fetched_and_material_is_imported(port: int, service: ScriptedService) -> None:
    service.outcome = commands.ImportParameters(KEY_ID, ImportToken(b"dHR0"), b"0\x82", from_seconds(NOW))
    parameters = await call(port, "GetParametersForImport", GET_PARAMETERS)
    assert (parameters.ImportToken, parameters.PublicKey, parameters.ParametersValidTo) == ("dHR0", "MII=", NOW)
    service.outcome = commands.Done()
    service.asked.clear()
    await call(
        port,
        "ImportKeyMaterial",
        {"KeyId": KEY_ID, "ImportToken": parameters.ImportToken, "EncryptedKeyMaterial": "QUJD", "ValidTo": "0"},
    )
    assert service.command == commands.ImportMaterial(KEY_ID, ImportToken(b"dHR0"), b"ABC", None, policy=POLICY)


async def test_a_plaintext_is_encrypted(port: int, service: ScriptedService) -> None:
    service.outcome = commands.Encrypted(KEY_ID, b"0\x82")
    members = {"KeyId": KEY_ID, "Plaintext": "QUJD", "EncryptionContext": '{"k":"v"}'}
    answer = await call(port, "Encrypt", members)
    assert service.command == commands.Encrypt(KEY_ID, ABC, CONTEXT, POLICY)
    assert (answer.CiphertextBlob, answer.KeyId) == ("MII=", KEY_ID)


async def test_a_ciphertext_is_decrypted(port: int, service: ScriptedService) -> None:
    service.outcome = commands.Decrypted(KEY_ID, ABC)
    answer = await call(port, "Decrypt", {"CiphertextBlob": "MII=", "EncryptionContext": '{"k": "v"}'})
    assert service.command == commands.Decrypt(b"0\x82", CONTEXT, policy=POLICY)
    assert (answer.Plaintext, answer.KeyId) == ("QUJD", KEY_ID)


async def test_a_ciphertext_is_re_encrypted(port: int, service: ScriptedService) -> None:
    service.outcome = commands.ReEncrypted(KEY_ID, KEY_ID, b"0\x82", changed=False)
    answer = await call(port, "ReEncrypt", {"CiphertextBlob": "MII=", "DestinationKeyId": KEY_ID})
    assert service.command == commands.ReEncrypt(b"0\x82", target=KEY_ID, policy=POLICY)
    assert (answer.CiphertextBlob, answer.SourceKeyId, answer.ReEncrypted) == ("MII=", KEY_ID, False)


async def test_a_data_key_is_made(port: int, service: ScriptedService) -> None:
    service.outcome = commands.DataKeyMade(KEY_ID, b"0\x82", ABC)
    answer = await call(port, "GenerateDataKey", {"KeyId": KEY_ID, "KeySpec": "AES_128", "IsHostedByKms": 0})
    assert service.command == commands.MakeDataKey(KEY_ID, 16, policy=POLICY)
    assert (answer.KeyId, answer.Plaintext, answer.CiphertextBlob, answer.TagCode) == (KEY_ID, "QUJD", "MII=", 0)


async def test_random_bytes_are_made(port: int, service: ScriptedService) -> None:
    service.outcome = commands.RandomMade(ABC)
    assert (await call(port, "GenerateRandom", {"NumberOfBytes": 3})).Plaintext == "QUJD"
    assert service.command == commands.MakeRandom(3)


async def test_a_deletion_is_scheduled_and_cancelled(port: int, service: ScriptedService) -> None:
    service.outcome = commands.KeyShown(key(deletion_due=from_seconds(NOW)), KeyState.PENDING_DELETE)
    scheduled = await call(port, "ScheduleKeyDeletion", {"KeyId": KEY_ID, "PendingWindowInDays": "7"})
    assert (scheduled.KeyId, scheduled.DeletionDate) == (KEY_ID, NOW)
    assert service.command == commands.ScheduleDeletion(KEY_ID, 7, POLICY)
    service.outcome = shown(KeyState.DISABLED)
    assert (await call(port, "CancelKeyDeletion", {"KeyId": KEY_ID})).KeyId == KEY_ID


async def test_a_rotation_is_neither_on_nor_switched_on(port: int, service: ScriptedService) -> None:
    service.outcome = shown()
    assert (await call(port, "GetKeyRotationStatus", {"KeyId": KEY_ID})).KeyRotationEnabled is False
    assert (await call(port, "DisableKeyRotation", {"KeyId": KEY_ID})).RequestId
    service.outcome = errors.RotationOfExternal()
    code, _message = await refused(port, "EnableKeyRotation", {"KeyId": KEY_ID, "RotateDays": 365})
    assert code == "UnsupportedOperation.ExternalCmkCanNotRotate"


async def test_keys_are_tagged(port: int, service: ScriptedService) -> None:
    service.outcome = shown()
    tag = models.Tag()
    tag.TagKey, tag.TagValue = "cost-centre", "7"
    assert (await call(port, "CreateKey", {"Alias": "a", "Tags": [tag]})).TagCode == 0
    assert service.command == commands.CreateKey("a", tags={"cost-centre": "7"})


async def test_keys_are_found_by_their_tags(port: int, service: ScriptedService) -> None:
    service.outcome = commands.KeysShown(1, [shown()])
    wanted = models.TagFilter()
    wanted.TagKey, wanted.TagValue = "cost-centre", ["7", "8"]
    assert (await call(port, "ListKeyDetail", {"TagFilters": [wanted]})).TotalCount == 1
    assert isinstance(service.command, commands.ListKeys)
    assert service.command.tags == (TagFilter("cost-centre", ("7", "8")),)


async def test_the_actions_without_a_key(port: int, service: ScriptedService) -> None:
    assert (await call(port, "GetRegions")).Regions == ["on-prem"]
    assert (await call(port, "ListAlgorithms")).SymmetricAlgorithms[0].Algorithm == "AES_256"
    service.outcome = commands.ServiceShown(Edition.FIPS, (), 3, 0)
    status = await call(port, "GetServiceStatus")
    assert (status.ServiceEnabled, status.InvalidType, status.CmkUserCount) == (True, 1, 3)
    service.outcome = commands.KeysShown(1, [shown()])
    assert (await call(port, "ListKeys", {"Limit": 2})).Keys[0].KeyId == KEY_ID
    assert (await call(port, "ListKeyDetail", {"KeyUsage": "ALL"})).KeyMetadatas[0].CreatorUinString == "acme"
    assert (await call(port, "DescribeKeys", {"KeyIds": [KEY_ID]})).KeyMetadatas[0].CreatorUin == 7


@pytest.mark.parametrize(
    ("action", "more", "command"),
    [
        ("DeleteImportedKeyMaterial", {}, commands.DeleteMaterial(KEY_ID, POLICY)),
        ("EnableKey", {}, commands.SwitchKey(KEY_ID, on=True, policy=POLICY)),
        ("DisableKey", {}, commands.SwitchKey(KEY_ID, on=False, policy=POLICY)),
        ("ArchiveKey", {}, commands.ArchiveKey(KEY_ID, archived=True, policy=POLICY)),
        ("CancelKeyArchive", {}, commands.ArchiveKey(KEY_ID, archived=False, policy=POLICY)),
        ("UpdateAlias", {"Alias": "b"}, commands.RelabelKey(KEY_ID, alias="b", policy=POLICY)),
        ("UpdateKeyDescription", {"Description": "d"}, commands.RelabelKey(KEY_ID, description="d", policy=POLICY)),
    ],
)
async def test_the_actions_that_answer_nothing(
    action: str, more: dict[str, str], command: commands.Command, port: int, service: ScriptedService
) -> None:
    assert (await call(port, action, {"KeyId": KEY_ID, **more})).RequestId
    assert service.command == command


@pytest.mark.parametrize(("action", "on"), [("EnableKeys", True), ("DisableKeys", False)])
async def test_several_keys_are_switched_at_once(action: str, on: bool, port: int, service: ScriptedService) -> None:
    assert (await call(port, action, {"KeyIds": [KEY_ID]})).RequestId
    assert service.command == commands.SwitchKeys((KEY_ID,), on=on, policy=POLICY)


async def test_an_error_is_an_exception_with_code_and_message(port: int, service: ScriptedService) -> None:
    service.outcome = errors.MaterialLengthWrong(256)
    members = {"KeyId": KEY_ID, "ImportToken": "dHR0", "EncryptedKeyMaterial": "QUJD"}
    code, message = await refused(port, "ImportKeyMaterial", members)
    assert code == "InvalidParameter.DecryptMaterialError"
    assert "256 bits" in message


async def test_the_url_as_endpoint_that_tccli_needs(port: int) -> None:
    assert (await call(port, "GetRegions", scheme="http://")).Regions == ["on-prem"]


async def test_get_is_not_spoken(port: int) -> None:
    code, _message = await refused(port, "DescribeKey", {"KeyId": KEY_ID}, reqMethod="GET")
    assert code == "UnsupportedProtocol"


@pytest.mark.parametrize("method", ["HmacSHA1", "HmacSHA256"])
async def test_signature_v1_is_refused(method: str, port: int) -> None:
    code, _message = await refused(port, "DescribeKey", {"KeyId": KEY_ID}, signMethod=method)
    assert code == "AuthFailure.InvalidAuthorization"


async def test_an_unsigned_payload_is_refused(port: int) -> None:
    code, message = await refused(port, "DescribeKey", {"KeyId": KEY_ID}, unsignedPayload=True)
    assert code == "AuthFailure.SignatureFailure"
    assert "unsigned" in message


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"secret": "another"}, "AuthFailure.SignatureFailure"),
        ({"access_id": "AKIDUNKNOWN"}, "AuthFailure.SecretIdNotFound"),
    ],
)
async def test_who_is_not_known_is_refused(how: dict[str, Any], code: str, port: int) -> None:
    assert (await refused(port, "GetRegions", **how))[0] == code


@pytest.mark.parametrize("skew", [-400, 400])
async def test_a_clock_that_is_off_is_refused(skew: int, port: int, clock: StoppedClock) -> None:
    clock.second += skew
    assert (await refused(port, "GetRegions"))[0] == "AuthFailure.SignatureExpire"


async def test_an_action_that_is_not_offered(port: int) -> None:
    members = {"KeyId": KEY_ID, "Algorithm": "ECC_P256_R1", "Message": "QUJD", "MessageType": "RAW"}
    assert (await refused(port, "SignByAsymmetricKey", members))[0] == "InvalidAction"


async def test_a_body_over_the_limit_is_an_exception_and_not_a_broken_connection(port: int) -> None:
    members = {"Alias": "a", "Description": "x" * 70_000}
    code, message = await refused(port, "CreateKey", members)
    assert code == "InvalidParameter"
    assert "64 KiB" in message


async def test_a_defect_is_an_internal_error_to_the_client(port: int, service: ScriptedService) -> None:
    service.outcome = commands.Done()  # no outcome of DescribeKey
    assert (await refused(port, "DescribeKey", {"KeyId": KEY_ID}))[0] == "InternalError"


async def test_the_log_says_who_was_not_believed_and_why(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await refused(port, "GetRegions", access_id="AKIDUNKNOWN")
    [line] = [record.__dict__ for record in caplog.records if record.message == "request"]
    assert (line["dialect"], line["status"], line["code"]) == ("tencent", 200, "AuthFailure.SecretIdNotFound")
    assert (line["fault"], line["claimed_access_id"]) == ("CredentialUnknown", "AKIDUNKNOWN")
    assert not [value for value in line.values() if "Signature=" in str(value)]
