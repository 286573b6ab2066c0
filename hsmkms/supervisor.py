"""`hsmkms serve`: starts the web process and the hosts, and replaces those that end.

Laws:

- this process neither loads the PKCS#11 module nor reads the PIN or opens the database; where the PIN came on a
  descriptor, it holds that, and hands it to hosts only;
- hosts log in one after the other, and none after a refused PIN, which ends everything with exit code 78: whoever
  changes the PIN under us sees one try, however many hosts there are; at most two, where the token did not say: a host
  that is lost after it sent the PIN may have cost a try, so the second of them with no success between ends everything;
- a host or web process that ends is replaced, no sooner after its start than a time that doubles while it keeps ending;
  the first web process ends everything if it says that the installation is wrong (exit code 78): a later one may have
  met a sick token;
- if this process dies, its children end: by their parent-death signal and by the end of their sockets;
- SIGTERM and SIGINT: the web process stops accepting and finishes what is in flight, then the hosts end, exit code 0.
  A second signal ends everything at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import (
    ConfigurationInvalid,
    LoginUnanswered,
    OperatorFault,
    PinRefused,
    TokenGaveNoAnswer,
    TokenUnavailable,
)
from hsmkms.hsm.handover import SupervisorEnd, control_pair
from hsmkms.hsm.process import ISOLATED_PYTHON
from hsmkms.hsm.settings import Duty, HostExit, HostPurpose
from hsmkms.hsm.spawn import READY_SECONDS, spawn_host
from hsmkms.wiring import file_access
from hsmkms.wiring.adapters import host_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hsmkms.config import Settings
    from hsmkms.hsm.spawn import HostProcess

_logger = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0
_STEADY_SECONDS: Final = 30.0
"""A child that lived this long starts over with the shortest pause."""
_GRACE_SECONDS: Final = 14.0
"""For what the web process does after its last answer: it writes and seals the last events of the audit trail."""
_NOTICE_SECONDS: Final = 5.0
"""A host reads the end of its socket before we hear why: the web process ended, or gave the host up."""
_BACKLOG: Final = 1024
_START_AGAIN_SECONDS: Final = 5.0
"""How long a host may take until it sends the PIN, once another one has logged in; doubled by each that did not.

One that has sent it is not hurried: killing it may cost one of the token's tries.
"""
_LOGINS_UNANSWERED: Final = 2
"""After so many with no success between, the PIN is not sent again."""
_DESCRIPTORS: Final = 65536
_STARTS: Final = 5
"""How often the first host may be killed before it sends the PIN."""
_PAIR_HOST_NICENESS: Final = 10


def _allow_descriptors() -> None:
    """Let this process and its children have as many descriptors as the system allows, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bind(host: str, port: int, section: str = "listen") -> socket.socket:
    """Return a listening socket; it outlives web processes, so that connections wait while one is replaced.

    Args:
        host: an address or a name of this machine.
        port: of TCP.
        section: of the configuration, that both are from.

    Raises:
        ConfigurationInvalid: the address is taken or not ours.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as closed_in_vain:
            listening = closed_in_vain.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
            closed_in_vain.pop_all()
    except (OSError, UnicodeError) as error:  # UnicodeError: no host name at all, such as "a..b"
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ConfigurationInvalid(
            f"Cannot listen on {host} port {port} ({why}); "
            f"stop what uses it, or change {section}.host or {section}.port."
        ) from error
    return listening


class _Pause:
    """How much time passes, at least, from one start of a child to the next."""

    def __init__(self) -> None:
        self._seconds = _FIRST_PAUSE_SECONDS

    async def after(self, lived_seconds: float) -> None:
        if lived_seconds >= _STEADY_SECONDS:
            self._seconds = _FIRST_PAUSE_SECONDS
        await asyncio.sleep(self._seconds - lived_seconds)
        self._seconds = min(self._seconds * 2, _LONGEST_PAUSE_SECONDS)


class Supervisor:
    """One service: a listening socket, a web process and its hosts."""

    def __init__(self, settings: Settings, config_path: Path) -> None:
        """Supervise what `settings`, read from `config_path`, describe."""
        self._settings = settings
        self._config_path = config_path
        self._hosts: dict[str, HostProcess] = {}
        self._given_up: dict[str, asyncio.Event] = {}
        self._web: asyncio.subprocess.Process | None = None
        self._control: SupervisorEnd | None = None
        self._control_open = asyncio.Event()
        self._logging_in = asyncio.Lock()
        self._no_more_logins: OperatorFault | None = None
        self._logins_unanswered = 0
        self._start_seconds = READY_SECONDS
        self._ending: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Serve until a signal, or until the installation proves unusable; return the exit code.

        Raises:
            OperatorFault: it cannot go on; nothing is left running.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        _allow_descriptors()
        self._say_what_is_open()
        listen = self._settings.listen
        with bind(listen.host, listen.port) as listening, self._counted() as counted:
            _logger.info("listening", extra={"host": listen.host, "port": listen.port})
            keepers: list[asyncio.Task[None]] = []
            first, *others = (f"host-{number}" for number in range(1, self._settings.hsm.hosts + 1))
            try:
                process = await self._first_host(first)
                keepers.append(loop.create_task(self._keep_web(listening, counted)))
                keepers.append(loop.create_task(self._keep_host(first, Duty.OPERATIONS, process)))
                keepers.extend(loop.create_task(self._keep_host(host, Duty.OPERATIONS)) for host in others)
                keepers.append(loop.create_task(self._keep_host("pair-host", Duty.PAIRS)))
                return await self._ended(keepers)
            finally:
                listening.close()
                await self._stop(keepers)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[socket.socket | None]:
        """Hold the socket that `[metrics]` asks for, if it does."""
        metrics = self._settings.metrics
        if metrics.port is None:
            yield None
            return
        with bind(metrics.host, metrics.port, "metrics") as listening:
            yield listening

    def _say_what_is_open(self) -> None:
        for finding in file_access.look(self._settings, self._config_path):
            if finding.cure:
                facts = {"path": str(finding.path), "found": finding.found, "wanted": finding.wanted}
                _logger.warning("a file is open to others", extra={**facts, "cure": finding.cure})
        if self._settings.metrics.exposed:
            _logger.warning(
                "other machines may read what is counted here, without TLS or a credential: unless a firewall lets "
                "only Prometheus in, set metrics.host to a loopback address",
                extra={"host": self._settings.metrics.host, "port": self._settings.metrics.port},
            )
        if self._settings.hsm.dumpable_processes:
            _logger.warning(
                "other processes of this user may read our memory: remove hsm.dumpable_processes, it is for tests only"
            )

    def _signalled(self) -> None:
        if self._ending.done():
            for process in self._hosts.values():
                process.kill()
            if self._web is not None:
                _send(self._web, signal.SIGKILL)
            return
        _logger.info("stopping")
        self._ending.set_result(0)

    async def _ended(self, keepers: list[asyncio.Task[None]]) -> int:
        """Return the exit code that was asked for; a keeper that fails ends everything with its error."""
        awaited: list[asyncio.Future[int] | asyncio.Task[None]] = [self._ending, *keepers]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if self._ending.done():
            return self._ending.result()
        for keeper in keepers:
            if keeper.done():
                keeper.result()
        return HostExit.UNUSABLE

    # --- hosts -------------------------------------------------------------------------------------

    async def _spawn(self, host: str, duty: Duty) -> HostProcess:
        async with self._logging_in:
            if self._no_more_logins is not None:
                raise self._no_more_logins
            try:
                process = await self._logged_in(host, duty)
            except (PinRefused, LoginUnanswered) as fault:
                self._no_more_logins = self._judged(fault)
                if self._no_more_logins is None:
                    raise TokenGaveNoAnswer(fault.message) from fault
                raise self._no_more_logins from fault
            except OperatorFault:
                self._start_seconds = min(2 * self._start_seconds, READY_SECONDS)
                raise
            self._start_seconds = _START_AGAIN_SECONDS
            self._logins_unanswered = 0
            return process

    def _judged(self, fault: PinRefused | LoginUnanswered) -> OperatorFault | None:
        """Return why nobody may log in any more; None: once more."""
        sent = self._logins_unanswered + 1
        if isinstance(fault, PinRefused):
            return (
                PinRefused()
                if sent == 1
                else PinRefused(
                    f"The token refused the PIN; it was sent {sent} times, because the token had not said so before. "
                    "Correct what hsm.pin_file, hsm.pin_credential or hsm.pin_fd names before you start again."
                )
            )
        self._logins_unanswered = sent
        if sent < _LOGINS_UNANSWERED:
            return None
        return LoginUnanswered(
            f"The token did not say whether it takes the PIN; the PIN was sent {sent} times and is not sent again: "
            "each may have cost one of the token's tries. Check how many it has left, that hsm.pin_file, "
            "hsm.pin_credential or hsm.pin_fd names the right PIN, and that the token answers a login within "
            f"{READY_SECONDS:.0f} seconds; then start again. {fault.message}"
        )

    async def _logged_in(self, host: str, duty: Duty) -> HostProcess:
        niceness = _PAIR_HOST_NICENESS if duty is Duty.PAIRS else 0
        file_access.require_private(file_access.look(self._settings, self._config_path))
        process = await spawn_host(host_settings(self._settings, HostPurpose.SERVE), host, niceness=niceness)
        self._hosts[host] = process
        try:
            await process.ready(self._start_seconds)
        except BaseException:
            process.socket.close()
            process.kill()
            await process.wait()
            del self._hosts[host]
            raise
        _logger.info("a host has logged in", extra={"host": host, "pid": process.pid})
        return process

    async def _first_host(self, host: str) -> HostProcess:
        """Return the host that logs in before all others; one killed before its login says nothing of the PIN."""
        pause = _Pause()
        for _ in range(_STARTS - 1):
            try:
                return await self._spawn(host, Duty.OPERATIONS)
            except TokenUnavailable as error:
                _logger.warning("the first host was killed and is replaced", extra={"reason": error.message})
                await pause.after(0)
        return await self._spawn(host, Duty.OPERATIONS)

    async def _keep_host(self, host: str, duty: Duty, process: HostProcess | None = None) -> None:
        pause = _Pause()
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            if process is None:
                await self._control_open.wait()
                process = await self._respawned(host, duty)
            if process is not None:
                await self._offer(host, duty, process)
                code = await process.wait()
                del self._hosts[host]
                process = None
                orphaned = code == HostExit.ORPHANED and await self._web_ended(host)
                if self._ending.done():
                    return
                if not orphaned:
                    _logger.warning("a host ended and is replaced", extra={"host": host, "exit_code": code})
            await pause.after(clock() - started)

    async def _respawned(self, host: str, duty: Duty) -> HostProcess | None:
        """Return a host that has logged in, or None to try again: a token that was there once may come back.

        Raises:
            PinRefused: it is not sent again.
            LoginUnanswered: nor is it then.
            ConfigurationInvalid: another user could choose by now what the host loads.
        """
        try:
            return await self._spawn(host, duty)
        except (PinRefused, LoginUnanswered, ConfigurationInvalid):
            raise
        except (OperatorFault, TokenUnavailable) as fault:
            _logger.error("a host could not start and is tried again", extra={"host": host, "reason": fault.message})
            return None

    async def _offer(self, host: str, duty: Duty, process: HostProcess) -> None:
        self._given_up[host] = asyncio.Event()
        await self._control_open.wait()
        sessions = self._settings.hsm.sessions_per_host
        if self._control is None or not self._control.offer(host, duty, sessions, process.socket):
            process.kill()

    # --- the web process ---------------------------------------------------------------------------

    async def _keep_web(self, listening: socket.socket, counted: socket.socket | None) -> None:
        pause = _Pause()
        clock = asyncio.get_running_loop().time
        is_first = True
        while not self._ending.done():
            started = clock()
            code = await self._web_process(listening, counted)
            if self._ending.done():
                return
            if code == HostExit.UNUSABLE and is_first:
                self._ending.set_result(code)
                return
            is_first = False
            _logger.error("the web process ended and is replaced", extra={"exit_code": code})
            await pause.after(clock() - started)

    async def _web_process(self, listening: socket.socket, counted: socket.socket | None) -> int:
        """Run one web process to its end, and return its exit code."""
        ours, theirs = control_pair()
        with theirs:
            passed = {"--listen-fd": listening, "--control-fd": theirs}
            if counted is not None:
                passed["--metrics-fd"] = counted
            self._web = await asyncio.create_subprocess_exec(
                *(
                    *ISOLATED_PYTHON,
                    "hsmkms.wiring.web_process",
                    "--config",
                    str(self._config_path),
                    "--parent",
                    str(os.getpid()),
                ),
                *(part for option, each in passed.items() for part in (option, str(each.fileno()))),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[each.fileno() for each in passed.values()],
                start_new_session=True,
            )
        self._control = SupervisorEnd(ours)
        self._control_open.set()
        losses = asyncio.create_task(self._kill_lost(self._control))
        try:
            return await self._web.wait()
        finally:
            self._control_open.clear()
            losses.cancel()
            self._control.close()
            self._control = None

    async def _web_ended(self, host: str) -> bool:
        """Tell whether a host ended because the web process did, and not because that gave it up."""
        if self._web is None:
            return False
        ended = asyncio.ensure_future(self._web.wait())
        given_up = asyncio.ensure_future(self._given_up[host].wait())
        try:
            await asyncio.wait((ended, given_up), timeout=_NOTICE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return ended.done()
        finally:
            ended.cancel()
            given_up.cancel()

    async def _kill_lost(self, control: SupervisorEnd) -> None:
        """Kill each host that the web process gives up; then see to it that the web process itself is gone."""
        while (host := await control.lost()) is not None:
            if host in self._given_up:
                self._given_up[host].set()
            process = self._hosts.get(host)
            if process is not None and process.is_ready:  # if not, what was given up is its predecessor
                _logger.warning("a host was given up", extra={"host": host})
                process.kill()
        if self._web is not None:
            await _end(self._web, _GRACE_SECONDS)

    # --- the end -----------------------------------------------------------------------------------

    async def _stop(self, keepers: list[asyncio.Task[None]]) -> None:
        """End the web process, which finishes what is in flight, then the hosts."""
        if not self._ending.done():
            self._ending.set_result(HostExit.UNUSABLE)
        if self._web is not None and self._web.returncode is None:
            _send(self._web, signal.SIGTERM)
            await _end(self._web, self._settings.listen.shutdown_seconds + _GRACE_SECONDS)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for process in self._hosts.values():
            process.kill()
        await asyncio.gather(*(process.wait() for process in self._hosts.values()))


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # Popen's own way looks first whether the process has ended, and then asyncio never hears how.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def _end(web: asyncio.subprocess.Process, seconds: float) -> None:
    """Let the web process end by itself, and kill it if it does not in time."""
    try:
        async with asyncio.timeout(seconds):
            await web.wait()
    except TimeoutError:
        _logger.critical(
            "the web process did not end and is killed: the audit trail may lack its last events",
            extra={"seconds": seconds},
        )
        _send(web, signal.SIGKILL)
        await web.wait()
