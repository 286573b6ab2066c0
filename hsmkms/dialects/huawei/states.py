"""The states of a key as this cloud numbers them, and in which of them it allows what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.core.keys import DEFAULT_POLICY, KeyAction, KeyState, StatePolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBERS: Final[Mapping[KeyState, str]] = {
    KeyState.ENABLED: "2",
    KeyState.DISABLED: "3",
    KeyState.PENDING_DELETE: "4",
    KeyState.PENDING_IMPORT: "5",
    KeyState.ARCHIVED: "7",
}
"""`key_state`. This cloud cannot archive a key; of what it has, "7" (frozen) says best that the key cannot be used."""

LISTED: Final[Mapping[str, frozenset[KeyState]]] = {
    "1": frozenset(),
    **{NUMBERS[state]: frozenset({state}) for state in KeyState if state is not KeyState.ARCHIVED},
}
"""The filter of list-keys, `^[1-5]{1}$`; no key here is ever "1" (to be activated)."""

POLICY: Final = StatePolicy(
    {
        **DEFAULT_POLICY.allowed,
        KeyAction.GET_PARAMETERS: (KeyState.PENDING_IMPORT,),
        KeyAction.IMPORT_MATERIAL: (KeyState.PENDING_IMPORT,),
        KeyAction.DELETE_MATERIAL: (KeyState.ENABLED, KeyState.DISABLED),
        KeyAction.ENABLE: (KeyState.DISABLED,),
        KeyAction.DISABLE: (KeyState.ENABLED,),
    }
)
"""What the error codes KMS.0310, 2701, 1201 and 1301 say: a key that has material takes none before that is deleted,
and switching on what is on is an error. Scripts written for this cloud rely on being told. For the use of a key and its
deletion the codes KMS.0209, 0210, 0310, 1402 and 1501 say what the core does."""
