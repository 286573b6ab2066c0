"""What becomes of memory when a module does other things than it says: `tests/faults/lying_module.c`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pkcs11
import pytest
from pkcs11 import Attribute, Mechanism

from hsmkms.hsm.host import cryptoki, packing
from hsmkms.hsm.host.cryptoki import Calls
from tests.faults.pkcs11_faults import SOURCE, compiled

if TYPE_CHECKING:
    from pathlib import Path

KEY: Final = 7
ROOM: Final = 8192
NO_PARAMETER: Final = packing.plain(Mechanism.SHA256_HMAC)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("lying") / "lying.so"
    return compiled(SOURCE.with_name("lying_module.c"), library)


@pytest.fixture
def calls(module: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Calls of the lying module, in a session that it does not mind."""
    monkeypatch.setattr(cryptoki, "_loaded", [])  # put back afterwards
    cryptoki.load(str(module))
    return Calls(1)


def _gcm(iv: bytes) -> packing.Parameter:
    return packing.gcm(iv, b"a", 16)


def test_a_token_that_announces_too_much_gets_no_more_room_than_there_is(calls: Calls) -> None:
    told = calls.encrypt_as_announced(KEY, b"d", _gcm(bytes(12)))
    assert int.from_bytes(told, "little") == ROOM


def test_a_token_that_writes_an_iv_writes_into_nobody_s_bytes(calls: Calls) -> None:
    iv = bytes(range(12))
    calls.encrypt(KEY, b"d", _gcm(iv))
    assert iv == bytes(range(12))


def test_nothing_of_one_output_is_in_another(calls: Calls) -> None:
    assert calls.decrypt(KEY, b"d", NO_PARAMETER) == b"S" * 16
    assert calls.sign(KEY, b"d", NO_PARAMETER) == bytes(64)
    with pytest.raises(pkcs11.GeneralError):
        calls.read(KEY, Attribute.MODULUS)
    assert calls.sign(KEY, b"d", NO_PARAMETER) == bytes(64)


def test_what_says_it_wrote_more_than_there_is_room_for_failed(calls: Calls) -> None:
    with pytest.raises(pkcs11.FunctionFailed):
        calls.wrap(KEY, KEY, NO_PARAMETER)


def test_what_was_made_without_a_handle_is_not_the_object_made_before(calls: Calls) -> None:
    calls.sign(KEY, b"d", NO_PARAMETER)  # leaves a number
    template = packing.Packed([])
    with pytest.raises(pkcs11.FunctionFailed):
        calls.generate(template, NO_PARAMETER)
    with pytest.raises(pkcs11.FunctionFailed):
        calls.unwrap(KEY, b"b", template, NO_PARAMETER)
    with pytest.raises(pkcs11.FunctionFailed):
        calls.copy(KEY, template)


@pytest.mark.parametrize("size", [-1, ROOM + 1])
def test_no_more_random_bytes_are_asked_for_than_there_is_room_for(calls: Calls, size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        calls.random(size)
