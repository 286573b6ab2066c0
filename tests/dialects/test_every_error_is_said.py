"""What holds of the tables of all dialects: total, and silent about the inside."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

import pytest

from hsmkms.core import errors
from hsmkms.dialects.huawei import refusals as huawei
from hsmkms.dialects.tencent import refusals as tencent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WIRE: Final = errors.leaves(errors.CallerFault) | errors.leaves(errors.ServiceFault)
"""Every error that may reach the wire."""


def _of_tencent(error: errors.HsmkmsError) -> tuple[str, str]:
    said = tencent.refusal(error)
    return said.code, said.message


def _of_huawei(error: errors.HsmkmsError) -> tuple[str, str]:
    said = huawei.refusal(error)
    return said.code.text, said.message


every_dialect = pytest.mark.parametrize("said", [_of_tencent, _of_huawei])


@pytest.mark.parametrize("table", [tencent.CODES, huawei.CODES], ids=["tencent", "huawei"])
def test_every_error_that_may_reach_the_wire_has_a_code_and_nothing_else_has(
    table: Mapping[type[errors.HsmkmsError], object],
) -> None:
    assert set(table) == WIRE


@every_dialect
@pytest.mark.parametrize("kind", sorted(errors.leaves(errors.ServiceFault), key=str))
def test_what_went_wrong_inside_is_logged_and_not_said(
    kind: type[errors.HsmkmsError],
    said: Callable[[errors.HsmkmsError], tuple[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert said(kind("host 3: CKR_DEVICE_ERROR"))[1] == kind.text
    assert [record.__dict__["reason"] for record in caplog.records] == ["host 3: CKR_DEVICE_ERROR"]


@every_dialect
@pytest.mark.parametrize("error", [errors.ConfigurationInvalid("/etc/hsmkms.toml"), errors.PinRefused()])
def test_an_operators_fault_is_an_internal_error_to_a_caller(
    error: errors.HsmkmsError,
    said: Callable[[errors.HsmkmsError], tuple[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert said(error) == said(errors.InternalFault())
    assert caplog.records[0].levelno == logging.ERROR


def test_no_sentence_of_the_tree_names_a_return_value_of_the_token() -> None:
    assert not [kind for kind in WIRE if re.search("CKR|PKCS", kind.text)]
