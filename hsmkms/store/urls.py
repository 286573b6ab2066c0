"""Where the database is: `store.url`, read without the library that speaks to databases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from hsmkms.core.errors import StoreUnusable

_SQLITE: Final = "sqlite"


def file_of(url: str) -> Path:
    """Return the file of the database that `store.url` names: `sqlite://`, a slash and a path (RFC 3986).

    SQLAlchemy's `make_url` is not asked: it knows no way to write a question mark in a file's name.

    Raises:
        StoreUnusable: it names none, or another kind of database.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StoreUnusable("store.url is not a URL: write sqlite:////path/to/hsmkms.db.")
    if scheme != _SQLITE:
        raise StoreUnusable("store.url names a database that is not supported: write sqlite:////path/to/hsmkms.db.")
    path = os.fsdecode(unquote_to_bytes(rest.removeprefix("/")))
    if not rest.startswith("/") or "?" in rest or path in {"", ":memory:"} or "\0" in path:
        raise StoreUnusable("store.url must name a database file and nothing else: write sqlite:////path/to/hsmkms.db.")
    return Path(path)
