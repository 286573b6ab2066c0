"""The web process: `python -m hsmkms.wiring.web_process`, started by the supervisor and by nobody else.

Laws:

- it never loads the PKCS#11 module and never sees the PIN;
- it answers /healthz from the start, and grants nothing before a host has attached and the token has passed its probe;
- SIGTERM: it stops accepting, finishes what is in flight, exits with 0; when the supervisor is gone, it ends at once;
- exit code 78: the installation is wrong, and starting again would not mend it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hsmkms import config, log
from hsmkms.core.errors import HsmkmsError, OperatorFault, TokenUnavailable, TokenUnusable
from hsmkms.core.metering import UNMETERED
from hsmkms.dialects.huawei.dialect import HuaweiDialect
from hsmkms.dialects.tencent.binding import ActionBinding
from hsmkms.dialects.tencent.dialect import TencentDialect
from hsmkms.hsm.client import HostPool, PoolLimits
from hsmkms.hsm.handover import WebEnd
from hsmkms.hsm.process import die_with, keep_memory_private
from hsmkms.hsm.settings import Duty
from hsmkms.metrics.tally import Tally
from hsmkms.service.admission import Admission
from hsmkms.service.answering import FailureSchedule
from hsmkms.service.auditing import Trail
from hsmkms.service.auth_tokens import AuthTokenUseCases
from hsmkms.service.credentials import CredentialUseCases
from hsmkms.service.crypto import CryptoUseCases
from hsmkms.service.deploying import ready_deployment
from hsmkms.service.due_time import DueTime
from hsmkms.service.facade import Guards, Service, UseCases
from hsmkms.service.following import Follower
from hsmkms.service.importing import ImportUseCases
from hsmkms.service.issuing import IssuingSettings, IssuingUseCases
from hsmkms.service.keys import KeyUseCases
from hsmkms.service.lifecycle import LifecycleUseCases
from hsmkms.service.limits import RateLimits, Rates
from hsmkms.service.offering import Offer
from hsmkms.service.pairs import PairPool
from hsmkms.service.sealing import Sealer
from hsmkms.service.sweeping import Sweeper
from hsmkms.service.uses import UseCounter
from hsmkms.web.app import Health, Limits, build_app
from hsmkms.web.server import serve, tls_context
from hsmkms.wiring.adapters import LoopTimer, SystemClock, claimed_node, opened_store
from hsmkms.wiring.boot_clock import ClockFile, SystemBootClock
from hsmkms.wiring.metrics import Watched, show

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from hsmkms.config import Settings
    from hsmkms.core.custody import Deployment
    from hsmkms.core.metering import Meter
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.dialects.base import Dialect
    from hsmkms.hsm.handover import OfferedHost
    from hsmkms.hsm.report import TokenReport
    from hsmkms.store.database import SqlStore

SWEEP_SECONDS: Final = 5.0
COLLECTED_AFTER: Final = 20_000
"""Objects: some 5 MiB."""
LAST_SEAL_SECONDS: Final = 3.0
"""For the last seal, when the service ends; what it does not cover is covered by the next start's first."""

_logger = logging.getLogger("hsmkms.wiring.web_process")  # run as a program, its __name__ is __main__


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the web process runs: the service, and what goes on behind it."""

    service: Service
    pairs: PairPool
    sweeper: Sweeper
    trail: Trail
    sealer: Sealer
    follower: Follower
    admission: Admission


def _assemble(settings: Settings, store: SqlStore, hsm: HostPool, deployment: Deployment, meter: Meter) -> _Parts:
    clock, timer, edition, importing = SystemClock(), LoopTimer(), settings.edition, settings.import_
    pairs = PairPool(
        hsm, edition, ready_pairs=importing.ready_pairs, patience_seconds=settings.hsm.verb_timeout_seconds
    )
    offer = Offer(hsm, importing.wrapping_algorithms)
    limits = _limits(settings, timer)
    failures = FailureSchedule(timer, importing.failure_deadline_milliseconds / 1000)
    issuing = IssuingUseCases(
        store,
        clock,
        offer,
        pool=pairs,
        limits=limits,
        settings=IssuingSettings(
            parameters_valid_seconds=importing.parameters_valid_seconds,
            tickets_per_pair=importing.tickets_per_pair,
            max_attempts=importing.max_attempts,
        ),
    )
    credentials = CredentialUseCases(store, hsm, clock, edition)
    use_cases = UseCases(
        keys=KeyUseCases(store, hsm, clock, edition, most_keys=settings.limits.keys_per_account),
        lifecycle=LifecycleUseCases(store, clock),
        issuing=issuing,
        imports=ImportUseCases(store, hsm, clock, edition, offer=offer, failures=failures),
        crypto=CryptoUseCases(store, hsm, clock, edition, UseCounter(store)),
        credentials=credentials,
        auth_tokens=AuthTokenUseCases(store, clock),
    )
    guards = Guards(
        limits=limits,
        admission=_admission(settings, hsm),
        failures=failures,
        trail=Trail(store, clock, timer),
        meter=meter,
    )
    service = Service(edition, offer, use_cases, guards)
    due = DueTime(clock, SystemBootClock(), ClockFile.beside(settings))
    sweeper = Sweeper(store, clock, due, credentials, parameters_valid_seconds=importing.parameters_valid_seconds)
    sealer = Sealer(store, store.trail(), hsm, timer, deployment.deployment_id)
    follower = Follower(store, hsm, pairs, timer, deployment)
    return _Parts(service, pairs, sweeper, guards.trail, sealer, follower, guards.admission)


def _limits(settings: Settings, timer: LoopTimer) -> RateLimits:
    limits = settings.limits
    rates = Rates(limits.requests_per_second_per_api, limits.get_parameters_burst, limits.get_parameters_per_second)
    return RateLimits(timer, rates)


def _admission(settings: Settings, pool: HostPool) -> Admission:
    hsm = settings.hsm
    return Admission(
        hsm.hosts * hsm.sessions_per_host, lambda: pool.most_ahead, pair_patience_seconds=hsm.verb_timeout_seconds
    )


def _dialects(service: Service, settings: Settings) -> tuple[Dialect, ...]:
    """Return the dialects in the order in which they are asked; a request is claimed by one at most."""
    clock, edition = SystemClock(), settings.edition
    binding = ActionBinding(clock.now()) if settings.tencent.bind_signature_to_action else None
    return HuaweiDialect(service, clock, edition), TencentDialect(service, clock, edition, binding=binding)


class _Arrivals:
    """Takes the hosts that the supervisor offers; the first one probes the token."""

    def __init__(self, end: WebEnd, pool: HostPool, allowed: Sequence[WrappingAlgorithm]) -> None:
        self._end = end
        self._pool = pool
        self._allowed = allowed
        self._probing = asyncio.Lock()
        self.probed = asyncio.Event()

    async def run(self) -> None:
        """Attach every host that is offered, until the supervisor is gone.

        Raises:
            TokenUnusable: the token must not be served with, as found before it was ever served with.
        """
        async with asyncio.TaskGroup() as attaching:
            while (offer := await self._end.offered()) is not None:
                attaching.create_task(self._attach(offer))
            os._exit(0)  # nobody is left who could stop us, or replace a host

    async def _attach(self, offer: OfferedHost) -> None:
        try:
            await self._pool.add(offer.host, offer.socket, sessions=offer.sessions, duties=[offer.duty])
            if offer.duty is Duty.OPERATIONS:
                await self._probe_once()
        except TokenUnavailable:
            self._end.give_up(offer.host)
        except TokenUnusable as fault:
            if not self.probed.is_set():
                raise
            _logger.error("a host cannot be used and is replaced", extra={"host": offer.host, "reason": fault.message})
            self._end.give_up(offer.host)
        except HsmkmsError as error:
            # One broken host must not end the service of the others.
            facts = {"host": offer.host, "fault": type(error).__name__}
            _logger.error("a host is broken and is replaced", extra=facts)
            self._end.give_up(offer.host)

    async def _probe_once(self) -> None:
        async with self._probing:
            if self.probed.is_set():
                return
            report = await self._pool.probe()
            for exception in report.exceptions:
                _logger.warning("the token falls short", extra={"exception": exception})
            self._say_what_is_offered(report)
            self.probed.set()

    def _say_what_is_offered(self, report: TokenReport) -> None:
        offered = [each.value for each in self._allowed if each in report.working]
        if not offered:
            raise TokenUnusable(
                f"import.wrapping_algorithms names none that the token '{report.token.label}' does; it does "
                f"{', '.join(sorted(report.working))}. 'hsmkms doctor' shows the whole probe."
            )
        for each in set(self._allowed) - report.working:
            _logger.warning("the token does not do a configured algorithm", extra={"algorithm": each})
        ciphers = sorted(each.value for each in report.working_ciphers)
        if not ciphers:
            facts = {each.algorithm.value: each.why_not for each in report.ciphers}
            _logger.warning("keys cannot encrypt or decrypt with this token", extra=facts)
        _logger.info("serving", extra={"token": report.token.label, "algorithms": offered, "ciphers": ciphers})


async def serve_web(
    settings: Settings, listening: socket.socket, control: socket.socket, counted: socket.socket | None = None
) -> None:
    """Serve until SIGTERM.

    Args:
        settings: what is served.
        listening: where callers come.
        control: our end of the way to the supervisor.
        counted: where Prometheus comes; None: nothing is counted.

    Raises:
        OperatorFault: the installation is wrong.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tls = _tls(settings)
    tally = None if counted is None else Tally()
    meter = tally or UNMETERED
    async with opened_store(settings, meter) as store, claimed_node(settings) as claim:
        end = WebEnd(control)
        deployment = await ready_deployment(store)
        limits = PoolLimits(verb_timeout_seconds=settings.hsm.verb_timeout_seconds)
        pool = HostPool(deployment, limits, end.give_up, probe_first=True, meter=meter)
        parts = _assemble(settings, store, pool, deployment, meter)
        app = build_app(
            _dialects(parts.service, settings),
            Limits(),
            _health(store, pool),
            behind_proxy=settings.listen.tls_terminated_by_proxy,
            meter=meter,
        )
        _collect_seldom()
        serving = asyncio.create_task(serve(app, listening, tls, settings.listen.shutdown_seconds, stop))
        arrivals = _Arrivals(end, pool, settings.import_.wrapping_algorithms)
        behind = [
            asyncio.create_task(arrivals.run()),
            asyncio.create_task(_after(arrivals.probed, parts.pairs.keep_filled)),
            asyncio.create_task(parts.sweeper.keep_sweeping(SWEEP_SECONDS)),
            asyncio.create_task(parts.follower.keep_following()),
            asyncio.create_task(claim.keep()),
            asyncio.create_task(parts.trail.keep_writing()),
            asyncio.create_task(_after(arrivals.probed, parts.sealer.keep_sealing)),
        ]
        if counted is not None and tally is not None:
            watched = Watched(parts.admission, parts.pairs, parts.trail, parts.sealer, pool)
            behind.append(asyncio.create_task(show(counted, settings.edition, tally, watched, store)))
        try:
            await _until_one_ends(serving, behind)
        finally:
            for task in (serving, *behind):
                task.cancel()
            await asyncio.gather(serving, *behind, return_exceptions=True)
            await _end_trail(parts, sealing=arrivals.probed.is_set())
            await pool.close()


def _collect_seldom() -> None:
    """Keep the garbage collector from what stays for ever, and from looking after every few requests.

    It would take 4 % of a core that is the bound of all; what requests leave behind is hardly ever a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER)


async def _end_trail(parts: _Parts, *, sealing: bool) -> None:
    """Write down all that happened, and seal it, if the token does so in time."""
    await parts.trail.finish()
    if sealing:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SEAL_SECONDS):
                await parts.sealer.seal_new()


async def _after(event: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    await event.wait()
    await work()


async def _until_one_ends(serving: asyncio.Task[None], behind: list[asyncio.Task[None]]) -> None:
    """Return when serving has ended; raise what ended anything else, which never ends by itself."""
    done, _ = await asyncio.wait((serving, *behind), return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        error = task.exception()
        if isinstance(error, BaseExceptionGroup):
            raise error.exceptions[0]
        if error is not None:
            raise error


def _tls(settings: Settings) -> ssl.SSLContext | None:
    certificate, key = settings.listen.tls_cert, settings.listen.tls_key
    return None if certificate is None or key is None else tls_context(certificate, key)


def _health(store: SqlStore, pool: HostPool) -> Health:
    async def obstacle() -> str | None:
        if not pool.usable:
            return "the token is being probed" if pool.hosts else "no host has attached to the token"
        try:
            await store.deployment()
        except HsmkmsError:
            return "the database does not answer"
        return None

    return Health(obstacle)


def main() -> None:
    """Run the web process on the descriptors that the supervisor passed."""
    parser = argparse.ArgumentParser(prog="python -m hsmkms.wiring.web_process")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--metrics-fd", type=int)
    arguments = parser.parse_args()
    die_with(arguments.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the supervisor
    try:
        settings = config.load(arguments.config)
        keep_memory_private(dumpable=settings.hsm.dumpable_processes)
        log.configure(settings.log.level, "web")
        listening = socket.socket(fileno=arguments.listen_fd)
        control = socket.socket(fileno=arguments.control_fd)
        counted = None if arguments.metrics_fd is None else socket.socket(fileno=arguments.metrics_fd)
        asyncio.run(serve_web(settings, listening, control, counted))
    except OperatorFault as fault:
        sys.stderr.write(f"hsmkms: {fault.message}\n")
        sys.exit(os.EX_CONFIG)
    except HsmkmsError as error:
        _logger.error("the web process could not go on", extra={"fault": type(error).__name__})
        sys.exit(os.EX_TEMPFAIL)


if __name__ == "__main__":
    main()
