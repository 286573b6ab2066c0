"""Ways to reach the error codes of each cloud's API: what the tests of codes walk.

The ways themselves are in `ways_of_...`. Both clouds' codes for one misfortune are reached by one and the same way
(`reaches`, in `ways_of_ceremony`); what only one cloud can be asked is registered with its own `Ways`.
"""

from __future__ import annotations

import importlib
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypedDict, TypeVar

from tests.e2e.worlds import HuaweiWorld, TencentWorld, World

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.e2e.cloud_client import CloudClient, Failure
    from tests.e2e.running import RunningService

WorldT = TypeVar("WorldT", bound="World[CloudClient]")

NEVER_SAID: Final = re.compile(r"CKR_|[A-Za-z0-9+/]{45}|[0-9a-f]{32}|Traceback|sqlite", re.IGNORECASE)
"""Words of the token, anything as long as a key, an import token or a ciphertext, and words of the inside."""
BOUND_SECONDS: Final = 15


class Codes(TypedDict):
    """What the clouds call one misfortune."""

    tencent: str
    huawei: str


@dataclass
class Attempt:
    """A request that must be refused, and everything around it."""

    send: Callable[[], Failure]
    key_id: str | None = None
    """Must be shown the same before and after."""
    says: str = ""
    """Part of the message."""
    undo: Callable[[], object] = lambda: None
    leaves_traces: bool = False
    """Its undoing makes keys."""


@dataclass(frozen=True)
class Way(Generic[WorldT]):
    """One way to reach a code."""

    code: str
    name: str
    prepare: Callable[[WorldT], Attempt] = field(repr=False)
    impatient: bool = False
    """Needs the service with short deadlines and a limit of keys."""
    everywhere: bool = True
    """Tried on every token, and not on one only: because the token has no part in it, or must encrypt for it."""

    def __str__(self) -> str:
        return f"{self.code}-{self.name}"


class Ways(Generic[WorldT]):
    """The ways into the error codes of one cloud."""

    def __init__(self, world_of: Callable[[RunningService], WorldT]) -> None:
        self._world_of = world_of
        self._all: list[Way[WorldT]] = []

    def reaches(
        self, code: str, *, impatient: bool = False, everywhere: bool = True
    ) -> Callable[[Callable[[WorldT], Attempt]], Callable[[WorldT], Attempt]]:
        """Register the decorated preparation as a way to reach `code`; not everywhere, if the token must encrypt."""

        def register(prepare: Callable[[WorldT], Attempt]) -> Callable[[WorldT], Attempt]:
            self._all.append(Way(code, prepare.__name__, prepare, impatient, everywhere))
            return prepare

        return register

    def add(
        self, code: str, name: str, prepare: Callable[[WorldT], Attempt], *, everywhere: bool | None = None
    ) -> None:
        """Register a way of a table: unless it is said, the first of a code is tried everywhere, and no other."""
        if everywhere is None:
            everywhere = all(way.code != code for way in self._all)
        self._all.append(Way(code, name, prepare, everywhere=everywhere))

    def tried(self, *, everywhere: bool) -> list[Way[WorldT]]:
        """Return the ways tried on every token, or those tried on one only."""
        register_all()
        return [way for way in self._all if way.everywhere is everywhere]

    def codes(self, *, everywhere: bool) -> set[str]:
        """Return the codes reached on every token, or those reached on the one that does more."""
        register_all()
        return {way.code for way in self._all if way.everywhere or not everywhere}

    def stage(self, way: Way[WorldT], request: pytest.FixtureRequest) -> WorldT:
        """Return the world that a way needs: the fixture `world`, or the service that waits for nothing long."""
        if not way.impatient:
            world: WorldT = request.getfixturevalue("world")
            return world
        running: RunningService = request.getfixturevalue("sm_service")
        return self._world_of(running)


TENCENT: Final = Ways(TencentWorld.of)
HUAWEI: Final = Ways(HuaweiWorld.of)


def reaches(
    *, tencent: str, huawei: str, impatient: bool = False, everywhere: bool = True
) -> Callable[[Callable[[World[CloudClient]], Attempt]], Callable[[World[CloudClient]], Attempt]]:
    """Register the decorated preparation as a way to reach a code of each cloud."""

    def register(prepare: Callable[[World[CloudClient]], Attempt]) -> Callable[[World[CloudClient]], Attempt]:
        TENCENT.reaches(tencent, impatient=impatient, everywhere=everywhere)(prepare)
        HUAWEI.reaches(huawei, impatient=impatient, everywhere=everywhere)(prepare)
        return prepare

    return register


def add(
    name: str,
    prepare: Callable[[World[CloudClient]], Attempt],
    *,
    tencent: str,
    huawei: str,
    everywhere: bool | None = None,
) -> None:
    """Register a way of a table with each cloud."""
    TENCENT.add(tencent, name, prepare, everywhere=everywhere)
    HUAWEI.add(huawei, name, prepare, everywhere=everywhere)


def register_all() -> None:
    """Let every module of ways register them, which it does when it is imported."""
    for name in ("ceremony", "permissions", "uses"):
        importlib.import_module(f"tests.e2e.ways_of_{name}")
    for cloud in ("tencent", "huawei"):
        for what in ("requests", "imports", "uses"):
            importlib.import_module(f"tests.e2e.ways_of_{cloud}_{what}")


def walk(way: Way[WorldT], stage: WorldT) -> Failure:
    """Send the request that must be refused, and look at the answer and at what is left."""
    attempt = way.prepare(stage)
    before = stage.client.shown(attempt.key_id)
    started = time.monotonic()
    try:
        failure = attempt.send()
    finally:
        seconds = time.monotonic() - started
        attempt.undo()
    assert failure.code == way.code, failure
    assert attempt.says in failure.message
    assert not NEVER_SAID.search(failure.message)
    assert seconds < BOUND_SECONDS
    if not attempt.leaves_traces:
        assert stage.client.shown(attempt.key_id) == before
    return failure
