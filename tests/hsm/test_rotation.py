"""Rotation of the sealing keys, on real tokens: made, adopted, retired; and what a host knows of the others' doings."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.custody import SEALING_ROLES, CustodyRole
from hsmkms.core.errors import (
    InternalFault,
    MaterialUndecryptable,
    RecordBroken,
    TokenGaveNoAnswer,
    TokenUnusable,
)
from hsmkms.core.ports import HeldMaterial
from hsmkms.core.records import head_of
from hsmkms.core.secrets import Plaintext
from hsmkms.hsm import messages
from hsmkms.hsm.channel import HostChannel
from hsmkms.hsm.client import HostPool
from hsmkms.hsm.host import outside, profiles, transferability
from hsmkms.hsm.parts import Identity, Place
from hsmkms.hsm.settings import HostPurpose
from tests.contract.hsm_contract import HsmContract, new_pair, owner_of
from tests.hsm import tokens
from tests.hsm.conftest import FIPS, SECONDS, Rotated, logged, serving, version_of
from tests.hsm.played import PlayedHost
from tests.hsm.test_custody import objects
from tests.hsm.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.core.custody import CustodyObject
    from hsmkms.hsm.transferring import TransferHost
    from tests.faults.pkcs11_faults import Faults
    from tests.hsm.tokens import TestToken

pytestmark = pytest.mark.asyncio(loop_scope="session")


def first_of(rotated: Rotated) -> tuple[CustodyObject, ...]:
    """Return the sealing keys of the first version."""
    return tuple(each for each in rotated.before.objects if each.role in SEALING_ROLES)


# --- versions that a host does not know ----------------------------------------------------------------


async def test_a_host_that_is_a_rotation_behind_opens_what_the_next_version_sealed(
    transferable: Rotated, mover: TransferHost, ahead: HostPool
) -> None:
    owner = transferable.sealed.owner
    moved = HeldMaterial(owner, (await mover.reseal_material(owner, transferable.sealed.material.record)).record)
    async with serving(transferable.token, transferable.before) as behind:
        assert await behind.pool.decrypt(moved, transferable.sealed.ciphertext, b"c") == Plaintext(b"before")
        evidence = await behind.pool.inspect_material(owner, moved.record)
        assert evidence.fingerprint.matches(transferable.sealed.material.fingerprint)
        order = await HsmContract.order(ahead, owner, outside.throw_away(FIPS.material_bytes))
        assert version_of(order.pair_record) == 2
        imported = await behind.pool.import_material(order)
        assert version_of(imported.record) == 1, "it seals with what it has proved"
        assert version_of((await ahead.import_material(order)).record) == 2


async def test_so_does_one_whose_next_version_is_of_the_other_kind(ordinary: Rotated, tmp_path: Path) -> None:
    token = tokens.copy_of(ordinary.token, tmp_path / "copy")
    third = await tokens.rotated(token, ordinary.after, transferable=True)
    async with serving(token, third) as ahead, serving(token, ordinary.before) as behind:
        owner = owner_of(FIPS)
        sealed = await ahead.pool.generate_material(owner)
        assert version_of(sealed.record) == 3
        assert (await behind.pool.inspect_material(owner, sealed.record)).fingerprint.matches(sealed.fingerprint)


async def test_with_which_word_a_token_refuses_to_unseal_for_others_does_not_matter(
    transferable: Rotated, ahead: HostPool, faults: Faults
) -> None:
    owner, token = transferable.sealed.owner, transferable.token
    sealed = await ahead.generate_material(owner)
    settings = {"module": str(faults.library), "env": token.env | faults.environment}
    async with serving(token, transferable.before, **settings) as behind:
        with faults.ruled("C_UnwrapKey 0x1b count=1", "C_UnwrapKey 0x1b skip=1 count=1"):
            evidence = await behind.pool.inspect_material(owner, sealed.record)
        assert evidence.fingerprint.matches(sealed.fingerprint)


async def test_a_version_that_is_not_in_the_token_is_broken_too(ordinary: Rotated, ordinary_ahead: HostPool) -> None:
    owner = ordinary.sealed.owner
    record = (await ordinary_ahead.generate_material(owner)).record
    assert version_of(record) == 2
    with pytest.raises(RecordBroken):
        await ordinary_ahead.inspect_material(owner, head_of(3) + record[len(head_of(2)) :])


async def test_a_record_of_a_version_that_is_not_in_the_token_is_broken_and_the_log_says_why(
    ordinary: Rotated, ordinary_ahead: HostPool, capfd: pytest.CaptureFixture[str]
) -> None:
    owner, token, deployment = ordinary.sealed.owner, ordinary.token, ordinary.after
    sealed = await ordinary_ahead.generate_material(owner)
    order = await HsmContract.order(ordinary_ahead, owner, outside.throw_away(FIPS.material_bytes))
    copy = tokens.copy_of(token, token.directory.parent / "retired")
    async with tokens.channel_to(copy, FIPS, HostPurpose.INIT) as channel:
        await channel.destroy_sealing_keys(tokens.without(deployment, 1), first_of(ordinary))
    capfd.readouterr()
    async with serving(copy, tokens.without(deployment, 1)) as hosts:
        for _ in range(2):
            with pytest.raises(RecordBroken):
                await hosts.pool.inspect_material(owner, ordinary.sealed.material.record)
            with pytest.raises(RecordBroken):
                await hosts.pool.encrypt(ordinary.sealed.held, Plaintext(b"p"), b"")
        assert (await hosts.pool.inspect_material(owner, sealed.record)).fingerprint.matches(sealed.fingerprint)
        await hosts.pool.import_material(order)
    said = [line for line in logged(capfd) if line["event"].startswith("a record is under a sealing key")]
    assert {(line["label"], line["event"]) for line in said} == {
        (f"hsmkms {deployment.deployment_id} material-sealing", "a record is under a sealing key that was retired")
    }


# --- adopting ------------------------------------------------------------------------------------------


async def test_hosts_adopt_while_they_import_and_nothing_fails(transferable: Rotated) -> None:
    async with serving(transferable.token, transferable.before, sessions=3) as hosts:
        await hosts.add()
        order = await HsmContract.order(hosts.pool, owner_of(FIPS), outside.throw_away(FIPS.material_bytes))
        during: list[int] = []
        adopted = asyncio.Event()

        async def importing() -> None:
            while not adopted.is_set():
                during.append(version_of((await hosts.pool.import_material(order)).record))

        importers = [asyncio.ensure_future(importing()) for _ in range(8)]
        await until(lambda: len(during) > 20)
        assert set(during) == {1}
        await hosts.pool.adopt(transferable.after)
        after = await asyncio.gather(*(hosts.pool.import_material(order) for _ in range(20)))
        adopted.set()
        await asyncio.gather(*importers)
        assert {version_of(each.record) for each in after} == {2}
        assert version_of((await new_pair(hosts.pool, FIPS)).record) == 2
        assert await hosts.pool.decrypt(transferable.sealed.held, transferable.sealed.ciphertext, b"c") == Plaintext(
            b"before"
        )
        assert hosts.lost == []


async def test_to_adopt_again_changes_nothing_and_a_host_that_comes_later_has_it(transferable: Rotated) -> None:
    async with serving(transferable.token, transferable.before) as hosts:
        for _ in range(2):
            await hosts.pool.adopt(transferable.after)
            assert version_of((await hosts.pool.generate_material(owner_of(FIPS))).record) == 2
        hosts.processes[0].kill()
        await until(lambda: not hosts.pool.hosts)
        await hosts.add()
        assert version_of((await hosts.pool.generate_material(owner_of(FIPS))).record) == 2


async def test_a_host_that_attaches_while_others_adopt_is_told_too(transferable: Rotated) -> None:
    pool, played = HostPool(transferable.before), PlayedHost("played")
    adding = asyncio.ensure_future(pool.add(played.name, played.ours))
    attaching = await played.receive()
    assert attaching.verb == messages.Attach(place=Place.of(transferable.before))
    await pool.adopt(transferable.after)
    played.answer(attaching, messages.Attached())
    told = await played.receive()
    assert told.verb == messages.Adopt(place=Place.of(transferable.after))
    assert pool.hosts == frozenset(), "it is not used before"
    played.answer(told, messages.Attached())
    await adding
    assert pool.hosts == {played.name}
    await pool.close()
    played.hang_up()
    await asyncio.sleep(0)


async def test_a_deployment_that_the_token_does_not_bear_out_costs_no_host(transferable: Rotated) -> None:
    absent = replace(transferable.before, objects=(*transferable.before.objects, *tokens.next_keys(transferable.after)))
    async with serving(transferable.token, transferable.before) as hosts:
        for _ in range(2):
            with pytest.raises(TokenUnusable, match="The token has no object"):
                await hosts.pool.adopt(absent)
        await hosts.add()
        assert hosts.lost == []
        assert len(hosts.pool.hosts) == 2, "one that comes meanwhile attaches to what the others go on with"
        for _ in range(2):
            assert version_of((await hosts.pool.generate_material(owner_of(FIPS))).record) == 1
        await hosts.pool.adopt(transferable.after)
        for _ in range(2):
            assert version_of((await hosts.pool.generate_material(owner_of(FIPS))).record) == 2
        assert hosts.lost == []


async def seated(pool: HostPool, name: str) -> PlayedHost:
    """Return a host that is in the pool."""
    played = PlayedHost(name)
    adding = asyncio.ensure_future(pool.add(played.name, played.ours))
    played.answer(await played.receive(), messages.Attached())
    await adding
    return played


async def test_a_host_that_dies_while_it_adopts_is_given_up_and_stops_nobody(transferable: Rotated) -> None:
    pool = HostPool(transferable.before)
    dying, living = await seated(pool, "dying"), await seated(pool, "living")
    adopting = asyncio.ensure_future(pool.adopt(transferable.after))
    await dying.receive()
    dying.hang_up()
    living.answer(await living.receive(), messages.Attached())
    await adopting
    assert pool.hosts == {living.name}
    await pool.close()
    living.hang_up()
    await asyncio.sleep(0)


async def test_a_host_that_came_while_another_one_adopted_has_it_before_that_is_over(transferable: Rotated) -> None:
    pool = HostPool(transferable.before)
    first = await seated(pool, "first")
    adopting = asyncio.ensure_future(pool.adopt(transferable.after))
    told = await first.receive()
    second = await seated(pool, "second")
    first.answer(told, messages.Attached())
    told = await second.receive()
    assert told.verb == messages.Adopt(place=Place.of(transferable.after))
    assert not adopting.done()
    second.answer(told, messages.Attached())
    await adopting
    await pool.close()
    for each in (first, second):
        each.hang_up()
    await asyncio.sleep(0)


async def test_what_cannot_be_adopted_leaves_a_host_as_it_was(transferable: Rotated) -> None:
    others = tuple(
        replace(each, object_id=uuid.uuid4().bytes) if each.role is CustodyRole.MAC else each
        for each in transferable.after.objects
    )
    changes = {
        "The token has no object": replace(
            transferable.after, objects=(*transferable.after.objects, *tokens.next_keys(transferable.after))
        ),
        "another deployment than": replace(transferable.after, objects=others),
        "serial number": replace(transferable.after, token_serial="0123456789abcdef"),
        "another deployment": replace(transferable.after, deployment_id=str(uuid.uuid4())),
        "no long-lived object for pair-sealing": replace(transferable.after, objects=transferable.after.objects[:-1]),
    }
    async with tokens.channel_to(transferable.token, FIPS) as channel:
        await channel.attach(transferable.before)
        for words, deployment in changes.items():
            with pytest.raises(TokenUnusable, match=words):
                await channel.adopt(deployment)
            owner = Identity.of(owner_of(FIPS))
            sealed = await channel.call(messages.GenerateMaterial(owner=owner), messages.MaterialSealed, SECONDS)
            assert version_of(sealed.record) == 1
        await channel.adopt(transferable.after)


async def test_after_a_retirement_a_host_still_tells_bad_ciphertexts_from_a_sick_token(
    ordinary: Rotated, tmp_path: Path
) -> None:
    token, left = tokens.copy_of(ordinary.token, tmp_path / "copy"), tokens.without(ordinary.after, 1)
    async with serving(token, ordinary.before, sessions=2) as hosts:
        await hosts.pool.adopt(ordinary.after)
        order = await HsmContract.order(hosts.pool, owner_of(FIPS), outside.throw_away(FIPS.material_bytes))
        async with tokens.channel_to(token, FIPS, HostPurpose.INIT) as channel:
            await channel.destroy_sealing_keys(left, first_of(ordinary))
        await hosts.pool.adopt(left)
        wrong = replace(order, ciphertext=outside.damage(order.ciphertext))
        refused = await asyncio.gather(*(hosts.pool.import_material(wrong) for _ in range(8)), return_exceptions=True)
        assert {type(each) for each in refused} == {MaterialUndecryptable}, "the canary sang, in either session"
        assert hosts.lost == []


# --- making and destroying -----------------------------------------------------------------------------


async def test_a_sealing_key_that_the_database_does_not_know_stops_a_rotation_unless_it_is_to_go(
    ordinary: Rotated, tmp_path: Path
) -> None:
    token = tokens.copy_of(ordinary.token, tmp_path / "copy")
    before = objects(token)
    planned = tokens.next_keys(ordinary.before)  # a database older than the token: it knows of one version
    async with tokens.channel_to(token, FIPS, HostPurpose.INIT) as channel:
        with pytest.raises(TokenUnusable, match="that the database does not know"):
            await channel.make_sealing_keys(ordinary.before, planned)
        assert objects(token) == before
        made = await channel.make_sealing_keys(ordinary.before, planned, replace_unknown=True)
    assert len(objects(token)) == len(before)
    async with tokens.channel_to(token, FIPS) as channel:
        await channel.attach(replace(ordinary.before, objects=(*ordinary.before.objects, *made)))
    async with tokens.channel_to(token, FIPS) as channel:
        with pytest.raises(TokenUnusable):
            await channel.attach(ordinary.after)


async def test_so_does_one_of_any_other_version_and_it_stays_where_it_is(ordinary: Rotated, tmp_path: Path) -> None:
    token = tokens.copy_of(ordinary.token, tmp_path / "copy")
    before = objects(token)
    third = tokens.next_keys(ordinary.after)
    async with tokens.channel_to(token, FIPS, HostPurpose.INIT) as channel:
        with pytest.raises(TokenUnusable, match="material-sealing v2' that the database does not know"):
            await channel.make_sealing_keys(ordinary.before, third)
        retired = r"still has the object '.* material-sealing', .* Run 'hsmkms sealing retire 1' again"
        with pytest.raises(TokenUnusable, match=retired):
            await channel.make_sealing_keys(tokens.without(ordinary.after, 1), third)
        assert objects(token) == before
        await channel.make_sealing_keys(ordinary.before, third, replace_unknown=True)
    assert len(objects(token)) == len(before) + 2
    assert {name: objects(token)[name] for name in before} == before


async def test_a_rotation_that_was_killed_is_done_again(ordinary: Rotated, tmp_path: Path) -> None:
    token = tokens.copy_of(ordinary.token, tmp_path / "copy")
    before, planned = objects(token), tokens.next_keys(ordinary.after)
    host = await tokens.start(token, FIPS, purpose=HostPurpose.INIT)
    channel = await HostChannel.open(host.name, host.socket)
    making = asyncio.ensure_future(channel.make_sealing_keys(ordinary.after, planned))
    await until(lambda: len(objects(token)) > len(before))
    host.kill()
    with pytest.raises(TokenGaveNoAnswer):
        await making
    await channel.close()
    await host.wait()
    async with tokens.channel_to(token, FIPS, HostPurpose.INIT) as channel:
        made = await channel.make_sealing_keys(ordinary.after, planned, replace_unknown=True)
    assert len(objects(token)) == len(before) + 2
    async with tokens.channel_to(token, FIPS) as channel:
        await channel.attach(replace(ordinary.after, objects=(*ordinary.after.objects, *made)))


async def test_a_token_that_fails_in_the_middle_keeps_nothing_of_a_rotation(
    ordinary: Rotated, faults: Faults, tmp_path: Path
) -> None:
    token = tokens.copy_of(ordinary.token, tmp_path / "copy")
    before = objects(token)
    settings = {"module": str(faults.library), "env": token.env | faults.environment}
    async with tokens.channel_to(token, FIPS, HostPurpose.INIT, **settings) as channel:
        faults.rule("C_GenerateKeyPair 0x30")  # of the second key's challenge
        with pytest.raises(TokenUnusable, match=r"does not make the object '.* pair-sealing v3' \(DeviceError\)"):
            await channel.make_sealing_keys(ordinary.after, tokens.next_keys(ordinary.after))
        faults.end()
        assert objects(token) == before
        made = await channel.make_sealing_keys(ordinary.after, tokens.next_keys(ordinary.after))
    assert all(each.proved for each in made)
    assert len(objects(token)) == len(before) + 2
    assert {name: objects(token)[name] for name in before} == before
    async with tokens.channel_to(token, FIPS) as channel:
        await channel.attach(replace(ordinary.after, objects=(*ordinary.after.objects, *made)))


async def test_there_are_at_most_thirty_versions_at_a_time(ordinary: Rotated, maker: HostChannel) -> None:
    many = tuple(
        replace(each, version=version, object_id=uuid.uuid4().bytes)
        for version in range(3, 31)
        for each in tokens.next_keys(ordinary.after)
    )
    full = replace(ordinary.after, objects=(*ordinary.after.objects, *many))
    with pytest.raises(TokenUnusable, match="as many versions of its sealing keys as there can be"):
        await maker.make_sealing_keys(full, tokens.next_keys(full))


async def test_retired_keys_are_destroyed_and_to_do_it_again_is_no_error(ordinary: Rotated, tmp_path: Path) -> None:
    token = tokens.copy_of(ordinary.token, tmp_path / "copy")
    before, left = objects(token), tokens.without(ordinary.after, 1)
    retired = first_of(ordinary)
    forgotten = tuple(replace(each, object_id=uuid.uuid4().bytes, challenge=b"", answer=b"") for each in retired)
    async with tokens.channel_to(token, FIPS, HostPurpose.INIT) as channel:
        assert await channel.destroy_sealing_keys(ordinary.after, retired) == 2
        assert len(objects(token)) == len(before) - 2
        assert await channel.destroy_sealing_keys(left, retired) == 0
        assert await channel.destroy_sealing_keys(left, forgotten) == 0
        assert len(objects(token)) == len(before) - 2
    async with tokens.channel_to(token, FIPS) as channel:
        await channel.attach(left)


async def test_what_is_still_used_is_not_destroyed(ordinary: Rotated, maker: HostChannel) -> None:
    before, left = objects(ordinary.token), tokens.without(ordinary.after, 1)
    newest = tuple(each for each in left.objects if each.version == 2)
    of_another_s_id = tuple(replace(each, version=1) for each in newest)
    with pytest.raises(TokenUnusable, match="has no successor"):
        await maker.destroy_sealing_keys(ordinary.after, newest)
    with pytest.raises(TokenUnusable, match=r"material-sealing' the id of another object .* material-sealing v2'"):
        await maker.destroy_sealing_keys(left, of_another_s_id)
    records = tuple(each for each in left.objects if each.role is CustodyRole.RECORD)
    with pytest.raises(TokenUnusable, match="has no successor"):
        await maker.destroy_sealing_keys(ordinary.after, records)
    (record,) = records
    with pytest.raises(TokenUnusable, match="has no successor"):
        await maker.destroy_sealing_keys(
            replace(ordinary.after, objects=(*left.objects, replace(record, version=2))), records
        )
    assert objects(ordinary.token) == before


async def test_nothing_is_destroyed_for_who_names_another_s_id_or_another_deployment(
    ordinary: Rotated, maker: HostChannel, tmp_path: Path
) -> None:
    """Whoever writes to the database chooses ids and names, and an operator then retires a version."""
    before, left = objects(ordinary.token), tokens.without(ordinary.after, 1)
    token = tokens.copy_of(ordinary.token, tmp_path / "copy")
    other = await tokens.initialised(token, tokens.planned(FIPS))
    its_first = tuple(each for each in other.objects if each.role in SEALING_ROLES)
    with_both = objects(token)
    async with tokens.channel_to(token, FIPS, HostPurpose.INIT) as channel:
        for of_ours in (each for each in other.objects if each.role not in SEALING_ROLES):
            chosen = replace(first_of(ordinary)[0], object_id=of_ours.object_id)
            with pytest.raises(
                TokenUnusable, match=f"the id of another object of the token, '{of_ours.label(other.deployment_id)}'"
            ):
                await channel.destroy_sealing_keys(left, (chosen,))
        with pytest.raises(TokenUnusable):
            await channel.destroy_sealing_keys(replace(left, deployment_id=other.deployment_id), its_first)
    assert objects(token) == with_both
    assert objects(ordinary.token) == before


@pytest.mark.parametrize("purpose", [HostPurpose.SERVE, HostPurpose.OPERATE])
async def test_only_a_host_started_for_init_makes_or_destroys_sealing_keys(
    ordinary: Rotated, purpose: HostPurpose
) -> None:
    before = objects(ordinary.token)
    async with tokens.channel_to(ordinary.token, FIPS, purpose) as channel:
        with pytest.raises(InternalFault):
            await channel.make_sealing_keys(ordinary.after, tokens.next_keys(ordinary.after))
        with pytest.raises(InternalFault):
            await channel.destroy_sealing_keys(ordinary.after, ordinary.before.objects[:2])
    assert objects(ordinary.token) == before


# --- NSS -----------------------------------------------------------------------------------------------


async def test_nss_rotates_but_makes_no_transferable_key_and_keeps_nothing_of_one(nss: TestToken) -> None:
    plan = tokens.planned(FIPS, transferable=True)
    with pytest.raises(TokenUnusable, match="on it no sealing key can be transferable"):
        await tokens.initialised(nss, plan)
    deployment = await tokens.initialised(nss, tokens.planned(FIPS))
    with pytest.raises(TokenUnusable, match="does not do this: enforces UNWRAP_TEMPLATE: WRAP_WITH_TRUSTED"):
        await tokens.rotated(nss, deployment, transferable=True)
    owner = owner_of(FIPS)
    async with serving(nss, deployment) as hosts:
        old = await hosts.pool.generate_material(owner)
        after = await tokens.rotated(nss, deployment)  # which an object with one of the labels would stop
        await hosts.pool.adopt(after)
        new = await hosts.pool.generate_material(owner)
        assert (version_of(old.record), version_of(new.record)) == (1, 2)
        for each in (old, new):
            assert (await hosts.pool.inspect_material(owner, each.record)).fingerprint.matches(each.fingerprint)
        left = tokens.without(after, 1)
        async with tokens.channel_to(nss, FIPS, HostPurpose.INIT) as channel:
            with pytest.raises(TokenUnusable, match="Run 'hsmkms sealing retire 1' again"):
                await channel.make_sealing_keys(left, tokens.next_keys(after))
            retired = tuple(each for each in deployment.objects if each.role in SEALING_ROLES)
            assert await channel.destroy_sealing_keys(left, retired) == 2
        await hosts.pool.adopt(left)
        with pytest.raises(RecordBroken):
            await hosts.pool.inspect_material(owner, old.record)
        assert (await hosts.pool.inspect_material(owner, new.record)).fingerprint.matches(new.fingerprint)


# --- what is tried at every start ----------------------------------------------------------------------


async def test_the_probe_tries_every_way_out_of_a_transferable_sealing_key(ahead: HostPool) -> None:
    report = await ahead.probe()
    checks = {each.check: each for each in report.checks}
    tried = {
        transferability.UNSEALING_UNGUARDED: "TemplateInconsistent",
        transferability.WRAPPING_BY_ITSELF: "KeyNotWrappable",
        transferability.WRAPPING_BY_ANOTHER: "KeyNotWrappable",
        transferability.UNGUARDING_A_COPY: "AttributeReadOnly",
        transferability.UNGUARDING: "ACTION_PROHIBITED",
    }
    for check, word in tried.items():
        for name in (check, f"{check}, version 2"):
            assert (checks[name].passed, checks[name].finding) == (True, f"refused ({word})")
    for check in (
        transferability.MAKING_TRUSTED,
        transferability.CREATING_TRUSTED,
        transferability.UNWRAPPING_TRUSTED,
        transferability.COPYING_TO_TRUSTED,
        transferability.CHANGING_TO_TRUSTED,
    ):
        assert (checks[check].passed, checks[check].finding) == (True, "refused (AttributeReadOnly)")
    assert profiles.REFUSES_UNSEALING_EXTRACTABLE not in checks
    assert checks[profiles.REFUSES_UNSEALING_IN_ANOTHER_ROLE].passed
    assert report.exceptions == ()
    assert report.unknown_keys == ()


async def test_what_was_retired_opens_nothing_while_the_token_still_has_it_and_the_probe_says_that_it_has(
    transferable: Rotated, ahead: HostPool, capfd: pytest.CaptureFixture[str]
) -> None:
    owner, left = transferable.sealed.owner, tokens.without(transferable.after, 1)
    sealed = await ahead.generate_material(owner)
    async with serving(transferable.token, left) as hosts:
        with pytest.raises(RecordBroken):
            await hosts.pool.inspect_material(owner, transferable.sealed.material.record)
        await hosts.pool.inspect_material(owner, sealed.record)
        report = await hosts.pool.probe()
    labels = [each.label(left.deployment_id) for each in first_of(transferable)]
    assert [(each.label, each.version) for each in report.unknown_keys] == [(label, 1) for label in labels]
    said = [(line["level"], line["event"]) for line in logged(capfd)]
    assert ("error", "a record is under a sealing key that was retired") in said
    assert not [event for level, event in said if "destroyed" in event], "what the probe asked to be refused is no news"


async def test_of_versions_that_are_not_transferable_each_is_tried(ordinary_ahead: HostPool) -> None:
    report = await ordinary_ahead.probe()
    checks = {each.check: each for each in report.checks}
    for name in (profiles.REFUSES_UNSEALING_EXTRACTABLE, f"{profiles.REFUSES_UNSEALING_EXTRACTABLE}, version 2"):
        assert checks[name].finding == "refused (TemplateInconsistent)"
    assert f"{profiles.CUSTODY}, pair-sealing, version 2" in checks
    assert transferability.MAKING_TRUSTED not in checks
    assert report.exceptions == ()
