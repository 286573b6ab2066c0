from __future__ import annotations

import pytest

from hsmkms.core.keys import DEFAULT_POLICY, KeyAction, KeyState
from hsmkms.dialects.huawei.states import LISTED, NUMBERS, POLICY


@pytest.mark.parametrize("action", KeyAction)
def test_the_policy_is_nowhere_wider_than_the_cores(action: KeyAction) -> None:
    assert set(POLICY.allowed[action]) <= set(DEFAULT_POLICY.allowed[action])


def test_the_policy_is_as_the_error_codes_say() -> None:
    assert POLICY.allowed == {
        KeyAction.GET_PARAMETERS: (KeyState.PENDING_IMPORT,),
        KeyAction.IMPORT_MATERIAL: (KeyState.PENDING_IMPORT,),
        KeyAction.DELETE_MATERIAL: (KeyState.ENABLED, KeyState.DISABLED),
        KeyAction.ENABLE: (KeyState.DISABLED,),
        KeyAction.DISABLE: (KeyState.ENABLED,),
        KeyAction.RELABEL: DEFAULT_POLICY.allowed[KeyAction.RELABEL],
    }


def test_every_state_has_a_number_and_every_number_of_the_filter_selects_its_state() -> None:
    assert set(NUMBERS) == set(KeyState)
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    assert set(LISTED) == {"1", "2", "3", "4", "5"}
    assert all(NUMBERS[state] == number for number, states in LISTED.items() for state in states)
