"""The entry of a host process: `python -m hsmkms.hsm.host --socket-fd N --parent P`, settings on standard input."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import msgspec

from hsmkms import log
from hsmkms.core.errors import LoginUnanswered, OperatorFault, PinRefused
from hsmkms.hsm.host import locking, logging_in, module, transit
from hsmkms.hsm.host.serving import Host
from hsmkms.hsm.host.session import TokenSession
from hsmkms.hsm.messages import ReadyLine
from hsmkms.hsm.process import die_with, is_dumpable, keep_memory_private
from hsmkms.hsm.report import HostProtection
from hsmkms.hsm.settings import HostExit, HostPurpose, HostSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import pkcs11

    from hsmkms.hsm.report import TokenDescription


def main() -> NoReturn:
    """Become a host."""
    parser = argparse.ArgumentParser(prog="hsmkms.hsm.host", description=__doc__)
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--name", default="host")
    parser.add_argument("--niceness", type=int, default=0)
    arguments = parser.parse_args()
    die_with(arguments.parent)
    ready = _ready_pipe()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the supervisor
    os.nice(arguments.niceness)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=HostSettings)
    log.configure(settings.log_level, arguments.name)
    keep_memory_private(dumpable=settings.dumpable)
    protection = HostProtection(dumpable=is_dumpable(), not_locked=locking.lock_memory())
    try:
        sessions, token = _log_in(settings, ready)
    except OperatorFault as fault:
        refused, unanswered = isinstance(fault, PinRefused), isinstance(fault, LoginUnanswered)
        _say(ready, ReadyLine(pin_refused=refused, pin_unanswered=unanswered, unusable=fault.message))
        os._exit(HostExit.UNUSABLE)
    _say(ready, ReadyLine(token=token, protection=protection))
    ready.close()
    connection = socket.socket(fileno=arguments.socket_fd)
    Host(connection, settings, sessions, token).serve()
    raise AssertionError  # serve never returns


def _log_in(settings: HostSettings, ready: BinaryIO) -> tuple[list[TokenSession], TokenDescription]:
    with logging_in.one_at_a_time(settings):
        logging_in.keep_token_objects(settings.module)
        library = module.Library.load(settings.module, settings.initialize_args)
        token = module.find_token(library, settings.token_label)
        sessions = _opened(token, settings, lambda: _say(ready, ReadyLine(logging_in=True)))
        logging_in.keep_token_objects(settings.module)
    return sessions, module.describe(library, token, settings.module)


def _opened(token: pkcs11.Token, settings: HostSettings, before_login: Callable[[], None]) -> list[TokenSession]:
    if settings.purpose is HostPurpose.TRANSFER:
        return [transit.open_session(token, settings, before_login)]
    return [TokenSession(session) for session in module.open_sessions(token, settings, before_login)]


def _ready_pipe() -> BinaryIO:
    """Return what was standard output, unbuffered; what a module prints there from now on goes nowhere."""
    ready = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return ready


def _say(ready: BinaryIO, line: ReadyLine) -> None:
    ready.write(msgspec.json.encode(line) + b"\n")


if __name__ == "__main__":
    main()
