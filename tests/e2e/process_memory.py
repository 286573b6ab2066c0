"""Searching another process's memory for secrets, while it works.

A sample stops the process (SIGSTOP), copies its mappings out of /proc/PID/mem, and lets it go on. The copy is searched
for each form of each secret. What has not changed since the last sample was searched then, so only what did change is
searched again: each sample is worth a search of everything.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BLOCK: Final = 65536
"""What is the same is mostly found block by block,"""
_CHUNK: Final = 512
"""and what has changed chunk by chunk."""
_STOP_SECONDS: Final = 5.0
_BASE64_GROUP: Final = 3
_WHOLE_EVERY: Final = 50
"""Every so many samples the read-only mappings of files are read as well, which show what is in the files."""
_UNREADABLE: Final = ("[vvar", "[vsyscall]")
"""Pages of the kernel's, which /proc/PID/mem does not give."""


def forms(secret: bytes) -> dict[str, bytes]:
    """Return what to search for to find `secret`, or one half of it, raw, in hexadecimal or in base64.

    In base64 the characters depend on how many bytes stand before the secret, modulo 3; those that also depend on what
    its neighbours are left out.
    """
    half = len(secret) // 2
    halves = {"first half": secret[:half], "second half": secret[half:]}
    found: dict[str, bytes] = {}
    for which, part in halves.items():
        found[f"{which}, raw"] = part
        found[f"{which}, hexadecimal"] = part.hex().encode()
        found[f"{which}, HEXADECIMAL"] = part.hex().upper().encode()
        for before in range(_BASE64_GROUP):
            group = bytes(before) + part
            whole = len(group) // _BASE64_GROUP * 4
            text = base64.b64encode(group)[(before * 4 + 2) // _BASE64_GROUP : whole]
            found[f"{which}, base64 after {before}"] = text
            url_safe = text.translate(bytes.maketrans(b"+/", b"-_"))
            if url_safe != text:
                found[f"{which}, URL-safe base64 after {before}"] = url_safe
    return found


class ProcessMemory:
    """What a process had in its memory, sample by sample."""

    def __init__(self, pid: int, secrets: Mapping[str, bytes]) -> None:
        """Search the process `pid` for the forms of each of `secrets`, by their names."""
        self.pid = pid
        self.samples = 0
        self.searched_bytes = 0
        self.found: set[str] = set()
        """`name: form` of everything that any sample showed."""
        self._needles = {
            f"{name}: {form}": text for name, secret in secrets.items() for form, text in forms(secret).items()
        }
        self._margin = max(map(len, self._needles.values())) - 1
        self._seen: dict[tuple[int, int], bytearray] = {}
        self._spare: dict[tuple[int, int], bytearray] = {}
        """Of the size of what was seen there, to read the next sample into: new memory would cost more than reading."""

    def mapped_files(self) -> frozenset[str]:
        """Return the names of the files that the process has mapped."""
        return frozenset(path for _, _, _, path in self._mappings() if path.startswith("/"))

    def is_running(self) -> bool:
        """Tell whether a thread of the process is computing at this moment."""
        return b"R" in self._states()

    def sample(self) -> set[str]:
        """Take one sample; return which forms are in it that were not in the memory searched before."""
        with self._stopped():
            taken = dict(self._read())
        pieces = [
            piece
            for mapping, content in taken.items()
            for piece in self._changed(self._seen.get(mapping, bytearray()), content)
        ]
        # Apart, so that nothing is found across two of them.
        changed = bytes(self._margin).join(pieces)
        new = {name for name, text in self._needles.items() if text in changed}
        self.searched_bytes += sum(map(len, pieces))
        self._spare |= {mapping: self._seen[mapping] for mapping in taken if mapping in self._seen}
        self._seen |= taken
        self.samples += 1
        self.found |= new
        return new

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[None]:
        os.kill(self.pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + _STOP_SECONDS
            while self._states() != {b"T"}:
                assert time.monotonic() < deadline, "the process does not stop"
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _states(self) -> set[bytes]:
        """Return the states of the process's threads (proc_pid_stat(5))."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return {(task / "stat").read_bytes().rpartition(b")")[2].split()[0] for task in tasks}

    def _mappings(self) -> Iterator[tuple[int, int, str, str]]:
        """Return start, end, permissions and path of each mapping (proc_pid_maps(5))."""
        for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            extent, permissions, _offset, _device, _inode, *path = line.split(maxsplit=5)
            start, end = (int(part, 16) for part in extent.split("-"))
            yield start, end, permissions, "".join(path)

    def _read(self) -> Iterator[tuple[tuple[int, int], bytearray]]:
        whole = self.samples % _WHOLE_EVERY == 0
        with Path(f"/proc/{self.pid}/mem").open("rb", buffering=0) as memory:
            for start, end, permissions, path in self._mappings():
                if "r" not in permissions or path.startswith(_UNREADABLE):
                    continue
                if not whole and "w" not in permissions and path.startswith("/"):
                    continue
                content = self._spare.pop((start, end), None) or bytearray(end - start)
                assert os.preadv(memory.fileno(), [content], start) == len(content), (path, permissions)
                yield (start, end), content

    def _changed(self, before: bytearray, after: bytearray) -> Iterator[bytearray]:
        """Return the parts of `after` that may hold what `before` did not, neighbours' margins included."""
        begin, end = None, 0
        for offset in _differing(before, after):
            if begin is not None and offset > end:
                yield after[max(0, begin - self._margin) : end + self._margin]
                begin = None
            begin = offset if begin is None else begin
            end = offset + _CHUNK
        if begin is not None:
            yield after[max(0, begin - self._margin) : end + self._margin]


def _differing(before: bytearray, after: bytearray) -> Iterator[int]:
    """Return where the chunks begin that are not the same."""
    if before == after:
        return
    for block in range(0, len(after), _BLOCK):
        old, new = before[block : block + _BLOCK], after[block : block + _BLOCK]
        if old != new:
            for offset in range(0, len(new), _CHUNK):
                if old[offset : offset + _CHUNK] != new[offset : offset + _CHUNK]:
                    yield block + offset
