from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hsmkms.client import ceremony
from hsmkms.client.ceremony import NEVER, Order
from hsmkms.client.material import KeyMaterial
from hsmkms.core.errors import InputUnusable, ServiceRefused, ServiceUnreachable
from hsmkms.core.ids import KeyId
from hsmkms.core.wrapping import WrappingAlgorithm
from tests.client.played import SILENCE, UNAVAILABLE, Caller, Played, Reply, answer, playing, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.client.ceremony import Imported

PRIVATE: Final = rsa.generate_private_key(65537, 2048)
PUBLIC: Final = base64.b64encode(
    PRIVATE.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
KEY_ID: Final = KeyId("0d0466b0-e727-4d9c-b35d-f84bb474a37f")
MATERIAL: Final = bytes(range(150, 182))
IMPORT_TOKEN: Final = "aW1wb3J0LXRva2Vu"
LATER: Final = 1_900_000_000
NOT_OFFERED: Final = refusal("InvalidParameter", "The value of WrappingAlgorithm is not offered by this service.")
OAEP_SHA_256: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
PARAMETERS: Final = answer(KeyId=KEY_ID, ImportToken=IMPORT_TOKEN, PublicKey=PUBLIC, ParametersValidTo=LATER)


def key(state: str, **members: object) -> Reply:
    shown = {"KeyId": KEY_ID, "KeyState": state, "Type": 2, "Origin": "EXTERNAL", "ValidTo": 0, **members}
    return answer(KeyMetadata=shown)


def script(**changed: Sequence[Reply]) -> dict[str, Sequence[Reply]]:
    return {
        "DescribeKey": [key("PendingImport"), key("Enabled")],
        "GetParametersForImport": [PARAMETERS],
        "ImportKeyMaterial": [answer()],
        **changed,
    }


def run(played: Played, order: Order | None = None, value: bytes = MATERIAL) -> tuple[Imported, Caller]:
    caller = Caller(played)
    return ceremony.import_material(caller.api(), order or Order(KEY_ID), KeyMaterial(bytearray(value))), caller


def sent(played: Played) -> dict[str, Any]:
    """Return the fields of the import, which was sent in one spelling only."""
    bodies = {each.body for each in played.of("ImportKeyMaterial")}
    assert len(bodies) == 1
    return played.of("ImportKeyMaterial")[0].fields


def test_a_key_gets_its_material() -> None:
    with playing(script()) as played:
        done, caller = run(played)
    assert (done.key.state, done.key.valid_to, done.already_held) == ("Enabled", 0, False)
    fields = sent(played)
    encrypted = base64.b64decode(fields.pop("EncryptedKeyMaterial"), validate=True)
    assert fields == {"KeyId": KEY_ID, "ImportToken": IMPORT_TOKEN, "ValidTo": NEVER}
    assert PRIVATE.decrypt(encrypted, OAEP_SHA_256) == MATERIAL
    assert [what for what, _ in caller.tell.steps] == ["key", "parameters", "wrapped", "imported"]
    assert IMPORT_TOKEN not in caller.tell.everything


def test_the_material_is_overwritten_before_it_is_sent() -> None:
    value = bytearray(MATERIAL)
    with playing(script(ImportKeyMaterial=[refusal("InternalError")])) as played:
        service = Caller(played).api()
        with pytest.raises(ServiceRefused):
            ceremony.import_material(service, Order(KEY_ID), KeyMaterial(value))
    assert value == bytes(32)


@pytest.mark.parametrize(("standard", "right"), [(2, 32), (4, 16)])
def test_a_wrong_length_asks_for_nothing_but_what_the_key_is(standard: int, right: int) -> None:
    with playing(script(DescribeKey=[key("PendingImport", Type=standard)])) as played:
        for size in set(range(65)) - {right}:
            with pytest.raises(InputUnusable, match=f"is {size} bytes; it must be exactly {right} bytes"):
                run(played, value=bytes(size))
    assert {each.action for each in played.requests} == {"DescribeKey"}


# --- which algorithm ---------------------------------------------------------------------------------------


def test_sha_1_is_asked_for_where_sha_256_is_not_offered() -> None:
    with playing(script(GetParametersForImport=[NOT_OFFERED, PARAMETERS])) as played:
        done, caller = run(played)
    assert done.algorithm is WrappingAlgorithm.RSAES_OAEP_SHA_1
    asked = [each.fields["WrappingAlgorithm"] for each in played.of("GetParametersForImport")]
    assert asked == ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"]
    assert ("not offered", "RSAES_OAEP_SHA_256") in caller.tell.steps


def test_pkcs1_is_never_asked_for_unasked() -> None:
    with playing(script(GetParametersForImport=[NOT_OFFERED])) as played:
        with pytest.raises(ServiceRefused, match="WrappingAlgorithm is not offered"):
            run(played)
        assert len(played.of("GetParametersForImport")) == 2
        with pytest.raises(ServiceRefused, match="WrappingAlgorithm is not offered"):
            run(played, Order(KEY_ID, WrappingAlgorithm.RSAES_PKCS1_V1_5))
    asked = Counter(each.fields["WrappingAlgorithm"] for each in played.of("GetParametersForImport"))
    assert asked == {"RSAES_OAEP_SHA_256": 1, "RSAES_OAEP_SHA_1": 1, "RSAES_PKCS1_V1_5": 1}


def test_another_refusal_of_parameters_ends_it() -> None:
    with playing(script(GetParametersForImport=[refusal("ResourceUnavailable.CmkStateNotSupport")])) as played:
        with pytest.raises(ServiceRefused, match="CmkStateNotSupport"):
            run(played)
        assert len(played.of("GetParametersForImport")) == 1


# --- the key as it is found --------------------------------------------------------------------------------


def test_a_key_that_holds_the_material_is_said_to_and_keeps_its_expiry() -> None:
    with playing(script(DescribeKey=[key("Enabled", ValidTo=LATER)])) as played:
        done, caller = run(played)
    assert (done.already_held, done.key.valid_to) == (True, LATER)
    assert sent(played)["ValidTo"] == LATER
    assert caller.tell.steps[-1] == ("imported", "the key already held this material")


@pytest.mark.parametrize(("asked", "shown"), [(NEVER, "never"), (LATER + 60, "2030-03-17T17:47:40Z")])
def test_a_new_expiry_is_said(asked: int, shown: str) -> None:
    with playing(script(DescribeKey=[key("Enabled", ValidTo=LATER), key("Enabled", ValidTo=asked)])) as played:
        _, caller = run(played, Order(KEY_ID, valid_to=asked))
    assert sent(played)["ValidTo"] == asked
    assert caller.tell.steps[-1] == ("expiry", f"2030-03-17T17:46:40Z before, {shown} now")


@pytest.mark.parametrize(
    ("state", "cure"),
    [
        ("Disabled", "enable it first"),
        ("PendingDelete", "cancel its deletion and enable it first"),
        ("Archived", "take it out of the archive first"),
        ("Elsewhere", "no state to import in"),
    ],
)
def test_a_state_that_takes_no_material_is_said_with_the_cure(state: str, cure: str) -> None:
    with playing(script(DescribeKey=[key(state)])) as played, pytest.raises(ServiceRefused, match=cure):
        run(played)
    assert len(played.requests) == 1


def test_a_generated_key_takes_none() -> None:
    with (
        playing(script(DescribeKey=[key("Enabled", Origin="TENCENT_KMS")])) as played,
        pytest.raises(ServiceRefused, match="not EXTERNAL"),
    ):
        run(played)
    assert len(played.requests) == 1


def test_a_key_that_was_changed_meanwhile_is_not_called_imported() -> None:
    described = [key("PendingImport"), key("Disabled")]
    with playing(script(DescribeKey=described)) as played, pytest.raises(ServiceRefused, match="is Disabled now"):
        run(played)


# --- refusals, and answers that were lost ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("InvalidParameterValue.MaterialNotMatch", "first imported with other material"),
        ("ResourceUnavailable.TokenExpired", "run the same command again"),
        ("InvalidParameter.DecryptMaterialError", "Do it otherwise"),
    ],
)
def test_a_refused_import_is_said(code: str, says: str) -> None:
    with playing(script(ImportKeyMaterial=[refusal(code)])) as played, pytest.raises(ServiceRefused) as caught:
        run(played)
    assert says in caught.value.message
    assert code in caught.value.message
    assert len(played.of("ImportKeyMaterial")) == 1
    assert IMPORT_TOKEN not in caught.value.message


@pytest.mark.parametrize("passing", [SILENCE, refusal(UNAVAILABLE)])
def test_an_import_without_an_answer_is_repeated_to_the_byte(passing: Reply) -> None:
    with playing(script(ImportKeyMaterial=[passing, passing, answer()])) as played:
        done, _ = run(played, Order(KEY_ID, valid_to=LATER))
    assert done.key.state == "Enabled"
    assert len(played.of("ImportKeyMaterial")) == 3
    assert len(played.of("GetParametersForImport")) == 1
    assert sent(played)["ValidTo"] == LATER


@pytest.mark.parametrize(
    "wrong",
    [
        {"DescribeKey": [answer()]},
        {"DescribeKey": [key("PendingImport", Type=9)]},
        {"DescribeKey": [key("PendingImport", ValidTo="never")]},
        {"GetParametersForImport": [answer(ImportToken="t", ParametersValidTo=1, PublicKey="AAAA")]},
        {"GetParametersForImport": [answer(ImportToken="t", PublicKey=PUBLIC)]},
        {"GetParametersForImport": [answer(ParametersValidTo=10**18, PublicKey=PUBLIC)]},
    ],
)
def test_what_the_api_does_not_answer_is_not_believed(wrong: dict[str, Sequence[Reply]]) -> None:
    with playing(script(**wrong)) as played, pytest.raises(ServiceUnreachable, match=r"(answer|say)"):
        run(played)
    assert played.of("ImportKeyMaterial") == []
