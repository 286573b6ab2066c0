from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from hsmkms.core.keys import DEFAULT_POLICY, KeyAction, KeyState
from hsmkms.dialects.huawei.states import LISTED, NUMBERS, POLICY
from hsmkms.service.commands import ArchiveKey, Command, SwitchKeys
from tests.dialects.huawei.test_codec import LEAST, read


@pytest.mark.parametrize("action", KeyAction)
def test_the_policy_is_nowhere_wider_than_the_cores(action: KeyAction) -> None:
    assert set(POLICY.allowed[action]) <= set(DEFAULT_POLICY.allowed[action])


def test_the_policy_is_as_the_error_codes_say() -> None:
    assert POLICY.allowed == {
        **DEFAULT_POLICY.allowed,
        KeyAction.GET_PARAMETERS: (KeyState.PENDING_IMPORT,),
        KeyAction.IMPORT_MATERIAL: (KeyState.PENDING_IMPORT,),
        KeyAction.DELETE_MATERIAL: (KeyState.ENABLED, KeyState.DISABLED),
        KeyAction.ENABLE: (KeyState.DISABLED,),
        KeyAction.DISABLE: (KeyState.ENABLED,),
    }


def test_a_key_is_scheduled_for_deletion_in_every_state_and_once() -> None:
    assert set(POLICY.allowed[KeyAction.SCHEDULE_DELETION]) == set(KeyState) - {KeyState.PENDING_DELETE}


def test_every_command_that_a_state_can_forbid_carries_this_clouds_policy() -> None:
    carrying = set()
    for name, members in LEAST.items():
        command = read(name, members)
        if hasattr(command, "policy"):
            assert command.policy is POLICY, name
            carrying.add(type(command))
    with_policy = {kind for kind in get_args(Command) if "policy" in {each.name for each in fields(kind)}}
    assert carrying == with_policy - {ArchiveKey, SwitchKeys}


def test_every_state_has_a_number_and_every_number_of_the_filter_selects_its_state() -> None:
    assert set(NUMBERS) == set(KeyState)
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    assert set(LISTED) == {"1", "2", "3", "4", "5"}
    assert all(NUMBERS[state] == number for number, states in LISTED.items() for state in states)
