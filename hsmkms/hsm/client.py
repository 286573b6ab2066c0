"""`core.ports.Hsm` over a pool of hosts.

Laws:

- never reaches `pkcs11`: this runs in the web process;
- a host is used only after `Attach` succeeded on it, for the duties it was added for; one for which the token did less
  than what is offered is not used;
- a host has as many calls at a time as it has sessions, and ahead of time no more than it will begin within
  `AHEAD_SECONDS`, so that it need not wait for this process: none, if its calls take long, or another host is free;
- a call waits a bounded time for a free host, among a bounded number, then a bounded time for its answer; who comes
  first is served first, so that whoever wants to be fair to several callers lets few of them in at a time;
- a host that takes over sealing keys is asked nothing meanwhile, and hosts for operations do so one after the other;
- a deployment that the token does not bear out costs no host: until it does, all go on with the one of before;
- a host that died, hung or found the token sick is out of the pool at once, and `on_lost` is told; what it surely had
  not begun is asked of another one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from hsmkms.core.ciphertexts import MOST_CIPHERTEXT_BYTES
from hsmkms.core.errors import (
    CiphertextInvalid,
    HsmkmsError,
    InternalFault,
    TokenGaveNoAnswer,
    TokenNotAsked,
    TokenUnavailable,
)
from hsmkms.core.ids import PairId
from hsmkms.core.material import Fingerprint, SealedMaterial
from hsmkms.core.metering import UNMETERED
from hsmkms.core.ports import DataKey, MaterialEvidence
from hsmkms.core.secrets import Plaintext, SecretKey
from hsmkms.core.tickets import FreshPair
from hsmkms.hsm import messages
from hsmkms.hsm.channel import ATTACH_SECONDS, PROBE_SECONDS, HostChannel
from hsmkms.hsm.parts import Head, Held, Identity
from hsmkms.hsm.seats import Seat, Waiting
from hsmkms.hsm.settings import Duty

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping

    from hsmkms.core.ciphertexts import CipherAlgorithm
    from hsmkms.core.custody import Deployment
    from hsmkms.core.events import AuditHead
    from hsmkms.core.metering import Meter
    from hsmkms.core.ports import HeldMaterial, ImportOrder
    from hsmkms.core.records import RecordIdentity
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.hsm.report import TokenReport

_logger = logging.getLogger(__name__)
AnswerT = TypeVar("AnswerT", bound=messages.Answer)


ALL_DUTIES: Final = frozenset(Duty)
_MOST_HOSTS: Final = 3
"""That a call is given to, each because the one before was gone before it can have begun."""
_ATTACH_AGAIN_SECONDS: Final = 6.0
"""How long a host may take to attach once another one has; doubled by each that did not."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How long things may take, in seconds."""

    queue_seconds: float = 5.0
    """Waiting for a free host."""
    most_waiting: int = 1024
    """For a free host; one more is refused at once."""
    verb_timeout_seconds: float = 10.0
    """Any verb but those below."""
    pair_timeout_seconds: float = 120.0
    """Making a pair: heavy-tailed, and slow on a real HSM."""
    attach_timeout_seconds: float = ATTACH_SECONDS
    probe_timeout_seconds: float = PROBE_SECONDS


class HostPool:
    """The hosts of one deployment."""

    def __init__(
        self,
        deployment: Deployment,
        limits: PoolLimits | None = None,
        on_lost: Callable[[str], None] | None = None,
        *,
        probe_first: bool = False,
        meter: Meter = UNMETERED,
    ) -> None:
        """Start empty; `add` brings hosts.

        Args:
            deployment: whose objects each host must prove.
            limits: how long things may take.
            on_lost: called with a host's id when the pool gives it up; whoever started it kills and replaces it.
            probe_first: make no other call before `probe` has found the token fit to serve with.
            meter: is told of hosts and calls.
        """
        self._deployment = deployment
        self._limits = limits or PoolLimits()
        self._on_lost = on_lost
        self._open = not probe_first
        self._meter = meter
        self._turns = itertools.count(1)
        self._closed = False
        self._attach_seconds = self._limits.attach_timeout_seconds
        self._seats: dict[str, Seat] = {}
        most, seconds = self._limits.most_waiting, self._limits.queue_seconds
        self._waiting = {duty: Waiting(most, seconds) for duty in Duty}
        self._adopting = asyncio.Lock()
        self._algorithms: frozenset[WrappingAlgorithm] = frozenset()
        self._ciphers: frozenset[CipherAlgorithm] = frozenset()

    # --- hosts -----------------------------------------------------------------------------------------

    async def add(
        self,
        host_id: str,
        connection: socket.socket,
        *,
        sessions: int = 1,
        duties: Iterable[Duty] = ALL_DUTIES,
    ) -> None:
        """Attach a host and use it from then on; the pool owns `connection` whatever happens.

        Raises:
            TokenUnusable: the deployment's objects are not as they were; no host will do better.
            TokenUnavailable: this host died or hung; another one may do.
        """
        channel = await HostChannel.open(host_id, connection, self._lost, sessions)
        try:
            deployment = self._deployment
            attached = await channel.attach(deployment, self._attach_seconds)
            while deployment is not self._deployment:  # it was adopted meanwhile, by those that were here
                deployment = self._deployment
                attached = await channel.adopt(deployment, self._attach_seconds)
            self._require_able(host_id, attached)
        except BaseException as error:
            if isinstance(error, TokenUnavailable):
                self._attach_seconds = min(2 * self._attach_seconds, self._limits.attach_timeout_seconds)
            await channel.close()
            raise
        self._attach_seconds = min(_ATTACH_AGAIN_SECONDS, self._limits.attach_timeout_seconds)
        if self._closed or not channel.usable:
            await channel.close()
            raise TokenNotAsked
        seat = Seat(channel, sessions, frozenset(duties), attached, deployment)
        self._seats[host_id] = seat
        self._meter.host_attached()
        self._offer(seat)

    async def adopt(self, deployment: Deployment) -> None:
        """Have every host go on with the sealing keys that the deployment has now; one that dies or hangs is given up.

        When this returns, whatever is asked is sealed under the newest version; hosts that come later attach to it.

        Raises:
            TokenUnusable: the new keys are not there as they were made. The hosts that say so go on as before, and
                those that come attach to the deployment of before; it is to be tried again.
        """
        while behind := [each for each in self._seats.values() if each.deployment != deployment]:
            adopting = (self._bring_up_to_date(seat, deployment) for seat in behind)
            for refusal in filter(None, await asyncio.gather(*adopting, return_exceptions=True)):
                raise refusal
        self._deployment = deployment

    async def _bring_up_to_date(self, seat: Seat, deployment: Deployment) -> None:
        async with self._adopting if Duty.OPERATIONS in seat.duties else nullcontext():
            seat.adopting = True
            try:
                attached = await seat.channel.adopt(deployment, self._limits.attach_timeout_seconds)
                self._require_able(seat.channel.name, attached)
            except TokenUnavailable:
                _logger.warning("a host did not adopt the sealing keys", extra={"host": seat.channel.name})
                seat.channel.give_up()
            else:
                seat.attached, seat.deployment = attached, deployment
            finally:
                seat.adopting = False
                self._offer(seat)

    def _require_able(self, host_id: str, attached: messages.Attached) -> None:
        """Return if the token did for a host all that is offered.

        Raises:
            TokenGaveNoAnswer: it did less, for a moment, and this host would refuse that for its whole life.
        """
        missing = {*(self._algorithms - attached.algorithms), *(self._ciphers - attached.ciphers)}
        if missing:
            _logger.error("a host does less than the token", extra={"host": host_id, "missing": sorted(missing)})
            raise TokenGaveNoAnswer

    def _lost(self, channel: HostChannel) -> None:
        seat = self._seats.get(channel.name)
        if seat is None or seat.channel is not channel:
            return  # lost before it was attached: `add` tells the caller
        del self._seats[channel.name]
        _logger.warning("host lost", extra={"host": channel.name})
        self._meter.host_lost()
        if self._on_lost is not None:
            self._on_lost(channel.name)

    @property
    def usable(self) -> bool:
        """Whether an import could be tried now (for `/readyz`)."""
        return self._open and any(Duty.OPERATIONS in seat.duties for seat in self._seats.values())

    @property
    def hosts(self) -> frozenset[str]:
        """The ids of the hosts in use."""
        return frozenset(self._seats)

    @property
    def most_ahead(self) -> int:
        """How many calls the hosts are given beyond those that they work on, at their present pace."""
        return sum(seat.most_ahead for seat in self._seats.values() if Duty.OPERATIONS in seat.duties)

    @property
    def duties(self) -> Mapping[Duty, int]:
        """How many hosts are in use for each duty."""
        return {duty: sum(duty in seat.duties for seat in self._seats.values()) for duty in Duty}

    async def close(self) -> None:
        """End every channel, and with it every host."""
        self._closed = True
        channels = [seat.channel for seat in self._seats.values()]
        self._seats.clear()
        for waiting in self._waiting.values():
            waiting.end()
        await asyncio.gather(*(channel.close() for channel in channels))

    # --- seats -----------------------------------------------------------------------------------------

    async def _on_a_host(self, duty: Duty, verb: messages.Verb, expected: type[AnswerT], seconds: float) -> AnswerT:
        """Make one call; its place is free again when the host is done, even if nobody waits for it any more."""
        for _ in range(_MOST_HOSTS):
            if self._closed:
                break
            seat = self._free(duty) or await self._waiting[duty].place(self._release)
            try:
                answer = seat.channel.start(verb, expected, seconds, partial(self._over, seat, type(verb).__name__))
            except BaseException as error:  # whatever it was: nothing was sent, and the place must not be lost
                fault = error if isinstance(error, HsmkmsError) else InternalFault()
                self._over(seat, type(verb).__name__, fault, 0.0, None)
                if isinstance(error, TokenNotAsked):
                    continue  # the host was lost since the place there was given
                raise
            with suppress(TokenNotAsked):
                return await answer
        raise TokenNotAsked

    def _over(self, seat: Seat, verb: str, error: HsmkmsError | None, elapsed: float, worked: float | None) -> None:
        if worked is not None:
            seat.took(worked)
        # The host that answers several calls together is done with each of them at the same time.
        self._meter.token_call(verb, None if error is None else type(error).__name__, max(elapsed, worked or 0.0))
        self._release(seat)

    def _release(self, seat: Seat) -> None:
        seat.taken -= 1
        self._offer(seat)

    def _free(self, duty: Duty) -> Seat | None:
        """Take a place at the least busy host of this duty, of several at the one that has rested longest."""
        able = [each for each in self._seats.values() if duty in each.duties and each.room]
        if not able:
            return None
        # In turn, so that a host that hangs is found by the next calls and not when the others are busy.
        seat = min(able, key=lambda each: (each.taken, each.last_taken))
        seat.taken += 1
        seat.last_taken = next(self._turns)
        return seat

    def _offer(self, seat: Seat) -> None:
        """Give the free places of `seat` to those who wait longest for one of its duties."""
        if self._seats.get(seat.channel.name) is not seat:
            return
        for duty in seat.duties:
            self._waiting[duty].offer(seat)

    def _require_open(self) -> None:
        if not self._open:
            raise TokenNotAsked

    async def _call(self, verb: messages.Verb, expected: type[AnswerT]) -> AnswerT:
        self._require_open()
        seconds = self._limits.verb_timeout_seconds
        return await self._on_a_host(Duty.OPERATIONS, verb, expected, seconds)

    # --- the port --------------------------------------------------------------------------------------

    @property
    def algorithms(self) -> frozenset[WrappingAlgorithm]:
        """The algorithms that passed; none before `probe`."""
        return self._algorithms

    @property
    def ciphers(self) -> frozenset[CipherAlgorithm]:
        """The ciphers that passed; none before `probe`."""
        return self._ciphers

    async def probe(self) -> TokenReport:
        """Find out what the token does; from then on the other calls are made, too.

        Raises:
            TokenUnusable: the deployment must not serve with this token.
            TokenNotAsked: no host in time.
            TokenGaveNoAnswer: the host died or hung, or the token is sick.
        """
        seconds = self._limits.probe_timeout_seconds
        report = (await self._on_a_host(Duty.OPERATIONS, messages.Probe(), messages.Probed, seconds)).report
        report.require_usable()
        self._algorithms = report.working
        self._ciphers = report.working_ciphers
        for host_id, seat in list(self._seats.items()):
            try:
                self._require_able(host_id, seat.attached)
            except TokenGaveNoAnswer:
                seat.channel.give_up()
        self._open = True
        return report

    async def make_pair(self, identity: RecordIdentity, bits: int) -> FreshPair:
        """See `core.ports.Hsm`."""
        verb = messages.MakePair(identity=Identity.of(identity), bits=bits)
        seconds = self._limits.pair_timeout_seconds
        self._require_open()
        made = await self._on_a_host(Duty.PAIRS, verb, messages.PairMade, seconds)
        return FreshPair(PairId(identity.owner), made.public_key, made.record)

    async def import_material(self, order: ImportOrder) -> SealedMaterial:
        """See `core.ports.Hsm`."""
        verb = messages.ImportMaterial(
            owner=Identity.of(order.owner),
            pair=Identity.of(order.pair),
            pair_record=order.pair_record,
            algorithm=order.algorithm,
            ciphertext=order.ciphertext,
        )
        return _sealed(await self._call(verb, messages.MaterialSealed))

    async def generate_material(self, owner: RecordIdentity) -> SealedMaterial:
        """See `core.ports.Hsm`."""
        verb = messages.GenerateMaterial(owner=Identity.of(owner))
        return _sealed(await self._call(verb, messages.MaterialSealed))

    async def inspect_material(self, owner: RecordIdentity, record: bytes) -> MaterialEvidence:
        """See `core.ports.Hsm`."""
        verb = messages.InspectMaterial(owner=Identity.of(owner), record=record)
        found = await self._call(verb, messages.MaterialInspected)
        mark = Fingerprint(found.fingerprint_algorithm, found.fingerprint)
        return MaterialEvidence(found.attributes, found.length_bits, found.length_proof, mark)

    async def encrypt(self, material: HeldMaterial, plaintext: Plaintext, context: bytes) -> bytes:
        """See `core.ports.Hsm`."""
        verb = messages.Encrypt(material=Held.of(material), plaintext=plaintext.reveal(), context=context)
        return (await self._call(verb, messages.Encrypted)).ciphertext

    async def decrypt(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> Plaintext:
        """See `core.ports.Hsm`."""
        held, bounded = Held.of(material), _bounded(ciphertext)
        verb = messages.Decrypt(material=held, ciphertext=bounded, context=context)
        return Plaintext((await self._call(verb, messages.Decrypted)).plaintext)

    async def require_decryptable(self, material: HeldMaterial, ciphertext: bytes, context: bytes) -> None:
        """See `core.ports.Hsm`."""
        held, bounded = Held.of(material), _bounded(ciphertext)
        verb = messages.RequireDecryptable(material=held, ciphertext=bounded, context=context)
        await self._call(verb, messages.Decryptable)

    async def re_encrypt(
        self, source: HeldMaterial, ciphertext: bytes, context: bytes, target: HeldMaterial, target_context: bytes
    ) -> bytes:
        """See `core.ports.Hsm`."""
        verb = messages.ReEncrypt(
            source=Held.of(source),
            ciphertext=_bounded(ciphertext),
            context=context,
            target=Held.of(target),
            target_context=target_context,
        )
        return (await self._call(verb, messages.Encrypted)).ciphertext

    async def make_data_key(self, material: HeldMaterial, size: int, context: bytes, *, shown: bool) -> DataKey:
        """See `core.ports.Hsm`."""
        verb = messages.MakeDataKey(material=Held.of(material), size=size, context=context, shown=shown)
        made = await self._call(verb, messages.DataKeyMade)
        return DataKey(made.ciphertext, None if made.plaintext is None else Plaintext(made.plaintext))

    async def random(self, size: int) -> Plaintext:
        """See `core.ports.Hsm`."""
        return Plaintext((await self._call(messages.Random(size=size), messages.RandomMade)).content)

    async def seal_head(self, deployment_id: str, head: AuditHead) -> bytes:
        """See `core.ports.Hsm`."""
        verb = messages.SealHead(deployment_id=deployment_id, head=Head.of(head))
        return (await self._call(verb, messages.HeadSealed)).mac

    async def holds_seal(self, deployment_id: str, head: AuditHead, mac: bytes) -> bool:
        """See `core.ports.Hsm`."""
        verb = messages.HoldsSeal(deployment_id=deployment_id, head=Head.of(head), mac=mac)
        return (await self._call(verb, messages.SealCompared)).holds

    async def cut_after(self, deployment_id: str, head: AuditHead) -> bytes:
        """See `core.ports.Hsm`."""
        verb = messages.CutAfter(deployment_id=deployment_id, head=Head.of(head))
        return (await self._call(verb, messages.HeadSealed)).mac

    async def holds_cut(self, deployment_id: str, head: AuditHead, mac: bytes) -> bool:
        """See `core.ports.Hsm`."""
        verb = messages.HoldsCut(deployment_id=deployment_id, head=Head.of(head), mac=mac)
        return (await self._call(verb, messages.SealCompared)).holds

    async def protect_secret(self, identity: RecordIdentity, secret: SecretKey) -> bytes:
        """See `core.ports.Hsm`."""
        verb = messages.ProtectSecret(identity=Identity.of(identity), secret=secret.reveal())
        return (await self._call(verb, messages.SecretProtected)).record

    async def open_secret(self, identity: RecordIdentity, record: bytes) -> SecretKey:
        """See `core.ports.Hsm`."""
        verb = messages.OpenSecret(identity=Identity.of(identity), record=record)
        return SecretKey((await self._call(verb, messages.SecretOpened)).secret)


def _bounded(ciphertext: bytes) -> bytes:
    """Return a ciphertext that can be sent; the host judges its form, but would take a longer one for our defect.

    Raises:
        CiphertextInvalid: it is longer than any of ours.
    """
    if len(ciphertext) > MOST_CIPHERTEXT_BYTES:
        raise CiphertextInvalid
    return ciphertext


def _sealed(answer: messages.MaterialSealed) -> SealedMaterial:
    return SealedMaterial(answer.record, Fingerprint(answer.fingerprint_algorithm, answer.fingerprint))
