"""The PKCS#11 module that goes wrong by rule: building it, putting it between a service and its token, ruling it.

What a rule looks like is in `pkcs11_faults.c`. It is in `tests/faults` and nowhere else in the tree, because nothing
that is delivered may be able to lie to a host.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.running import Instance

SOURCE: Final = Path(__file__).with_name("pkcs11_faults.c")
FLAGS: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread")
_COMPILE_SECONDS: Final = 60
_COUNTER: Final = struct.Struct("=QQ")


def compiled(source: Path, library: Path, *flags: str) -> Path:
    """Compile C to a shared library with the system's compiler; a warning is an error."""
    done = subprocess.run(
        ["cc", *FLAGS, *flags, "-o", str(library), str(source), "-ldl"],
        capture_output=True,
        text=True,
        timeout=_COMPILE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return library


@dataclass
class Ruling:
    """Rules that are in force, or were."""

    counts: Path

    def counted(self, rule: int = 0) -> tuple[int, int]:
        """Return how many calls, of all processes, a rule matched, and how many of them it made go wrong."""
        at = rule * _COUNTER.size
        counted = self.counts.read_bytes() if self.counts.exists() else b""
        if len(counted) < at + _COUNTER.size:
            return 0, 0  # no call yet, of any kind: the first one makes the file, empty, and then as long as it must be
        matched, wrong = _COUNTER.unpack_from(counted, at)
        return int(matched), int(wrong)

    @property
    def wrong(self) -> int:
        """How many calls the first rule made go wrong."""
        return self.counted()[1]


@dataclass
class Faults:
    """A module that forwards to a real one, and its rules."""

    folder: Path
    real: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    @property
    def library(self) -> Path:
        """The module, by a name by which what is done for SoftHSM alone is done with it, too."""
        return self.folder / f"{self.real.stem}-with-faults.so"

    @classmethod
    def between(cls, folder: Path, instance: Instance) -> Faults:
        """Put a module between the hosts of an instance and its token; nothing goes wrong yet."""
        settings = tomllib.loads(instance.config.read_text())["hsm"]
        folder.mkdir()
        faults = cls(folder, Path(settings["module"]))
        compiled(SOURCE, faults.library)
        instance.replace(f'module = "{faults.real}"', f'module = "{faults.library}"')
        variables = "".join(f'{name} = "{value}"\n' for name, value in faults.environment.items())
        if "env" in settings:
            instance.replace("[hsm.env]\n", f"[hsm.env]\n{variables}")
        else:
            instance.config.write_text(f"{instance.config.read_text()}\n[hsm.env]\n{variables}")
        return faults

    @property
    def rules(self) -> Path:
        """The file of rules."""
        return self.folder / "rules"

    @property
    def environment(self) -> dict[str, str]:
        """What a host needs in its environment."""
        return {"PKCS11_FAULTS_MODULE": str(self.real), "PKCS11_FAULTS_RULES": str(self.rules)}

    def rule(self, *rules: str) -> Ruling:
        """Put these rules in force, in place of all others."""
        ruling = Ruling(self.folder / f"counts-{next(self._numbers)}")
        new = self.folder / "rules.new"
        new.write_text("\n".join((f"counts {ruling.counts}", *rules, "")))
        new.replace(self.rules)
        return ruling

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self.rules.unlink(missing_ok=True)

    @contextlib.contextmanager
    def ruled(self, *rules: str) -> Iterator[Ruling]:
        """Put these rules in force for the block."""
        ruling = self.rule(*rules)
        try:
            yield ruling
        finally:
            self.end()
