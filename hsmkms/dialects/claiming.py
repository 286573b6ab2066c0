"""Whose a request is, told from its head alone: one answer, so that no two dialects can claim the same request.

Law: the first of these that says anything decides: the scheme of a signature; an auth token; headers, then a query,
that only one cloud's clients send; the path. A scheme is told by how its name begins, in any case, so that a request
signed for one cloud in a wrong form is refused in that cloud's words. Other schemes (Basic, Bearer) say nothing.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsmkms.dialects.base import RequestHead


class Cloud(Enum):
    """Whose API a request speaks."""

    HUAWEI = auto()
    TENCENT = auto()
    AWS = auto()
    """Known by its signatures, so that no other cloud is asked about them; no dialect speaks it."""


_SCHEMES: Final[Mapping[str, Cloud]] = {
    "TC3-": Cloud.TENCENT,
    "SDK-": Cloud.HUAWEI,
    "V11-": Cloud.HUAWEI,
    "AWS4-": Cloud.AWS,
}
"""How the authorization schemes begin that each cloud's SDKs sign with; of two in one request the first here counts."""
_PREFIXES: Final[Mapping[Cloud, tuple[str, ...]]] = {
    cloud: tuple(prefix for prefix, owner in _SCHEMES.items() if owner is cloud) for cloud in _SCHEMES.values()
}
_TENCENT_HEADERS: Final = "x-tc-"
_TENCENT_QUERY: Final = re.compile(r"(?:^|&)Action=")
"""API 2.0, the predecessor of 3.0."""
_HUAWEI_PATHS: Final = re.compile(r"/v1\.0(?:/.*)?|/v[23]/.*")
_ROOT: Final[Mapping[str, Cloud]] = {"GET": Cloud.HUAWEI, "POST": Cloud.TENCENT}
"""At the path "/" one cloud lists its versions, and the other has all of its API."""


def claimant(head: RequestHead) -> Cloud | None:
    """Return whose the request is; None: nobody's."""
    for cloud in _PREFIXES:
        if signed_for(head, cloud):
            return cloud
    if head.values("x-auth-token"):
        return Cloud.HUAWEI
    if any(name.lower().startswith(_TENCENT_HEADERS) for name, _value in head.headers):
        return Cloud.TENCENT
    if _TENCENT_QUERY.search(head.query):
        return Cloud.TENCENT
    return Cloud.HUAWEI if _HUAWEI_PATHS.fullmatch(head.path) else _root(head)


def signed_for(head: RequestHead, cloud: Cloud) -> bool:
    """Tell whether the request is signed, or is meant to be, as a request of `cloud` is."""
    return any(value.upper().startswith(_PREFIXES[cloud]) for value in head.values("authorization"))


def _root(head: RequestHead) -> Cloud | None:
    return _ROOT.get(head.method) if head.path == "/" else None
