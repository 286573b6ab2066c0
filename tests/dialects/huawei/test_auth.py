from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_to_bytes

import pytest
from huaweicloudsdkcore.signer import signer as sdk_signer
from hypothesis import assume, given
from hypothesis import strategies as st

from hsmkms.core.errors import (
    AuthorizationMalformed,
    CredentialUnknown,
    HsmkmsError,
    SignatureExpired,
    SignatureMismatch,
)
from hsmkms.core.ids import AccessId, Instant, from_seconds
from hsmkms.core.secrets import SecretKey
from hsmkms.dialects.base import RequestHead
from hsmkms.dialects.huawei import auth
from hsmkms.service.commands import OpenCredential
from tests.dialects.huawei.signing import HOST, NOW, PROJECT, Signer, written
from tests.dialects.scripted_service import ACCESS_ID, ACCOUNT, KEY_ID, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "huawei" / "sdk-hmac-sha256.json").read_text(encoding="utf-8")
)
BODY = {"key_id": KEY_ID}
REFUSALS = (AuthorizationMalformed, CredentialUnknown, SignatureExpired, SignatureMismatch)
UNESCAPED: Final = "/v1.0/{project_id}/kms/user-quotas"
ESCAPED: Final = "/v1.0/%7Bproject_id%7D/kms/user-quotas"


def recorded(vector: dict[str, Any]) -> tuple[RequestHead, bytes]:
    request = vector["request"]
    headers = tuple((name, value) for name, value in request["headers"])
    return RequestHead(request["method"], request["target"], headers), request["body"].encode()


def recorded_claim(vector: dict[str, Any]) -> auth.Claim:
    """Build the claim from what the SDK computed, not from the header that `read_claim` reads."""
    *_, names, _digest = vector["canonical_request"].split("\n")
    date = vector["string_to_sign"].split("\n")[1]
    return auth.Claim(AccessId(vector["secret_id"]), date, tuple(names.split(";")), vector["signature"])


def is_temporary(vector: dict[str, Any]) -> bool:
    return any(name == "X-Security-Token" for name, _value in vector["request"]["headers"])


LASTING = [vector for vector in VECTORS if not is_temporary(vector)]
TEMPORARY = [vector for vector in VECTORS if is_temporary(vector)]


def names_of(vectors: list[dict[str, Any]]) -> list[str]:
    return [f"{vector['request']['target'].split('/')[-1]}-{number}" for number, vector in enumerate(vectors)]


def verified(head: RequestHead, body: bytes, at: int = NOW, secret: SecretKey | None = SECRET) -> None:
    credential = None if secret is None else OpenCredential(ACCOUNT, frozenset(), secret)
    assert auth.verify(head, body, auth.read_claim(head, from_seconds(at)), credential) is credential


def verified_by_whoever(head: RequestHead, body: bytes) -> None:
    """Verify as the dialect does: the secret is that of the access id claimed."""
    claim = auth.read_claim(head, from_seconds(NOW))
    verified(head, body, secret=SECRET if claim.access_id == ACCESS_ID else None)


def passes(head: RequestHead, body: bytes) -> bool:
    try:
        verified_by_whoever(head, body)
    except REFUSALS:
        return False
    return True


def with_header(head: RequestHead, name: str, value: str) -> RequestHead:
    assert len(head.values(name.lower())) == 1
    return replace(
        head, headers=tuple((each, value if each.lower() == name.lower() else old) for each, old in head.headers)
    )


def without_header(head: RequestHead, name: str) -> RequestHead:
    return replace(head, headers=tuple(each for each in head.headers if each[0].lower() != name.lower()))


# --- what the official SDK signs ----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=names_of(VECTORS))
def test_every_step_of_a_recorded_signature_is_the_sdks(vector: dict[str, Any]) -> None:
    head, body = recorded(vector)
    claim = recorded_claim(vector)
    canonical = auth._canonical_request(head, claim, hashlib.sha256(body).hexdigest())
    assert canonical == vector["canonical_request"].encode()
    assert auth._string_to_sign(claim, canonical) == vector["string_to_sign"].encode()
    credential = OpenCredential(ACCOUNT, frozenset(), SecretKey(vector["secret_key"].encode()))
    assert auth.verify(head, body, claim, credential) is credential


@pytest.mark.parametrize("vector", LASTING, ids=names_of(LASTING))
def test_a_recorded_request_claims_what_the_sdk_signed(vector: dict[str, Any]) -> None:
    head, _body = recorded(vector)
    assert auth.speaks(head)
    assert auth.read_claim(head, from_seconds(NOW)) == recorded_claim(vector)


@pytest.mark.parametrize("vector", TEMPORARY, ids=names_of(TEMPORARY))
def test_recorded_temporary_credentials_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(AuthorizationMalformed, match="X-Security-Token"):
        auth.read_claim(recorded(vector)[0], from_seconds(NOW))


@pytest.mark.parametrize(
    "signer",
    [
        Signer(),
        Signer(method="GET", path="/"),
        Signer(method="GET", path="/v1.0"),
        Signer(method="GET", path="/v1.0/"),
        Signer(method="GET", path=f"/v2/{PROJECT}/kms/regions", query=(("offset", 0), ("limit", "10"))),
        Signer(method="GET", query=(("name", "a b+c~d/e&f=g%"), ("empty", ""), ("true", True))),
        Signer(method="GET", query=(("测试", "é"), ("z", ["b", "a", "B"]))),
        Signer(method="GET", path=UNESCAPED, on_the_wire=ESCAPED),
        Signer(method="GET", path=ESCAPED),
        Signer(path="/v1.0/a%2Fb/kms/%25/%E6%B5%8B~"),
        Signer(path="/v1.0//kms"),
    ],
)
@pytest.mark.parametrize("body", [None, BODY, "测试".encode(), b"\x00\xff"])
def test_what_the_sdk_signs_now_is_verified(signer: Signer, body: object) -> None:
    verified(*signer.sign(body))


def test_the_way_a_target_is_encoded_does_not_matter_to_its_signature() -> None:
    head, body = Signer(path="/v1.0/~x/kms", query=(("a", "~"), ("b", "1"))).sign()
    verified(replace(head, target="/%761.0/%7ex/kms/?b=1&a=%7E"), body)


@pytest.mark.parametrize(
    ("sent", "signed_as"),
    [("/%ff", "/%FF/"), ("/\xff", "/%FF/"), ("/%C3%BF", "/%C3%BF/"), ("/%zz+", "/%25zz%2B/"), ("", "/")],
)
def test_a_path_keeps_every_byte_even_what_is_no_utf_8(sent: str, signed_as: str) -> None:
    assert auth._canonical_uri(sent) == signed_as


@given(st.text(st.sampled_from("/aZ09._~-%4f+:@")))
def test_a_path_is_signed_in_the_one_encoding_of_its_bytes(sent: str) -> None:
    segments = [quote(unquote_to_bytes(each), safe="~") for each in sent.split("/")]
    assert auth._canonical_uri(sent).removesuffix("/") == "/".join(segments).removesuffix("/")
    assert auth._canonical_uri(sent).endswith("/")


@pytest.mark.parametrize(
    ("sent", "signed_as"),
    [
        ("", ""),
        ("a", "a="),
        ("a=", "a="),
        ("a==", "a=%3D"),
        ("&", "=&="),
        ("b=1&a=2&b=0", "a=2&b=0&b=1"),
        ("a=1+2", "a=1%2B2"),
        ("a=1%202", "a=1%202"),
        ("a=%ff\xfe", "a=%FF%FE"),
        ("a%3Db=1", "a%3Db=1"),
        ("%7E=2&z=1", "z=1&~=2"),
    ],
)
def test_a_query_is_signed_in_order_and_keeps_every_byte(sent: str, signed_as: str) -> None:
    assert auth._canonical_query(sent) == signed_as


def test_further_signed_headers_are_verified() -> None:
    head, body = Signer().sign(BODY, {"X-Auth-Token": "MIIFtoken", "X-Language": "en-us"})
    verified(head, body)
    for name in ("X-Auth-Token", "X-Language"):
        with pytest.raises(SignatureMismatch):
            verified(with_header(head, name, "another"), body)


def test_a_header_value_is_signed_without_the_white_space_around_it_and_may_be_any_text() -> None:
    head, body = Signer().sign(BODY, {"X-Note": "  测试  é\t"})
    verified(head, body)
    assert head.values("x-note")[0].encode("latin-1").decode() == "测试  é"


def test_a_name_with_an_underscore_is_not_signed_by_the_sdk_and_cannot_be_listed() -> None:
    head, body = Signer().sign(BODY, {"X_Note": "a"})
    verified(head, body)
    assert "x_note" not in auth.read_claim(head, from_seconds(NOW)).signed_headers
    with pytest.raises(AuthorizationMalformed):
        verified(*Signer(signed=("host", "x-sdk-date", "x_note")).sign(BODY, {"x_note": "a"}))


def test_headers_are_verified_in_the_order_of_the_list_whatever_it_is() -> None:
    head, body = Signer(signed=("x-sdk-date", "content-type", "host")).sign(BODY)
    verified(head, body)
    [old] = head.values("authorization")
    sorted_list = old.replace("x-sdk-date;content-type;host", "content-type;host;x-sdk-date")
    assert sorted_list != old
    with pytest.raises(SignatureMismatch):
        verified(with_header(head, "Authorization", sorted_list), body)


# --- every one-character change is refused -----------------------------------------------------------------


def parts(head: RequestHead, body: bytes) -> dict[str, tuple[str, Callable[[str], tuple[RequestHead, bytes]]]]:
    """Return each signed part's text, and how to put another text in its place."""

    def header(name: str) -> Callable[[str], tuple[RequestHead, bytes]]:
        return lambda text: (with_header(head, name, text), body)

    signed = auth.read_claim(head, from_seconds(NOW)).signed_headers
    return {
        "method": (head.method, lambda text: (replace(head, method=text), body)),
        "target": (head.target, lambda text: (replace(head, target=text), body)),
        "body": (body.decode("latin-1"), lambda text: (head, text.encode("latin-1"))),
        **{name: (head.values(name)[0], header(name)) for name in ("authorization", *signed)},
    }


def one_character_changes(text: str) -> Iterator[str]:
    """Remove each character, flip each of its bits, double it; insert what means something anywhere."""
    for position, old in enumerate(text):
        before, after = text[:position], text[position + 1 :]
        yield before + after
        yield before + old + old + after
        for bit in range(8):
            yield before + chr(ord(old) ^ (1 << bit)) + after
    for position in range(len(text) + 1):
        for other in " \t\0/?&=%+;,:#0aA":
            yield text[:position] + other + text[position:]


def survivors(head: RequestHead, body: bytes) -> set[tuple[str, str]]:
    """Return every changed part, with its new text, that still passes."""
    found: set[tuple[str, str]] = set()
    for part, (old, put) in parts(head, body).items():
        for new in set(one_character_changes(old)) - {old}:
            if passes(*put(new)):
                found.add((part, new))
    return found


def blanks_around(head: RequestHead, body: bytes) -> set[tuple[str, str]]:
    """Return the changes that RFC 9110 5.5 takes out of a field value before anyone reads it."""
    headers = set(parts(head, body)) - {"method", "target", "body"}
    values = {name: head.values(name)[0] for name in headers}
    return {(name, text) for name, old in values.items() for b in " \t" for text in (b + old, old + b)}


def blanks_behind_commas(head: RequestHead) -> set[tuple[str, str]]:
    """Return the changes to the blanks between the parts of the authorization, which mean nothing."""
    [old] = head.values("authorization")
    found: set[tuple[str, str]] = set()
    for comma in (match.start() for match in re.finditer(", ", old)):
        before, after = old[: comma + 1], old[comma + 2 :]
        found |= {("authorization", before + after), ("authorization", f"{before}  {after}")}
    assert len(found) == 4
    return found


SAME_TARGETS: Final = {
    # The SDK signs a path with a slash at its end whether it is sent with one or not.
    f"/v1.0/{PROJECT}/kms/create-key": ("{}/", "{}?"),
    f"/v1.0/{PROJECT}/kms/get-parameters-for-import": ("{}/", "{}?"),
    f"/v1.0/{PROJECT}/kms/describe-key": ("{}/", "{}?"),
    # RFC 9110 4.2.3: an empty path and '/' are the same. '//' is another path, and is refused.
    "/": ("{}?", "", "?"),
    f"/v2/{PROJECT}/kms/regions?limit=10&offset=0": (f"/v2/{PROJECT}/kms/regions/?limit=10&offset=0",),
}
"""Per recorded target, the changed ones that have the same canonical form: a query of nothing is none, too."""


@pytest.mark.parametrize("vector", LASTING, ids=names_of(LASTING))
def test_no_change_to_a_recorded_request_passes(vector: dict[str, Any]) -> None:
    head, body = recorded(vector)
    verified(head, body)
    same = {("target", form.format(head.target)) for form in SAME_TARGETS[head.target]}
    assert survivors(head, body) == same | blanks_around(head, body) | blanks_behind_commas(head)


def test_no_change_to_an_escaped_target_passes_but_the_case_of_its_escapes() -> None:
    head, body = Signer(method="GET", path=ESCAPED, query=(("a", "/"), ("b", ""))).sign()
    assert head.target == f"{ESCAPED}?a=%2F&b="
    verified(head, body)
    quotas = "kms/user-quotas"
    same = {
        f"/v1.0/%7Bproject_id%7D/{quotas}/?a=%2F&b=",
        # RFC 3986 6.2.2.1: the digits of an escape mean the same in either case.
        f"/v1.0/%7bproject_id%7D/{quotas}?a=%2F&b=",
        f"/v1.0/%7Bproject_id%7d/{quotas}?a=%2F&b=",
        f"/v1.0/%7Bproject_id%7D/{quotas}?a=%2f&b=",
        # A parameter without '=' has the empty value, which is signed with it.
        f"/v1.0/%7Bproject_id%7D/{quotas}?a=%2F&b",
    }
    meaningless = blanks_around(head, body) | blanks_behind_commas(head)
    assert survivors(head, body) == {("target", target) for target in same} | meaningless


def meaning(target: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return all that the scheme signs of a target: the path's bytes, and the parameters' bytes in any order.

    Two targets of one meaning cannot be told apart by a signature, because the client's signer decodes both to the
    same bytes before it signs. Of the path that is up to one slash at its end.
    """
    path, _, query = target.encode("latin-1").partition(b"?")
    pairs = [parameter.partition(b"=") for parameter in query.split(b"&")] if query else []
    parameters = sorted((unquote_to_bytes(name), unquote_to_bytes(value)) for name, _equals, value in pairs)
    return unquote_to_bytes(path).removesuffix(b"/"), parameters


@st.composite
def one_character_changed(draw: st.DrawFn, text: str) -> str:
    """Replace, insert or remove one character."""
    position = draw(st.integers(0, len(text)))
    other = draw(st.characters(min_codepoint=0x21, max_codepoint=0xFF))
    how = draw(st.sampled_from(["replace", "insert", "remove"]))
    if how == "remove":
        return text[:position] + text[position + 1 :]
    return text[:position] + other + text[position + (how == "replace") :]


SIGNED_REQUESTS = st.sampled_from(
    [
        *(recorded(vector) for vector in LASTING),
        Signer(method="GET", path=ESCAPED, query=(("a", "/ +"), ("b", ""), ("c", "é"))).sign(),
        Signer().sign({"plain_text": "测试"}, {"X-Auth-Token": "MIIFtoken"}),
    ]
)


@given(st.data(), SIGNED_REQUESTS)
def test_a_changed_character_never_passes_unless_the_meaning_is_the_same(
    data: st.DataObject, request_: tuple[RequestHead, bytes]
) -> None:
    head, body = request_
    changeable = parts(head, body)
    part = data.draw(st.sampled_from(sorted(changeable)))
    old, put = changeable[part]
    new = data.draw(one_character_changed(old))
    assume(new != old)
    same_target = part == "target" and meaning(new) == meaning(old)
    same_parts = (part, new) in blanks_behind_commas(head)
    assert passes(*put(new)) is (same_target or same_parts)


TARGETS = st.tuples(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="?"), max_size=12),
    st.text(st.sampled_from("ab=&%7Ee+/~\xff"), max_size=12),
).map(lambda pair: f"/{pair[0]}?{pair[1]}")


@given(TARGETS, TARGETS)
def test_two_targets_have_one_signature_only_if_they_have_one_meaning(one: str, other: str) -> None:
    def canonical(target: str) -> tuple[str, str]:
        head = RequestHead("GET", target, ())
        return auth._canonical_uri(head.path), auth._canonical_query(head.query)

    assert (canonical(one) == canonical(other)) is (meaning(one) == meaning(other))


@given(st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n\0"), max_size=200), st.binary(max_size=20))
def test_whatever_the_authorization_is_only_our_errors_come_of_it(text: str, body: bytes) -> None:
    head, _ = Signer().sign(BODY)
    with pytest.raises(HsmkmsError):
        verified(with_header(head, "Authorization", text), body)


def test_another_secret_does_not_verify() -> None:
    with pytest.raises(SignatureMismatch):
        verified(*Signer(secret="another").sign(BODY))


# --- the window ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-900, 0, 900])
def test_fifteen_minutes_of_skew_are_allowed_both_ways(skew: int) -> None:
    verified(*Signer(at=NOW + skew).sign(BODY))


@pytest.mark.parametrize("skew", [-901, 901, -NOW])
def test_more_skew_is_expired(skew: int) -> None:
    with pytest.raises(SignatureExpired):
        verified(*Signer(at=NOW + skew).sign(BODY))


def test_the_window_counts_whole_seconds_as_x_sdk_date_does() -> None:
    head, _body = Signer(at=NOW - 900).sign(BODY)
    assert auth.read_claim(head, Instant(from_seconds(NOW) + 999)).date == written(NOW - 900)
    with pytest.raises(SignatureExpired):
        auth.read_claim(head, Instant(from_seconds(NOW) + 1000))


@pytest.mark.parametrize(
    "date",
    [
        "",
        "1795286014",
        "2026-11-21T18:33:34Z",
        "20261121T183334",
        "20261121T183334z",
        "20261121t183334Z",
        "20261121T183334+0000",
        "20261121T183334ZZ",
        "20261321T183334Z",
        "20260230T183334Z",
        "20261121T243334Z",
        "20261121T183360Z",
        "00001121T183334Z",
        "\xb2\xb0\xb2\xb61121T183334Z",
    ],
)
def test_a_date_that_is_none_is_malformed(date: str) -> None:
    head, body = Signer().sign(BODY)
    with pytest.raises(AuthorizationMalformed, match="X-Sdk-Date"):
        verified(with_header(head, "X-Sdk-Date", date), body)


def test_an_absent_or_repeated_date_is_malformed() -> None:
    head, body = Signer().sign(BODY)
    for headers in (without_header(head, "X-Sdk-Date").headers, (*head.headers, ("x-sdk-date", written(NOW)))):
        with pytest.raises(AuthorizationMalformed, match="X-Sdk-Date"):
            verified(replace(head, headers=headers), body)


# --- what is signed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [("host",), ("x-sdk-date",), ("content-type",), ("host", "x-sdk-date", "host")])
def test_host_and_date_must_be_signed_and_nothing_twice(signed: tuple[str, ...]) -> None:
    with pytest.raises(AuthorizationMalformed, match="host and x-sdk-date"):
        verified(*Signer(signed=signed).sign(BODY, {"Host": HOST}))


def test_host_and_date_are_enough() -> None:
    verified(*Signer(signed=("host", "x-sdk-date")).sign(BODY))


def test_a_signed_header_that_is_absent_is_refused() -> None:
    head, body = Signer().sign(BODY, {"X-Language": "en-us"})
    with pytest.raises(SignatureMismatch, match="x-language"):
        verified(without_header(head, "X-Language"), body)


@pytest.mark.parametrize("name", ["Host", "host", "CONTENT-TYPE", "x-project-id"])
def test_a_signed_header_that_is_repeated_is_refused_even_with_the_same_value(name: str) -> None:
    head, body = Signer().sign(BODY)
    again = (name, head.values(name.lower())[0])
    with pytest.raises(SignatureMismatch, match="exactly once"):
        verified(replace(head, headers=(*head.headers, again)), body)


@pytest.mark.parametrize("body", [BODY, None])
def test_an_unsigned_payload_is_refused_though_the_sdk_signed_it(body: object) -> None:
    with pytest.raises(SignatureMismatch, match="unsigned payloads"):
        verified(*Signer().sign(body, {"X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD"}))


def test_the_sdk_itself_leaves_other_than_json_unsigned_and_that_is_refused() -> None:
    head, body = Signer().sign(BODY, {"Content-Type": "text/plain"})
    assert head.values("x-sdk-content-sha256") == ("UNSIGNED-PAYLOAD",)
    with pytest.raises(SignatureMismatch, match="unsigned payloads"):
        verified(head, body)


def test_a_signature_over_no_payload_is_refused_when_the_header_is_taken_away() -> None:
    names = ("host", "x-sdk-date")
    head, body = Signer(signed=names).sign(BODY, {"X-Sdk-Content-Sha256": "UNSIGNED-PAYLOAD"})
    with pytest.raises(SignatureMismatch):
        verified(without_header(head, "X-Sdk-Content-Sha256"), body)


def test_a_declared_digest_of_the_body_is_accepted_and_another_is_not() -> None:
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    verified(*Signer().sign(b"{}", {"X-Sdk-Content-Sha256": digest}))
    for other in (digest[::-1], digest.upper(), ""):
        with pytest.raises(SignatureMismatch, match="X-Sdk-Content-Sha256 must be"):
            verified(*Signer().sign(b"{}", {"X-Sdk-Content-Sha256": other}))


# --- who signed ----------------------------------------------------------------------------------------------


def test_no_secret_is_unknown_whatever_the_signature() -> None:
    with pytest.raises(CredentialUnknown):
        verified(*Signer().sign(BODY), secret=None)


def test_an_unknown_access_id_costs_what_a_known_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[tuple[str, int]] = []
    digest, compare = hmac.digest, hmac.compare_digest

    def counted_digest(key: bytes, message: bytes, algorithm: str) -> bytes:
        work.append((algorithm, len(message)))
        return digest(key, message, algorithm)

    def counted_compare(one: str, other: str) -> bool:
        work.append(("compare", len(one)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "digest", counted_digest)
    monkeypatch.setattr(hmac, "compare_digest", counted_compare)
    head, body = Signer().sign(BODY)
    verified(head, body)
    known = list(work)
    work.clear()
    with pytest.raises(CredentialUnknown):
        verified(head, body, secret=None)
    assert work == known
    assert [name for name, _size in work] == ["sha256", "compare"]


ZEROS: Final = "0" * 64


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "SDK-HMAC-SHA256",
        "SDK-HMAC-SHA256 ",
        f"sdk-hmac-sha256 Access=A, SignedHeaders=host;x-sdk-date, Signature={ZEROS}",
        f"SDK-HMAC-SHA2567 Access=A, SignedHeaders=host;x-sdk-date, Signature={ZEROS}",
        f"TC3-HMAC-SHA256 Access=A, SignedHeaders=host;x-sdk-date, Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Credential=A, SignedHeaders=host;x-sdk-date, Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access=, SignedHeaders=host;x-sdk-date, Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access=A/B, SignedHeaders=host;x-sdk-date, Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access={'A' * 129}, SignedHeaders=host;x-sdk-date, Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access=A, SignedHeaders=Host;x-sdk-date, Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access=A, SignedHeaders=host;;x-sdk-date, Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access=A, SignedHeaders=, Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access=A, SignedHeaders=host;x-sdk-date, Signature={ZEROS[1:]}",
        f"SDK-HMAC-SHA256 Access=A, SignedHeaders=host;x-sdk-date, Signature={ZEROS}0",
        f"SDK-HMAC-SHA256 Access=A, SignedHeaders=host;x-sdk-date, Signature={'A' * 64}",
        f"SDK-HMAC-SHA256 Access=A ,SignedHeaders=host;x-sdk-date,Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access=A,\tSignedHeaders=host;x-sdk-date,Signature={ZEROS}",
        f"SDK-HMAC-SHA256 Access=A, SignedHeaders=host;x-sdk-date, Signature={ZEROS}, More=1",
    ],
)
def test_an_authorization_of_another_form_is_malformed(authorization: str) -> None:
    head, body = Signer().sign(BODY)
    with pytest.raises(AuthorizationMalformed, match=r"one Authorization header of the form 'SDK-HMAC-SHA256 Access="):
        verified(with_header(head, "Authorization", authorization), body)


def test_the_longest_access_id_is_read() -> None:
    longest = "Az09_-" + "x" * 122
    head, _body = Signer(access_id=longest).sign(BODY)
    assert auth.read_claim(head, from_seconds(NOW)).access_id == longest


def test_no_authorization_and_a_second_one_are_malformed() -> None:
    head, body = Signer().sign(BODY)
    [authorization] = head.values("authorization")
    for headers in (
        without_header(head, "Authorization").headers,
        (*head.headers, ("authorization", authorization)),
        (*head.headers, ("authorization", "Basic QTpC")),
    ):
        with pytest.raises(AuthorizationMalformed, match="one Authorization"):
            verified(replace(head, headers=headers), body)


def test_temporary_credentials_are_refused_and_an_empty_token_is_none() -> None:
    with pytest.raises(AuthorizationMalformed, match="X-Security-Token"):
        verified(*Signer().sign(BODY, {"X-Security-Token": "temporary"}))
    verified(*Signer().sign(BODY, {"X-Security-Token": ""}))


# --- the SDK's other algorithms --------------------------------------------------------------------------------

SDK_SIGNERS: list[Any] = [
    each for each in vars(sdk_signer).values() if isinstance(each, type) and issubclass(each, sdk_signer.Signer)
]
SDK_ALGORITHMS: set[str] = {signer._ALGORITHM for signer in SDK_SIGNERS}


def test_every_algorithm_of_the_sdk_is_known() -> None:
    assert set(auth._ALGORITHMS) == SDK_ALGORITHMS


@pytest.mark.parametrize("algorithm", sorted(SDK_ALGORITHMS - {auth.SCHEME}))
def test_another_algorithm_of_the_sdk_is_refused_with_the_one_to_use(algorithm: str) -> None:
    head, body = Signer().sign(BODY)
    other = head.values("authorization")[0].replace(auth.SCHEME, algorithm)
    head = with_header(head, "Authorization", other)
    assert auth.speaks(head)
    with pytest.raises(AuthorizationMalformed, match=f"by {algorithm} .* Sign with SDK-HMAC-SHA256"):
        verified(head, body)


@pytest.mark.parametrize(
    ("authorizations", "spoken"),
    [
        ((), False),
        (("",), False),
        (("Basic QTpC",), False),
        (("TC3-HMAC-SHA256 Credential=A",), False),
        (("V11-HMAC-SHA256 Credential=A",), True),
        (("Basic QTpC", "SDK-HMAC-SHA256 Access=A"), True),
        (("SDK-HMAC-SHA256",), True),
        (("sdk-hmac-sha256 Access=A",), True),
        (("v11-hmac-sha256",), True),
        (("SDK-FOO",), True),
        (("SDK",), False),
        (("Bearer SDK-HMAC-SHA256",), False),
    ],
)
def test_the_algorithm_tells_whose_request_it_is(authorizations: tuple[str, ...], spoken: bool) -> None:
    headers = tuple(("Authorization", each) for each in authorizations)
    assert auth.speaks(RequestHead("GET", "/", headers)) is spoken
