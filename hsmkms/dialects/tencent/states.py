"""In which states of a key this cloud allows what.

Source: ScheduleKeyDeletion's error CmkShouldBeDisabled; for all other actions this cloud is as wide as the core.
"""

from __future__ import annotations

from typing import Final

from hsmkms.core.keys import DEFAULT_POLICY, KeyAction, KeyState, StatePolicy

POLICY: Final = StatePolicy({**DEFAULT_POLICY.allowed, KeyAction.SCHEDULE_DELETION: (KeyState.DISABLED,)})
