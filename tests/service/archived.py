"""A database with the trails of its nodes, and what an operator archives of them."""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from shutil import copy
from typing import TYPE_CHECKING, Final

from hsmkms.audit.archive import ArchivedEvent, NodeBegins, read, text_of
from hsmkms.audit.chain import link
from hsmkms.audit.verification import require_initialised
from hsmkms.core.events import Event, EventTag
from hsmkms.core.ids import Instant
from hsmkms.service.archiving import Archiving, Part, require_leads_to_seals
from hsmkms.service.sealing import Sealer
from hsmkms.service.verifying import verify
from hsmkms.store.database import open_store
from tests.fakes.clock import SteppedTimer, StoppedClock
from tests.fakes.hsm import FakeHsm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from hsmkms.audit.archive import Line
    from hsmkms.audit.verification import Break
    from hsmkms.core.events import AuditHead, ChainedEvent
    from hsmkms.store.database import SqlStore

DEPLOYMENT: Final = "a deployment"
DAY: Final = 86_400
NEXT_BLOCK: Final = "UPDATE sqlite_sequence SET seq = (seq + 999) / 1000 * 1000"


class CuttingHsm(FakeHsm):
    """A token that remembers after which heads it was asked for a cut."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts: list[AuditHead] = []

    async def cut_after(self, deployment_id: str, head: AuditHead) -> bytes:
        self.cuts.append(head)
        return await super().cut_after(deployment_id, head)


class Installation:
    """A database with the trails of its nodes, whose blocks have few events each and gaps between them."""

    def __init__(self, path: Path, stores: dict[str, SqlStore]) -> None:
        self._path = path
        self.stores = stores
        self.hsm = CuttingHsm()
        self.clock = StoppedClock()
        self._sealers = {name: self.sealer(name) for name in stores}

    @property
    def store(self) -> SqlStore:
        return next(iter(self.stores.values()))

    def sealer(self, node: str) -> Sealer:
        """Return the sealer of a node that starts."""
        store = self.stores[node]
        return Sealer(store, store.trail(), self.hsm, SteppedTimer(), DEPLOYMENT)

    async def grow(self, node: str, events: int = 3) -> None:
        """Append so many events, the first of which is what a deployment or a node begins with."""
        store = self.stores[node]
        tag = EventTag.KEY_ENCRYPTED if await store.nodes() else EventTag.DEPLOYMENT_INITIALISED
        new = [Event(tag, self.clock.now(), None, "ak-1")]
        new += [Event(EventTag.KEY_ENCRYPTED, self.clock.now(), None, "ak-1") for _ in range(1, events)]
        await store.write(lambda writing: writing.append(*new))

    async def seal(self) -> None:
        for sealer in self._sealers.values():
            await sealer.seal_new()

    def next_block(self) -> None:
        self.edit(NEXT_BLOCK)

    async def blocks(self, number: int) -> None:
        """Make so many blocks, a day each, all of which are over and sealed."""
        for _ in range(number):
            for node in self.stores:
                await self.grow(node)
            await self.seal()
            self.next_block()
            self.clock.advance(DAY)

    def edit(self, *statements: str) -> None:
        self.edit_with(*((each, ()) for each in statements))

    def edit_with(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        with closing(sqlite3.connect(self._path)) as database, database:
            for statement, parameters in statements:
                database.execute(statement, parameters)

    def rows(self, table: str) -> list[tuple[object, ...]]:
        return self.rows_of(f"SELECT * FROM {table}")  # noqa: S608 - our own words

    def rows_of(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self._path)) as database:
            return database.execute(statement).fetchall()

    def put_back(self, tables: dict[str, list[tuple[object, ...]]]) -> None:
        """Have these rows and no others."""
        with closing(sqlite3.connect(self._path)) as database, database:
            for table, rows in tables.items():
                database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own words; so below
                for row in rows:
                    database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608

    def archiving(self, store: SqlStore | None = None) -> Archiving:
        return Archiving(store or self.store, self.hsm, self.clock, DEPLOYMENT)

    def days_ago(self, days: int) -> Instant:
        return Instant(self.clock.now() - days * DAY * 1000)

    async def archive(self, before: Instant | None, store: SqlStore | None = None) -> Archive:
        """Do what the command does."""
        archiving, archive = await self.written(before, store)
        if archive.parts:
            require_leads_to_seals(archive.lines(), archive.parts)
            await archiving.cut(archive.parts)
        return archive

    async def written(self, before: Instant | None, store: SqlStore | None = None) -> tuple[Archiving, Archive]:
        """Do what the command does up to the moment when the archive is written."""
        archiving = self.archiving(store)
        parts = await archiving.parts(before)
        texts = [text_of(line) async for line in archiving.lines(parts)] if parts else []
        return archiving, Archive(texts, parts)

    async def found(self, archives: Sequence[Archive] | None = None, *expected: AuditHead) -> list[Break]:
        """Return what is found by who verifies all trails, with archives or without."""
        begun = [line for each in archives or () for line in each.lines() if isinstance(line, NodeBegins)]
        kept = {head.node: head for head in expected}
        done = [
            await verify(
                self.store.trail(node),
                self.hsm,
                DEPLOYMENT,
                kept.get(node),
                None if archives is None else partial(lines_of, archives),
            )
            for node in sorted({*await self.store.nodes(), *(line.node for line in begun)})
        ]
        require_initialised(done)
        return [each for verification in done for each in verification.found]

    async def trail(self, node: str) -> Sequence[ChainedEvent]:
        """Return what is there of a node, whether it is anybody's or not."""
        return await self.store.trail(node).events(0, 100_000)

    async def exported(self, node: str) -> Sequence[ChainedEvent]:
        """Return what is there of a node after its cut."""
        cut = await self.store.trail(node).cut()
        return await self.store.trail(node).events(0 if cut is None else cut.head.sequence, 100_000)


class Archive:
    """What was written of what."""

    def __init__(self, texts: Sequence[str], parts: Sequence[Part]) -> None:
        self.texts = texts
        self.parts = parts

    def lines(self) -> list[Line]:
        return list(read(self.texts, DEPLOYMENT))

    def events(self, node: str) -> list[ChainedEvent]:
        return [each.chained for each in self.lines() if isinstance(each, ArchivedEvent) and each.node == node]

    @property
    def ends(self) -> list[tuple[str, int]]:
        return [(each.node, each.seal.head.sequence) for each in self.parts]


def lines_of(archives: Sequence[Archive]) -> Iterator[Line]:
    """Yield the lines of all these archives, once."""
    for each in archives:
        yield from each.lines()


@asynccontextmanager
async def installation(empty: Path, path: Path, *nodes: str) -> AsyncIterator[Installation]:
    """Make a database of the nodes named, or of one that has no name."""
    copy(empty, path)
    async with AsyncExitStack() as stack:
        stores = {}
        for node in nodes or ("",):
            stores[node] = await open_store(f"sqlite:///{path}", link=link, busy_seconds=30, node=node)
            stack.push_async_callback(stores[node].close)
        yield Installation(path, stores)
