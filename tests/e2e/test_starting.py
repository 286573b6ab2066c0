"""Starting: parts that are killed meanwhile, a token that does nothing of what is configured, a poisoned folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.e2e.running import Instance, RunningService, hsmkms, until


def only(pids: list[int]) -> list[int]:
    """Return the process ids if there is one: a process that is just being started may still look like another."""
    return pids if len(pids) == 1 else []


def test_a_first_host_killed_before_it_has_logged_in_is_replaced(tmp_path: Path) -> None:
    instance = Instance.make(tmp_path / "instance")
    service = RunningService(instance)
    service.start(ready=False)
    try:
        (host,) = until(lambda: only(service.pids("host")), "the first host")
        os.kill(host, signal.SIGKILL)
        service.until_ready()
        assert host not in service.pids("host")
        assert service.stop() == 0
    finally:
        service.end()


def test_a_web_process_killed_before_it_serves_is_replaced(tmp_path: Path) -> None:
    instance = Instance.make(tmp_path / "instance")
    service = RunningService(instance)
    service.start(ready=False)
    try:
        (web,) = until(lambda: only(service.pids("web")), "the web process")
        with suppress(ProcessLookupError):
            os.kill(web, signal.SIGKILL)
        service.until_ready()
        assert service.stop() == 0
    finally:
        service.end()


def test_serve_refuses_a_configuration_of_which_the_token_does_nothing(tmp_path: Path) -> None:
    instance = Instance.make(tmp_path / "instance", extra='\n[import]\nwrapping_algorithms = ["RSAES_OAEP_SHA_256"]\n')
    done = hsmkms("serve", "--config", str(instance.config), expect=78)
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("hsmkms: ")]
    assert "import.wrapping_algorithms names none" in sentence
    assert "RSAES_OAEP_SHA_1" in sentence


def test_nothing_in_the_current_folder_becomes_code_of_a_host(tmp_path: Path) -> None:
    instance = Instance.make(tmp_path / "instance")
    poisoned = tmp_path / "poisoned"
    poisoned.mkdir()
    for module in ("argparse", "msgspec", "pkcs11"):
        (poisoned / f"{module}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nraise SystemExit(3)\n")
    command = Path(sys.executable).with_name("hsmkms")
    done = subprocess.run(
        [command, "doctor", "--config", str(instance.config), "--json"],
        cwd=poisoned,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout[:1]) == (0, "{"), done.stderr
    assert not (tmp_path / "executed").exists()
