"""The web process never holds the material nor the PIN, and never maps the module; shown by looking into it at work."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.import_loop import importing
from tests.e2e.process_memory import ProcessMemory, forms
from tests.e2e.running import Instance, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.running import RunningService

FIND_SECONDS: Final = 120.0
GLANCES: Final = 100
"""At whether a host computes, one right after the other: between two of its requests there is nothing to see."""
MODULE: Final = "libsofthsm2.so"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningService]:
    instance = Instance.make(tmp_path / "instance")
    instance.replace("[hsm]\n", "[hsm]\ndumpable_processes = true\n")
    with instance.serving() as running:
        yield running


def half_sent(service: RunningService, content: bytes) -> socket.socket:
    """Return a connection on which a request has begun: the service holds `content` and waits for the rest."""
    host, port = service.endpoint.split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST / HTTP/1.1\r\nHost: {service.endpoint}\r\nContent-Length: {len(content) + 1}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


@pytest.mark.timeout(300)
def test_neither_material_nor_pin_is_ever_in_the_web_process(served: RunningService) -> None:
    none_of(100, served)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_of_a_thousand_samples_none_holds_material_or_pin(served: RunningService) -> None:
    none_of(1000, served)


def none_of(samples: int, served: RunningService) -> None:
    """Look so often into the web process under load; demand that neither is ever there, and that we can find it."""
    pin = (served.instance.folder / "pin").read_bytes().strip()
    planted = secrets.token_bytes(32)
    (web,) = served.pids("web")
    with importing(served) as loop:
        until(lambda: loop.imports, "the first import")
        before = loop.imports
        memory = ProcessMemory(web, {"material": loop.material, "PIN": pin})
        while memory.samples < samples:
            memory.sample()
            assert not any(MODULE in path for path in memory.mapped_files())
        assert memory.found == set()
        assert loop.imports - before > samples // 10, "too little was in flight while samples were taken"

        # The same search finds every form of what is really there.
        control = ProcessMemory(web, {"planted": planted})
        assert control.sample() == set()
        expected = {f"planted: {form}" for form in forms(planted)}
        with half_sent(served, b" ".join(forms(planted).values())):
            until(lambda: control.sample() and control.found == expected, "what was planted is found")
    assert served.pids("web") == [web], "the web process was replaced while it was searched"


@pytest.mark.timeout(300)
def test_a_host_sampled_the_same_way_shows_the_material(served: RunningService) -> None:
    with importing(served) as loop:
        until(lambda: loop.imports, "the first import")
        hosts = [ProcessMemory(pid, {"material": loop.material}) for pid in served.serving_hosts()]
        for host in hosts:
            assert any(MODULE in path for path in host.mapped_files())

        def shown() -> bool:
            return any(host.is_running() and host.sample() for _ in range(GLANCES) for host in hosts)

        until(shown, "a host shows the material", FIND_SECONDS)
