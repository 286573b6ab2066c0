r"""TC3-HMAC-SHA256, verified over the raw request.

Source: Tencent Cloud API 3.0, "Signature v3"; the official Python SDK (`abstract_client.py`, `sign.py`).

    canonical request = METHOD \n PATH \n QUERY \n name:value\n ... \n SIGNED-HEADERS \n hex(SHA-256(body))
    string to sign    = TC3-HMAC-SHA256 \n TIMESTAMP \n DATE/kms/tc3_request \n hex(SHA-256(canonical request))
    signing key       = HMAC(HMAC(HMAC("TC3" + secret, DATE), "kms"), "tc3_request")

Laws:

- whatever SignedHeaders lists is verified, host and content-type always among it;
- the body's real digest is what counts: UNSIGNED-PAYLOAD is refused;
- an unknown access id costs the same HMACs as a known one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import (
    AuthorizationMalformed,
    FieldInvalid,
    FieldMissing,
    SignatureExpired,
    SignatureMismatch,
)
from hsmkms.core.ids import AccessId, to_seconds
from hsmkms.dialects import signatures

if TYPE_CHECKING:
    from hsmkms.core.ids import Instant
    from hsmkms.core.secrets import SecretKey
    from hsmkms.dialects.base import RequestHead
    from hsmkms.service.commands import OpenCredential

SCHEME: Final = "TC3-HMAC-SHA256"
WINDOW_SECONDS: Final = 300
"""How far the timestamp may be from our clock, in both directions."""

_SECONDS_PER_DAY: Final = 86_400
_SERVICE: Final = "kms"
_TERMINATOR: Final = "tc3_request"
_ALWAYS_SIGNED: Final = ("content-type", "host")
_AUTHORIZATION: Final = re.compile(
    SCHEME + r" Credential=(?P<access_id>[A-Za-z0-9_-]{1,128})/(?P<date>\d{4}-\d{2}-\d{2})/kms/tc3_request,"
    r" *SignedHeaders=(?P<signed>[a-z0-9-]+(?:;[a-z0-9-]+)*), *Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,11}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its own origin, not yet believed."""

    access_id: AccessId
    date: str
    timestamp: str
    signed_headers: tuple[str, ...]
    signature: str


def read_claim(head: RequestHead, now: Instant) -> Claim:
    """Return what the request claims, after every check that needs no secret.

    Raises:
        AuthorizationMalformed: no Authorization of this scheme's form, or temporary credentials.
        FieldMissing: X-TC-Timestamp is absent.
        FieldInvalid: X-TC-Timestamp is not Unix seconds.
        SignatureExpired: it is more than `WINDOW_SECONDS` from `now`.
        SignatureMismatch: the credential's date is another day's.
    """
    authorizations = head.values("authorization")
    match = _AUTHORIZATION.fullmatch(authorizations[0]) if len(authorizations) == 1 else None
    if match is None:
        raise AuthorizationMalformed(
            f"The request needs one Authorization header of the form '{SCHEME} Credential=<SecretId>/<date>/kms/"
            "tc3_request, SignedHeaders=content-type;host, Signature=<hex>' (signature v3; v1 is not offered)."
        )
    if any(head.values("x-tc-token")):
        raise AuthorizationMalformed("Temporary credentials (X-TC-Token) are not offered by this service.")
    signed = signatures.header_names(match["signed"], _ALWAYS_SIGNED)
    timestamp = _read_timestamp(head)
    if abs(int(timestamp) - to_seconds(now)) > WINDOW_SECONDS:
        raise SignatureExpired
    if match["date"] != _date(int(timestamp)):
        raise SignatureMismatch("The date in Credential must be the UTC date of X-TC-Timestamp.")
    return Claim(AccessId(match["access_id"]), match["date"], timestamp, signed, match["signature"])


def verify(head: RequestHead, body: bytes, claim: Claim, credential: OpenCredential | None) -> OpenCredential:
    """Return `credential` (None: there is none) if the request was signed with its secret.

    Raises:
        CredentialUnknown: there is no credential.
        SignatureMismatch: the signature is not this request's, a signed header is absent or repeated, or the
            body is declared unsigned.
    """
    digest = hashlib.sha256(body).hexdigest()
    if any(declared.lower() != digest for declared in head.values("x-tc-content-sha256")):
        raise SignatureMismatch(
            "X-TC-Content-SHA256 must be absent or the SHA-256 of the body: unsigned payloads are not accepted."
        )
    values = signatures.header_values(head, claim.signed_headers)
    key = _signing_key(signatures.secret_to_try(credential), claim.date)
    # The SDKs sign a header's value as it stands, the documentation lower-cases it: either is the client's right, and
    # most requests are the same in both.
    lowered = [value.lower() for value in values]
    spellings = (values,) if lowered == values else (values, lowered)
    matches = [
        hmac.compare_digest(_signature(key, claim, _canonical_request(head, claim, spelled, digest)), claim.signature)
        for spelled in spellings
    ]
    return signatures.believed(credential, matches=any(matches))


def authorization(head: RequestHead, body: bytes, names: tuple[str, ...], access_id: AccessId, key: SecretKey) -> str:
    """Return the Authorization header by which a client signs a request.

    Args:
        head: the request, with its X-TC-Timestamp and without an Authorization.
        body: what is sent with it.
        names: the headers to sign, in lower case; their values are signed in lower case, as the documentation has it.
        access_id: whose the key is.
        key: the secret key.

    Raises:
        SignatureMismatch: a header to sign is not in the request exactly once.
    """
    (timestamp,) = signatures.header_values(head, ("x-tc-timestamp",))
    date = _date(int(timestamp))
    claim = Claim(access_id, date, timestamp, names, signature="")
    values = [value.lower() for value in signatures.header_values(head, names)]
    canonical = _canonical_request(head, claim, values, hashlib.sha256(body).hexdigest())
    return (
        f"{SCHEME} Credential={access_id}/{date}/{_SERVICE}/{_TERMINATOR}, SignedHeaders={';'.join(names)}, "
        f"Signature={_signature(_signing_key(key, date), claim, canonical)}"
    )


def _date(timestamp: int) -> str:
    """Return the UTC date of a Unix second."""
    return _date_of_day(timestamp // _SECONDS_PER_DAY)


@lru_cache(maxsize=4)
def _date_of_day(day: int) -> str:
    return datetime.fromtimestamp(day * _SECONDS_PER_DAY, UTC).strftime("%Y-%m-%d")


def _read_timestamp(head: RequestHead) -> str:
    timestamps = head.values("x-tc-timestamp")
    if not timestamps:
        raise FieldMissing("X-TC-Timestamp")
    if len(timestamps) > 1 or not _TIMESTAMP.fullmatch(timestamps[0]):
        raise FieldInvalid("X-TC-Timestamp", "send the Unix time in seconds, once.")
    return timestamps[0]


def _canonical_request(head: RequestHead, claim: Claim, values: list[str], digest: str) -> bytes:
    headers = signatures.header_lines(claim.signed_headers, values)
    lines = (head.method, head.path, head.query, headers, ";".join(claim.signed_headers), digest)
    return "\n".join(lines).encode("latin-1")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("ascii"), "sha256")


def _signing_key(secret: SecretKey, date: str) -> bytes:
    """Return the key of a day; it is kept with the secret, for its three HMACs would be a tenth of a request's work."""

    def derive(value: bytes) -> bytes:
        return _hmac(_hmac(_hmac(b"TC3" + value, date), _SERVICE), _TERMINATOR)

    return secret.derived(date, derive).reveal()


def _signature(key: bytes, claim: Claim, canonical_request: bytes) -> str:
    scope = f"{claim.date}/{_SERVICE}/{_TERMINATOR}"
    text = "\n".join((SCHEME, claim.timestamp, scope, hashlib.sha256(canonical_request).hexdigest()))
    return _hmac(key, text).hex()
