"""The service on the real store, a stopped clock and the fake token, with the steps that its tests take."""

from __future__ import annotations

import functools
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

import pytest

from hsmkms.core.ciphertexts import NO_CONTEXT
from hsmkms.core.credentials import Caller, Role
from hsmkms.core.errors import HsmkmsError, ImportTokenOver, StoreUnavailable, TicketEnd
from hsmkms.core.ids import AccessId, AccountName, Instant, KeyId, RequestId
from hsmkms.core.keys import Origin
from hsmkms.core.material import Edition
from hsmkms.core.secrets import Plaintext
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.service.admission import Admission
from hsmkms.service.answering import FailureSchedule
from hsmkms.service.auditing import Trail
from hsmkms.service.auth_tokens import AuthTokenUseCases
from hsmkms.service.commands import (
    ArchiveKey,
    CancelDeletion,
    CreateKey,
    Decrypt,
    Decrypted,
    DeleteMaterial,
    DescribeKey,
    Encrypt,
    Encrypted,
    GetImportParameters,
    ImportMaterial,
    ImportParameters,
    KeyShown,
    ScheduleDeletion,
    SwitchKey,
)
from hsmkms.service.credentials import CredentialUseCases
from hsmkms.service.crypto import CryptoUseCases
from hsmkms.service.due_time import DueTime, begin
from hsmkms.service.facade import Guards, Service, UseCases
from hsmkms.service.importing import ImportUseCases
from hsmkms.service.issuing import IssuingSettings, IssuingUseCases
from hsmkms.service.keys import KeyUseCases
from hsmkms.service.lifecycle import LifecycleUseCases
from hsmkms.service.limits import RateLimits, Rates
from hsmkms.service.offering import Offer
from hsmkms.service.pairs import PairPool
from hsmkms.service.sweeping import Sweeper
from hsmkms.service.uses import UseCounter
from tests.fakes.clock import RememberedWitness, SteppedTimer, StoppedClock
from tests.service.counted_hsm import UNDECRYPTABLE, CountedHsm, wrapped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hsmkms.core.events import Event, EventTag
    from hsmkms.core.keys import Key, KeyState
    from hsmkms.core.ports import Reading, Store, Writing
    from hsmkms.core.tickets import Pair, Ticket
    from hsmkms.store.database import SqlStore

Result = TypeVar("Result")

OAEP: Final = WrappingAlgorithm.RSAES_OAEP_SHA_256
DAY: Final = 86_400
PLAINTEXT: Final = b"a secret of a customer"
MATERIAL: Final = bytes(range(32))
OTHER_MATERIAL: Final = bytes(range(1, 33))


@dataclass(frozen=True)
class Settings:
    """What a test may choose of a deployment."""

    tickets_per_pair: int = 1
    max_attempts: int = 10
    algorithms: tuple[WrappingAlgorithm, ...] = tuple(WrappingAlgorithm)
    ready_pairs: int = 0
    patience_seconds: float = 10.0
    most_uses: int = 1000
    uses_leased_at_once: int = 10
    most_keys: int = 0
    rates: Rates = field(default_factory=Rates)
    failure_seconds: float = 0


class House:
    """One deployment."""

    def __init__(self, store: SqlStore, settings: Settings) -> None:
        edition = Edition.FIPS
        self.clock = StoppedClock()
        self.hsm = CountedHsm(edition)
        self.sql = store
        self.store = BreakableStore(store)
        self.settings = settings
        self.pool = PairPool(
            self.hsm, edition, ready_pairs=settings.ready_pairs, patience_seconds=settings.patience_seconds
        )
        self.credentials = CredentialUseCases(self.store, self.hsm, self.clock, edition)
        self.auth_tokens = AuthTokenUseCases(self.store, self.clock)
        self.timer = SteppedTimer()
        limits = RateLimits(self.timer, settings.rates)
        issuing = IssuingSettings(DAY, settings.tickets_per_pair, settings.max_attempts)
        offer = Offer(self.hsm, settings.algorithms)
        failures = FailureSchedule(self.timer, settings.failure_seconds)
        self.imports = ImportUseCases(self.store, self.hsm, self.clock, edition, offer=offer, failures=failures)
        self.admission = Admission()
        use_cases = UseCases(
            keys=KeyUseCases(self.store, self.hsm, self.clock, edition, most_keys=settings.most_keys),
            lifecycle=LifecycleUseCases(self.store, self.clock),
            issuing=IssuingUseCases(self.store, self.clock, offer, pool=self.pool, limits=limits, settings=issuing),
            imports=self.imports,
            crypto=CryptoUseCases(self.store, self.hsm, self.clock, edition, self.use_counter()),
            credentials=self.credentials,
            auth_tokens=self.auth_tokens,
        )
        self.trail = Trail(self.store, self.clock, self.timer)
        guards = Guards(
            limits=limits,
            admission=self.admission,
            failures=failures,
            trail=self.trail,
        )
        self.service = Service(edition, offer, use_cases, guards)
        self.witness = RememberedWitness()
        begin(self.clock, self.clock, self.witness)
        due = DueTime(self.clock, self.clock, self.witness)
        self.sweeper = Sweeper(self.store, self.clock, due, self.credentials, parameters_valid_seconds=DAY)
        self.caller: Caller
        self.stranger: Caller
        self._aliases = 0

    async def open(self) -> None:
        """Make two accounts."""
        self.caller, self.stranger = [await self._caller(name) for name in ("acme", "stranger")]

    async def _caller(self, name: str) -> Caller:
        account = await self.store.write(lambda writing: writing.ensure_account(AccountName(name)))
        return Caller(account, AccessId(f"AKID{name}"), frozenset(Role), RequestId("request-1"))

    def use_counter(self) -> UseCounter:
        """Return what another process, or this one after a restart, would count uses with."""
        return UseCounter(self.store, block=self.settings.uses_leased_at_once, most=self.settings.most_uses)

    # --- what callers do ---

    async def key(self, *, origin: Origin = Origin.EXTERNAL, caller: Caller | None = None) -> KeyId:
        self._aliases += 1
        shown = await self.service.execute(
            caller or self.caller, CreateKey(alias=f"key-{self._aliases}", origin=origin)
        )
        assert isinstance(shown, KeyShown)
        return shown.key.key_id

    async def parameters(
        self, key_id: KeyId, algorithm: WrappingAlgorithm = OAEP, *, caller: Caller | None = None
    ) -> ImportParameters:
        command = GetImportParameters(key_id, algorithm, "WrappingAlgorithm")
        issued = await self.service.execute(caller or self.caller, command)
        assert isinstance(issued, ImportParameters)
        return issued

    def command(
        self,
        parameters: ImportParameters,
        material: bytes = MATERIAL,
        algorithm: WrappingAlgorithm = OAEP,
        *,
        valid_to: Instant | None = None,
    ) -> ImportMaterial:
        """Return the import of `material`, wrapped anew."""
        ciphertext = wrapped(parameters.public_key, material, algorithm)
        return ImportMaterial(parameters.key_id, parameters.import_token, ciphertext, valid_to)

    async def run(self, command: ImportMaterial) -> None:
        await self.service.execute(self.caller, command)

    async def imported(
        self, key_id: KeyId, material: bytes = MATERIAL, *, valid_to: Instant | None = None
    ) -> ImportMaterial:
        """Go through the whole ceremony and return the command that did it."""
        command = self.command(await self.parameters(key_id), material, valid_to=valid_to)
        await self.run(command)
        return command

    async def switch(self, key_id: KeyId, *, on: bool) -> KeyShown:
        shown = await self.service.execute(self.caller, SwitchKey(key_id, on))
        assert isinstance(shown, KeyShown)
        return shown

    async def delete(self, key_id: KeyId) -> None:
        await self.service.execute(self.caller, DeleteMaterial(key_id))

    async def archive(self, key_id: KeyId, *, archived: bool = True) -> None:
        await self.service.execute(self.caller, ArchiveKey(key_id, archived))

    async def schedule(self, key_id: KeyId, *, days: int = 7) -> Instant:
        """Schedule a key's deletion, and return the instant when it is due."""
        shown = await self.service.execute(self.caller, ScheduleDeletion(key_id, days))
        assert isinstance(shown, KeyShown)
        assert shown.key.deletion_due is not None
        return shown.key.deletion_due

    async def cancel(self, key_id: KeyId) -> None:
        await self.service.execute(self.caller, CancelDeletion(key_id))

    async def encrypted(
        self, key_id: KeyId, plaintext: bytes = PLAINTEXT, context: bytes = NO_CONTEXT, *, caller: Caller | None = None
    ) -> bytes:
        made = await self.service.execute(caller or self.caller, Encrypt(key_id, Plaintext(plaintext), context))
        assert isinstance(made, Encrypted)
        assert made.key_id == key_id
        return made.ciphertext

    async def decrypted(self, ciphertext: bytes, context: bytes = NO_CONTEXT, *, caller: Caller | None = None) -> bytes:
        made = await self.service.execute(caller or self.caller, Decrypt(ciphertext, context))
        assert isinstance(made, Decrypted)
        return made.plaintext.reveal()

    # --- what is so now ---

    async def state(self, key_id: KeyId) -> KeyState:
        shown = await self.service.execute(self.caller, DescribeKey(key_id))
        assert isinstance(shown, KeyShown)
        return shown.state

    async def key_row(self, key_id: KeyId) -> Key:
        found = await self.sql.find_key(key_id)
        assert found is not None
        return found

    async def ticket(self, issued: ImportParameters | ImportMaterial) -> Ticket:
        found = await self.sql.read(lambda reading: reading.ticket(issued.import_token.digest()))
        assert found is not None
        return found

    async def pair(self, issued: ImportParameters | ImportMaterial) -> Pair:
        ticket = await self.ticket(issued)
        found = await self.sql.read(lambda reading: reading.pair(ticket.pair_id))
        assert found is not None
        return found

    async def uses(self, key_id: KeyId) -> int:
        """Return how many uses of a key were ever leased."""
        leased = await self.sql.read(lambda reading: reading.uses_leased(key_id))
        assert leased is not None
        return leased

    async def events(self, *tags: EventTag) -> list[Event]:
        chained = await self.sql.trail().events(0, 100_000)
        return [each.event for each in chained if not tags or each.event.tag in tags]

    async def edit_key(self, key_id: KeyId, *, archived: bool = False, deletion_due: Instant | None = None) -> None:
        """Bring a key into a state without the checks and effects of the use case that does so."""
        key = await self.key_row(key_id)
        edited = replace(key, archived=archived, deletion_due=deletion_due)
        await self.sql.write(lambda writing: writing.replace_key(key, edited))


class BreakableStore:
    """The real store, whose transactions fail on demand: at an append, at a commit, or after it.

    Attributes:
        between_runs: if set, every change is run and undone first; then this is awaited, and the change is run again,
            as a database does when transactions got into each other's way.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.break_append: Exception | None = None
        self.break_commit: BaseException | None = None
        self.break_after_commit: BaseException | None = None
        self.between_runs: Callable[[], Awaitable[None]] | None = None
        self.commits = 0
        self.read = store.read
        self.look_up = store.look_up
        self.expired_keys = store.expired_keys
        self.due_deletions = store.due_deletions
        self.overdue_tickets = store.overdue_tickets
        self.idle_pairs = store.idle_pairs
        self.sealed_below = store.sealed_below
        self.erase_deleted = store.erase_deleted

    async def write(self, change: Callable[[Writing], Result]) -> Result:
        if self.between_runs is not None:
            with suppress(Exception):
                await self._store.write(functools.partial(_undone, change))
            await self.between_runs()

        def breakable(writing: Writing) -> Result:
            if self.break_append is not None:
                writing.append = self._broken_append  # type: ignore[method-assign]
            result = change(writing)
            if self.break_commit is not None:
                raise self.break_commit
            return result

        result = await self._store.write(breakable)
        self.commits += 1
        if self.break_after_commit is not None:
            raise self.break_after_commit
        return result

    def _broken_append(self, *_events: Event) -> None:
        assert self.break_append is not None
        raise self.break_append


def _undone(change: Callable[[Writing], object], writing: Writing) -> None:
    change(writing)
    raise StoreUnavailable


def _is_a_store(store: BreakableStore) -> Store:
    return store  # mypy proves it


async def out_of_reach(question: Callable[[Reading], Result]) -> Result:
    """Stand for a store that nobody may read."""
    raise StoreUnavailable


class Killed(BaseException):
    """What stands for the end of the process."""


def undecryptable(command: ImportMaterial, number: int = 0) -> ImportMaterial:
    """Return the command with a ciphertext that no token decrypts, another one for each number."""
    return replace(command, ciphertext=UNDECRYPTABLE[:-2] + number.to_bytes(2, "big"))


async def refusal(house: House, command: ImportMaterial) -> HsmkmsError:
    with pytest.raises(HsmkmsError) as caught:
        await house.run(command)
    return caught.value


async def end_of(house: House, command: ImportMaterial) -> TicketEnd:
    """Return why the import token is over, of a command that must not reach the token."""
    calls = house.hsm.calls
    fault = await refusal(house, command)
    assert isinstance(fault, ImportTokenOver)
    assert house.hsm.calls == calls
    return fault.end
