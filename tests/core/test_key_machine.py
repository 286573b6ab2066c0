"""A key under any order of events and any movement of the clock, against a model of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hsmkms.core.errors import ExpiryInvalid, KeyNotExternal, KeyStateForbids, MaterialMismatch
from hsmkms.core.ids import Instant
from hsmkms.core.keys import DEFAULT_POLICY, KeyAction, KeyState, Material, Origin, require_expiry
from tests.core.examples import NOW, a_key, sealed

if TYPE_CHECKING:
    from hsmkms.core.keys import Key

SEEDS = st.sampled_from([1, 2])
ALIASES = st.sampled_from(["cards", "payments"])
LIFETIMES = st.none() | st.integers(-1, 4)


class KeyMachine(RuleBasedStateMachine):
    """Every rule does to the key what the service does, and to the model what the documentation says."""

    key: Key

    @initialize(origin=st.sampled_from(Origin), seed=SEEDS)
    def create(self, origin: Origin, seed: int) -> None:
        self.now = NOW
        self.on = True
        self.due: Instant | None = None
        self.archived = False
        self.held: int | None = None
        self.first: int | None = None
        self.expiry: Instant | None = None
        self.generated = origin is Origin.GENERATED
        self.key = a_key(origin=origin)
        if self.generated:
            self.held = self.first = seed
            self.key = self.key.with_material(sealed(seed), Material(sealed(seed).record, self.now))
        self.alias = self.key.alias

    def model_usable(self) -> bool:
        return self.held is not None and (self.expiry is None or self.now < self.expiry)

    def model_state(self) -> str:
        if self.due is not None:
            return "PendingDelete"
        if self.archived:
            return "Archived"
        if not self.model_usable():
            return "PendingImport"
        return "Enabled" if self.on else "Disabled"

    def refused(self, action: KeyAction, *states: str) -> bool:
        """Ask the policy, compare with the states that the documentation names, and tell whether it refused."""
        if self.model_state() in states:
            DEFAULT_POLICY.require(action, self.key.state(self.now))
            return False
        with pytest.raises(KeyStateForbids):
            DEFAULT_POLICY.require(action, self.key.state(self.now))
        return True

    def refused_as_generated(self) -> bool:
        if not self.generated:
            self.key.require_external()
            return False
        with pytest.raises(KeyNotExternal):
            self.key.require_external()
        return True

    @rule(seed=SEEDS, lifetime=LIFETIMES)
    def import_material(self, seed: int, lifetime: int | None) -> None:
        valid_to = None if lifetime is None else Instant(self.now + lifetime)
        if self.refused_as_generated():
            return
        if lifetime is not None and lifetime <= 0:
            with pytest.raises(ExpiryInvalid):
                require_expiry(valid_to, self.now)
            return
        require_expiry(valid_to, self.now)
        if self.refused(KeyAction.IMPORT_MATERIAL, "Enabled", "PendingImport"):
            return
        brought = Material(sealed(seed).record, self.now, valid_to)
        if self.first not in (None, seed):
            with pytest.raises(MaterialMismatch):
                self.key.with_material(sealed(seed), brought)
            return
        self.key = self.key.with_material(sealed(seed), brought)
        self.held = self.first = seed
        self.expiry = valid_to

    @rule()
    def delete_material(self) -> None:
        if self.refused_as_generated() or self.refused(KeyAction.DELETE_MATERIAL, "Enabled", "Disabled"):
            return
        self.key = self.key.without_material()
        self.held = None

    @rule(on=st.booleans())
    def switch(self, on: bool) -> None:
        if not self.refused(KeyAction.ENABLE if on else KeyAction.DISABLE, "Enabled", "Disabled"):
            self.key = self.key.switched(on=on)
            self.on = on

    @rule(alias=ALIASES)
    def relabel(self, alias: str) -> None:
        if not self.refused(KeyAction.RELABEL, "Enabled", "Disabled", "PendingImport", "Archived"):
            self.key = replace(self.key, alias=alias)
            self.alias = alias

    @rule(milliseconds=st.integers(1, 4))
    def schedule_deletion(self, milliseconds: int) -> None:
        if not self.refused(KeyAction.SCHEDULE_DELETION, "Enabled", "Disabled", "PendingImport", "Archived"):
            self.due = Instant(self.now + milliseconds)
            self.key = self.key.scheduled(self.due)
            self.on = self.archived = False

    @rule()
    def cancel_deletion(self) -> None:
        if not self.key.gone(self.now) and not self.refused(KeyAction.CANCEL_DELETION, "PendingDelete"):
            self.key = self.key.kept()
            self.due = None
            assert self.model_state() in {"Disabled", "PendingImport"}

    @rule(archived=st.booleans())
    def archive(self, archived: bool) -> None:
        action = KeyAction.ARCHIVE if archived else KeyAction.CANCEL_ARCHIVE
        if not self.refused(action, *(("Enabled", "Disabled") if archived else ("Archived",))):
            self.key = replace(self.key, archived=archived)
            self.archived = archived

    @rule(action=st.sampled_from([KeyAction.ENCRYPT, KeyAction.DECRYPT]))
    def use(self, action: KeyAction) -> None:
        if self.refused(action, "Enabled", *(("Archived",) if action is KeyAction.DECRYPT else ())):
            return
        if self.model_usable():
            assert self.held is not None
            assert self.key.usable_material(action, self.now).record == sealed(self.held).record
            return
        assert self.archived, "every other state shows that there is none"
        with pytest.raises(KeyStateForbids):
            self.key.usable_material(action, self.now)

    @rule(milliseconds=st.integers(-2, 5))
    def move_the_clock(self, milliseconds: int) -> None:
        self.now = Instant(self.now + milliseconds)

    @rule()
    def sweep(self) -> None:
        if self.key.material is not None and not self.key.material.usable(self.now):
            self.key = self.key.without_material()
            self.held = None

    @invariant()
    def the_state_shown_is_the_models(self) -> None:
        assert self.key.state(self.now).value == self.model_state()

    @invariant()
    def the_key_is_gone_when_its_deletion_is_due(self) -> None:
        assert self.key.gone(self.now) is (self.due is not None and self.now >= self.due)

    @invariant()
    def the_key_holds_what_the_model_holds(self) -> None:
        record = None if self.key.material is None else self.key.material.record
        assert record == (None if self.held is None else sealed(self.held).record)

    @invariant()
    def the_fingerprint_is_the_first_materials_for_ever(self) -> None:
        assert self.key.fingerprint == (None if self.first is None else sealed(self.first).fingerprint)

    @invariant()
    def the_alias_is_the_one_last_given(self) -> None:
        assert self.key.alias == self.alias

    @invariant()
    def generated_material_never_goes_away(self) -> None:
        assert not (self.generated and self.held is None)

    @invariant()
    def enabled_means_usable_material_and_switched_on(self) -> None:
        if self.key.state(self.now) is KeyState.ENABLED:
            assert self.key.switched_on
            assert self.key.material is not None
            assert self.key.material.usable(self.now)


TestKey = KeyMachine.TestCase
TestKey.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
