"""What a token must refuse, tried.

Law: attributes are what a token says; only an attempt shows what it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pkcs11 import Attribute, Mechanism

from hsmkms.core.custody import FIRST_VERSION
from hsmkms.core.wrapping import WRAPPING_KEY_BITS
from hsmkms.hsm.host import evidence, faults, outside, profiles, templates, transferability
from hsmkms.hsm.host.materials import unsealed
from hsmkms.hsm.host.pairs import narrowed
from hsmkms.hsm.host.records import Content
from hsmkms.hsm.report import CheckFinding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hsmkms.hsm.host.session import TokenObject
    from hsmkms.hsm.host.transferability import Attempt
    from hsmkms.hsm.host.workbench import SealingKey, Workbench


def _named(name: str, version: int) -> str:
    """Return how the report calls what there may be of several versions."""
    return name if version == FIRST_VERSION else f"{name}, version {version}"


def _refusal(bench: Workbench, check: str, attempt: Attempt, version: int = FIRST_VERSION) -> CheckFinding:
    """Make the attempt; the check passes if the token refuses it.

    Args:
        bench: whose profile may excuse that it does not.
        check: what is to be refused.
        attempt: to do it.
        version: of the sealing key that it is done with.
    """
    error = transferability.refusal_of(bench.session, attempt)
    if error is not None:
        refused = f"refused ({faults.word(error)})"
        return CheckFinding(check=_named(check, version), passed=True, finding=refused, exception="")
    return CheckFinding(
        check=_named(check, version),
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
    for item, key in bench.custody.objects.items():
        asked = templates.custody_role(
            item.role, transferable=item.transferable, allowed_mechanisms=bench.profile.stores_allowed_mechanisms
        )
        found = evidence.findings(bench.session, key, asked, generated=True)
        yield from _comparison(bench, profiles.CUSTODY, found, _named(item.role.value, item.version))


def of_pairs(bench: Workbench) -> Iterator[CheckFinding]:
    """Generate, narrow, seal and unseal a pair, and compare what comes of it."""
    session, sealing = bench.session, bench.custody.pair_sealing.key
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
    session, newest = bench.session, bench.custody.material_sealing
    sealing = newest.key
    asked = templates.material(extractable=True)
    with session.temporary(session.generate_secret(bench.edition.material_bits, asked)) as temporary:
        yield from _comparison(bench, profiles.GENERATED_MATERIAL, evidence.findings(session, temporary, asked))
        blob = session.wrap(sealing, temporary, templates.MATERIAL_SEALING_MECHANISM)
        yield _refusal(
            bench,
            profiles.REFUSES_ANOTHER_MECHANISM,
            lambda: session.wrap(sealing, temporary, Mechanism.AES_KEY_WRAP_PAD),
        )
    with unsealed(bench, Content(newest.version, blob)) as key:
        found = evidence.findings(session, key, templates.material(transferable=newest.transferable))
        yield from _comparison(bench, profiles.UNSEALED_MATERIAL, found)
        yield _refusal(
            bench, profiles.REFUSES_WRAPPING, lambda: session.wrap(sealing, key, templates.MATERIAL_SEALING_MECHANISM)
        )
        yield _refusal(bench, profiles.REFUSES_WIDENING, lambda: session.copy(key, templates.widening()))
        yield _refusal(bench, profiles.REFUSES_CHANGES, lambda: session.change(key, Attribute.DERIVE, value=True))
    yield from _of_unsealing(bench, newest, blob)
    bench.destroy_unknown()  # so that what these attempts leave is not taken for a lost answer's
    for each in bench.custody.materials_sealing:
        yield from _of_letting_go(bench, each)
    if any(each.transferable for each in bench.custody.materials_sealing):
        for check, attempt in transferability.trusting(session):
            yield _refusal(bench, check, attempt)
    bench.destroy_unknown()


def of_imported(bench: Workbench, key: TokenObject) -> tuple[CheckFinding, ...]:
    """Compare a temporary object that C_UnwrapKey made of wrapped material with what it was asked to be."""
    found = evidence.findings(bench.session, key, templates.material(extractable=True))
    return tuple(_comparison(bench, profiles.IMPORTED_MATERIAL, found))


def of_ciphering(bench: Workbench, key: TokenObject) -> tuple[CheckFinding, ...]:
    """Compare material unsealed to encrypt with what it was asked to be."""
    transferable = bench.custody.material_sealing.transferable
    found = evidence.findings(bench.session, key, templates.ciphering_material(transferable=transferable))
    return tuple(_comparison(bench, profiles.CIPHERING_MATERIAL, found))


def _of_letting_go(bench: Workbench, sealing: SealingKey) -> Iterator[CheckFinding]:
    """Try to take material out of a sealing key, by the way that is open for its kind, if any were."""
    session = bench.session
    if sealing.transferable:
        for check, attempt in transferability.letting_go(session, sealing.key):
            yield _refusal(bench, check, attempt, sealing.version)
        return
    asked = templates.material(extractable=True)
    with session.temporary(session.generate_secret(bench.edition.material_bits, asked)) as temporary:
        blob = session.wrap(sealing.key, temporary, templates.MATERIAL_SEALING_MECHANISM)
    yield _refusal(
        bench,
        profiles.REFUSES_UNSEALING_EXTRACTABLE,
        lambda: session.unwrap(sealing.key, blob, asked, templates.MATERIAL_SEALING_MECHANISM),
        sealing.version,
    )


def _of_unsealing(bench: Workbench, sealing: SealingKey, blob: bytes) -> Iterator[CheckFinding]:
    session, asked = bench.session, templates.material(transferable=sealing.transferable)
    attempts = (
        (profiles.REFUSES_UNSEALING_IN_ANOTHER_ROLE, templates.misused(asked, Attribute.DERIVE), blob),
        (profiles.CHECKS_INTEGRITY, asked, outside.damage(blob)),
    )
    for check, template, attempted in attempts:
        yield _refusal(
            bench,
            check,
            lambda template=template, attempted=attempted: session.unwrap(  # type: ignore[misc]
                sealing.key, attempted, template, templates.MATERIAL_SEALING_MECHANISM
            ),
        )
