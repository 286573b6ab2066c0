"""How the store comes to a server: what it sends, whom it believes, and what it says when that does not work."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from hsmkms.audit.chain import link
from hsmkms.core.errors import StoreUnavailable, StoreUnusable
from hsmkms.store.database import SqlStore, open_store
from hsmkms.store.versions import upgrade
from tests.contract.store_contract import ALICE, key, put, stored
from tests.postgres.server import make_certificate, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres.server import PostgresServer


async def opened(url: str, busy_seconds: float = 5.0) -> SqlStore:
    return await open_store(url, link=link, busy_seconds=busy_seconds)


async def refusal(url: str) -> str:
    """Return what is said when this database cannot be opened."""
    with pytest.raises(StoreUnusable) as refused:
        await (await opened(url)).close()
    return refused.value.message


@pytest.fixture
def passfile(postgres: PostgresServer, tmp_path: Path) -> Path:
    return postgres.write_passfile(tmp_path / "pgpass")


async def test_a_password_is_read_from_its_file_and_the_certificate_is_verified(
    postgres: PostgresServer, shared: str, passfile: Path
) -> None:
    parameters = {"passfile": passfile, "sslmode": "verify-full", "sslrootcert": postgres.certificate}
    store = await opened(postgres.tcp_url(shared, **parameters, application_name="of-the-test"))
    try:
        await store.write(lambda writing: writing.ensure_account(ALICE))
        with postgres.administering() as connection:
            found = connection.execute(
                "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                "WHERE application_name = 'of-the-test'"
            ).fetchall()
        assert found == [(True,)]
    finally:
        await store.close()


async def test_another_certificate_is_refused(
    postgres: PostgresServer, shared: str, passfile: Path, tmp_path: Path
) -> None:
    await asyncio.to_thread(make_certificate, tmp_path)
    parameters = {"passfile": passfile, "sslmode": "verify-full", "sslrootcert": tmp_path / "server.crt"}
    said = await refusal(postgres.tcp_url(shared, **parameters))
    assert "certificate" in said
    assert said.endswith("; correct store.url, what it names, or the server.")


async def test_a_wrong_password_is_refused_and_not_repeated(
    postgres: PostgresServer, shared: str, tmp_path: Path
) -> None:
    wrong = postgres.write_passfile(tmp_path / "wrong", "a wrong one")
    said = await refusal(postgres.tcp_url(shared, passfile=wrong))
    assert "password authentication failed" in said
    assert "a wrong one" not in said


async def test_without_a_password_nothing_of_the_environment_is_asked(
    postgres: PostgresServer, shared: str, monkeypatch: pytest.MonkeyPatch, passfile: Path
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    monkeypatch.setenv("PGSERVICE", "nonsense")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    assert "no password supplied" in await refusal(postgres.tcp_url(shared))
    await (await opened(postgres.url(shared))).close()


async def test_nothing_is_taken_from_the_users_home(
    postgres: PostgresServer, shared: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_text("no certificate")
    postgres.write_passfile(tmp_path / ".pgpass")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "no password supplied" in await refusal(postgres.tcp_url(shared, sslmode="require"))


async def test_a_database_that_is_not_there_is_refused_by_name(postgres: PostgresServer) -> None:
    assert '"nowhere" does not exist' in await refusal(postgres.url("nowhere"))


async def test_a_server_that_is_not_there_may_come(postgres: PostgresServer, shared: str, tmp_path: Path) -> None:
    url = postgres.url(shared).partition("?")[0] + f"?host={tmp_path}"
    with pytest.raises(StoreUnavailable, match=f"{shared} on {tmp_path} does not answer"):
        await opened(url)


async def test_a_user_who_may_not_make_tables_is_told_so(postgres: PostgresServer) -> None:
    with postgres.database() as name:
        with postgres.administering() as connection:
            connection.execute(f'ALTER DATABASE "{name}" OWNER TO postgres')
        with pytest.raises(StoreUnusable, match="make him the owner"):
            await upgrade(postgres.url(name))


@pytest.mark.parametrize(
    ("setting", "said"), [("synchronous_commit = off", "synchronous_commit = off"), ("search_path = elsewhere", None)]
)
async def test_a_database_that_forgets_commits_is_refused(
    postgres: PostgresServer, own: str, setting: str, said: str | None
) -> None:
    with postgres.administering() as connection:
        connection.execute(f'ALTER DATABASE "{own}" SET {setting}')
    if said is None:
        await (await opened(postgres.url(own))).close()
    else:
        assert said in await refusal(postgres.url(own))


async def test_a_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    with postgres.database(encoding="LATIN1") as name, pytest.raises(StoreUnusable, match="ENCODING 'UTF8'"):
        await upgrade(postgres.url(name))


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with running_server() as server:
        yield server


async def test_a_server_that_was_started_anew_is_used_again_by_itself(mortal: PostgresServer) -> None:
    url = mortal.url(mortal.create_database())
    await upgrade(url)
    store = await opened(url)
    first, second = key("first"), key("second")
    await put(store, first)
    assert await stored(store, first) == first
    for how in (signal.SIGINT, signal.SIGQUIT):
        await asyncio.to_thread(mortal.restart, how=how)
        assert await stored(store, first) == first
        await store.look_up(ALICE, second.key_id, tagged=True)
        await asyncio.to_thread(mortal.restart, how=how)
        await store.write(lambda writing: writing.ensure_account(ALICE))
    await asyncio.to_thread(mortal.stop)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await put(store, second)
        with pytest.raises(StoreUnavailable):
            await stored(store, first)
    await asyncio.to_thread(mortal.start)
    await put(store, second)
    assert await stored(store, second) == second
    await store.close()


async def test_what_an_error_adds_to_its_sentence_is_not_passed_on(
    store: SqlStore, postgres: PostgresServer, shared: str, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres.connect(shared) as connection:
        connection.execute("ALTER TABLE keys ADD CONSTRAINT never CHECK (alias <> '<an alias that no log may hold>')")
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - any, and what it holds
            await put(store, key("<an alias that no log may hold>"))
    finally:
        with postgres.connect(shared) as connection:
            connection.execute("ALTER TABLE keys DROP CONSTRAINT never")
    error: BaseException | None = caught.value
    said = caplog.text
    while error is not None:
        said += f"{error!r} {error}"
        error = error.__cause__
    assert "never" in said
    assert "no log may hold" not in said
