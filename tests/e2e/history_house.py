"""The running service that histories happen in, and what is done to it from outside: time, deaths, restarts."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from tests.e2e import database_file
from tests.e2e.history_clouds import Actor, HuaweiActor, TencentActor
from tests.e2e.history_model import Caller
from tests.e2e.history_rules import RULES
from tests.e2e.running import is_alive, until

if TYPE_CHECKING:
    from tests.e2e.history_model import Key
    from tests.e2e.running import RunningService

TENCENT: Final = "tencent"
HUAWEI: Final = "huawei"
CLOUDS: Final = (TENCENT, HUAWEI)
SWEPT_SECONDS: Final = 60.0
RECOVERY_SECONDS: Final = 30.0


class Death(Enum):
    """What of the service ends, and begins again."""

    HOST = "a host is killed"
    WEB = "the web process is killed"
    RESTART = "the service is stopped and started"


@dataclass
class House:
    """One service, two of its accounts, each with a client of each cloud; all histories of a test share it."""

    service: RunningService
    credentials: tuple[dict[str, str], dict[str, str]]
    """Of the account that makes keys, and of a stranger to them."""
    steps: int = 0
    """Taken in all histories so far."""
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(cloud, code) -> how often it was answered."""
    failures: Counter[str] = field(default_factory=Counter)
    """As in `Model`: pairs outlive a history."""

    def __post_init__(self) -> None:
        """Make the clients."""
        self.tencent = [TencentActor(self.service.client(each)) for each in self.credentials]
        self.huawei = [HuaweiActor(self.service.huawei(each)) for each in self.credentials]

    @property
    def accounts(self) -> list[str]:
        """The names of the accounts."""
        return [each["account"] for each in self.credentials]

    def actor(self, cloud: str, *, stranger: bool) -> Actor[Any]:
        """Return a client."""
        return (self.tencent if cloud == TENCENT else self.huawei)[stranger]

    def caller(self, cloud: str, *, stranger: bool) -> Caller:
        """Return who that client is to the model."""
        return Caller(self.accounts[stranger], RULES[cloud])

    def unsaid(self) -> set[tuple[str, str]]:
        """Return what no history was answered yet, of all that the model can foresee."""
        foreseen = {(cloud, code) for cloud, rules in RULES.items() for code in rules.codes()}
        return foreseen - set(self.answers)

    def let_due(self, key: Key) -> None:
        """Move the deletion of a key into the past."""
        past = int(time.time() * 1000) - 1
        key.gone = True
        database_file.run(self.service.instance, "UPDATE keys SET deletion_due = ? WHERE key_id = ?", past, key.key_id)

    def let_sweep(self, key: Key) -> None:
        """Wait until nothing is left of a key whose deletion was due."""

        def is_swept() -> bool:
            rows = database_file.run(self.service.instance, "SELECT 1 FROM keys WHERE key_id = ?", key.key_id)
            return not rows

        until(is_swept, "a due deletion", SWEPT_SECONDS)
        key.swept = True

    def suffer(self, death: Death) -> None:
        """Let something die, and wait until the service is whole again."""
        if death is Death.RESTART:
            assert self.service.stop() == 0
            self.service.start()
            return
        before = self.service.children()
        (victim, *_) = self.service.serving_hosts() if death is Death.HOST else self.service.pids("web")
        os.kill(victim, signal.SIGKILL)
        until(lambda: not is_alive(victim), "its end", RECOVERY_SECONDS)

        def is_whole() -> bool:
            now = self.service.children()
            return victim not in now and Counter(now.values()) == Counter(before.values())

        until(is_whole, "its successor", RECOVERY_SECONDS)
        self.service.until_ready(RECOVERY_SECONDS)
