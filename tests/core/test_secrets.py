"""Laws of hsmkms/core/secrets.py: nothing but `reveal` gives the value."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import logging
import pickle
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.core import secrets as core_secrets
from hsmkms.core.secrets import AuthToken, ImportToken, OpaqueToken, Pin, Plaintext, Secret, SecretKey

KINDS = [Secret, OpaqueToken, ImportToken, AuthToken, Pin, Plaintext, SecretKey]
VALUE = b"correct-horse-battery-staple"
TEXT = VALUE.decode()


@dataclass(frozen=True, slots=True)
class Holder:
    secret: Secret


def test_every_kind_of_secret_is_under_test() -> None:
    found = {each for each in vars(core_secrets).values() if isinstance(each, type) and issubclass(each, Secret)}
    assert found == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_no_way_of_printing_shows_the_value(kind: type[Secret]) -> None:
    secret = kind(VALUE)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret!s}",
        f"{secret!a}",
        f"{secret:>80}",
        "%s %r" % (secret, secret),  # noqa: UP031 - the old way of printing is one of the ways
        format(secret, "x"),
        repr([secret]),
        repr({secret: secret}),
        repr(Holder(secret)),
        repr(ValueError(secret)),
        json.dumps({"secret": secret}, default=str),
    ]
    for text in shown:
        assert TEXT not in text
        assert VALUE.hex() not in text
        assert kind.__name__ in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_line_does_not_show_the_value(kind: type[Secret]) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(secret)s"))
    logger = logging.Logger("test")  # noqa: LOG001 - one that no other test sees
    logger.addHandler(handler)
    logger.warning("got %s and %r", kind(VALUE), kind(VALUE), extra={"secret": kind(VALUE)})
    assert stream.getvalue().count(kind.__name__) == 3
    assert TEXT not in stream.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_cannot_be_pickled(kind: type[Secret], protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(kind(VALUE), protocol)


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_cannot_be_copied_out_of_its_type(kind: type[Secret]) -> None:
    with pytest.raises(TypeError):
        copy.copy(kind(VALUE))
    with pytest.raises(TypeError):
        asdict(Holder(kind(VALUE)))
    with pytest.raises(TypeError):
        vars(kind(VALUE))
    with pytest.raises(TypeError):
        bytes(kind(VALUE))  # type: ignore[call-overload]


@given(st.binary(max_size=300))
def test_reveal_gives_back_exactly_what_was_kept(value: bytes) -> None:
    assert Secret(value).reveal() == value
    assert len(Secret(value)) == len(value)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_secrets_are_equal_as_their_values_are(left: bytes, right: bytes) -> None:
    assert (Pin(left) == Pin(right)) is (left == right)
    assert (hash(Pin(left)) == hash(Pin(right))) or left != right


def test_a_secret_never_equals_bare_bytes_or_a_secret_of_another_kind() -> None:
    assert Pin(VALUE) != VALUE
    assert Pin(VALUE) != SecretKey(VALUE)


def test_a_secret_keeps_its_own_copy() -> None:
    value = bytearray(VALUE)
    secret = Secret(value)  # type: ignore[arg-type]
    value[:] = bytes(len(value))
    assert secret.reveal() == VALUE


@pytest.mark.parametrize("kind", [ImportToken, AuthToken])
@given(value=st.binary(max_size=300))
def test_a_token_is_known_by_its_sha_256(kind: type[OpaqueToken], value: bytes) -> None:
    assert kind(value).digest() == hashlib.sha256(value).digest()


def test_an_auth_token_is_no_import_token() -> None:
    assert AuthToken(VALUE) != ImportToken(VALUE)


def test_what_is_derived_from_a_secret_key_is_made_once_and_the_oldest_gives_way() -> None:
    secret, made = SecretKey(VALUE), list[str]()

    def derived(label: str) -> SecretKey:
        def derive(value: bytes) -> bytes:
            made.append(label)
            return value + label.encode()

        return secret.derived(label, derive)

    for label in ("1", "2", "1", "2", "3", "2", "1"):
        assert derived(label).reveal() == VALUE + label.encode()
    assert made == ["1", "2", "3", "1"]
