"""docs/wrapping.md, command by command: what OpenSSL alone makes is what the service imports."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

PAGE: Final = (Path(__file__).parents[2] / "docs" / "wrapping.md").read_text()
FOLDER, MATERIAL, PUBLIC_KEY, SHA_256, SHA_1, REMOVAL = re.findall(
    r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
)
WRAPPING: Final = {"RSAES_OAEP_SHA_256": SHA_256, "RSAES_OAEP_SHA_1": SHA_1}


class Terminal:
    """A shell that is given one block of commands after the other, with a file system in memory of its own."""

    def __init__(self, folder: Path) -> None:
        self.memory = folder / "memory"
        self.memory.mkdir()
        self.place = folder
        self.umask = 0o022
        self._left = folder / "left"

    def run(self, commands: str) -> None:
        """Run a block where the last one ended; it must succeed and show nothing."""
        done = subprocess.run(
            ["sh", "-eu", "-c", f"{commands}\n{{ umask; pwd; }} >{shlex.quote(str(self._left))}"],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "XDG_RUNTIME_DIR": str(self.memory)},
            cwd=self.place,
            umask=self.umask,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), commands
        umask, place = self._left.read_text().splitlines()
        self.umask, self.place = int(umask, 8), Path(place)


def test_openssl_alone_wraps_what_the_service_imports(
    service: RunningService, client: TencentClient, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path)
    terminal.run(FOLDER)
    working = terminal.place
    assert working.parent == terminal.memory
    assert working.stat().st_mode & 0o777 == 0o700
    terminal.run(MATERIAL)
    material = (working / "material.bin").read_bytes()
    assert len(material) == service.instance.material_bytes
    assert (working / "material.bin").stat().st_mode & 0o777 == 0o600

    key_id = client.external_key()
    parameters = client.parameters(key_id)
    (working / "public_key.b64").write_text(parameters.public_key)
    terminal.run(PUBLIC_KEY)
    terminal.run(WRAPPING[service.instance.algorithm])
    client.import_(key_id, parameters, (working / "encrypted.b64").read_text())
    assert client.state(key_id) == "Enabled"

    client.delete_material(key_id)
    client.bring(key_id, material)  # which the service grants for the same material only

    terminal.run(REMOVAL)
    assert not list(terminal.memory.iterdir())
