"""Laws of hsmkms/core/keys.py, one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsmkms.core.errors import ExpiryInvalid, KeyNotExternal, KeyStateForbids, MaterialMismatch
from hsmkms.core.ids import Instant, from_seconds, later
from hsmkms.core.keys import (
    DEFAULT_POLICY,
    LATEST_EXPIRY,
    KeyAction,
    KeyState,
    Material,
    Origin,
    StatePolicy,
    require_expiry,
)
from tests.core.examples import NOW, a_key, material, sealed

PENDING_IMPORT: Final = KeyState.PENDING_IMPORT
PENDING_DELETE: Final = KeyState.PENDING_DELETE
USABLE: Final = material(valid_to=later(NOW, seconds=1))
EXPIRED: Final = material(valid_to=NOW)

# --- the state shown: scheduled, archived, material, switched on -> state ---------------------------------

SHOWN: Final[dict[tuple[bool, bool, Material | None, bool], KeyState]] = {
    (False, False, None, False): PENDING_IMPORT,
    (False, False, None, True): PENDING_IMPORT,
    (False, False, EXPIRED, False): PENDING_IMPORT,
    (False, False, EXPIRED, True): PENDING_IMPORT,
    (False, False, USABLE, False): KeyState.DISABLED,
    (False, False, USABLE, True): KeyState.ENABLED,
    **{(False, True, held, on): KeyState.ARCHIVED for held in (None, EXPIRED, USABLE) for on in (False, True)},
    **{
        (True, archived, held, on): PENDING_DELETE
        for archived in (False, True)
        for held in (None, EXPIRED, USABLE)
        for on in (False, True)
    },
}


@pytest.mark.parametrize(("scheduled", "archived", "held", "on"), list(SHOWN))
def test_the_state_shown_follows_the_order_of_precedence(
    scheduled: bool, archived: bool, held: Material | None, on: bool
) -> None:
    key = replace(a_key(), deletion_due=NOW if scheduled else None, archived=archived, material=held, switched_on=on)
    assert key.state(NOW) is SHOWN[scheduled, archived, held, on]


def test_every_combination_of_facts_has_its_state() -> None:
    assert set(SHOWN) == set(product((False, True), (False, True), (None, EXPIRED, USABLE), (False, True)))
    assert set(SHOWN.values()) == set(KeyState)


# --- what each state allows: every state and every action has its row -------------------------------------

ALLOWED: Final[dict[tuple[KeyState, KeyAction], bool]] = {
    (KeyState.ENABLED, KeyAction.GET_PARAMETERS): True,
    (KeyState.ENABLED, KeyAction.IMPORT_MATERIAL): True,
    (KeyState.ENABLED, KeyAction.DELETE_MATERIAL): True,
    (KeyState.ENABLED, KeyAction.ENABLE): True,
    (KeyState.ENABLED, KeyAction.RELABEL): True,
    (KeyState.ENABLED, KeyAction.DISABLE): True,
    (KeyState.ENABLED, KeyAction.ENCRYPT): True,
    (KeyState.ENABLED, KeyAction.DECRYPT): True,
    (KeyState.ENABLED, KeyAction.SCHEDULE_DELETION): True,
    (KeyState.ENABLED, KeyAction.CANCEL_DELETION): False,
    (KeyState.ENABLED, KeyAction.ARCHIVE): True,
    (KeyState.ENABLED, KeyAction.CANCEL_ARCHIVE): False,
    (KeyState.DISABLED, KeyAction.GET_PARAMETERS): False,
    (KeyState.DISABLED, KeyAction.IMPORT_MATERIAL): False,
    (KeyState.DISABLED, KeyAction.DELETE_MATERIAL): True,
    (KeyState.DISABLED, KeyAction.ENABLE): True,
    (KeyState.DISABLED, KeyAction.RELABEL): True,
    (KeyState.DISABLED, KeyAction.DISABLE): True,
    (KeyState.DISABLED, KeyAction.ENCRYPT): False,
    (KeyState.DISABLED, KeyAction.DECRYPT): False,
    (KeyState.DISABLED, KeyAction.SCHEDULE_DELETION): True,
    (KeyState.DISABLED, KeyAction.CANCEL_DELETION): False,
    (KeyState.DISABLED, KeyAction.ARCHIVE): True,
    (KeyState.DISABLED, KeyAction.CANCEL_ARCHIVE): False,
    (KeyState.PENDING_IMPORT, KeyAction.GET_PARAMETERS): True,
    (KeyState.PENDING_IMPORT, KeyAction.IMPORT_MATERIAL): True,
    (KeyState.PENDING_IMPORT, KeyAction.DELETE_MATERIAL): False,
    (KeyState.PENDING_IMPORT, KeyAction.ENABLE): False,
    (KeyState.PENDING_IMPORT, KeyAction.RELABEL): True,
    (KeyState.PENDING_IMPORT, KeyAction.DISABLE): False,
    (KeyState.PENDING_IMPORT, KeyAction.ENCRYPT): False,
    (KeyState.PENDING_IMPORT, KeyAction.DECRYPT): False,
    (KeyState.PENDING_IMPORT, KeyAction.SCHEDULE_DELETION): True,
    (KeyState.PENDING_IMPORT, KeyAction.CANCEL_DELETION): False,
    (KeyState.PENDING_IMPORT, KeyAction.ARCHIVE): False,
    (KeyState.PENDING_IMPORT, KeyAction.CANCEL_ARCHIVE): False,
    (KeyState.PENDING_DELETE, KeyAction.GET_PARAMETERS): False,
    (KeyState.PENDING_DELETE, KeyAction.IMPORT_MATERIAL): False,
    (KeyState.PENDING_DELETE, KeyAction.DELETE_MATERIAL): False,
    (KeyState.PENDING_DELETE, KeyAction.ENABLE): False,
    (KeyState.PENDING_DELETE, KeyAction.RELABEL): False,
    (KeyState.PENDING_DELETE, KeyAction.DISABLE): False,
    (KeyState.PENDING_DELETE, KeyAction.ENCRYPT): False,
    (KeyState.PENDING_DELETE, KeyAction.DECRYPT): False,
    (KeyState.PENDING_DELETE, KeyAction.SCHEDULE_DELETION): False,
    (KeyState.PENDING_DELETE, KeyAction.CANCEL_DELETION): True,
    (KeyState.PENDING_DELETE, KeyAction.ARCHIVE): False,
    (KeyState.PENDING_DELETE, KeyAction.CANCEL_ARCHIVE): False,
    (KeyState.ARCHIVED, KeyAction.GET_PARAMETERS): False,
    (KeyState.ARCHIVED, KeyAction.IMPORT_MATERIAL): False,
    (KeyState.ARCHIVED, KeyAction.DELETE_MATERIAL): False,
    (KeyState.ARCHIVED, KeyAction.ENABLE): False,
    (KeyState.ARCHIVED, KeyAction.RELABEL): True,
    (KeyState.ARCHIVED, KeyAction.DISABLE): False,
    (KeyState.ARCHIVED, KeyAction.ENCRYPT): False,
    (KeyState.ARCHIVED, KeyAction.DECRYPT): True,
    (KeyState.ARCHIVED, KeyAction.SCHEDULE_DELETION): True,
    (KeyState.ARCHIVED, KeyAction.CANCEL_DELETION): False,
    (KeyState.ARCHIVED, KeyAction.ARCHIVE): False,
    (KeyState.ARCHIVED, KeyAction.CANCEL_ARCHIVE): True,
}


def test_every_state_and_action_has_its_row_and_no_row_is_left_over() -> None:
    assert set(ALLOWED) == set(product(KeyState, KeyAction))
    assert set(DEFAULT_POLICY.allowed) == set(KeyAction)


@pytest.mark.parametrize(("state", "action"), list(product(KeyState, KeyAction)))
def test_a_state_allows_what_its_row_says(state: KeyState, action: KeyAction) -> None:
    if ALLOWED[state, action]:
        DEFAULT_POLICY.require(action, state)
        return
    with pytest.raises(KeyStateForbids) as caught:
        DEFAULT_POLICY.require(action, state)
    assert caught.value.state == state.value
    named = caught.value.message.removesuffix(".").partition(" it must be ")[2].split(" or ")
    assert set(named) == {each.value for each in KeyState if ALLOWED[each, action]}


def test_a_dialect_may_be_narrower() -> None:
    narrow = StatePolicy({**DEFAULT_POLICY.allowed, KeyAction.IMPORT_MATERIAL: (PENDING_IMPORT,)})
    narrow.require(KeyAction.IMPORT_MATERIAL, PENDING_IMPORT)
    with pytest.raises(KeyStateForbids, match=r"it must be PendingImport\.$"):
        narrow.require(KeyAction.IMPORT_MATERIAL, KeyState.ENABLED)


# --- material ---------------------------------------------------------------------------------------------


@given(st.integers(-5, 5))
def test_material_is_usable_until_the_instant_of_its_expiry_and_not_from_then_on(milliseconds: int) -> None:
    key = replace(a_key(), material=material(valid_to=NOW))
    shown = key.state(Instant(NOW + milliseconds))
    assert shown is (KeyState.ENABLED if milliseconds < 0 else PENDING_IMPORT)


def test_material_without_expiry_is_usable_for_ever() -> None:
    assert material().usable(Instant(2**62))


@pytest.mark.parametrize("on", [False, True])
def test_an_import_never_switches_a_key_on_or_off(on: bool) -> None:
    assert a_key().switched(on=on).with_material(sealed(1), material(1)).switched_on is on


def test_a_key_takes_its_own_material_again_and_counts_no_new_generation() -> None:
    key = a_key().with_material(sealed(1), material(1, valid_to=NOW))
    again = key.with_material(sealed(1), material(2))
    assert again.material == material(2)
    assert again.generation == key.generation


def test_a_key_refuses_other_material_and_stays_as_it_was() -> None:
    key = a_key().with_material(sealed(1), material(1))
    with pytest.raises(MaterialMismatch):
        key.with_material(sealed(2), material(2))
    assert key.material == material(1)


def test_the_fingerprint_outlives_the_material() -> None:
    key = a_key().with_material(sealed(1), material(1)).without_material()
    assert key.material is None
    with pytest.raises(MaterialMismatch):
        key.with_material(sealed(2), material(2))
    with pytest.raises(MaterialMismatch):
        key.require_same_material(sealed(2).fingerprint)
    key.require_same_material(sealed(1).fingerprint)


def test_only_an_external_key_takes_imported_material() -> None:
    a_key().require_external()
    for origin in set(Origin) - {Origin.EXTERNAL}:
        with pytest.raises(KeyNotExternal):
            a_key(origin=origin).require_external()


# --- use ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [KeyAction.ENCRYPT, KeyAction.DECRYPT])
def test_a_key_is_used_with_the_material_it_holds(action: KeyAction) -> None:
    key = replace(a_key(), material=USABLE)
    assert key.usable_material(action, NOW) == USABLE
    assert replace(key, archived=True).usable_material(action, NOW) == USABLE


@pytest.mark.parametrize("held", [None, EXPIRED])
@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("action", [KeyAction.ENCRYPT, KeyAction.DECRYPT])
def test_without_usable_material_a_key_is_of_no_use_whatever_state_it_shows(
    action: KeyAction, archived: bool, held: Material | None
) -> None:
    with pytest.raises(KeyStateForbids) as caught:
        replace(a_key(), archived=archived, material=held).usable_material(action, NOW)
    assert (caught.value.state, caught.value.action) == (PENDING_IMPORT, action)


# --- the end ------------------------------------------------------------------------------------------------


@given(st.integers(-5, 5))
def test_a_key_is_gone_from_the_instant_its_deletion_is_due(milliseconds: int) -> None:
    assert a_key().scheduled(NOW).gone(Instant(NOW + milliseconds)) is (milliseconds >= 0)


def test_a_key_that_nobody_deletes_is_never_gone() -> None:
    assert not a_key().gone(Instant(2**62))
    assert not a_key().scheduled(NOW).kept().gone(Instant(2**62))


@pytest.mark.parametrize(
    ("held", "then"), [(None, PENDING_IMPORT), (EXPIRED, PENDING_IMPORT), (USABLE, KeyState.DISABLED)]
)
@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("on", [False, True])
def test_whoever_cancels_a_deletion_gets_the_key_disabled_or_pending_import(
    on: bool, archived: bool, held: Material | None, then: KeyState
) -> None:
    key = replace(a_key(), switched_on=on, archived=archived, material=held)
    scheduled = key.scheduled(later(NOW, seconds=7))
    assert scheduled.state(NOW) is PENDING_DELETE
    kept = scheduled.kept()
    assert kept.state(NOW) is then
    assert kept == replace(key, switched_on=False, archived=False), "and nothing else is different"


# --- expiry -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "valid_to", [None, Instant(NOW + 1), later(NOW, seconds=1), LATEST_EXPIRY], ids=["never", "soon", "1s", "latest"]
)
def test_an_expiry_later_than_now_up_to_the_documented_maximum_is_taken(valid_to: Instant | None) -> None:
    require_expiry(valid_to, NOW)


@pytest.mark.parametrize("valid_to", [Instant(0), Instant(-1), NOW, Instant(NOW - 1), Instant(LATEST_EXPIRY + 1)])
def test_any_other_expiry_is_refused(valid_to: Instant) -> None:
    with pytest.raises(ExpiryInvalid):
        require_expiry(valid_to, NOW)


def test_the_latest_expiry_is_the_documented_one() -> None:
    assert from_seconds(2147443200) == LATEST_EXPIRY


def test_a_key_does_not_print_its_material_or_fingerprint() -> None:
    text = repr(a_key().with_material(sealed(1), material(1)))
    assert "record 1" not in text
    assert "fingerprint 1" not in text
