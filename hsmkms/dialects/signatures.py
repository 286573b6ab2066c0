"""What the clouds' HMAC signatures have in common: the headers they cover, and who is believed.

Source: Tencent Cloud API 3.0, "Signature v3"; Huawei Cloud APIG, "AK/SK signing": both carry a list `a;b;c` of header
names in lower case, and sign one line `name:value` for each of them in the order of the list.

Law: an access id that does not exist is answered only after the same work as one that does.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import AuthorizationMalformed, CredentialUnknown, SignatureMismatch
from hsmkms.core.secrets import SecretKey
from hsmkms.service.minting import ACCESS_ID_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.dialects.base import RequestHead
    from hsmkms.service.commands import OpenCredential

_NOBODY: Final = SecretKey(secrets.token_bytes(32))
"""Stands in for the secret of an access id that does not exist."""
_CLAIMED: Final = re.compile(rf"(?:Access|Credential)=({ACCESS_ID_PREFIX}[A-Za-z0-9_-]{{0,124}})(?:[,/]|$)", re.ASCII)


def claimed_access_id(head: RequestHead) -> str | None:
    """Return the access id that a request claims, for a log; None if it claims none of a form that is ours.

    Whoever mistakes his secret key for his access id sends that: it is not of the form, and in no log.
    """
    matches = [_CLAIMED.search(value) for value in head.values("authorization")]
    return next((match[1] for match in matches if match is not None), None)


def header_names(listed: str, always: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the list, in its order.

    Raises:
        AuthorizationMalformed: one of `always` is not among them, or a name is there twice.
    """
    names = tuple(listed.split(";"))
    if len(set(names)) != len(names) or not set(always).issubset(names):
        raise AuthorizationMalformed(f"SignedHeaders must name {' and '.join(always)}, and no header twice.")
    return names


def header_values(head: RequestHead, names: Sequence[str]) -> list[str]:
    """Return the value of each signed header.

    Raises:
        SignatureMismatch: one is not in the request exactly once, so that it is open which value was signed.
    """
    values: list[str] = []
    for name in names:
        found = head.values(name)
        if len(found) != 1:
            raise SignatureMismatch(f"The signed header {name} must be in the request exactly once.")
        values += found
    return values


def header_lines(names: Sequence[str], values: Sequence[str]) -> str:
    """Return the block of `name:value` lines, each with its line feed."""
    return "".join(f"{name}:{value}\n" for name, value in zip(names, values, strict=True))


def secret_to_try(credential: OpenCredential | None) -> SecretKey:
    """Return the secret to verify with; one that nobody has, if there is no credential."""
    return _NOBODY if credential is None else credential.secret


def believed(credential: OpenCredential | None, *, matches: bool) -> OpenCredential:
    """Return the credential if the signature matches its secret.

    Raises:
        CredentialUnknown: there is no credential.
        SignatureMismatch: the signature is another.
    """
    if credential is None:
        raise CredentialUnknown
    if not matches:
        raise SignatureMismatch
    return credential
