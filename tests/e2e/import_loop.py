"""A client that imports without pause: `python -m tests.e2e.import_loop HOST:PORT CREDENTIAL_FILE ALGORITHM THREADS`.

It makes the material, one for all its imports, so that only this process and the token ever have it. The first line of
standard output is that material in hexadecimal; from then on a line counts the imports that were acknowledged. It ends
with its standard input. A call that fails ends it with a traceback.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.e2e.tencent_client import TencentClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.running import RunningService

_END_SECONDS: Final = 60


@dataclass
class ImportLoop:
    """The loop, seen from the test."""

    process: subprocess.Popen[str]
    material: bytes
    imports: int = 0
    """Acknowledged so far."""


@contextlib.contextmanager
def importing(service: RunningService, threads: int = 2) -> Iterator[ImportLoop]:
    """Run a loop beside the block; demand at its end that no import failed."""
    instance = service.instance
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.e2e.import_loop"),
            *(service.endpoint, str(instance.folder / "credential.json"), instance.algorithm, str(threads)),
        ],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    loop = ImportLoop(process, bytes.fromhex(process.stdout.readline()))

    def count() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            loop.imports = int(line)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        yield loop
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            code = process.wait(_END_SECONDS)
        finally:
            process.kill()
            process.wait()
            counting.join()
            process.stdout.close()
    assert code == 0


def main() -> None:
    """Import until standard input ends."""
    endpoint, credential_file, algorithm, threads = sys.argv[1:]
    material = secrets.token_bytes(32)
    sys.stdout.write(material.hex() + "\n")
    sys.stdout.flush()
    numbers = itertools.count(1)
    ended = threading.Event()

    def work() -> None:
        client = TencentClient(endpoint, json.loads(Path(credential_file).read_text()), algorithm)
        while not ended.is_set():
            client.bring(client.external_key(), material)
            sys.stdout.write(f"{next(numbers)}\n")
            sys.stdout.flush()

    with ThreadPoolExecutor(int(threads)) as pool:
        working = [pool.submit(work) for _ in range(int(threads))]
        sys.stdin.read()
        ended.set()
        for each in working:
            each.result()


if __name__ == "__main__":
    main()
