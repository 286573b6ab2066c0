"""Sealing keys that bear the deployment's name, and that its database does not name.

Laws:

- they are told of, never used and never removed: which of database and token is the older one, only the operator knows;
- they are found by the beginning of their label, since the versions of another database may have gaps where ours has
  none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pkcs11 import Attribute

from hsmkms.core.custody import FIRST_VERSION, SEALING_ROLES, label_of
from hsmkms.core.errors import TokenUnusable
from hsmkms.core.records import MOST_VERSION
from hsmkms.hsm.host import templates
from hsmkms.hsm.report import UnknownKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hsmkms.core.custody import CustodyObject, CustodyRole
    from hsmkms.hsm.host.session import TokenSession

_MOST_TOLD: Final = 64
"""More are nobody's rotation, and would fill the answer of a host."""


def sealing_keys(session: TokenSession, deployment_id: str, known: Iterable[CustodyObject]) -> tuple[UnknownKey, ...]:
    """Return what is named as this deployment's sealing keys are, and is none of `known`; so many as can be told."""
    named = {item.label(deployment_id) for item in known}
    labels = {session.read(key, Attribute.LABEL) for key in session.find(templates.find_wrapping_keys())}
    unknown = (
        UnknownKey(label=label, version=_version(deployment_id, role, label))
        for role in SEALING_ROLES
        for label in labels - named
        if isinstance(label, str) and label.startswith(label_of(deployment_id, role))
    )
    return tuple(sorted(unknown, key=lambda each: (each.version, each.label)))[:_MOST_TOLD]


def _version(deployment_id: str, role: CustodyRole, label: str) -> int:
    """Return the version that a label names; 0 if it is none that we write."""
    first = label_of(deployment_id, role)
    digits = label.removeprefix(f"{first} v")
    if label == first:
        return FIRST_VERSION
    if not digits.isdecimal() or len(digits) > len(str(MOST_VERSION)):
        return 0
    version = int(digits)
    return version if label_of(deployment_id, role, version) == label else 0


def require_none(
    session: TokenSession, deployment_id: str, known: Sequence[CustodyObject], planned: Iterable[CustodyObject]
) -> None:
    """Return if the token has no sealing keys of this deployment's name but those that the database knows.

    Args:
        session: to work in.
        deployment_id: whose name it is.
        known: what the database names.
        planned: what is to be made: of its names there must be no object at all.

    Raises:
        TokenUnusable: it has; the sentence says what they may be.
    """
    newest = max(item.version for item in known)
    taken = (
        UnknownKey(label=label, version=item.version)
        for item in planned
        if session.find(templates.find_by_label(label := item.label(deployment_id)))
    )
    for each in (*sealing_keys(session, deployment_id, known), *taken):
        if FIRST_VERSION <= each.version < newest:
            raise TokenUnusable(
                f"The token still has the object '{each.label}', and the database does not know its version any more: "
                f"its retirement was interrupted. Run 'hsmkms sealing retire {each.version}' again. If that version "
                "was never retired, the database is damaged: restore it."
            )
        raise TokenUnusable(
            f"The token has an object '{each.label}' that the database does not know: an earlier rotation was "
            "interrupted, or the database is older than the token. If the database is the newest that there is, "
            "and no other node has made it, repeat the command with --replace-unknown."
        )
