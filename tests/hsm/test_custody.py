"""Making and proving the long-lived objects; on SoftHSM, whose token is a directory that a test can damage."""

from __future__ import annotations

import asyncio
import struct
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from pkcs11 import Attribute

from hsmkms.core.custody import CustodyObject, CustodyRole, Deployment
from hsmkms.core.errors import InternalFault, TokenGaveNoAnswer, TokenUnusable
from hsmkms.core.material import Edition
from hsmkms.hsm.channel import HostChannel
from hsmkms.hsm.settings import HostPurpose
from tests.hsm import tokens
from tests.hsm.tokens import channel_to
from tests.hsm.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hsm.tokens import TestToken

pytestmark = pytest.mark.asyncio(loop_scope="session")


def objects(token: TestToken) -> dict[str, bytes]:
    """Return the token's objects: SoftHSM's files, but for those of a kill that have no label yet.

    It writes a file attribute by attribute, then all of the template at once; until then it is nobody's.
    """
    files = {path.name: path.read_bytes() for path in object_files(token)}
    return {name: content for name, content in files.items() if struct.pack(">QQ", Attribute.LABEL, 3) in content}


def object_files(token: TestToken) -> list[Path]:
    return sorted(path for path in (token.directory / "tokens").rglob("*.object") if path.name != "token.object")


def set_boolean(path: Path, attribute: Attribute, *, value: bool) -> None:
    """Change one attribute in SoftHSM's file of an object: type, kind 1, and a byte."""
    content = path.read_bytes()
    for old in (b"\x00", b"\xff"):
        content = content.replace(
            struct.pack(">QQ", attribute, 1) + old, struct.pack(">QQ", attribute, 1) + (b"\xff" if value else b"\x00")
        )
    assert content != path.read_bytes()
    path.write_bytes(content)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[TestToken, Deployment]:
    """A token with a deployment in it, never touched again."""
    token = tokens.make_softhsm(tmp_path_factory.mktemp("custody") / "token")
    return token, await tokens.initialised(token, tokens.planned(Edition.FIPS))


@pytest.fixture
def token(pristine: tuple[TestToken, Deployment], tmp_path: Path) -> TestToken:
    """A copy of it, to be damaged."""
    return tokens.copy_of(pristine[0], tmp_path / "copy")


@pytest.fixture
def deployment(pristine: tuple[TestToken, Deployment]) -> Deployment:
    return pristine[1]


def with_object(deployment: Deployment, role: CustodyRole, **changes: bytes) -> Deployment:
    changed = tuple(
        replace(item, **changes) if item.role is role else item  # type: ignore[arg-type] # all of them are bytes
        for item in deployment.objects
    )
    return replace(deployment, objects=changed)


async def refusal(token: TestToken, deployment: Deployment) -> str:
    """Return the sentence with which a host refuses the deployment; it must have changed nothing."""
    before = objects(token)
    async with channel_to(token) as channel:
        with pytest.raises(TokenUnusable) as raised:
            await channel.attach(deployment)
    assert objects(token) == before
    return raised.value.message


# --- init ----------------------------------------------------------------------------------------------


async def test_init_makes_one_object_for_each_role(token: TestToken, deployment: Deployment) -> None:
    assert len(objects(token)) == len(CustodyRole)
    assert {item.role for item in deployment.objects} == set(CustodyRole)
    assert all(item.proved for item in deployment.objects)
    async with channel_to(token) as channel:
        await channel.attach(deployment)


async def test_init_again_makes_the_same_number_of_new_objects(token: TestToken, deployment: Deployment) -> None:
    again = await tokens.initialised(token, deployment)
    assert len(objects(token)) == len(CustodyRole)
    async with channel_to(token) as channel:
        await channel.attach(again)
    assert "does not give its known answer" in await refusal(token, deployment)


async def test_init_removes_what_a_killed_init_left(token: TestToken) -> None:
    before = objects(token)
    plan = tokens.planned(Edition.FIPS)
    host = await tokens.start(token, Edition.FIPS, purpose=HostPurpose.INIT)
    channel = await HostChannel.open(host.name, host.socket)
    making = asyncio.ensure_future(channel.initialise(plan))
    # one object is whole when the next one is begun; that of the same name must then not be made beside it
    await until(lambda: len(objects(token)) >= len(before) + 2)
    host.kill()
    with pytest.raises(TokenGaveNoAnswer):
        await making
    await channel.close()
    await host.wait()
    made = await tokens.initialised(token, plan)
    async with channel_to(token) as channel:
        await channel.attach(made)


async def test_a_half_written_object_that_nobody_can_read_does_not_stop_us(
    token: TestToken, deployment: Deployment
) -> None:
    # The largest is a sealing key: cut off here, its unwrap template is broken, and reading it is an error.
    original = max(object_files(token), key=lambda path: path.stat().st_size)
    half = original.with_name(f"{uuid.uuid4()}.object")
    half.write_bytes(original.read_bytes()[:643])
    half.with_suffix(".lock").touch()
    await tokens.initialised(token, tokens.planned(Edition.FIPS))
    async with channel_to(token) as channel:
        await channel.attach(deployment)


async def test_init_leaves_other_deployments_alone(token: TestToken, deployment: Deployment) -> None:
    other = await tokens.initialised(token, tokens.planned(Edition.SM))
    assert len(objects(token)) == 2 * len(CustodyRole)
    async with channel_to(token) as channel:
        await channel.attach(deployment)
    async with channel_to(token, Edition.SM) as channel:
        await channel.attach(other)


async def test_init_removes_the_husk_of_an_object_whose_making_was_interrupted(token: TestToken) -> None:
    template = object_files(token)[0]
    husk = template.with_name(f"{uuid.uuid4()}.object")
    husk.write_bytes(template.read_bytes())
    husk.with_suffix(".lock").touch()
    set_boolean(husk, Attribute.TOKEN, value=False)
    await tokens.initialised(token, tokens.planned(Edition.FIPS))
    assert not husk.exists()
    assert template.exists()


@pytest.mark.parametrize("purpose", [HostPurpose.SERVE, HostPurpose.OPERATE])
async def test_only_a_host_started_for_init_makes_objects(token: TestToken, purpose: HostPurpose) -> None:
    before = objects(token)
    async with channel_to(token, purpose=purpose) as channel:
        with pytest.raises(InternalFault):
            await channel.initialise(tokens.planned(Edition.FIPS))
    assert objects(token) == before


# --- every start -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("removed", range(len(CustodyRole)))
async def test_an_absent_object_stops(token: TestToken, deployment: Deployment, removed: int) -> None:
    object_files(token)[removed].unlink()
    assert "The token has no object" in await refusal(token, deployment)


async def test_an_emptied_token_stops(token: TestToken, deployment: Deployment) -> None:
    for path in object_files(token):
        path.unlink()
    sentence = await refusal(token, deployment)
    assert "emptied" in sentence
    assert not objects(token)


async def test_a_doubled_object_stops(token: TestToken, deployment: Deployment) -> None:
    original = object_files(token)[0]
    original.with_name(f"{uuid.uuid4()}.object").write_bytes(original.read_bytes())
    assert "The token has 2 objects with the label" in await refusal(token, deployment)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (Attribute.EXTRACTABLE, True),
        (Attribute.SENSITIVE, False),
        (Attribute.MODIFIABLE, True),
        (Attribute.DERIVE, True),
        (Attribute.LOCAL, False),
        (Attribute.NEVER_EXTRACTABLE, False),
    ],
)
async def test_an_object_of_other_attributes_stops(
    token: TestToken, deployment: Deployment, attribute: Attribute, value: bool
) -> None:
    set_boolean(object_files(token)[-1], attribute, value=value)
    assert f"is not as it was made ({attribute.name} is {value})" in await refusal(token, deployment)


@pytest.mark.parametrize("role", CustodyRole)
async def test_an_object_that_answers_otherwise_stops(
    token: TestToken, deployment: Deployment, role: CustodyRole
) -> None:
    (item,) = [each for each in deployment.objects if each.role is role]
    answer = item.answer[:-1] + bytes((item.answer[-1] ^ 1,))
    sentence = await refusal(token, with_object(deployment, role, answer=answer))
    assert f"{role.value}' does not give its known answer" in sentence


@pytest.mark.parametrize("role", CustodyRole)
async def test_another_key_under_the_same_name_stops(
    token: TestToken, deployment: Deployment, role: CustodyRole
) -> None:
    others = {item.role: item for item in (await tokens.initialised(token, tokens.planned(Edition.FIPS))).objects}
    foreign = with_object(deployment, role, challenge=others[role].challenge, answer=others[role].answer)
    assert f"{role.value}' does not give its known answer" in await refusal(token, foreign)


async def test_an_object_never_proved_stops(token: TestToken, deployment: Deployment) -> None:
    sentence = await refusal(token, with_object(deployment, CustodyRole.MAC, answer=b""))
    assert "known answer" in sentence


async def test_a_database_that_does_not_name_every_object_stops(token: TestToken, deployment: Deployment) -> None:
    without: tuple[CustodyObject, ...] = deployment.objects[1:]
    assert "no long-lived object for" in await refusal(token, replace(deployment, objects=without))


async def test_who_asks_does_not_choose_which_key_does_what(token: TestToken, deployment: Deployment) -> None:
    swap = {CustodyRole.RECORD: CustodyRole.CREDENTIAL, CustodyRole.CREDENTIAL: CustodyRole.RECORD}
    swapped = tuple(replace(item, role=swap.get(item.role, item.role)) for item in deployment.objects)
    nobody_s = replace(deployment, deployment_id=str(uuid.uuid4()))  # no object has its labels: only the ids find one
    assert "is not as it was made (LABEL is" in await refusal(token, replace(nobody_s, objects=swapped))
    assert "is not as it was made (LABEL is" in await refusal(token, nobody_s)


async def test_an_object_of_another_id_stops(token: TestToken, deployment: Deployment) -> None:
    sentence = await refusal(token, with_object(deployment, CustodyRole.MAC, object_id=uuid.uuid4().bytes))
    assert "is not as it was made (ID is" in sentence


async def test_a_database_that_names_a_role_or_an_id_twice_stops(token: TestToken, deployment: Deployment) -> None:
    first, second, *rest = deployment.objects
    doubled = (first, second, *rest, replace(second, object_id=uuid.uuid4().bytes))
    assert f"names 2 long-lived objects for {second.role.value}" in await refusal(
        token, replace(deployment, objects=doubled)
    )
    shared = (first, replace(second, object_id=first.object_id), *rest)
    assert "the same id for two long-lived objects" in await refusal(token, replace(deployment, objects=shared))


@pytest.mark.parametrize("purpose", [HostPurpose.SERVE, HostPurpose.OPERATE])
async def test_a_database_that_does_not_name_its_token_stops(
    token: TestToken, deployment: Deployment, purpose: HostPurpose
) -> None:
    async with channel_to(token, purpose=purpose) as channel:
        with pytest.raises(TokenUnusable, match="does not name the serial number of its token"):
            await channel.attach(replace(deployment, token_serial=""))


async def test_another_token_of_the_same_label_stops(token: TestToken, deployment: Deployment) -> None:
    assert "serial number" in await refusal(token, replace(deployment, token_serial="0123456789abcdef"))


async def test_another_edition_stops(token: TestToken, deployment: Deployment) -> None:
    assert "belongs to a deployment of the edition sm" in await refusal(token, replace(deployment, edition=Edition.SM))
