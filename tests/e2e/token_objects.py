"""Looking at, and damaging, the objects of an instance's token from outside the service.

A PKCS#11 module reads its configuration once per process: so this is a process of its own, `python -m
tests.e2e.token_objects CONFIG ACTION [LABEL]`, which prints the objects that are in the token in the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkcs11 import Attribute

from hsmkms.core.custody import CustodyObject, CustodyRole
from hsmkms.core.material import Edition
from hsmkms.hsm.host import logging_in, module, templates
from hsmkms.hsm.host.session import TokenSession
from hsmkms.hsm.settings import HostPurpose, HostSettings

if TYPE_CHECKING:
    from hsmkms.hsm.host.session import TokenObject as Found
    from tests.e2e.running import Instance

_SECONDS: Final = 60


@dataclass(frozen=True, order=True)
class TokenObject:
    """One object in a token."""

    label: str
    object_id: str
    kind: str


def act(instance: Instance, action: str, label: str = "") -> list[TokenObject]:
    """Return what is in the token after an action.

    Args:
        instance: whose token.
        action: `list`, or `destroy`, `double` or `replace` the object of `label`, or of every label.
        label: CKA_LABEL; empty: all.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.token_objects", str(instance.config), action, label],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(TokenObject(*each) for each in json.loads(done.stdout))


def objects(instance: Instance) -> list[TokenObject]:
    """Return every object in the token, of whatever kind and owner."""
    return act(instance, "list")


def object_files(instance: Instance) -> list[Path]:
    """Return the files that SoftHSM keeps objects in, the token's own apart: husks are among them."""
    return [each for each in instance.folder.glob("tokens/*/*.object") if each.name != "token.object"]


def _make_like(session: TokenSession, one: Found) -> None:
    """Generate another key with the label, id and attributes of `one`."""
    label, object_id = str(session.read(one, Attribute.LABEL)), bytes(session.read(one, Attribute.ID))
    role = next(role for role in CustodyRole if f" {role.value} " in f"{label} ")
    session.generate_secret(256, templates.custody(CustodyObject(role, object_id), label, allowed_mechanisms=True))


def _settings(path: Path) -> HostSettings:
    """Return what a host of this configuration would be told; read here, because this process is to start quickly."""
    hsm = tomllib.loads(path.read_text())["hsm"]
    return HostSettings(
        module=hsm["module"],
        token_label=hsm["token_label"],
        pin_file=str(path.parent / hsm["pin_file"]),
        edition=Edition.FIPS,
        initialize_args=hsm.get("initialize_args"),
        purpose=HostPurpose.INIT,
        env=hsm.get("env", {}),
    )


def main() -> None:
    """Do one action."""
    path, action, label = sys.argv[1:]
    settings = _settings(Path(path))
    os.environ.update(settings.env)
    with logging_in.one_at_a_time(settings):
        library = module.Library.load(settings.module, settings.initialize_args)
        session = TokenSession(module.open_sessions(module.find_token(library, settings.token_label), settings)[0])
    if action != "list":
        for one in session.find(templates.find_by_label(label) if label else {}):
            if action in {"double", "replace"}:
                _make_like(session, one)
            if action in {"destroy", "replace"}:
                one.destroy()
    found = [
        (
            str(session.read(each, Attribute.LABEL)),
            bytes(session.read(each, Attribute.ID) or b"").hex(),
            type(each).__name__,
        )
        for each in session.find({})
    ]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
