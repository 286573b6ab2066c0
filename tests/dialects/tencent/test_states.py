from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from hsmkms.core.keys import DEFAULT_POLICY, KeyAction, KeyState
from hsmkms.dialects.tencent.codec import ACTIONS
from hsmkms.dialects.tencent.states import POLICY
from hsmkms.service.commands import Command
from tests.dialects.scripted_service import KEY_ID
from tests.dialects.tencent.test_codec import REQUIRED, read


@pytest.mark.parametrize("action", KeyAction)
def test_nothing_is_allowed_that_the_core_forbids(action: KeyAction) -> None:
    assert set(POLICY.allowed[action]) <= set(DEFAULT_POLICY.allowed[action])


def test_only_a_disabled_key_may_be_scheduled_for_deletion() -> None:
    assert POLICY.allowed[KeyAction.SCHEDULE_DELETION] == (KeyState.DISABLED,)


def test_every_command_that_a_state_can_forbid_carries_this_clouds_policy() -> None:
    carrying = set()
    for name, action in ACTIONS.items():
        ids = {"KeyId": KEY_ID, "KeyIds": [KEY_ID]}
        named = {field: ids[field] for field in action.model.model_fields.keys() & ids}
        command = read(name, REQUIRED.get(name, {}) | named)
        if hasattr(command, "policy"):
            assert command.policy is POLICY, name
            carrying.add(type(command))
    assert carrying == {kind for kind in get_args(Command) if "policy" in {each.name for each in fields(kind)}}
