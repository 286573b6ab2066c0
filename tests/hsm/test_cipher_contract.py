from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsmkms.core.material import Edition
from tests.contract.cipher_contract import CipherContract, NoCipherContract, RandomContract
from tests.fakes.hsm import FakeHsm

if TYPE_CHECKING:
    from hsmkms.core.ports import Hsm
    from tests.hsm.conftest import Served


class _Fake:
    @pytest.fixture
    def hsm(self, edition: Edition) -> Hsm:
        return FakeHsm(edition)


class _Token:
    @pytest.fixture
    def hsm(self, served: Served) -> Hsm:
        return served.pool

    @pytest.fixture
    def edition(self, served: Served) -> Edition:
        return served.edition


class TestFakeWithCipher(_Fake, CipherContract, RandomContract):
    @pytest.fixture
    def edition(self) -> Edition:
        return Edition.FIPS


class TestFakeWithoutCipher(_Fake, NoCipherContract, RandomContract):
    @pytest.fixture
    def edition(self) -> Edition:
        return Edition.SM


@pytest.mark.parametrize("served", [("softhsm", Edition.FIPS)], indirect=True, ids=["softhsm-fips"])
class TestTokenWithCipher(_Token, CipherContract, RandomContract):
    pass


@pytest.mark.parametrize(
    "served",
    [("softhsm", Edition.SM), ("nss", Edition.FIPS), ("nss", Edition.SM)],
    indirect=True,
    ids=["softhsm-sm", "nss-fips", "nss-sm"],
)
class TestTokenWithoutCipher(_Token, NoCipherContract, RandomContract):
    pass
