"""Keys as the documents describe them: a model without clock, token or database, and without any of our code.

Time is none of it: who lets material expire or a deletion fall due says so. Each method first judges the request, by
the rules of the cloud that it came through, and then does what was granted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from tests.e2e.history_rules import ARCHIVED, DISABLED, ENABLED, GRANTED, PENDING_DELETE, PENDING_IMPORT, Rules, Why

if TYPE_CHECKING:
    from collections import Counter

MATERIAL_BYTES: Final = 32
MOST_LIVE_TICKETS: Final = 3
MOST_ATTEMPTS: Final = 10
MOST_PAIR_FAILURES: Final = 100
NEVER: Final = 0
HEAD_BITS: Final = 22 * 8
"""Of a ciphertext's head up to the key id: with any of them changed it names no key, or none that is there."""


class Refused(Exception):
    """A request must be refused."""

    def __init__(self, code: str) -> None:
        """Say the code that the caller must be told."""
        super().__init__(code)
        self.code = code


class Caller(NamedTuple):
    """Who asks: an account, through a cloud."""

    account: str
    rules: Rules

    def refuse(self, why: Why) -> NoReturn:
        """Refuse a request.

        Raises:
            Refused: always.
        """
        raise Refused(self.rules.of_reasons[why])


class Parcel(NamedTuple):
    """Wrapped material, as it is sent."""

    encrypted: str
    material: bytes | None
    """What is in it; None: nothing that can be unwrapped."""


class Context(NamedTuple):
    """What is authenticated beside a plaintext: named values or a text."""

    pairs: tuple[tuple[str, str], ...] = ()
    text: str = ""

    def same_as(self, other: Context) -> bool:
        """Tell whether both are the same to a ciphertext."""
        return (dict(self.pairs), self.text) == (dict(other.pairs), other.text)


@dataclass(eq=False)
class Key:
    """A key."""

    key_id: str
    account: str
    alias: str
    external: bool
    on: bool = True
    archived: bool = False
    deletion_date: int | None = None
    """Seconds since 1970."""
    first: bytes | None = None
    """The only material that it ever takes."""
    held: Holding | None = None
    lapsed: int = NEVER
    """When the material that it held last expired, if it did: shown until its row is swept, where it shows at all."""
    tickets: list[Ticket] = field(default_factory=list)
    gone: bool = False
    swept: bool = False
    """Whether it is known that not even its row is left, which holds its alias."""

    @property
    def state(self) -> str:
        """What it is shown as, in the order of precedence that docs/design.md gives."""
        if self.deletion_date is not None:
            return PENDING_DELETE
        if self.archived:
            return ARCHIVED
        if self.held is None:
            return PENDING_IMPORT
        return ENABLED if self.on else DISABLED


@dataclass(eq=False)
class Ticket:
    """What get-parameters gives: an import token, good for one import into one key."""

    token: str
    public_key: str
    key: Key
    attempts: int = 0
    over: bool = False
    spending: tuple[str, int] | None = None
    """The ciphertext and the expiry of the import that it was spent on."""


class Holding(NamedTuple):
    """The material that a key has."""

    valid_to: int
    ticket: Ticket | None
    """None: it was generated."""


@dataclass(frozen=True, eq=False)
class Ciphertext:
    """What encryption gave, and what must come back."""

    raw: bytes
    key: Key
    plaintext: bytes
    context: Context


@dataclass(frozen=True, eq=False)
class Presented:
    """A ciphertext as it is sent to be decrypted."""

    ciphertext: Ciphertext
    context: Context
    flipped: int | None = None
    """The bit that was changed; None: none was."""
    named: Key | None = None
    """The key that the request says it is of, if it says so."""

    @property
    def opens(self) -> bool:
        """Whether the tag is right."""
        return self.flipped is None and self.context.same_as(self.ciphertext.context)


@dataclass(frozen=True)
class Model:
    """The keys of two accounts, the oldest first."""

    failures: Counter[str]
    """Public key -> how many imports failed under its pair."""
    keys: list[Key] = field(default_factory=list)

    def holder(self, account: str, alias: str) -> Key | None:
        """Return the key whose alias this is."""
        held = (key for key in self.keys if (key.account, key.alias) == (account, alias) and not key.swept)
        return next(held, None)

    def listed(self, account: str, state: str | None = None) -> list[str]:
        """Return the ids of an account's keys, of one state if one is given."""
        own = (key for key in self.keys if key.account == account and not key.gone)
        return [key.key_id for key in own if state in {None, key.state}]

    def may_create(self, caller: Caller, alias: str) -> None:
        """Judge the creation of a key."""
        if self.holder(caller.account, alias):
            caller.refuse(Why.ALIAS_TAKEN)

    def created(self, caller: Caller, key_id: str, alias: str, *, external: bool) -> Key:
        """Return a new key."""
        held = None if external else Holding(NEVER, None)
        self.keys.append(Key(key_id, caller.account, alias, external, held=held))
        return self.keys[-1]

    def describe(self, caller: Caller, key: Key) -> None:
        """Judge any request for a key."""
        if key.gone or key.account != caller.account:
            caller.refuse(Why.NO_SUCH_KEY)

    def relabel(self, caller: Caller, key: Key, alias: str) -> None:
        """Give a key an alias."""
        self._require(caller, "relabel", key)
        if self.holder(key.account, alias) not in {None, key}:
            caller.refuse(Why.ALIAS_TAKEN)
        key.alias = alias

    def switch(self, caller: Caller, key: Key, *, on: bool) -> None:
        """Enable or disable a key."""
        self._require(caller, "enable" if on else "disable", key)
        key.on = on

    def archive(self, caller: Caller, key: Key, *, archived: bool) -> None:
        """Archive a key, or take it out."""
        self._require(caller, "archive" if archived else "unarchive", key)
        key.archived = archived

    def schedule(self, caller: Caller, key: Key, date: int) -> None:
        """Have a key deleted at a date: it is switched off, out of the archive, and its import tokens are void."""
        self._require(caller, "schedule", key)
        key.deletion_date, key.on, key.archived = date, False, False
        for ticket in key.tickets:
            ticket.over = True

    def cancel(self, caller: Caller, key: Key) -> None:
        """Keep a key after all."""
        self._require(caller, "cancel", key)
        key.deletion_date = None

    def unload(self, caller: Caller, key: Key) -> None:
        """Delete the material of a key."""
        self._require_external(caller, key)
        self._require(caller, "unload", key)
        key.held, key.lapsed = None, NEVER

    def get_parameters(self, caller: Caller, key: Key) -> None:
        """Judge a request for import parameters."""
        self._require_external(caller, key)
        self._require(caller, "parameters", key)

    @staticmethod
    def issued(key: Key, token: str, public_key: str) -> Ticket:
        """Return a new ticket of a key, which supersedes the oldest live one if there are too many."""
        ticket = Ticket(token, public_key, key)
        key.tickets.append(ticket)
        for old in [each for each in key.tickets if not each.over][:-MOST_LIVE_TICKETS]:
            old.over = True
        return ticket

    def import_(self, caller: Caller, key: Key, ticket: Ticket | None, parcel: Parcel, valid_to: int) -> None:
        """Import wrapped material; a ticket of None is an import token that nobody was given."""
        self._require_external(caller, key)
        spending = (parcel.encrypted, valid_to)
        if ticket and ticket.key is key and key.held and key.held.ticket is ticket and ticket.spending == spending:
            return
        self._require(caller, "import", key)
        if ticket is None or ticket.key.swept:
            caller.refuse(Why.TOKEN_UNKNOWN)
        if ticket.key is not key:
            caller.refuse(Why.TOKEN_FOREIGN)
        if ticket.over or self.failures[ticket.public_key] >= MOST_PAIR_FAILURES:
            caller.refuse(Why.TOKEN_OVER)
        self._unwrap(caller, key, ticket, parcel)
        ticket.over, ticket.spending = True, spending
        key.first, key.held, key.lapsed = parcel.material, Holding(valid_to, ticket), NEVER

    def _unwrap(self, caller: Caller, key: Key, ticket: Ticket, parcel: Parcel) -> None:
        why = Why.UNDECRYPTABLE
        if parcel.material is not None:
            if len(parcel.material) == MATERIAL_BYTES and key.first in {None, parcel.material}:
                return
            why = Why.OTHER_MATERIAL if len(parcel.material) == MATERIAL_BYTES else Why.WRONG_LENGTH
        ticket.attempts += 1
        ticket.over = ticket.attempts == MOST_ATTEMPTS
        self.failures[ticket.public_key] += 1
        caller.refuse(why)

    def encrypt(self, caller: Caller, key: Key) -> None:
        """Judge an encryption, or a new data key."""
        self._require(caller, "encrypt", key)

    def decrypt(self, caller: Caller, presented: Presented) -> bytes:
        """Return the plaintext of a ciphertext."""
        self._name(caller, presented)
        if not presented.opens:
            caller.refuse(Why.CIPHERTEXT)
        return presented.ciphertext.plaintext

    def re_encrypt(self, caller: Caller, presented: Presented, target: Key, context: Context) -> bool:
        """Judge a re-encryption; tell whether it makes another ciphertext."""
        self._name(caller, presented)
        changes = target is not presented.ciphertext.key or not context.same_as(presented.context)
        if changes:
            self.encrypt(caller, target)
        if not presented.opens:
            caller.refuse(Why.CIPHERTEXT)
        return changes

    @staticmethod
    def _name(caller: Caller, presented: Presented) -> None:
        """Judge whether the key of a ciphertext may decrypt."""
        key = presented.ciphertext.key
        in_head = presented.flipped is not None and presented.flipped < HEAD_BITS
        if in_head or presented.named not in {None, key} or key.gone or key.account != caller.account:
            caller.refuse(Why.CIPHERTEXT)
        code = caller.rules.of_states["decrypt", key.state]
        if code != GRANTED:
            raise Refused(code)
        if key.held is None:
            caller.refuse(Why.NO_USABLE_MATERIAL)

    def _require_external(self, caller: Caller, key: Key) -> None:
        self.describe(caller, key)
        if not key.external:
            caller.refuse(Why.NOT_EXTERNAL)

    def _require(self, caller: Caller, action: str, key: Key) -> None:
        self.describe(caller, key)
        code = caller.rules.of_states[action, key.state]
        if code != GRANTED:
            raise Refused(code)
