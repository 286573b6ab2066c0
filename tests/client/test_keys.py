"""Which key to import into: by its alias, and never one made for what it could not take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.client import keys
from hsmkms.client.material import KeyMaterial
from hsmkms.core.errors import InputUnusable, ServiceRefused, ServiceUnreachable
from tests.client.played import SILENCE, Caller, Played, Reply, answer, playing, refusal
from tests.client.test_ceremony import KEY_ID, key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.core.ids import KeyId

TAKEN: Final = refusal("InvalidParameterValue.AliasAlreadyExists")
NONE_LISTED: Final = answer(KeyMetadatas=[], TotalCount=0)


def ciphers(*names: str) -> Reply:
    return answer(SymmetricAlgorithms=[{"KeyUsage": "ENCRYPT_DECRYPT", "Algorithm": name} for name in names])


FIPS: Final = ciphers("AES_256")


def listed(*aliases: str) -> Reply:
    shown = [{"Alias": alias, "KeyId": KEY_ID if alias == "mine" else KEY_ID.replace("0", "1")} for alias in aliases]
    return answer(KeyMetadatas=shown, TotalCount=len(shown))


def external_key(played: Played, size: int = 32) -> KeyId:
    return keys.external_key(Caller(played).api(), "mine", KeyMaterial(bytearray(size)))


def test_a_key_is_made_for_its_alias() -> None:
    with playing({"ListAlgorithms": [FIPS], "CreateKey": [SILENCE, answer(KeyId=KEY_ID)]}) as played:
        assert external_key(played) == KEY_ID
    assert played.of("CreateKey")[0].fields == {"Alias": "mine", "Type": 2}


def test_a_key_made_before_is_found_by_its_alias_among_longer_ones() -> None:
    pages = [listed("mine-too", "not-mine"), listed("mine"), listed()]
    with playing({"ListAlgorithms": [FIPS], "CreateKey": [TAKEN], "ListKeyDetail": pages}) as played:
        assert external_key(played) == KEY_ID
    assert [each.fields["Offset"] for each in played.of("ListKeyDetail")] == [0, 2]


def test_an_alias_of_a_key_that_is_not_external_is_refused() -> None:
    pages = [listed("mine-too"), listed()]
    with (
        playing({"ListAlgorithms": [FIPS], "CreateKey": [TAKEN], "ListKeyDetail": pages}) as played,
        pytest.raises(ServiceRefused, match="AliasAlreadyExists"),
    ):
        external_key(played)


def test_an_id_that_is_none_is_not_believed() -> None:
    with (
        playing({"ListAlgorithms": [FIPS], "CreateKey": [answer(KeyId="mine")]}) as played,
        pytest.raises(ServiceUnreachable, match="no key id"),
    ):
        external_key(played)


def test_a_key_that_cannot_be_made_is_refused() -> None:
    with (
        playing({"ListAlgorithms": [FIPS], "CreateKey": [refusal("LimitExceeded.CmkLimitExceeded")]}) as played,
        pytest.raises(ServiceRefused, match="CmkLimitExceeded"),
    ):
        external_key(played)


# --- the edition, before there is a key --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithms", "listing", "right"),
    [
        (FIPS, NONE_LISTED, 32),
        (ciphers("SM4"), NONE_LISTED, 16),
        (ciphers(), answer(KeyMetadatas=[{"Type": 2}]), 32),
        (ciphers(), answer(KeyMetadatas=[{"Type": 4}]), 16),
        (refusal("UnauthorizedOperation"), answer(KeyMetadatas=[{"Type": 4}]), 16),
    ],
)
def test_no_key_is_made_for_material_of_the_other_edition(algorithms: Reply, listing: Reply, right: int) -> None:
    replies: dict[str, Sequence[Reply]] = {
        "ListAlgorithms": [algorithms],
        "ListKeyDetail": [listing],
        "CreateKey": [answer(KeyId=KEY_ID)],
    }
    with playing(replies) as played:
        with pytest.raises(InputUnusable, match=f"it must be exactly {right} bytes .* other edition"):
            external_key(played, 48 - right)
        assert played.of("CreateKey") == []
        assert external_key(played, right) == KEY_ID
    assert played.of("DescribeKey") == []


@pytest.mark.parametrize("algorithms", [ciphers(), ciphers("AES_256", "SM4"), ciphers("3DES"), answer()])
@pytest.mark.parametrize("made_by", ["an answer", "a lost answer"])
def test_a_key_made_to_learn_the_edition_is_named_if_it_is_the_other(algorithms: Reply, made_by: str) -> None:
    lost = made_by == "a lost answer"
    replies: dict[str, Sequence[Reply]] = {
        "ListAlgorithms": [algorithms],
        "ListKeyDetail": [NONE_LISTED, listed("mine")],
        "CreateKey": [SILENCE, TAKEN] if lost else [answer(KeyId=KEY_ID)],
        "DescribeKey": [key("PendingImport")],
    }
    with playing(replies) as played, pytest.raises(InputUnusable) as caught:
        external_key(played, 16)
    assert "is 16 bytes; it must be exactly 32 bytes" in caught.value.message
    assert f"the key {KEY_ID} (mine) was made, and is without material" in caught.value.message


def test_a_key_made_to_learn_the_edition_is_used_if_it_is_the_right_one() -> None:
    replies: dict[str, Sequence[Reply]] = {
        "ListAlgorithms": [ciphers()],
        "ListKeyDetail": [NONE_LISTED],
        "CreateKey": [answer(KeyId=KEY_ID)],
        "DescribeKey": [key("PendingImport", Type=4)],
    }
    with playing(replies) as played:
        assert external_key(played, 16) == KEY_ID
