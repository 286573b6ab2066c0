"""Copies of SoftHSM's token directory."""

from __future__ import annotations

import asyncio
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import TokenUnusable
from hsmkms.hsm import token_copy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A directory with one token."""
    folder = tmp_path / "tokens" / "one"
    folder.mkdir(parents=True)
    (folder / "token.object").write_bytes(b"an object")
    return folder.parent


async def test_it_waits_for_whoever_logs_in(tokens: Path, tmp_path: Path) -> None:
    descriptor = os.open(tokens, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        copying = asyncio.create_task(asyncio.to_thread(token_copy.copy, tokens, tmp_path / "copy"))
        assert not (await asyncio.wait([copying], timeout=0.2))[0]
    finally:
        os.close(descriptor)
    await copying
    assert (tmp_path / "copy" / "one" / "token.object").read_bytes() == b"an object"


def test_a_folder_without_a_token_is_named(tokens: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "nothing", tokens / "one"):
        with pytest.raises(TokenUnusable, match=r"no token.*tokendir"):
            token_copy.copy(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
