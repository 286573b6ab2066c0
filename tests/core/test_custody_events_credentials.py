"""Laws of hsmkms/core/custody.py, events.py and credentials.py."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hsmkms.core.credentials import Credential, Role
from hsmkms.core.custody import CustodyObject, CustodyRole
from hsmkms.core.events import AuditHead, Event, EventTag
from hsmkms.core.ids import AccessId, Account, AccountName, KeyId
from hsmkms.core.material import Edition
from hsmkms.core.records import of_material
from tests.core.examples import NOW

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_label_names_the_deployment_and_the_role_and_no_two_are_alike() -> None:
    labels = {CustodyObject(role, b"id").label(deployment) for role in CustodyRole for deployment in ("one", "two")}
    assert len(labels) == 2 * len(CustodyRole)
    assert CustodyObject(CustodyRole.RECORD, b"id").label("one") == "hsmkms one record"


def test_an_object_is_proved_once_its_answer_is_recorded() -> None:
    assert not CustodyObject(CustodyRole.MAC, b"id", b"challenge").proved
    assert CustodyObject(CustodyRole.MAC, b"id", b"challenge", b"answer").proved


@pytest.mark.parametrize("tag", EventTag)
def test_a_tag_says_subject_and_what_happened(tag: EventTag) -> None:
    assert re.fullmatch(r"[a-z]+:([a-z-]+:)?[a-z-]+", tag.value)


def test_two_events_never_share_their_details() -> None:
    left, right = (Event(EventTag.KEY_CREATED, NOW, None, "operator") for _ in range(2))
    assert left.detail is not right.detail


def test_a_credential_prints_nothing_that_proves_it() -> None:
    account = Account(1, AccountName("acme"))
    for credential in (
        Credential(AccessId("AKID1"), account, frozenset(Role), NOW, record=b"what proves it"),
        Credential(AccessId("AKID1"), account, frozenset(Role), NOW, token_digest=b"what proves it"),
    ):
        assert "what proves it" not in repr(credential)
        assert credential.switched_on


@pytest.mark.parametrize("proof", [None, b"", b"what proves it"])
def test_a_credential_has_a_sealed_secret_or_an_auth_token_and_never_both(proof: bytes | None) -> None:
    account = Account(1, AccountName("acme"))
    with pytest.raises(ValueError, match="a sealed secret or an auth token"):
        Credential(AccessId("AKID1"), account, frozenset(Role), NOW, record=proof, token_digest=proof)


HEAD = AuditHead(2**40, bytes(range(32)))


def test_what_the_mac_key_is_used_for_begins_with_what_it_is_for() -> None:
    record = of_material(AccountName("a"), KeyId("k"), Edition.FIPS, 1).canonical()
    inputs = (HEAD.as_sealed("d"), HEAD.as_cut("d"), record, b"hsmkms proof v1", b"hsmkms fingerprint v1")
    for one, other in itertools.combinations(inputs, 2):
        shorter = min(len(one), len(other))
        assert one[:shorter] != other[:shorter]


def test_no_two_heads_deployments_or_nodes_are_sealed_or_cut_alike() -> None:
    differences: list[dict[str, Any]] = [{}, {"sequence": 1}, {"digest": bytes(32)}, {"node": "n"}, {"node": "nn"}]
    heads = [replace(HEAD, **each) for each in differences]
    ways = (AuditHead.as_sealed, AuditHead.as_cut)
    made = {way(head, name) for head in heads for name in ("d", "dd", "") for way in ways}
    assert len(made) == len(heads) * 3 * len(ways)


@pytest.mark.parametrize(
    ("way", "domain"),
    [(AuditHead.as_sealed, b"hsmkms audit seal v1"), (AuditHead.as_cut, b"hsmkms audit cut v1")],
)
def test_what_a_mac_was_made_of_once_it_is_made_of_for_ever(
    way: Callable[[AuditHead, str], bytes], domain: bytes
) -> None:
    parts = [domain, b"d", (2**40).to_bytes(8, "big"), HEAD.digest]
    assert way(HEAD, "d") == lengths_before(*parts)
    assert way(replace(HEAD, node="n-1"), "d") == lengths_before(*parts, b"n-1")


def lengths_before(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def test_a_head_is_read_as_it_is_shown() -> None:
    assert AuditHead.parse(str(HEAD)) == HEAD


@pytest.mark.parametrize("text", ["", "1", "1:", f"0:{'0' * 64}", f"1:{'0' * 63}", f"1:{'G' * 64}", f"-1:{'0' * 64}"])
def test_what_is_no_head_is_not_taken_for_one(text: str) -> None:
    assert AuditHead.parse(text) is None
