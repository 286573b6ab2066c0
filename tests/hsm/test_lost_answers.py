"""What a token made although its answer was lost: nothing of it stays, and what is kept does.

The module that loses answers is `tests/faults/pkcs11_faults.c`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from hsmkms.core.errors import MaterialUndecryptable
from hsmkms.core.material import Edition
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.hsm.client import PoolLimits
from hsmkms.hsm.host import outside
from tests.contract.hsm_contract import HsmContract, owner_of
from tests.faults.pkcs11_faults import SOURCE, Faults, compiled
from tests.faults.table import OAEP
from tests.hsm.conftest import Hosts

if TYPE_CHECKING:
    from hsmkms.core.custody import Deployment
    from tests.hsm.tokens import TestToken

FIPS = Edition.FIPS
RSA_PKCS: Final = "0x1"
PROGRAM: Final = """
import sys
from pathlib import Path
import msgspec, pkcs11
from hsmkms.hsm.host import module, templates
from hsmkms.hsm.host.session import TokenSession
from hsmkms.hsm.settings import HostSettings

settings = msgspec.json.decode(sys.argv[1], type=HostSettings)
rules = Path(sys.argv[2])
library = module.Library.load(settings.module, settings.initialize_args)
token = module.find_token(library, settings.token_label)
mine, others = (TokenSession(each) for each in module.open_sessions(token, settings, lambda: None))

def held():
    return {each.handle for each in mine.find(templates.find_session_objects())}

def material(session):
    return session.generate_secret(256, templates.material(extractable=True))

def refused(call):
    try:
        call()
    except pkcs11.PKCS11Error:
        return
    raise AssertionError("the rule was never met")

wrapping = mine.generate_secret(256, templates.custody_role(
    "material-sealing", allowed_mechanisms=False) | {pkcs11.Attribute.TOKEN: False, pkcs11.Attribute.MODIFIABLE: False})
known, foreign = material(mine), material(others)
public, private = mine.generate_pair(2048)
blob = mine.wrap(wrapping, known, templates.MATERIAL_SEALING_MECHANISM)
kept = held()
for function, call in (
    ("C_GenerateKey", lambda: material(mine)),
    ("C_GenerateKeyPair", lambda: mine.generate_pair(2048)),
    ("C_UnwrapKey", lambda: mine.unwrap(wrapping, blob, templates.material(), templates.MATERIAL_SEALING_MECHANISM)),
    ("C_CopyObject", lambda: mine.copy(private, templates.narrowing())),
):
    rules.write_text(f"{function} 0x5 after count=1\\n")
    refused(call)
    assert held() > kept, function
    mine.destroy_unknown({each.handle for each in (wrapping, known, public, private)})
    assert held() == kept, function
print("nothing stayed")
"""


@pytest.fixture(params=["softhsm", "nss"])
def token(request: pytest.FixtureRequest) -> TestToken:
    found: TestToken = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def faults(tmp_path: Path, token: TestToken) -> Faults:
    made = Faults(tmp_path, Path(str(token.settings["module"])))
    compiled(SOURCE, made.library)
    return made


def test_what_nobody_knows_is_destroyed_and_nothing_else(token: TestToken, faults: Faults) -> None:
    settings = token.host_settings(FIPS, module=str(faults.library), sessions=2)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, msgspec.json.encode(settings), faults.rules],
        env={**token.env, **faults.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "nothing stayed\n", done.stderr


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("token", ["softhsm"], indirect=True)
async def test_a_host_that_lost_an_answer(
    token: TestToken, deployment: Deployment, faults: Faults, capfd: pytest.CaptureFixture[str]
) -> None:
    hosts = Hosts(token, deployment, PoolLimits(queue_seconds=20, verb_timeout_seconds=20))
    process = await hosts.add(module=str(faults.library), env={**token.env, **faults.environment})
    material = outside.throw_away(FIPS.material_bytes)
    order = await HsmContract.order(hosts.pool, owner_of(FIPS), material)
    with faults.ruled(f"C_UnwrapKey mechanism={OAEP} 0x5 after count=1") as ruling:
        await hosts.pool.import_material(order)
    assert ruling.wrong == 1
    assert "objects of a lost answer were destroyed" in capfd.readouterr().err
    merged = await HsmContract.order(hosts.pool, owner_of(FIPS), material, algorithm=WrappingAlgorithm.RSAES_PKCS1_V1_5)
    lost = faults.ruled(f"C_UnwrapKey mechanism={RSA_PKCS} 0x5 after count=1")
    with lost, pytest.raises(MaterialUndecryptable):  # not tried again: what is refused must not pass by chance
        await hosts.pool.import_material(merged)
    assert "objects of a lost answer were destroyed" in capfd.readouterr().err
    assert process.returncode is None
    await hosts.pool.close()
    await process.wait()
