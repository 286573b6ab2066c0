"""Where the PIN comes from, who may read which file, and who may look into the memory of which process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.bystander import UNPRIVILEGED, may_look_into
from tests.e2e.running import HSMKMS, Instance, RunningService, hsmkms, until

if TYPE_CHECKING:
    from collections.abc import Iterator

UNUSABLE: Final = 78
PIN_FD: Final = 9


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """A SoftHSM instance for this file alone, whose modes its tests change."""
    return Instance.make(tmp_path_factory.mktemp("closed") / "softhsm")


@contextlib.contextmanager
def started(instance: Instance, pin_fd: int | None = None, **wanted: Any) -> Iterator[RunningService]:
    """Run a service without capabilities; `pin_fd` becomes its descriptor `PIN_FD`."""
    service = RunningService(instance)
    service.log = instance.folder / "serve.log"

    def give_pin() -> None:
        if pin_fd is not None:
            os.dup2(pin_fd, PIN_FD)

    with service.log.open("wb") as log:
        service.process = subprocess.Popen(
            [*UNPRIVILEGED, *HSMKMS, "serve", "--config", str(instance.config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=give_pin,  # noqa: PLW1509 - the descriptor must have one number, and dup2 is safe there
            pass_fds=() if pin_fd is None else (PIN_FD,),
            **wanted,
        )
    try:
        service.until_ready()
        yield service
    finally:
        service.end()


def refusal(command: str, instance: Instance) -> str:
    """Return the one sentence of a command that must not start."""
    done = hsmkms(command, "--config", str(instance.config), expect=UNUSABLE)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("hsmkms: "))
    return line


# --- PIN and memory ------------------------------------------------------------------------------------------


def test_a_pin_from_a_pipe_serves_every_host_and_nobody_looks_in(closed: Instance, tmp_path: Path) -> None:
    pin = (closed.folder / "pin").read_bytes()
    instance = closed.variant("by-fd", {'pin_file = "pin"': f"pin_fd = {PIN_FD}"})
    reading, writing = os.pipe()
    os.write(writing, pin)
    os.close(writing)
    with started(instance, reading, cwd=tmp_path) as service:
        os.close(reading)
        hosts = service.serving_hosts()
        os.kill(hosts[0], signal.SIGSEGV)

        def replaced() -> bool:
            now = service.serving_hosts()
            return len(now) == len(hosts) and hosts[0] not in now and all(map(has_logged_in, service.pids("host")))

        until(replaced, "a host that crashed is replaced by one that has read the PIN, too, and closed it")
        assert list(tmp_path.iterdir()) == [], "a core file"
        holders = [pid for pid in (service.process.pid, *service.children()) if "memfd:pin" in descriptors(pid)]
        assert holders == [service.process.pid]
        assert service.get("/readyz")[0] == 200
        shown = service.log.read_bytes()
        for pid in (service.process.pid, *service.children()):
            shown += b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        assert pin.strip() not in shown
        nobody_looks_in(service)


def has_logged_in(host: int) -> bool:
    """Tell whether a host has loaded its module and has no more need of the PIN."""
    return b"libsofthsm2" in Path(f"/proc/{host}/maps").read_bytes() and "memfd:pin" not in descriptors(host)


def descriptors(pid: int) -> str:
    """Return what the descriptors of a process are of (proc_pid_fd(5))."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(each.readlink()))
    return "\n".join(found)


def nobody_looks_in(service: RunningService) -> None:
    """Assert that no process of the service writes core files, or may be looked into."""
    kinds = {**service.children(), service.process.pid: "supervisor"}
    assert set(kinds.values()) == {"supervisor", "web", "host"}
    for pid, kind in kinds.items():
        limits = Path(f"/proc/{pid}/limits").read_text()
        (core,) = [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core == ["0", "0"], kind
        assert not may_look_into(pid), kind


def test_a_pin_that_is_a_credential_of_systemds(closed: Instance, tmp_path: Path) -> None:
    instance = closed.variant("by-credential", {'pin_file = "pin"': 'pin_credential = "user-pin"'})
    assert "LoadCredential=user-pin:PATH" in refusal("init", instance)
    credential = tmp_path / "user-pin"
    credential.write_bytes((closed.folder / "pin").read_bytes())
    credential.chmod(0o440)  # as systemd's access control list shows
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert "nothing was changed" in hsmkms("init", "--config", str(instance.config), env=env).stdout
    credential.chmod(0o444)
    done = hsmkms("init", "--config", str(instance.config), env=env, expect=UNUSABLE)
    assert f"chmod o-r {credential}" in done.stderr


def test_a_descriptor_that_was_not_inherited_is_named(closed: Instance) -> None:
    instance = closed.variant("no-fd", {'pin_file = "pin"': f"pin_fd = {PIN_FD}"})
    for command in ("serve", "init"):
        line = refusal(command, instance)
        assert "hsm.pin_fd" in line
        assert f"{PIN_FD}<" in line


def test_the_switch_for_tests_opens_the_memory_and_is_said_on_every_start_and_by_the_doctor(closed: Instance) -> None:
    opened = closed.variant("dumpable", {"[hsm]\n": "[hsm]\ndumpable_processes = true\n"})
    with started(opened) as service:
        for pid in (service.process.pid, *service.children()):
            assert may_look_into(pid)
        lines = [line for line in service.log_lines() if "dumpable_processes" in line["event"]]
        assert [(line["level"], line["process"]) for line in lines] == [("warning", "supervisor")]
    said = hsmkms("doctor", "--config", str(opened.config)).stdout
    assert "OPEN TO OTHER PROCESSES" in said
    assert "hsm.dumpable_processes" in said


# --- files ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened_to_others(path: Path, mode: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


def test_init_and_doctor_refuse_alike_and_the_doctor_shows_all(closed: Instance) -> None:
    pin = closed.folder / "pin"
    with opened_to_others(pin, 0o444):
        for command in ("serve", "init"):
            assert f"run 'chmod g-r,o-r {pin}'" in refusal(command, closed)
        for words in (("credential", "list"), ("audit", "verify"), ("key", "show", str(uuid.uuid4()))):
            refused = hsmkms(*words, "--config", str(closed.config), expect=UNUSABLE)
            assert f"chmod g-r,o-r {pin}" in refused.stderr
        done = hsmkms("doctor", "--config", str(closed.config), "--json", expect=UNUSABLE)
        files = {each["what"]: each for each in json.loads(done.stdout)["files"]}
        assert files["PIN file"] == {
            "what": "PIN file",
            "path": str(pin),
            "wanted": f"mode 0700 at most, owner {os.geteuid() if os.geteuid() == 0 else f'0 or {os.geteuid()}'}",
            "found": f"mode 0444, owner {os.geteuid()}",
            "cure": f"chmod g-r,o-r {pin}",
            "refused": True,
        }
        assert f"chmod g-r,o-r {pin}" in done.stderr
    assert {name for name, each in files.items() if each["cure"]} == {"PIN file"}
    assert {"configuration", "database", "PKCS#11 module", "token folder", "folder of the database"} <= set(files)


def test_a_database_that_others_may_read_is_told_and_not_refused(closed: Instance) -> None:
    with opened_to_others(closed.folder, 0o711), opened_to_others(closed.database, 0o604):
        done = hsmkms("init", "--config", str(closed.config))
    assert f"chmod o-r {closed.database}" in done.stderr


def test_what_a_command_makes_is_the_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "there already"
    folder.mkdir()
    folder.chmod(0o777)
    subprocess.run(
        [*HSMKMS, "new", str(folder)], check=True, capture_output=True, timeout=60, umask=0, stdin=subprocess.DEVNULL
    )
    modes = {each.name: f"{each.stat().st_mode & 0o777:o}" for each in (folder, *folder.iterdir())}
    assert "hsmkms.db" in modes
    assert {mode[1:] for mode in modes.values()} == {"00"}, modes
