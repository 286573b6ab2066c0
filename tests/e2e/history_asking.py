"""One history so far: what the model foresees of a request, what the service answers, and that they are the same."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from tests.e2e.history_clouds import Answer, Sealed, Shown
from tests.e2e.history_house import CLOUDS
from tests.e2e.history_model import NEVER, Ciphertext, Model, Presented, Refused
from tests.e2e.history_rules import ARCHIVED, GRANTED, PENDING_DELETE, PENDING_IMPORT, STATES, Why

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.history_clouds import Actor
    from tests.e2e.history_house import House
    from tests.e2e.history_model import Caller, Key

T = TypeVar("T")
_SHOWS_LAPSED: Final = {ARCHIVED, PENDING_DELETE}


class Voice(NamedTuple):
    """Through which cloud somebody asks, and whether it is the key's owner or the other account."""

    cloud: str
    is_owner: bool = True


@dataclass
class Asking:
    """The model and the service of one history, side by side."""

    house: House
    model: Model = field(init=False)
    prefix: str = field(default_factory=lambda: f"history_{secrets.token_hex(4)}")
    """Of the aliases of this history's keys."""
    ciphertexts: list[Ciphertext] = field(default_factory=list)
    agreed: bool = False
    """Whether the last step was seen to its end."""

    def __post_init__(self) -> None:
        """Begin."""
        self.model = Model(self.house.failures)
        for actor in self.house.huawei:
            actor.begin()

    def party(self, voice: Voice, account: str) -> tuple[Actor[Any], Caller]:
        """Return who asks about what is this account's, to the service and to the model."""
        stranger = (self.house.accounts.index(account) == 1) is voice.is_owner
        return self.house.actor(voice.cloud, stranger=stranger), self.house.caller(voice.cloud, stranger=stranger)

    def ask(
        self, voice: Voice, account: str, foreseen: Callable[[Caller], T], call: Callable[[Actor[Any]], Any]
    ) -> tuple[T, Any] | None:
        """Ask both; return what they say if the request is granted, or None."""
        self.agreed = False
        actor, caller = self.party(voice, account)
        expected: T | None = None
        try:
            code, expected = GRANTED, foreseen(caller)
        except Refused as refused:
            code = refused.code
        answer: Answer = actor.ask(lambda: call(actor))
        self.house.answers[voice.cloud, answer.code] += 1
        assert answer.code == code, f"{voice}: answered {answer.code}, foreseen {code}"
        return (expected, answer.value) if code == GRANTED else None  # type: ignore[return-value]  # granted: it is set

    def stepped(self, *keys: Key) -> None:
        """End a step that touched these keys."""
        for key in keys:
            self.look(key)
        self.house.steps += 1
        self.agreed = True

    def look(self, key: Key) -> None:
        """Compare what both clouds show of a key with the model."""
        for cloud in CLOUDS:
            actor, caller = self.party(Voice(cloud), key.account)
            answer = actor.ask(partial(actor.shown, key.key_id))
            if key.gone:
                assert answer.code == caller.rules.of_reasons[Why.NO_SUCH_KEY]
                continue
            assert answer.code == GRANTED, answer
            shown: Shown = answer.value
            assert shown.valid_to in _expiries(key), (cloud, key.state, shown)
            date = key.deletion_date or NEVER
            expected = Shown(key.key_id, key.account, key.alias, key.external, key.state, shown.valid_to, date)
            assert shown == expected, cloud

    def decrypt(self, voice: Voice, presented: Presented) -> None:
        """Decrypt, and compare the plaintext."""
        ciphertext, key = presented.ciphertext, presented.ciphertext.key
        raw = bytearray(ciphertext.raw)
        if presented.flipped is not None:
            raw[presented.flipped // 8] ^= 1 << presented.flipped % 8
        named = presented.named.key_id if presented.named else None
        sealed = Sealed(bytes(raw), named, len(ciphertext.plaintext))
        granted = self.ask(
            voice,
            key.account,
            lambda caller: self.model.decrypt(caller, presented),
            lambda actor: actor.decrypt(sealed, presented.context),
        )
        if granted:
            expected, plaintext = granted
            assert plaintext == expected, "another plaintext"

    def list(self, voice: Voice, account: str, state: str | None = None) -> None:
        """List the keys of this history, of one state if one is given."""
        granted = self.ask(
            voice,
            account,
            lambda caller: self.model.listed(caller.account, state),
            lambda actor: actor.listed(self.prefix, state),
        )
        assert granted
        expected, listed = granted
        assert listed == expected, (voice, state)

    def look_at_all(self) -> None:
        """Compare all that there is, through both clouds."""
        for key in self.model.keys:
            self.look(key)
        for cloud in CLOUDS:
            voice = Voice(cloud)
            for account in self.house.accounts:
                for state in (None, *STATES):
                    self.list(voice, account, state)
            for each in self.ciphertexts:
                if self.house.actor(cloud, stranger=False).speakable(each.context) == each.context:
                    self.decrypt(voice, Presented(each, each.context))


def _expiries(key: Key) -> set[int]:
    """Return what may be shown as a key's expiry."""
    if key.state == PENDING_IMPORT:
        return {NEVER}
    if key.held is None and key.state in _SHOWS_LAPSED:
        return {NEVER, key.lapsed}
    return {key.held.valid_to if key.held else NEVER}
