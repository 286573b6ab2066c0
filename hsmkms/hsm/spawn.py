"""Starting a host process.

Laws:

- settings go through standard input; arguments and environment show neither PIN nor the PIN file's content;
- a descriptor of the PIN is inherited by hosts only;
- the variables of `HostSettings.env` are set for the host alone;
- a host that does not say who it is in time is killed; one that had said that it sends the PIN is a login of which
  nobody knows the outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from hsmkms.core.errors import LoginUnanswered, PinRefused, TokenGaveNoAnswer, TokenUnusable
from hsmkms.hsm.messages import ReadyLine
from hsmkms.hsm.process import ISOLATED_PYTHON

if TYPE_CHECKING:
    from hsmkms.core.errors import HsmkmsError
    from hsmkms.hsm.report import HostProtection, TokenDescription
    from hsmkms.hsm.settings import HostSettings

READY_SECONDS: Final = 30.0
"""A cold module on a slow disk, or a network HSM's login, takes seconds, not more."""


class HostProcess:
    """A running host and our end of its socket."""

    def __init__(self, process: asyncio.subprocess.Process, connection: socket.socket, name: str) -> None:
        """Take what `spawn_host` made."""
        self._process = process
        self._token: TokenDescription | None = None
        self.protection: HostProtection | None = None
        """What the host said of its memory; None before `ready`."""
        self.socket = connection
        self.name = name

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, as `subprocess` says it; None while it runs."""
        return self._process.returncode

    @property
    def is_ready(self) -> bool:
        """Whether `ready` has returned."""
        return self._token is not None

    async def ready(self, seconds: float = READY_SECONDS, login_seconds: float = READY_SECONDS) -> TokenDescription:
        """Return the token once the host has logged in; the PIN was sent at most once.

        Args:
            seconds: until the host is about to send the PIN.
            login_seconds: from there on; a host that is killed then may cost one of the token's tries.

        Raises:
            PinRefused: the token refused the PIN.
            LoginUnanswered: the PIN was sent, and what the token made of it is unknown.
            TokenUnusable: the module, the token or the PIN file cannot be used, or the host does not come up.
            TokenGaveNoAnswer: the host was killed while it started, as by the kernel when memory is short.
        """
        if self._token is not None:
            return self._token
        line = await self._line(seconds, logging_in=False)
        if line.logging_in:
            line = await self._line(login_seconds, logging_in=True)
        if line.token is not None:
            self._token, self.protection = line.token, line.protection
            return line.token
        await self.wait()
        if line.pin_refused:
            raise PinRefused(line.unusable or PinRefused.text)
        if line.pin_unanswered:
            raise LoginUnanswered(line.unusable)
        raise TokenUnusable(line.unusable)

    async def _line(self, seconds: float, *, logging_in: bool) -> ReadyLine:
        assert self._process.stdout is not None  # noqa: S101 - spawn_host asked for a pipe
        try:
            async with asyncio.timeout(seconds):
                raw = await self._process.stdout.readline()
            return msgspec.json.decode(raw, type=ReadyLine)
        except (TimeoutError, msgspec.DecodeError) as error:
            self.kill()
            raise self._lost(await self.wait(), seconds, error, logging_in=logging_in) from error

    def _lost(self, code: int, seconds: float, error: Exception, *, logging_in: bool) -> HsmkmsError:
        """Return what it means that a host of this exit code said nothing more."""
        in_time = not isinstance(error, TimeoutError)
        if logging_in:
            how = f"ended (exit code {code})" if in_time else f"was killed after {seconds:.0f} seconds"
            return LoginUnanswered(
                f"The host process '{self.name}' {how} while it waited for the token to take the PIN: see the module's "
                "own log, and how many tries the token has left, before you start again."
            )
        if code < 0 and in_time:
            return TokenGaveNoAnswer(
                f"The host process '{self.name}' was killed by signal {-code} while it started; try again, and "
                "look at the module that hsm.module names if it happens again."
            )
        return TokenUnusable(
            f"The host process '{self.name}' did not come up within {seconds:.0f} seconds or crashed (exit code "
            f"{code}): check hsm.module and the log on standard error."
        )

    async def wait(self) -> int:
        """Return the exit code once the host has ended; negative: by that signal."""
        return await self._process.wait()

    def kill(self) -> None:
        """End the host at once; nothing is lost by it."""
        if self._process.returncode is None:
            # Popen's own way looks first whether the process has ended, and then asyncio never hears how.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)


async def spawn_host(settings: HostSettings, name: str, *, niceness: int = 0) -> HostProcess:
    """Start a host; `ready` tells how it went.

    Args:
        settings: what the host is to be.
        name: what its log lines call it.
        niceness: added to ours (nice(2)): hosts that make pairs yield to those that import.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    arguments = ("--socket-fd", str(theirs.fileno()), "--parent", str(os.getpid()))
    try:
        process = await asyncio.create_subprocess_exec(
            *ISOLATED_PYTHON,
            "hsmkms.hsm.host",
            *arguments,
            "--name",
            name,
            "--niceness",
            str(niceness),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **settings.env},
            pass_fds=(theirs.fileno(), *(() if settings.pin_fd is None else (settings.pin_fd,))),
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    assert process.stdin is not None  # noqa: S101 - asked for above
    process.stdin.write(msgspec.json.encode(settings))
    process.stdin.close()
    ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return HostProcess(process, ours, name)
