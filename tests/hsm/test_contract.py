from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsmkms.core.material import Edition
from tests.contract.hsm_contract import HsmContract
from tests.fakes.hsm import FakeHsm

if TYPE_CHECKING:
    from hsmkms.core.ports import Hsm
    from tests.hsm.conftest import Served


class TestFake(HsmContract):
    @pytest.fixture(params=Edition)
    def edition(self, request: pytest.FixtureRequest) -> Edition:
        edition: Edition = request.param
        return edition

    @pytest.fixture
    def hsm(self, edition: Edition) -> Hsm:
        return FakeHsm(edition)


class TestTokens(HsmContract):
    @pytest.fixture
    def hsm(self, served: Served) -> Hsm:
        return served.pool

    @pytest.fixture
    def edition(self, served: Served) -> Edition:
        return served.edition
