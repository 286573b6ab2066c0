"""Of credentials that were not believed, what a log may hold: an access id of our form, and nothing else."""

from __future__ import annotations

import secrets

import pytest

from hsmkms.core import errors
from hsmkms.dialects.base import RequestHead
from hsmkms.dialects.refusing import facts_of
from hsmkms.dialects.signatures import claimed_access_id
from hsmkms.service.minting import new_access_id, new_secret

OURS = "AKID" + "x" * 32


def sent(*authorizations: str) -> RequestHead:
    return RequestHead("POST", "/", tuple(("Authorization", each) for each in authorizations))


@pytest.mark.parametrize(
    "authorization",
    [
        f"SDK-HMAC-SHA256 Access={OURS}, SignedHeaders=host;x-sdk-date, Signature=0",
        f"SDK-HMAC-SHA256 Access={OURS}",
        f"SDK-FOO Access={OURS},Signature=0",
        f"TC3-HMAC-SHA256 Credential={OURS}/2026-11-21/kms/tc3_request, SignedHeaders=host, Signature=0",
    ],
)
def test_an_access_id_of_our_form_is_found_whatever_else_is_wrong(authorization: str) -> None:
    assert claimed_access_id(sent(authorization)) == OURS
    assert claimed_access_id(sent("Basic eDp5", authorization)) == OURS


@pytest.mark.parametrize(
    "claimed",
    ["", "AK", f"x{OURS}", f"{OURS}\n", f"{OURS}\xe9", f"{OURS} x", "AKID" + "x" * 125, "k" * 43],
)
def test_whatever_else_stands_in_its_place_is_not(claimed: str) -> None:
    for authorization in (f"SDK-HMAC-SHA256 Access={claimed}, Signature=0", f"TC3-HMAC-SHA256 Credential={claimed}/d"):
        assert claimed_access_id(sent(authorization)) is None


def test_a_secret_key_in_its_place_stays_out_of_the_log() -> None:
    assert claimed_access_id(sent(f"SDK-HMAC-SHA256 Access={new_secret().decode()}, Signature=0")) is None


def test_neither_the_signature_nor_another_header_is_looked_at() -> None:
    assert claimed_access_id(sent()) is None
    assert claimed_access_id(sent(f"Basic {OURS}", f"SDK-HMAC-SHA256 Signature={OURS}")) is None
    assert claimed_access_id(RequestHead("POST", f"/?Access={OURS}", (("X-Auth-Token", f"Access={OURS}"),))) is None


def test_every_access_id_that_is_made_is_of_that_form() -> None:
    made = new_access_id()
    assert claimed_access_id(sent(f"SDK-HMAC-SHA256 Access={made}, Signature={secrets.token_hex()}")) == made


@pytest.mark.parametrize("error", [kind() for kind in sorted(errors.leaves(errors.AuthenticationFault), key=str)])
def test_the_facts_of_a_caller_who_was_not_believed_name_his_claim(error: errors.HsmkmsError) -> None:
    facts = facts_of(sent(f"SDK-HMAC-SHA256 Access={OURS}"), error, "CODE")
    assert facts == {"code": "CODE", "fault": type(error).__name__, "claimed_access_id": OURS}


@pytest.mark.parametrize("error", [errors.ActionUnknown(), errors.AccountForeign(), errors.StoreUnavailable()])
def test_the_facts_of_any_other_error_do_not(error: errors.HsmkmsError) -> None:
    facts = facts_of(sent(f"SDK-HMAC-SHA256 Access={OURS}"), error, "CODE")
    assert facts == {"code": "CODE", "fault": type(error).__name__}
