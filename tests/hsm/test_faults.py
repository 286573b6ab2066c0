"""The operator's word for what the token answered."""

from __future__ import annotations

import pytest
from pkcs11 import exceptions as ckr

from hsmkms.hsm.host import faults
from hsmkms.hsm.host.faults import ErrorClass


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ckr.DataLenRange(), "DataLenRange"),
        (ckr.PKCS11Error("Unmapped error code 0x1b"), "ACTION_PROHIBITED"),
        (ckr.PKCS11Error("Unmapped error code 0x68"), "KEY_FUNCTION_NOT_PERMITTED"),
        (ckr.PKCS11Error("Unmapped error code 0x80000001"), "error 0x80000001"),
        (ckr.PKCS11Error("Buffer was too small. Should never see this."), "BUFFER_TOO_SMALL"),
        (ckr.PKCS11Error("User type invalid. Should never see this."), "USER_TYPE_INVALID"),
        (ckr.PKCS11Error("Failed to cancel operation"), "Failed to cancel operation"),
        (ckr.PKCS11Error(), "PKCS11Error"),
    ],
)
def test_an_answer_has_a_word(error: ckr.PKCS11Error, word: str) -> None:
    assert faults.word(error) == word


def test_an_operation_that_nobody_began_is_the_session_s_fault_and_only_its_end_helps() -> None:
    assert faults.classify(ckr.OperationActive()) is ErrorClass.TOKEN
