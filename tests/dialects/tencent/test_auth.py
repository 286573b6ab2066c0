from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hsmkms.core.errors import (
    AuthorizationMalformed,
    CredentialUnknown,
    FieldInvalid,
    FieldMissing,
    HsmkmsError,
    SignatureExpired,
    SignatureMismatch,
)
from hsmkms.core.ids import from_seconds
from hsmkms.core.secrets import SecretKey
from hsmkms.dialects.base import RequestHead
from hsmkms.dialects.tencent import auth
from hsmkms.service.commands import OpenCredential
from tests.dialects.scripted_service import ACCESS_ID, ACCOUNT, KEY_ID, NOW, SECRET
from tests.dialects.tencent.signing import Signer

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "tencent" / "tc3.json").read_text(encoding="utf-8")
)
BODY = {"KeyId": KEY_ID}
REFUSALS = (AuthorizationMalformed, CredentialUnknown, SignatureExpired, SignatureMismatch, FieldInvalid)
SIGNED_NAMES = ("content-type", "host", "x-tc-action", "x-tc-timestamp")


def recorded(vector: dict[str, Any]) -> tuple[RequestHead, bytes]:
    request = vector["request"]
    headers = tuple((name, value) for name, value in request["headers"])
    return RequestHead(request["method"], request["target"], headers), request["body"].encode()


def verified(head: RequestHead, body: bytes, at: int = NOW, secret: SecretKey | None = SECRET) -> None:
    credential = None if secret is None else OpenCredential(ACCOUNT, frozenset(), secret)
    assert auth.verify(head, body, auth.read_claim(head, from_seconds(at)), credential) is credential


def with_header(head: RequestHead, name: str, value: str) -> RequestHead:
    return replace(head, headers=tuple((each, value if each == name else old) for each, old in head.headers))


def verified_by_whoever(head: RequestHead, body: bytes) -> None:
    """Verify as the dialect does: the secret is that of the access id claimed."""
    claim = auth.read_claim(head, from_seconds(NOW))
    verified(head, body, secret=SECRET if claim.access_id == ACCESS_ID else None)


def test_one_secret_signs_on_both_sides_of_midnight_and_each_day_with_its_own_key() -> None:
    midnight, secret = NOW - NOW % 86_400, SecretKey(SECRET.reveal())
    for at in (midnight - 1, midnight, midnight - 1, midnight):
        verified(*Signer(at=at).sign("DescribeKey", BODY), at=midnight, secret=secret)
    head, body = Signer(at=midnight).sign("DescribeKey", BODY)
    yesterday = Signer(at=midnight, date=auth._date(midnight - 1)).sign("DescribeKey", BODY)[0].values("authorization")
    signature = yesterday[0].rpartition("=")[2]
    forged = head.values("authorization")[0].rpartition("=")[0] + f"={signature}"
    with pytest.raises(SignatureMismatch):
        verified(with_header(head, "Authorization", forged), body, at=midnight, secret=secret)


@pytest.mark.parametrize("vector", VECTORS, ids=[each["request"]["target"] + str(n) for n, each in enumerate(VECTORS)])
def test_what_the_official_sdk_signed_is_verified(vector: dict[str, Any]) -> None:
    head, body = recorded(vector)
    verified(head, body, secret=SecretKey(vector["secret_key"].encode()))
    assert auth.read_claim(head, from_seconds(NOW)).access_id == vector["secret_id"]


# --- every one-character change is refused -----------------------------------------------------------------


@st.composite
def one_character_changed(draw: st.DrawFn, text: str) -> str:
    """Replace, insert or remove one character."""
    position = draw(st.integers(0, len(text) - 1))
    other = draw(st.characters(min_codepoint=0x21, max_codepoint=0xFF))
    how = draw(st.sampled_from(["replace", "insert", "remove"]))
    if how == "remove":
        return text[:position] + text[position + 1 :]
    return text[:position] + other + text[position + (how == "replace") :]


@given(st.data(), st.sampled_from(VECTORS), st.booleans())
def test_no_changed_character_of_a_recorded_request_passes(
    data: st.DataObject, vector: dict[str, Any], more_signed: bool
) -> None:
    head, body = Signer(signed=SIGNED_NAMES).sign("DescribeKey", BODY) if more_signed else recorded(vector)
    names = SIGNED_NAMES if more_signed else ("content-type", "host", "x-tc-timestamp")
    part = data.draw(st.sampled_from(["method", "target", "body", "authorization", *names]))
    match part:
        case "method":
            new = data.draw(one_character_changed(head.method))
            assume(new != head.method)
            head = replace(head, method=new)
        case "target":
            new = data.draw(one_character_changed(head.target))
            # '/' and '/?' have the same canonical form.
            assume(new.removesuffix("?") != head.target.removesuffix("?"))
            head = replace(head, target=new)
        case "body":
            old = body.decode()
            new = data.draw(one_character_changed(old)) if old else "x"
            assume(new != old)
            body = new.encode()
        case "authorization":
            [old] = head.values(part)
            new = data.draw(one_character_changed(old))
            # Blanks behind the commas are free; HTTP takes those around a value away.
            assume(new.replace(" ", "") != old.replace(" ", ""))
            head = with_header(head, "Authorization", new)
        case _:
            [old] = head.values(part)
            new = data.draw(one_character_changed(old))
            # The scheme lets clients sign values in lower case: a change of case only cannot be told from that.
            assume(new.lower() != old.lower())
            name = next(each for each, _value in head.headers if each.lower() == part)
            head = with_header(head, name, new)
    with pytest.raises(REFUSALS):
        verified_by_whoever(head, body)


@given(st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n\0"), max_size=200), st.binary(max_size=20))
def test_whatever_the_authorization_is_only_our_errors_come_of_it(text: str, body: bytes) -> None:
    head, _ = Signer().sign("DescribeKey", BODY)
    with pytest.raises(HsmkmsError):
        verified(with_header(head, "Authorization", text), body)


# --- the window ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-300, 0, 300])
def test_five_minutes_of_skew_are_allowed_both_ways(skew: int) -> None:
    verified(*Signer(at=NOW + skew).sign("DescribeKey", BODY))


@pytest.mark.parametrize("skew", [-301, 301, -NOW])
def test_more_skew_is_expired(skew: int) -> None:
    with pytest.raises(SignatureExpired):
        verified(*Signer(at=NOW + skew).sign("DescribeKey", BODY))


def test_the_credential_must_be_of_the_day_of_the_timestamp_though_the_signature_is_right() -> None:
    with pytest.raises(SignatureMismatch, match="UTC date"):
        verified(*Signer(date="2026-11-20").sign("DescribeKey", BODY))


def test_the_date_is_utc_across_midnight() -> None:
    midnight = 1795305600
    verified(*Signer(at=midnight - 1).sign("DescribeKey", BODY), at=midnight + 1)
    with pytest.raises(SignatureMismatch):
        verified(*Signer(at=midnight - 1, date="2026-11-22").sign("DescribeKey", BODY), at=midnight + 1)


@pytest.mark.parametrize("timestamp", ["", "-1", "1.5", "1e9", "0x10", " ", "\uff11\uff12", "9" * 30])
def test_a_timestamp_that_is_none_is_named(timestamp: str) -> None:
    with pytest.raises(FieldInvalid) as raised:
        verified(*Signer().sign("DescribeKey", BODY, {"X-TC-Timestamp": timestamp}))
    assert raised.value.field == "X-TC-Timestamp"


def test_an_absent_timestamp_is_named() -> None:
    with pytest.raises(FieldMissing) as raised:
        verified(*Signer().sign("DescribeKey", BODY, {"X-TC-Timestamp": None}))
    assert raised.value.field == "X-TC-Timestamp"


# --- what is signed --------------------------------------------------------------------------------------


def test_further_signed_headers_are_honoured() -> None:
    signer = Signer(signed=("content-type", "host", "x-tc-action"))
    head, body = signer.sign("DescribeKey", BODY)
    verified(head, body)
    with pytest.raises(SignatureMismatch):
        verified(with_header(head, "X-TC-Action", "DisableKey"), body)


@pytest.mark.parametrize("lower_case", [False, True])
def test_values_may_be_signed_as_sent_or_in_lower_case(lower_case: bool) -> None:
    signer = Signer(signed=("content-type", "host", "x-tc-action"), lower_case=lower_case)
    verified(*signer.sign("DescribeKey", BODY, {"Content-Type": "application/json; charset=UTF-8"}))


def test_the_literal_host_that_tccli_sends_is_verified_as_it_stands() -> None:
    verified(*Signer().sign("DescribeKey", BODY, {"Host": "http://127.0.0.1:8765"}))


@pytest.mark.parametrize(
    "signed", [("host",), ("content-type",), ("x-tc-action", "host"), ("content-type", "host", "host")]
)
def test_host_and_content_type_must_be_signed_and_nothing_twice(signed: tuple[str, ...]) -> None:
    with pytest.raises(AuthorizationMalformed):
        verified(*Signer(signed=signed).sign("DescribeKey", BODY))


def test_a_signed_header_that_is_absent_is_refused() -> None:
    with pytest.raises(SignatureMismatch, match="x-tc-region"):
        verified(*Signer(signed=("content-type", "host", "x-tc-region")).sign("DescribeKey", BODY))


@pytest.mark.parametrize("name", ["Host", "host", "CONTENT-TYPE"])
def test_a_signed_header_that_is_repeated_is_refused_even_with_the_same_value(name: str) -> None:
    head, body = Signer().sign("DescribeKey", BODY)
    again = (name, head.values(name.lower())[0])
    with pytest.raises(SignatureMismatch, match="exactly once"):
        verified(replace(head, headers=(*head.headers, again)), body)


def test_a_second_authorization_is_refused() -> None:
    head, body = Signer().sign("DescribeKey", BODY)
    with pytest.raises(AuthorizationMalformed):
        verified(replace(head, headers=(*head.headers, head.headers[-1])), body)


def test_an_unsigned_payload_is_refused_though_its_signature_is_right() -> None:
    signer = Signer(payload=b"UNSIGNED-PAYLOAD")
    with pytest.raises(SignatureMismatch, match="unsigned payloads"):
        verified(*signer.sign("DescribeKey", BODY, {"X-TC-Content-SHA256": "UNSIGNED-PAYLOAD"}))
    with pytest.raises(SignatureMismatch):
        verified(*signer.sign("DescribeKey", BODY))


def test_a_declared_digest_of_the_body_is_accepted_and_another_is_not() -> None:
    head, body = Signer().sign("DescribeKey", b"{}")
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    verified(replace(head, headers=(*head.headers, ("X-TC-Content-SHA256", digest))), body)
    with pytest.raises(SignatureMismatch):
        verified(replace(head, headers=(*head.headers, ("X-TC-Content-SHA256", digest[::-1]))), body)


# --- who signed -----------------------------------------------------------------------------------------


def test_another_secret_does_not_verify() -> None:
    with pytest.raises(SignatureMismatch):
        verified(*Signer(secret="another").sign("DescribeKey", BODY))


def test_no_secret_is_unknown_whatever_the_signature() -> None:
    with pytest.raises(CredentialUnknown):
        verified(*Signer().sign("DescribeKey", BODY), secret=None)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "SKIP",
        "TC3-HMAC-SHA256",
        "tc3-hmac-sha256 Credential=A/2026-11-21/kms/tc3_request, SignedHeaders=content-type;host, Signature="
        + "0" * 64,
        "TC3-HMAC-SHA256 Credential=A/2026-11-21/cvm/tc3_request, SignedHeaders=content-type;host, Signature="
        + "0" * 64,
        "TC3-HMAC-SHA256 Credential=/2026-11-21/kms/tc3_request, SignedHeaders=content-type;host, Signature="
        + "0" * 64,
        "TC3-HMAC-SHA256 Credential=A/2026-11-21/kms/tc3_request, SignedHeaders=content-type;host, Signature="
        + "0" * 63,
        "TC3-HMAC-SHA256 Credential=A/2026-11-21/kms/tc3_request, SignedHeaders=Content-Type;host, Signature="
        + "0" * 64,
    ],
)
def test_an_authorization_of_another_form_is_malformed(authorization: str | None) -> None:
    with pytest.raises(AuthorizationMalformed):
        verified(*Signer().sign("DescribeKey", BODY, {"Authorization": authorization}))


def test_temporary_credentials_are_refused_and_an_empty_token_is_none() -> None:
    with pytest.raises(AuthorizationMalformed, match="X-TC-Token"):
        verified(*Signer().sign("DescribeKey", BODY, {"X-TC-Token": "temporary"}))
    verified(*Signer().sign("DescribeKey", BODY, {"X-TC-Token": ""}))
