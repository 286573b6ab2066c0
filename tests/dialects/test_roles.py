"""Which role may ask for which action of each cloud: the whole product, written by hand and tried on the real service.

Sources: the roles are our own (docs/operating.md); the refusals AuthFailure.UnauthorizedOperation (common error codes
of API 3.0) and KMS.0307 (error codes of DEW) are the clouds'.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

from hsmkms.core.credentials import Grant, KeyScope, Role
from hsmkms.core.keys import Origin
from hsmkms.dialects.huawei.codec import OPERATIONS
from hsmkms.dialects.tencent.codec import ACTIONS
from tests.dialects.clouds import both_clouds
from tests.dialects.state_table import GRANTED
from tests.service.house import OAEP
from tests.service.scoped import NO_KEY, ciphertext_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from tests.dialects.clouds import Cloud, Clouds

in_one_loop = pytest.mark.asyncio(loop_scope="module")

# A cross: the role may ask for it.
TENCENT: Final = """
                           admin importer user auditor
CreateKey                  x     -        -    -
EnableKey                  x     -        -    -
EnableKeys                 x     -        -    -
DisableKey                 x     -        -    -
DisableKeys                x     -        -    -
UpdateAlias                x     -        -    -
UpdateKeyDescription       x     -        -    -
ScheduleKeyDeletion        x     -        -    -
CancelKeyDeletion          x     -        -    -
ArchiveKey                 x     -        -    -
CancelKeyArchive           x     -        -    -
EnableKeyRotation          x     -        -    -
GetParametersForImport     -     x        -    -
ImportKeyMaterial          -     x        -    -
DeleteImportedKeyMaterial  -     x        -    -
Encrypt                    -     -        x    -
Decrypt                    -     -        x    -
ReEncrypt                  -     -        x    -
GenerateDataKey            -     -        x    -
GenerateRandom             -     -        x    -
DescribeKey                x     x        -    x
DescribeKeys               x     x        -    x
ListKeys                   x     x        -    x
ListKeyDetail              x     x        -    x
GetKeyRotationStatus       x     x        -    x
DisableKeyRotation         x     x        -    x
GetServiceStatus           x     x        x    x
GetRegions                 x     x        x    x
ListAlgorithms             x     x        x    x
"""
HUAWEI: Final = """
                                  admin importer user auditor
create-key                        x     -        -    -
enable-key                        x     -        -    -
disable-key                       x     -        -    -
update-key-alias                  x     -        -    -
update-key-description            x     -        -    -
schedule-key-deletion             x     -        -    -
cancel-key-deletion               x     -        -    -
get-parameters-for-import         -     x        -    -
import-key-material               -     x        -    -
delete-imported-key-material      -     x        -    -
encrypt-data                      -     -        x    -
decrypt-data                      -     -        x    -
re-encrypt                        -     -        x    -
create-datakey                    -     -        x    -
create-datakey-without-plaintext  -     -        x    -
encrypt-datakey                   -     -        x    -
decrypt-datakey                   -     -        x    -
gen-random                        -     -        x    -
describe-key                      x     x        -    x
list-keys                         x     x        -    x
get-key-rotation-status           x     x        -    x
user-instances                    x     x        x    x
user-quotas                       x     x        x    x
projects                          x     x        x    x
"""
MAY_NOT: Final = {"tencent": "AuthFailure.UnauthorizedOperation", "huawei": "KMS.0307"}

_IMPORT_TOKEN: Final = "A" * 344
_ENCRYPTED: Final = base64.b64encode(b"\x01" * 256).decode()
_CIPHERTEXT: Final = base64.b64encode(ciphertext_of(NO_KEY)).decode()
_DATA_KEY: Final = "ab" * 32 + hashlib.sha256(b"\xab" * 32).hexdigest()
"""A data key, and behind it its SHA-256, as encrypt-datakey wants it."""
_KEY: Final = {"KeyId": NO_KEY}
_SEVERAL: Final = {"KeyIds": [NO_KEY]}
_KEY_OF_HUAWEI: Final = {"key_id": NO_KEY}
FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "CreateKey": {"Alias": "made", "Type": 2},
    "DescribeKeys": _SEVERAL,
    "EnableKeys": _SEVERAL,
    "DisableKeys": _SEVERAL,
    "UpdateAlias": _KEY | {"Alias": "a"},
    "UpdateKeyDescription": _KEY | {"Description": "d"},
    "ScheduleKeyDeletion": _KEY | {"PendingWindowInDays": 7},
    "GetParametersForImport": _KEY | {"WrappingAlgorithm": OAEP, "WrappingKeySpec": "RSA_2048"},
    "ImportKeyMaterial": _KEY | {"ImportToken": _IMPORT_TOKEN, "EncryptedKeyMaterial": _ENCRYPTED},
    "Encrypt": _KEY | {"Plaintext": "eA=="},
    "Decrypt": {"CiphertextBlob": _CIPHERTEXT},
    "ReEncrypt": {"CiphertextBlob": _CIPHERTEXT},
    "GenerateDataKey": _KEY | {"KeySpec": "AES_256"},
    "GenerateRandom": {"NumberOfBytes": 8},
    "ListKeys": {},
    "ListKeyDetail": {},
    "GetServiceStatus": {},
    "GetRegions": {},
    "ListAlgorithms": {},
    "create-key": {"key_alias": "made", "origin": "external"},
    "update-key-alias": _KEY_OF_HUAWEI | {"key_alias": "a"},
    "update-key-description": _KEY_OF_HUAWEI | {"key_description": "d"},
    "schedule-key-deletion": _KEY_OF_HUAWEI | {"pending_days": "7"},
    "get-parameters-for-import": _KEY_OF_HUAWEI | {"wrapping_algorithm": OAEP},
    "import-key-material": _KEY_OF_HUAWEI | {"import_token": _IMPORT_TOKEN, "encrypted_key_material": _ENCRYPTED},
    "encrypt-data": _KEY_OF_HUAWEI | {"plain_text": "x"},
    "decrypt-data": {"cipher_text": _CIPHERTEXT},
    "re-encrypt": {"cipher_text": _CIPHERTEXT, "destination_key_id": NO_KEY},
    "create-datakey": _KEY_OF_HUAWEI | {"datakey_length": "256"},
    "create-datakey-without-plaintext": _KEY_OF_HUAWEI | {"datakey_length": "256"},
    "encrypt-datakey": _KEY_OF_HUAWEI | {"plain_text": _DATA_KEY, "datakey_plain_length": "32"},
    "decrypt-datakey": _KEY_OF_HUAWEI | {"cipher_text": ciphertext_of(NO_KEY).hex(), "datakey_cipher_length": "32"},
    "gen-random": {"random_data_length": "256"},
    "list-keys": {},
    "user-instances": {},
    "user-quotas": {},
    "projects": {},
}
"""What each action is asked with; one that is not here is asked with the id of a key that there is not."""


def _table(text: str) -> dict[str, frozenset[Role]]:
    roles, *rows = (line.split() for line in text.strip().splitlines())
    return {
        name: frozenset(Role(role) for role, cell in zip(roles, cells, strict=True) if cell == "x")
        for name, *cells in rows
    }


TABLES: Final = {"tencent": _table(TENCENT), "huawei": _table(HUAWEI)}


def test_every_action_of_both_clouds_has_a_row() -> None:
    assert TABLES["tencent"].keys() == ACTIONS.keys()
    assert TABLES["huawei"].keys() == OPERATIONS.keys()
    for table in TABLES.values():
        assert all(table.values()), "somebody may ask for each"
        for role in Role:
            assert role in frozenset().union(*table.values())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clouds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clouds]:
    async with both_clouds(f"sqlite:///{tmp_path_factory.mktemp('roles')}/hsmkms.db") as both:
        yield both


async def _with_roles(clouds: Clouds, name: str, roles: Iterable[Role], scope: KeyScope | None = None) -> Cloud:
    cloud: Cloud = {"tencent": clouds.tencent, "huawei": clouds.huawei}[name]
    grant = Grant(clouds.house.caller.account.name, frozenset(roles), scope or KeyScope())
    return replace(cloud, credential=await clouds.house.credentials.create(grant))


def _fields(name: str, action: str) -> dict[str, Any]:
    return dict(FIELDS.get(action, _KEY if name == "tencent" else _KEY_OF_HUAWEI))


@in_one_loop
@pytest.mark.parametrize("roles", [(), *((each,) for each in Role), (Role.USER, Role.AUDITOR), tuple(Role)], ids=str)
@pytest.mark.parametrize("name", TABLES)
async def test_a_credential_may_do_what_one_of_its_roles_may(
    clouds: Clouds, name: str, roles: tuple[Role, ...]
) -> None:
    cloud = await _with_roles(clouds, name, roles)
    said = {action: (await cloud.ask(action, _fields(name, action))).code for action in TABLES[name]}
    needs_none = {"GetRegions", "ListAlgorithms", "projects"}
    for action, permitted in TABLES[name].items():
        may = not permitted.isdisjoint(roles) or action in needs_none
        assert (said[action] != MAY_NOT[name]) is may, (action, said[action])
        assert not said[action].startswith(("InvalidParameterValue.InvalidKeyId", "KMS.0204", "MissingParameter"))


@in_one_loop
@pytest.mark.parametrize(
    ("name", "action", "fields"),
    [
        ("tencent", "ListKeys", {"Role": 1}),
        ("tencent", "ListKeyDetail", {"Role": 1}),
        ("tencent", "ListKeyDetail", {"KeyUsage": "ASYMMETRIC_DECRYPT_SM2"}),
        ("huawei", "list-keys", {"key_spec": "SM4"}),
        ("huawei", "list-keys", {"key_state": "1"}),
    ],
)
async def test_a_list_of_keys_that_nobody_has_is_not_for_everybody_either(
    clouds: Clouds, name: str, action: str, fields: dict[str, Any]
) -> None:
    assert (await (await _with_roles(clouds, name, [Role.USER])).ask(action, fields)).code == MAY_NOT[name]
    assert (await (await _with_roles(clouds, name, [Role.AUDITOR])).ask(action, fields)).code == GRANTED


@in_one_loop
@pytest.mark.parametrize(("name", "code"), [("tencent", MAY_NOT["tencent"]), ("huawei", "KMS.0306")])
async def test_out_of_scope_every_action_with_a_key_is_refused_alike(clouds: Clouds, name: str, code: str) -> None:
    house = clouds.house
    own, other = await house.key(origin=Origin.GENERATED), await house.key(origin=Origin.GENERATED)
    cloud = await _with_roles(clouds, name, Role, KeyScope(frozenset((own,))))
    nameless = {"ListKeys", "ListKeyDetail", "GetServiceStatus", "GenerateRandom", "GetRegions", "ListAlgorithms"}
    nameless |= {"list-keys", "user-instances", "user-quotas", "gen-random", "projects"}
    for action in TABLES[name]:
        answers = [await cloud.ask(action, _about(_fields(name, action), each)) for each in (other, NO_KEY)]
        said = {(each.code, str(each.members.get("Error", each.members.get("error")))) for each in answers}
        if action in nameless:
            assert said == {(GRANTED, "None")}
        else:
            assert {each for each, _ in said} == {code}, (action, said)
            assert len(said) == 1, "the words, too"
    described = "DescribeKey" if name == "tencent" else "describe-key"
    assert (await cloud.ask(described, _about(_fields(name, described), own))).code == GRANTED


def _about(fields: dict[str, Any], key_id: str) -> dict[str, Any]:
    """Return the fields with another key's id in the place of the one that there is not."""
    ciphertext = ciphertext_of(NO_KEY).replace(
        bytes.fromhex(NO_KEY.replace("-", "")), bytes.fromhex(key_id.replace("-", ""))
    )
    changed = {
        _CIPHERTEXT: base64.b64encode(ciphertext).decode(),
        ciphertext_of(NO_KEY).hex(): ciphertext.hex(),
        NO_KEY: key_id,
    }
    return {name: [key_id] if isinstance(value, list) else changed.get(value, value) for name, value in fields.items()}


@pytest.mark.parametrize("name", TABLES)
def test_the_clouds_page_says_the_same(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / f"{name}.md").read_text()
    rows = re.findall(
        r"^\| ([a-z, ]+) \| (.*) \|$", page.partition("## Roles\n")[2].partition("\n## ")[0], re.MULTILINE
    )
    said = {
        action: frozenset(map(Role, roles.split(", ")))
        for roles, actions in rows
        if not roles.startswith("role")
        for action in actions.split(", ")
    }
    assert said == TABLES[name]
