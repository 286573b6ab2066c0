"""From a command and its end to the line that the audit trail has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.core import ciphertexts
from hsmkms.core.errors import CiphertextInvalid
from hsmkms.core.events import Event, EventTag
from hsmkms.service import commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hsmkms.core.credentials import Caller
    from hsmkms.core.errors import HsmkmsError
    from hsmkms.core.ids import Instant, KeyId
    from hsmkms.service.commands import Command, Outcome

    Detail = Mapping[str, str | int | bool | None]

_TAGS: Final[Mapping[type[Command], EventTag]] = {
    commands.DescribeKey: EventTag.KEY_DESCRIBED,
    commands.DescribeKeys: EventTag.KEY_DESCRIBED,
    commands.ListKeys: EventTag.KEYS_LISTED,
    commands.DescribeService: EventTag.SERVICE_DESCRIBED,
    commands.Encrypt: EventTag.KEY_ENCRYPTED,
    commands.Decrypt: EventTag.KEY_DECRYPTED,
    commands.ReEncrypt: EventTag.KEY_RE_ENCRYPTED,
    commands.MakeDataKey: EventTag.DATA_KEY_MADE,
    commands.MakeRandom: EventTag.RANDOM_MADE,
}
"""What changes no state. Every other command writes its own event in its transaction, if it changes something."""


def done_event(caller: Caller, command: Command, outcome: Outcome, now: Instant) -> Event | None:
    """Return the event of a command that was carried out; None if that has written it itself."""
    tag = _TAGS.get(type(command))
    if tag is not None:
        return _event(caller, tag, now, _key_used(command, outcome), _facts(command, outcome))
    match outcome:
        case commands.Done(changed=False) | commands.KeyShown(changed=False):
            detail: dict[str, str | int | bool | None] = {"command": type(command).__name__}
            return _event(caller, EventTag.KEY_UNCHANGED, now, *_one_or_all(_keys_named(command), detail))
    return None


def refused_event(caller: Caller, command: Command, error: HsmkmsError, now: Instant) -> Event:
    """Return the event of a command that was refused; of a ciphertext, with the key that it claims to be of."""
    keys = _keys_named(command)
    detail: dict[str, str | int | bool | None] = {"command": type(command).__name__, "fault": type(error).__name__}
    return _event(caller, EventTag.REQUEST_REFUSED, now, *_one_or_all(keys, detail))


def turned_away_event(caller: Caller, api: str | None, error: HsmkmsError, now: Instant) -> Event:
    """Return the event of a request that did not become a command."""
    detail = {"action": api, "fault": type(error).__name__}
    return _event(caller, EventTag.REQUEST_REFUSED, now, None, detail)


def _event(caller: Caller, tag: EventTag, now: Instant, key_id: KeyId | None, detail: Detail) -> Event:
    return Event(tag, now, caller.account.name, caller.access_id, key_id, caller.request_id, detail)


def _one_or_all(
    keys: Sequence[KeyId], detail: dict[str, str | int | bool | None]
) -> tuple[KeyId | None, dict[str, str | int | bool | None]]:
    """Return a single key as the event's own, and several in its detail."""
    if len(keys) == 1:
        return keys[0], detail
    return None, {**detail, "keys": " ".join(keys)} if keys else detail


def _key_used(command: Command, outcome: Outcome) -> KeyId | None:
    match outcome:
        case commands.Encrypted() | commands.Decrypted() | commands.ReEncrypted() | commands.DataKeyMade():
            return outcome.key_id
    keys = _keys_named(command)
    return keys[0] if len(keys) == 1 else None


def _facts(command: Command, outcome: Outcome) -> Detail:
    match command, outcome:
        case commands.ReEncrypt(), commands.ReEncrypted():
            return {"source": outcome.source, "changed": outcome.changed}
        case commands.MakeDataKey(), _:
            return {"bytes": command.size, "shown": command.shown}
        case commands.MakeRandom(), _:
            return {"bytes": command.size}
        case commands.ListKeys(), commands.KeysShown():
            return {"offset": command.offset, "keys_shown": len(outcome.keys)}
        case commands.DescribeKeys(), _:
            return _one_or_all(command.key_ids, {})[1]
    return {}


def _keys_named(command: Command) -> Sequence[KeyId]:
    """Return the keys that a command names, each once; those of a ciphertext as it says, before anybody verified it."""
    match command:
        case commands.DescribeKeys() | commands.SwitchKeys():
            return command.key_ids
        case commands.Decrypt() | commands.ReEncrypt():
            named = [command.key_id, _claimed_by(command.ciphertext)]
            if isinstance(command, commands.ReEncrypt):
                named.append(command.target)
            return [each for each in dict.fromkeys(named) if each is not None]
        case commands.CreateKey() | commands.ListKeys() | commands.MakeRandom() | commands.DescribeService():
            return ()
        case _:
            return (command.key_id,)


def _claimed_by(ciphertext: bytes) -> KeyId | None:
    try:
        return ciphertexts.parse(ciphertext).head.key_id
    except CiphertextInvalid:
        return None
