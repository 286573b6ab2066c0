"""Random histories: each step asks one of two clouds, and what it answers is what the model foresaw.

After every step both clouds show the keys that it touched as the model has them; at the end of a history both show,
list and decrypt all that there is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, precondition, rule

from tests.e2e.history_asking import Voice
from tests.e2e.history_house import CLOUDS, HUAWEI, TENCENT, Death, House
from tests.e2e.history_model import MOST_ATTEMPTS, NEVER, Ciphertext, Context, Presented
from tests.e2e.history_requests import Requests
from tests.e2e.history_rules import STATES
from tests.e2e.running import until

if TYPE_CHECKING:
    from tests.e2e.history_clouds import Actor
    from tests.e2e.history_model import Key, Parcel, Ticket

LATEST_EXPIRY: Final = 2147443200
MOST_KEYS: Final = 6
"""Few enough that a history comes back to each of them."""
EXPIRY_SECONDS: Final = 2
MARGIN_SECONDS: Final = 0.7
"""What is done before the expiry is begun this long before it."""

OWNERS: Final = st.sampled_from([Voice(cloud) for cloud in CLOUDS])
VOICES: Final = st.sampled_from([Voice(cloud, each) for cloud in CLOUDS for each in (True, True, True, True, False)])
CONTEXTS: Final = st.sampled_from(
    [
        Context(),
        Context((("use", "card"), ("by", "till"))),
        Context((("by", "till"), ("use", "card"))),
        Context((("use", "pin"),)),
        Context(text="use=card"),
        Context(text="use=pin"),
    ]
)
RIGHT: Final = st.none()
PLAINTEXTS: Final = st.sampled_from([b"\0", b"12345678" * 8, b"\xff\xfe pin", "\u5bc6\u7801".encode(), b"x" * 4096])
ALIASES: Final = st.integers(0, 7)
CONTENTS: Final = st.sampled_from(["its own", "its own", "the one", "the other", "the other", "too short", "junk"])
EXPIRIES: Final = st.sampled_from([NEVER, LATEST_EXPIRY, LATEST_EXPIRY - 1])
FLIPS: Final = st.none() | st.none() | st.none() | st.integers(0, 118 * 8 - 1)
"""The bit to change; no ciphertext is shorter."""
DEATHS: Final = st.sampled_from([None, None, None, None, None, *Death])


class Histories(RuleBasedStateMachine):
    """Every rule asks the service what it asks the model."""

    keys: Bundle[Key] = Bundle("keys")
    tickets: Bundle[Ticket] = Bundle("tickets")
    imports: Bundle[tuple[Ticket, Parcel, int]] = Bundle("imports")
    ciphertexts: Bundle[Ciphertext] = Bundle("ciphertexts")

    house: ClassVar[House]
    death: Death | None = None
    lapses = False
    falls_due = False

    def __init__(self) -> None:
        """Begin with a key of each kind and a ciphertext of each that can encrypt."""
        super().__init__()
        self.now = Requests(self.house)
        self.model = self.now.model
        own, others = self.house.accounts
        founded = [
            self.now.create(Voice(cloud), account, self.now.alias(number), external=external)
            for number, (cloud, account, external) in enumerate(
                [(TENCENT, own, True), (HUAWEI, own, True), (TENCENT, own, False), (HUAWEI, others, False)]
            )
        ]
        self.founded = [key for key in founded if key]
        ticket = self.now.ticket(self.founded[1], Voice(HUAWEI))
        assert ticket
        self.now.import_(self.founded[1], ticket, self.now.parcel(ticket, "the one"), NEVER, Voice(HUAWEI))

    @initialize(target=keys, death=DEATHS, lapses=st.booleans(), falls_due=st.booleans())
    def begin(self, death: Death | None, lapses: bool, falls_due: bool) -> Any:
        """Decide what of the slow steps will happen once in this history."""
        self.death = death
        self.lapses = lapses
        self.falls_due = falls_due
        self.now.stepped(*self.founded)
        return multiple(*self.founded)

    @initialize(target=ciphertexts, context=CONTEXTS)
    def write(self, context: Context) -> Any:
        """Encrypt with each key that can."""
        written = [self.now.encrypt(Voice(HUAWEI), key, b"first", context) for key in self.founded[1:]]
        self.now.stepped()
        return multiple(*(each for each in written if each))

    def teardown(self) -> None:
        """Look at all that there is, asleep and awake, unless something was wrong before."""
        if self.now.agreed:
            self.now.look_at_all()
            for key in self.model.keys:
                self.now.wake(key)

    # --- keys and their life -------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.keys) < MOST_KEYS)
    @rule(target=keys, voice=VOICES, number=ALIASES, external=st.sampled_from([True, True, False]))
    def create(self, voice: Voice, number: int, external: bool) -> Any:
        key = self.now.create(voice, self.house.accounts[0], self.now.alias(number), external=external)
        if key is None:
            self.now.stepped()
            return multiple()
        self.now.stepped(key)
        return key

    @rule(key=keys, voice=VOICES, number=ALIASES)
    def relabel(self, key: Key, voice: Voice, number: int) -> None:
        alias = self.now.alias(number)
        self.now.ask(
            voice,
            key.account,
            lambda caller: self.model.relabel(caller, key, alias),
            lambda actor: actor.relabel(key.key_id, alias),
        )
        self.now.stepped(key)

    @rule(key=keys, voice=VOICES, on=st.booleans())
    def switch(self, key: Key, voice: Voice, on: bool) -> None:
        self.now.switch(key, voice, on=on)
        self.now.stepped(key)

    @rule(key=keys, is_owner=st.sampled_from([True, True, True, False]), archived=st.booleans())
    def archive(self, key: Key, is_owner: bool, archived: bool) -> None:
        self.now.archive(key, Voice(TENCENT, is_owner), archived=archived)
        self.now.stepped(key)

    @rule(key=keys, voice=VOICES, days=st.sampled_from([7, 30]))
    def schedule(self, key: Key, voice: Voice, days: int) -> None:
        self.now.schedule(key, voice, days)
        self.now.stepped(key)

    @rule(key=keys, voice=VOICES)
    def cancel(self, key: Key, voice: Voice) -> None:
        self.now.cancel(key, voice)
        self.now.stepped(key)

    @rule(voice=OWNERS, stranger=st.booleans(), state=st.sampled_from([None, *STATES]))
    def list(self, voice: Voice, stranger: bool, state: str | None) -> None:
        self.now.list(voice, self.house.accounts[stranger], state)
        self.now.stepped()

    # --- the ceremony --------------------------------------------------------------------------------------

    @rule(target=tickets, key=keys, voice=VOICES)
    def get_parameters(self, key: Key, voice: Voice) -> Any:
        ticket = self.now.ticket(key, voice)
        self.now.stepped(key)
        return multiple() if ticket is None else ticket

    @rule(target=imports, key=keys, voice=VOICES, contents=CONTENTS, valid_to=EXPIRIES)
    def bring(self, key: Key, voice: Voice, contents: str, valid_to: int) -> Any:
        """The whole ceremony: most histories would not get far without."""
        ticket = self.now.ticket(key, voice)
        if ticket is None:
            self.now.stepped(key)
            return multiple()
        parcel = self.now.parcel(ticket, contents)
        self.now.import_(key, ticket, parcel, valid_to, voice)
        self.now.stepped(key)
        return ticket, parcel, valid_to

    @rule(
        target=imports,
        ticket=tickets,
        other=keys,
        astray=st.sampled_from([False, False, False, True]),
        contents=CONTENTS,
        valid_to=EXPIRIES,
        voice=VOICES,
    )
    def import_(self, ticket: Ticket, other: Key, astray: bool, contents: str, valid_to: int, voice: Voice) -> Any:
        parcel = self.now.parcel(ticket, contents)
        key = other if astray else ticket.key
        self.now.import_(key, ticket, parcel, valid_to, voice)
        self.now.stepped(key)
        return ticket, parcel, valid_to

    @rule(sent=imports, again=st.sampled_from([True, True, False]), voice=VOICES)
    def repeat(self, sent: tuple[Ticket, Parcel, int], again: bool, voice: Voice) -> None:
        """The same request, or with another expiry."""
        ticket, parcel, valid_to = sent
        self.now.import_(ticket.key, ticket, parcel, valid_to if again else LATEST_EXPIRY - 2, voice)
        self.now.stepped(ticket.key)

    @rule(key=keys, voice=VOICES)
    def guess(self, key: Key, voice: Voice) -> None:
        """An import token that nobody was given."""
        self.now.import_(key, None, self.now.junk(), NEVER, voice)
        self.now.stepped(key)

    @rule(ticket=tickets, voice=OWNERS)
    def exhaust(self, ticket: Ticket, voice: Voice) -> None:
        for _ in range(MOST_ATTEMPTS + 1):
            self.now.import_(ticket.key, ticket, self.now.junk(), NEVER, voice)
        self.now.stepped(ticket.key)

    @rule(key=keys, voice=VOICES)
    def unload(self, key: Key, voice: Voice) -> None:
        self.now.unload(key, voice)
        self.now.stepped(key)

    # --- use -----------------------------------------------------------------------------------------------

    @rule(target=ciphertexts, key=keys, voice=VOICES, plaintext=PLAINTEXTS, context=CONTEXTS)
    def encrypt(self, key: Key, voice: Voice, plaintext: bytes, context: Context) -> Any:
        ciphertext = self.now.encrypt(voice, key, plaintext, self._actor(voice).speakable(context))
        self.now.stepped(key)
        return ciphertext or multiple()

    @rule(target=ciphertexts, key=keys, voice=VOICES, size=st.sampled_from([1, 16, 32, 1024]), context=CONTEXTS)
    def make_data_key(self, key: Key, voice: Voice, size: int, context: Context) -> Any:
        context = self._actor(voice).speakable(context)
        granted = self.now.ask(
            voice,
            key.account,
            lambda caller: self.model.encrypt(caller, key),
            lambda actor: actor.data_key(key.key_id, size, context),
        )
        self.now.stepped(key)
        if granted is None:
            return multiple()
        plaintext, raw = granted[1]
        assert len(plaintext) == size
        return self.now.kept(Ciphertext(raw, key, plaintext, context))

    @rule(
        ciphertext=ciphertexts,
        voice=VOICES,
        context=RIGHT | RIGHT | CONTEXTS,
        flipped=FLIPS,
        named=st.sampled_from([None, "its key", "its key", "some key"]),
        some=keys,
    )
    def decrypt(
        self,
        ciphertext: Ciphertext,
        voice: Voice,
        context: Context | None,
        flipped: int | None,
        named: str | None,
        some: Key,
    ) -> None:
        says = {"its key": ciphertext.key, "some key": some}.get(named or "") if voice.cloud == HUAWEI else None
        context = self._actor(voice).speakable(ciphertext.context if context is None else context)
        self.now.decrypt(voice, Presented(ciphertext, context, flipped, says))
        self.now.stepped(ciphertext.key)

    @rule(
        target=ciphertexts,
        ciphertext=ciphertexts,
        voice=VOICES,
        context=RIGHT | RIGHT | CONTEXTS,
        key=keys,
        keeps_key=st.booleans(),
        new_context=RIGHT | CONTEXTS,
    )
    def re_encrypt(
        self,
        ciphertext: Ciphertext,
        voice: Voice,
        context: Context | None,
        key: Key,
        keeps_key: bool,
        new_context: Context | None,
    ) -> Any:
        context = self._actor(voice).re_encryptable(ciphertext.context if context is None else context)
        new = context if new_context is None else self._actor(voice).re_encryptable(new_context)
        target = ciphertext.key if keeps_key else key
        presented = Presented(ciphertext, context)
        granted = self.now.ask(
            voice,
            ciphertext.key.account,
            lambda caller: self.model.re_encrypt(caller, presented, target, new),
            lambda actor: actor.re_encrypt(ciphertext.raw, context, target.key_id, new),
        )
        self.now.stepped(ciphertext.key, target)
        if granted is None:
            return multiple()
        changes, raw = granted
        assert (raw != ciphertext.raw) is changes
        return self.now.kept(Ciphertext(raw, target, ciphertext.plaintext, new)) if changes else multiple()

    # --- time and death ------------------------------------------------------------------------------------

    @precondition(lambda self: self.lapses)
    @rule(key=keys, voice=OWNERS, meanwhile=st.sampled_from([None, "disable", "archive", "schedule"]))
    def lapse(self, key: Key, voice: Voice, meanwhile: str | None) -> None:
        """Bring material that soon expires, do something to the key, and wait."""
        ticket = self.now.ticket(key, voice)
        valid_to = int(time.time()) + EXPIRY_SECONDS
        if ticket is not None and self.now.import_(key, ticket, self.now.parcel(ticket, "its own"), valid_to, voice):
            if time.time() < valid_to - MARGIN_SECONDS:
                self.now.meanwhile(key, voice, meanwhile)
            until(lambda: time.time() >= valid_to, "the expiry", EXPIRY_SECONDS + 1)
            key.held, key.lapsed, self.lapses = None, valid_to, False
        self.now.stepped(key)

    @precondition(lambda self: self.falls_due)
    @rule(key=keys)
    def fall_due(self, key: Key) -> None:
        self.now.schedule(key, Voice(HUAWEI), 7)
        self.house.let_due(key)
        self.falls_due = False
        self.now.stepped(key)

    @precondition(lambda self: self.death is not None and self.model.keys)
    @rule()
    def die(self) -> None:
        assert self.death is not None
        self.house.suffer(self.death)
        self.death = None
        self.now.stepped(*self.model.keys)

    def _actor(self, voice: Voice) -> Actor[Any]:
        return self.house.actor(voice.cloud, stranger=False)


def histories_in(house: House) -> type[Histories]:
    """Return the histories that happen in `house`."""

    class HistoriesInHouse(Histories):
        pass

    HistoriesInHouse.house = house
    return HistoriesInHouse
