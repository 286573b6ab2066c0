r"""SDK-HMAC-SHA256, verified over the raw request.

Source: Huawei Cloud APIG, "AK/SK signing"; the official Python SDK (`huaweicloudsdkcore/signer/signer.py`).

    canonical request = METHOD \n URI \n QUERY \n name:value\n ... \n SIGNED-HEADERS \n hex(SHA-256(body))
    string to sign    = SDK-HMAC-SHA256 \n X-SDK-DATE \n hex(SHA-256(canonical request))
    signature         = hex(HMAC-SHA-256(secret, string to sign))

The secret itself is the key: no scope of a day, a region or a service narrows it.

Laws:

- whatever SignedHeaders lists is verified in the order of the list, host and x-sdk-date always among it;
- the body's real digest is what counts: UNSIGNED-PAYLOAD is refused;
- the canonical form forgets only what the client's own signer forgets: how a byte of the target was encoded, a slash
  at the path's end, the '=' of an empty parameter, and the order of the parameters;
- an unknown access id costs the same HMAC as a known one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from hsmkms.core.errors import AuthorizationMalformed, SignatureExpired, SignatureMismatch
from hsmkms.core.ids import AccessId, to_seconds
from hsmkms.dialects import claiming, signatures

if TYPE_CHECKING:
    from hsmkms.core.ids import Instant
    from hsmkms.dialects.base import RequestHead
    from hsmkms.service.commands import OpenCredential

SCHEME: Final = "SDK-HMAC-SHA256"
WINDOW_SECONDS: Final = 900
"""How far X-Sdk-Date may be from our clock, in both directions."""

_ALGORITHMS: Final = (SCHEME, "SDK-HMAC-SM3", "SDK-ECDSA-P256-SHA256", "SDK-SM2-SM3", "V11-HMAC-SHA256")
"""All that the SDK can sign with."""

TWO_WAYS: Final = (
    f"The request needs one Authorization header of the form '{SCHEME} Access=<access key>, "
    "SignedHeaders=host;x-sdk-date, Signature=<hex>', as the official SDKs make it, with every signed header named in "
    "lower case; or, without a signature, the header X-Auth-Token with an auth token of this service."
)

_ALWAYS_SIGNED: Final = ("host", "x-sdk-date")
_AUTHORIZATION: Final = re.compile(
    SCHEME + r" Access=(?P<access_id>[A-Za-z0-9_-]{1,128}),"
    r" *SignedHeaders=(?P<signed>[a-z0-9-]+(?:;[a-z0-9-]+)*), *Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9._~/-]*", re.ASCII)
"""A path that encoding leaves as it is."""
_DATE: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its own origin, not yet believed."""

    access_id: AccessId
    date: str
    """X-Sdk-Date as it stands."""
    signed_headers: tuple[str, ...]
    signature: str


def speaks(head: RequestHead) -> bool:
    """Tell whether the request is signed, or is meant to be, as this cloud's SDK does."""
    return claiming.signed_for(head, claiming.Cloud.HUAWEI)


def read_claim(head: RequestHead, now: Instant) -> Claim:
    """Return what the request claims, after every check that needs no secret.

    Raises:
        AuthorizationMalformed: no Authorization of this scheme's form, no X-Sdk-Date, or temporary credentials.
        SignatureExpired: X-Sdk-Date is more than `WINDOW_SECONDS` from `now`.
    """
    match = _read_authorization(head)
    if any(head.values("x-security-token")):
        raise AuthorizationMalformed("Temporary credentials (X-Security-Token) are not offered by this service.")
    signed = signatures.header_names(match["signed"], _ALWAYS_SIGNED)
    date, second = _read_date(head)
    if abs(second - to_seconds(now)) > WINDOW_SECONDS:
        raise SignatureExpired
    return Claim(AccessId(match["access_id"]), date, signed, match["signature"])


def verify(head: RequestHead, body: bytes, claim: Claim, credential: OpenCredential | None) -> OpenCredential:
    """Return `credential` if its secret signed this request; None stands for an access id that is nobody's.

    Raises:
        CredentialUnknown: the access id is nobody's.
        SignatureMismatch: another secret or another request was signed, it is open which value of a header was,
            or the body is declared unsigned.
    """
    digest = hashlib.sha256(body).hexdigest()
    if any(declared != digest for declared in head.values("x-sdk-content-sha256")):
        raise SignatureMismatch(
            "X-Sdk-Content-Sha256 must be absent or the SHA-256 of the body in lower-case hexadecimal: "
            "unsigned payloads are not accepted."
        )
    to_sign = _string_to_sign(claim, _canonical_request(head, claim, digest))
    signature = hmac.digest(signatures.secret_to_try(credential).reveal(), to_sign, "sha256").hex()
    return signatures.believed(credential, matches=hmac.compare_digest(signature, claim.signature))


def _read_authorization(head: RequestHead) -> re.Match[str]:
    authorizations = head.values("authorization")
    if len(authorizations) == 1:
        match = _AUTHORIZATION.fullmatch(authorizations[0])
        if match is not None:
            return match
        algorithm = authorizations[0].partition(" ")[0]
        if algorithm != SCHEME and algorithm in _ALGORITHMS:
            raise AuthorizationMalformed(
                f"Signatures by {algorithm} are not offered by this service. Sign with {SCHEME}, the SDK's default."
            )
    raise AuthorizationMalformed(TWO_WAYS)


def _read_date(head: RequestHead) -> tuple[str, int]:
    """Return X-Sdk-Date as it stands, and the Unix second that it means."""
    dates = head.values("x-sdk-date")
    try:
        if len(dates) == 1 and (written := _DATE.fullmatch(dates[0])):
            year, month, day, hour, minute, second = map(int, written.groups())
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
            return dates[0], int(moment.timestamp())
    except ValueError:  # of that form, but no day or no time of day
        pass
    raise AuthorizationMalformed("X-Sdk-Date must be in the request once, as a UTC time of the form YYYYMMDDThhmmssZ.")


def _canonical_request(head: RequestHead, claim: Claim, digest: str) -> bytes:
    names = claim.signed_headers
    headers = signatures.header_lines(names, signatures.header_values(head, names))
    parts = (head.method, _canonical_uri(head.path), _canonical_query(head.query), headers, ";".join(names), digest)
    return "\n".join(parts).encode("latin-1")


def _canonical_uri(path: str) -> str:
    """Return the path with its bytes encoded in the one way, and a slash at the end."""
    if _PLAIN_PATH.fullmatch(path):  # as nearly all are
        return path if path.endswith("/") else path + "/"
    encoded = "/".join(_encoded(segment) for segment in _decoded(path).split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def _canonical_query(query: str) -> str:
    """Return the parameters encoded in the one way, by name and then by value; '+' is no space."""
    if not query:
        return ""
    parameters = [parameter.partition("=") for parameter in query.split("&")]
    pairs = sorted((_decoded(name), _decoded(value)) for name, _equals, value in parameters)
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs)


def _decoded(text: str) -> str:
    # ISO 8859-1 maps every byte to one character and back, so bytes that are no UTF-8 stay apart.
    return unquote(text, "latin-1")


def _encoded(text: str) -> str:
    return quote(text, safe="~", encoding="latin-1")


def _string_to_sign(claim: Claim, canonical_request: bytes) -> bytes:
    return "\n".join((SCHEME, claim.date, hashlib.sha256(canonical_request).hexdigest())).encode("ascii")
