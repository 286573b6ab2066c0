"""The hosts of a service that have logged in, seen from outside.

Whoever kills a host that is just logging in may have cost one of the token's tries, and the service ends after the
second of them: that is another test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsmkms.hsm.spawn import READY_SECONDS
from tests.e2e.running import is_alive, until

if TYPE_CHECKING:
    from tests.e2e.running import RunningService

PAIR_HOST: Final = "pair-host"


def logged_in(service: RunningService) -> dict[int, str]:
    """Return the hosts that live and have logged in: the process id of each, and its name."""
    said = [line for line in service.log_lines() if line["event"] == "a host has logged in"]
    return {int(line["pid"]): str(line["host"]) for line in said if is_alive(int(line["pid"]))}


def until_every_host(service: RunningService, hosts: int) -> list[int]:
    """Wait until a service has its pair host and so many others; return the process ids of the others.

    Those that an earlier test has cost are replaced after a pause, and start one after the other.
    """
    until(lambda: len(logged_in(service)) == hosts + 1, "every host", READY_SECONDS)
    return [pid for pid, name in logged_in(service).items() if name != PAIR_HOST]
