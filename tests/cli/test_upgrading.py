"""An instance whose database an older version wrote: refused, brought up to date by `init`, and served as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.running import Instance, hsmkms
from tests.store import older

if TYPE_CHECKING:
    from pathlib import Path

UNUSABLE: Final = 78


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance.make(tmp_path / "i")
    older.rewind(made.database, "0001")
    return made


def test_a_database_of_0001_is_served_again_after_init(instance: Instance) -> None:
    config = ("--config", str(instance.config))
    making = ("credential", "create", *config, "--account", "acme", "--roles", "admin")
    for words in (("serve", *config), making, (*making, "--auth-token"), ("doctor", *config, "--json")):
        refused = hsmkms(*words, expect=UNUSABLE)
        (line,) = (line for line in refused.stderr.splitlines() if not line.startswith("{"))
        assert (refused.stdout, line.endswith("older schema than this program; run 'hsmkms init'.")) == ("", True), line
    assert hsmkms("init", *config).stdout == "already initialised; the database's schema was brought up to date\n"
    assert hsmkms("init", *config).stdout == "already initialised; nothing was changed\n"
    with instance.serving() as service:
        assert service.client().call("GetRegions").Regions, "signed with the credential of before"
