"""What a token must refuse, tried.

Law: attributes are what a token says; only an attempt shows what it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pkcs11
from pkcs11 import Attribute, Mechanism

from hsmkms.core.wrapping import WRAPPING_KEY_BITS
from hsmkms.hsm.host import evidence, faults, outside, profiles, templates
from hsmkms.hsm.host.materials import unsealed
from hsmkms.hsm.host.pairs import narrowed
from hsmkms.hsm.report import CheckFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.workbench import Workbench


def _refusal(bench: Workbench, check: str, attempt: Callable[[], TokenObject | bytes | None]) -> CheckFinding:
    """Make the attempt; the check passes if the token refuses it."""
    try:
        made = attempt()
    except pkcs11.PKCS11Error as error:
        return CheckFinding(check=check, passed=True, finding=f"refused ({faults.word(error)})", exception="")
    if made is not None and not isinstance(made, bytes):
        made.destroy()
    return CheckFinding(
        check=check,
        passed=False,
        finding=profiles.NOT_ENFORCED,
        exception=bench.profile.excuse(f"{check}: {profiles.NOT_ENFORCED}"),
    )


def _comparison(bench: Workbench, subject: str, found: list[str], which: str = "") -> Iterator[CheckFinding]:
    """Turn the findings of one object into checks; one that passed if there are none.

    Args:
        bench: whose profile may excuse a finding.
        subject: what kind of object it is, as the profile calls it.
        found: how its attributes differ from what was asked for.
        which: which of several objects of this kind it is.
    """
    check = f"{subject}, {which}" if which else subject
    if not found:
        yield CheckFinding(check=check, passed=True, finding="attributes as asked for", exception="")
    for finding in found:
        excuse = bench.profile.excuse(f"{subject}: {finding}")
        yield CheckFinding(check=check, passed=False, finding=finding, exception=excuse)


def of_custody(bench: Workbench) -> Iterator[CheckFinding]:
    """Compare the long-lived objects with what they were asked to be."""
    for role, key in bench.custody.objects.items():
        asked = templates.custody_role(role, allowed_mechanisms=bench.profile.stores_allowed_mechanisms)
        found = evidence.findings(bench.session, key, asked, generated=True)
        yield from _comparison(bench, profiles.CUSTODY, found, role.value)


def of_pairs(bench: Workbench) -> Iterator[CheckFinding]:
    """Generate, narrow, seal and unseal a pair, and compare what comes of it."""
    session, sealing = bench.session, bench.custody.pair_sealing
    public, fresh = session.generate_pair(WRAPPING_KEY_BITS)
    with session.temporary(public), session.temporary(fresh):
        asked = templates.fresh_pair_private()
        yield from _comparison(bench, profiles.GENERATED_PAIR, evidence.findings(session, fresh, asked, generated=True))
        blob = session.wrap(sealing, fresh, templates.PAIR_SEALING_MECHANISM)
        with session.temporary(narrowed(session, fresh)) as kept:
            found = evidence.findings(session, kept, templates.pair_private())
            yield from _comparison(bench, profiles.NARROWED_PAIR, found)
    with session.temporary(
        session.unwrap(sealing, blob, templates.pair_private(), templates.PAIR_SEALING_MECHANISM)
    ) as again:
        yield from _comparison(
            bench, profiles.UNSEALED_PAIR, evidence.findings(session, again, templates.pair_private())
        )
    decrypting = templates.misused(templates.pair_private(), Attribute.DECRYPT)
    yield _refusal(
        bench,
        profiles.REFUSES_UNSEALING_DECRYPTING_PAIR,
        lambda: session.unwrap(sealing, blob, decrypting, templates.PAIR_SEALING_MECHANISM),
    )


def of_material(bench: Workbench) -> Iterator[CheckFinding]:
    """Generate, seal and unseal material; compare what comes of it, and try to misuse it."""
    session, sealing = bench.session, bench.custody.material_sealing
    asked = templates.material(extractable=True)
    with session.temporary(session.generate_secret(bench.edition.material_bits, asked)) as temporary:
        yield from _comparison(bench, profiles.GENERATED_MATERIAL, evidence.findings(session, temporary, asked))
        blob = session.wrap(sealing, temporary, templates.MATERIAL_SEALING_MECHANISM)
        yield _refusal(
            bench,
            profiles.REFUSES_ANOTHER_MECHANISM,
            lambda: session.wrap(sealing, temporary, Mechanism.AES_KEY_WRAP_PAD),
        )
    with unsealed(bench, blob) as key:
        found = evidence.findings(session, key, templates.material())
        yield from _comparison(bench, profiles.UNSEALED_MATERIAL, found)
        yield _refusal(
            bench, profiles.REFUSES_WRAPPING, lambda: session.wrap(sealing, key, templates.MATERIAL_SEALING_MECHANISM)
        )
        yield _refusal(bench, profiles.REFUSES_WIDENING, lambda: session.copy(key, templates.widening()))
        yield _refusal(bench, profiles.REFUSES_CHANGES, lambda: session.change(key, Attribute.DERIVE, value=True))
    yield from _of_unsealing(bench, blob)


def of_imported(bench: Workbench, key: TokenObject) -> tuple[CheckFinding, ...]:
    """Compare a temporary object that C_UnwrapKey made of wrapped material with what it was asked to be."""
    found = evidence.findings(bench.session, key, templates.material(extractable=True))
    return tuple(_comparison(bench, profiles.IMPORTED_MATERIAL, found))


def of_ciphering(bench: Workbench, key: TokenObject) -> tuple[CheckFinding, ...]:
    """Compare material unsealed to encrypt with what it was asked to be."""
    found = evidence.findings(bench.session, key, templates.ciphering_material())
    return tuple(_comparison(bench, profiles.CIPHERING_MATERIAL, found))


def _of_unsealing(bench: Workbench, blob: bytes) -> Iterator[CheckFinding]:
    session, sealing = bench.session, bench.custody.material_sealing
    attempts = (
        (profiles.REFUSES_UNSEALING_EXTRACTABLE, templates.material(extractable=True), blob),
        (
            profiles.REFUSES_UNSEALING_IN_ANOTHER_ROLE,
            templates.misused(templates.material(), Attribute.DERIVE),
            blob,
        ),
        (profiles.CHECKS_INTEGRITY, templates.material(), outside.damage(blob)),
    )
    for check, template, attempted in attempts:
        yield _refusal(
            bench,
            check,
            lambda template=template, attempted=attempted: session.unwrap(  # type: ignore[misc]
                sealing, attempted, template, templates.MATERIAL_SEALING_MECHANISM
            ),
        )
