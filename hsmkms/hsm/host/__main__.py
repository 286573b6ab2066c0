"""The entry of a host process: `python -m hsmkms.hsm.host --socket-fd N --parent P`, settings on standard input."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

import msgspec

from hsmkms import log
from hsmkms.core.errors import OperatorFault, PinRefused
from hsmkms.hsm.host import logging_in, module
from hsmkms.hsm.host.serving import Host
from hsmkms.hsm.host.session import TokenSession
from hsmkms.hsm.messages import ReadyLine
from hsmkms.hsm.process import die_with
from hsmkms.hsm.settings import HostExit, HostSettings

if TYPE_CHECKING:
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
    _harden(arguments.niceness)
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=HostSettings)
    log.configure(settings.log_level, arguments.name)
    try:
        sessions, token = _log_in(settings)
    except OperatorFault as fault:
        refused = isinstance(fault, PinRefused)
        _say(ReadyLine(pin_refused=refused, unusable="" if refused else fault.message))
        os._exit(HostExit.UNUSABLE)
    _say(ReadyLine(token=token))
    connection = socket.socket(fileno=arguments.socket_fd)
    Host(connection, settings, sessions, token).serve()
    raise AssertionError  # serve never returns


def _harden(niceness: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the supervisor
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the token's memory
    os.nice(niceness)


def _log_in(settings: HostSettings) -> tuple[list[TokenSession], TokenDescription]:
    with logging_in.one_at_a_time(settings.pin_file):
        logging_in.keep_token_objects(settings.module)
        library = module.Library.load(settings.module, settings.initialize_args)
        token = module.find_token(library, settings.token_label)
        sessions = [TokenSession(session) for session in module.open_sessions(token, settings)]
        logging_in.keep_token_objects(settings.module)
    return sessions, module.describe(library, token, settings.module)


def _say(line: ReadyLine) -> None:
    """Write the one line of standard output; what a module might print afterwards goes nowhere."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    main()
