"""What `store.url` may say, and what is refused with its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsmkms.core.errors import StoreUnusable
from hsmkms.store.urls import PostgresDatabase, SqliteFile, database_of, file_of, parse

REMOTE = "postgresql://kms@db.example/keys?sslrootcert=/ca.pem"
SOCKET = "postgresql://kms@/keys?host=/run/postgresql"


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("sqlite:////a/%3F.db", SqliteFile(Path("/a/?.db"))),
        (REMOTE, PostgresDatabase("kms", "db.example", 5432, "keys", "verify-full", "/ca.pem")),
        (
            "postgresql://kms@192.0.2.1:6432/keys?sslmode=verify-full&sslrootcert=system&application_name=one",
            PostgresDatabase("kms", "192.0.2.1", 6432, "keys", "verify-full", "system", application_name="one"),
        ),
        (
            f"{REMOTE}&sslcert=/own.pem&sslkey=/own.key",
            PostgresDatabase("kms", "db.example", 5432, "keys", "verify-full", "/ca.pem", "/own.pem", "/own.key"),
        ),
        ("postgresql://kms@localhost/keys", PostgresDatabase("kms", "localhost", 5432, "keys", "prefer")),
        ("postgresql://kms@127.0.0.2/keys", PostgresDatabase("kms", "127.0.0.2", 5432, "keys", "prefer")),
        ("postgresql://kms@[::1]:1/keys", PostgresDatabase("kms", "::1", 1, "keys", "prefer")),
        (SOCKET, PostgresDatabase("kms", "/run/postgresql", 5432, "keys", "prefer")),
        (
            "postgresql://k%40s@:5433/a%2Fb%3F?host=/a%26b&sslmode=disable&passfile=/p%20q",
            PostgresDatabase("k@s", "/a&b", 5433, "a/b?", "disable", passfile="/p q"),
        ),
    ],
)
def test_a_url_says_where_the_database_is_and_is_made_from_that_again(
    url: str, database: SqliteFile | PostgresDatabase
) -> None:
    assert parse(url) == database
    assert parse(database.url) == database


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://kms@db.example/keys", "sslrootcert"),
        ("postgresql://kms@192.0.2.1/keys?sslmode=disable", "encrypted"),
        *((f"{REMOTE}&sslmode={mode}", "verify-full") for mode in ("allow", "prefer", "require", "verify-ca")),
        (f"{REMOTE}&sslmode=", "sslmode once"),
        (f"{REMOTE}&sslmode=full", "sslmode is one of"),
        ("postgresql://kms@localhost/keys?sslmode=verify-ca", "sslrootcert=FILE"),
        ("postgresql://kms@localhost/keys?sslmode=require&sslrootcert=system", "verify-full"),
        (f"{REMOTE}&sslcert=/own.pem", "sslkey"),
        ("postgresql://kms:hidden@localhost/keys", "passfile=FILE"),
        ("postgresql://kms:hid/den@localhost/keys", "passfile=FILE"),
        ("postgresql://kms:hid@den@localhost/keys", "passfile=FILE"),
        ("postgresql://kms:@localhost/keys", "passfile=FILE"),
        (f"{SOCKET}&password=hidden", "passfile=FILE"),
        (f"{SOCKET}&options=-c%20hidden", "known are host, sslmode"),
        (f"{SOCKET}&hostaddr=127.0.0.1", "known are host"),
        (f"{SOCKET}&passfile=a&passfile=b", "passfile once"),
        (f"{SOCKET}&", "known are host"),
        ("postgresql://kms@localhost/keys?host=/run", "the server once"),
        ("postgresql://kms@/keys", "the server once"),
        ("postgresql://kms@/keys?host=run", "absolute path"),
        ("postgresql://kms@/keys?host=/run%00", "absolute path"),
        ("postgresql://kms@/keys?host=/run,elsewhere.example", "one folder"),
        ("postgresql://localhost/keys", "USER@HOST"),
        ("postgresql://kms@localhost", "USER@HOST"),
        ("postgresql://kms@localhost/", "USER@HOST"),
        ("postgresql://kms@localhost/a%0Ab", "USER@HOST"),
        ("postgresql://kms@localhost/%FF", "USER@HOST"),
        ("postgresql://kms@localhost:0/keys", "USER@HOST"),
        ("postgresql://kms@localhost:65536/keys", "USER@HOST"),
        ("postgresql://kms@localhost,127.0.0.1/keys", "USER@HOST"),
        ("postgresql://kms@[1:2]/keys", "USER@HOST"),
        ("postgresql://kms@localhost/keys#x", "USER@HOST"),
        ("postgresql://kms:hid#den@localhost/keys", "passfile=FILE"),
        ("postgres://kms@localhost/keys", "write sqlite:///FILE or postgresql://"),
        ("postgresql+psycopg://kms@localhost/keys", "write sqlite:///FILE or postgresql://"),
        ("sqlite://x.db", "write sqlite:///FILE; in FILE"),
    ],
)
def test_what_is_no_good_url_is_refused_with_its_cure_and_never_quoted(url: str, says: str) -> None:
    with pytest.raises(StoreUnusable) as refused:
        database_of(url)
    assert says in refused.value.message
    assert "hid" not in refused.value.message


def test_relative_paths_are_taken_from_a_folder() -> None:
    files = "sslrootcert=ca.pem&sslcert=own.pem&sslkey=/own.key&passfile=../pgpass"
    found = parse(f"postgresql://kms@db.example/keys?{files}").within(Path("/etc/hsmkms"))
    assert isinstance(found, PostgresDatabase)
    assert found.files == {
        "sslrootcert": Path("/etc/hsmkms/ca.pem"),
        "sslcert": Path("/etc/hsmkms/own.pem"),
        "sslkey": Path("/own.key"),
        "passfile": Path("/etc/hsmkms/../pgpass"),
    }
    trusting = parse("postgresql://kms@db.example/keys?sslrootcert=system").within(Path("/etc"))
    assert isinstance(trusting, PostgresDatabase)
    assert (trusting.sslrootcert, trusting.files) == ("system", {})


def test_a_server_is_no_file() -> None:
    with pytest.raises(StoreUnusable, match="write sqlite:///FILE"):
        file_of(SOCKET)
