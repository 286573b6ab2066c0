"""What the service has that requests can be about: keys in every state, import tokens, wrapped material, ciphertexts.

Requests change what is here: keys wander between their states. From time to time the stock is taken again, so that
there is always something that can be granted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.fuzz_flaws import FLAWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cloud_client import ImportParameters
    from tests.e2e.fuzz_flaws import Live
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

ENABLED: Final = "Enabled"
DISABLED: Final = "Disabled"
PENDING_IMPORT: Final = "PendingImport"
PENDING_DELETE: Final = "PendingDelete"
ARCHIVED: Final = "Archived"
STATES: Final = (
    *(ENABLED, ENABLED, PENDING_IMPORT, ENABLED, DISABLED, ENABLED, ARCHIVED, ENABLED),
    *(PENDING_DELETE, PENDING_IMPORT, ENABLED, PENDING_IMPORT),
)
"""Of each key, whenever the stock is taken; every second one is EXTERNAL, and those that wait for an import."""
_CONTEXT: Final = {"purpose": "fuzzing"}


@dataclass
class Key:
    """A key, and what was made for it."""

    key_id: str
    state: str
    external: bool
    material: bytes = field(repr=False)
    parameters: ImportParameters | None = None
    wrapped: str = ""
    ciphertext: bytes = b""
    """Of `plaintext`, once there is one."""
    plaintext: bytes = b"0123456789abcdef"
    context: dict[str, str] | None = None


class Stock:
    """The keys of one account; the methods without an underscore are the kinds of `fuzz_fields.Live`."""

    def __init__(self, service: RunningService, keys: dict[str, str], stranger: dict[str, str]) -> None:
        """Make the keys, and one of another account."""
        self._client: TencentClient = service.client(keys)
        self._size = service.instance.material_bytes
        self._keys = [self._made(index, state) for index, state in enumerate(STATES)]
        self._stranger = service.client(stranger).generated_key()
        self.take()

    def take(self) -> None:
        """Bring each key back to the state that it had at first, with what can be made for it."""
        for key in self._keys:
            state = self._state(key)
            if state == key.state and (state != PENDING_IMPORT or key.parameters):
                continue
            self._enable(key, state)
            if not key.ciphertext:
                key.ciphertext = self._client.encrypt(key.key_id, key.plaintext, key.context)
            self._bring_into_state(key)

    def resolve(self, live: Live) -> Any:
        """Return what a place in the stock stands for at present."""
        value = getattr(self, live.kind)(live.number)
        return _spoilt(value, live.flaw, live.place) if live.flaw else value

    def key(self, number: int) -> str:
        """Return a key's id; now and then one of another account."""
        return self._stranger if number % 17 == 16 else self._key(number).key_id

    def keys(self, number: int) -> list[str]:
        """Return the ids of one to three keys."""
        chosen = (self._key(number + place).key_id for place in range(1 + number % 3))
        return list(dict.fromkeys(chosen))

    def import_token(self, number: int) -> str:
        """Return the latest import token of a key, or of any."""
        return self._parameters(number).import_token

    def material(self, number: int) -> str:
        """Return the material of a key, wrapped for its latest import token."""
        key = self._key(number)
        return key.wrapped or next(each.wrapped for each in self._keys if each.wrapped)

    def ciphertext(self, number: int) -> str:
        """Return a ciphertext in base64."""
        return base64.b64encode(self._key(number).ciphertext).decode()

    def hexadecimal(self, number: int) -> str:
        """Return a ciphertext in hexadecimal."""
        return self._key(number).ciphertext.hex()

    def context_text(self, number: int) -> str:
        """Return the context of that ciphertext as Tencent spells it."""
        context = self._key(number).context
        return json.dumps(context) if context else ""

    def context_pairs(self, number: int) -> dict[str, str]:
        """Return the context of that ciphertext as Huawei spells it."""
        return self._key(number).context or {}

    def origin(self, number: int) -> str:
        """Return the id of the key of that ciphertext."""
        return self._key(number).key_id

    def size(self, number: int) -> str:
        """Return the length of that ciphertext's plaintext."""
        return str(len(self._key(number).plaintext))

    def data_key(self, number: int) -> str:
        """Return a data key with its digest behind it, in hexadecimal."""
        data_key = bytes(1 + number % 64)
        return (data_key + hashlib.sha256(data_key).digest()).hex()

    def data_key_size(self, number: int) -> str:
        """Return the length of that data key."""
        return str(1 + number % 64)

    def _key(self, number: int) -> Key:
        return self._keys[number % len(self._keys)]

    def _parameters(self, number: int) -> ImportParameters:
        found = self._key(number).parameters or next(each.parameters for each in self._keys if each.parameters)
        assert found is not None
        return found

    def _made(self, index: int, state: str) -> Key:
        external = state == PENDING_IMPORT or index % 2 == 1
        key_id = self._client.external_key() if external else self._client.generated_key()
        return Key(
            key_id, state, external, secrets.token_bytes(self._size), context=_CONTEXT if index % 3 == 1 else None
        )

    def _state(self, key: Key) -> str:
        return self._client.state(key.key_id)

    def _enable(self, key: Key, state: str) -> None:
        steps: dict[str, Callable[[], Any]] = {
            PENDING_DELETE: lambda: self._client.cancel_deletion(key.key_id),
            ARCHIVED: lambda: self._client.call("CancelKeyArchive", KeyId=key.key_id),
            DISABLED: lambda: self._client.enable(key.key_id),
            PENDING_IMPORT: lambda: self._import(key),
        }
        before = ""
        while state != ENABLED:
            assert state != before, "a step leads on"
            steps[state]()
            before, state = state, self._state(key)

    def _import(self, key: Key) -> None:
        self._wrap(key)
        assert key.parameters is not None
        self._client.import_(key.key_id, key.parameters, key.wrapped)

    def _wrap(self, key: Key) -> None:
        key.parameters = self._client.parameters(key.key_id)
        key.wrapped = self._client.wrapped(key.parameters, key.material)

    def _bring_into_state(self, key: Key) -> None:
        if key.state == PENDING_IMPORT:
            self._client.delete_material(key.key_id)
            self._wrap(key)
        if key.state in {DISABLED, PENDING_DELETE}:
            self._client.disable(key.key_id)
        if key.state == PENDING_DELETE:
            self._client.schedule_deletion(key.key_id)
        if key.state == ARCHIVED:
            self._client.call("ArchiveKey", KeyId=key.key_id)


def _spoilt(value: Any, flaw: str, place: int) -> Any:
    if not isinstance(value, str) or not value:
        return [value, value] if flaw == "extend" else str(value)
    return FLAWS[flaw](value, place % len(value))
