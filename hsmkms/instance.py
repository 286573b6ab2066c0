"""Self-contained instances for development, CI and demos: token, PIN, configuration and database in one folder.

Laws:

- nothing outside the folder is read or changed: the user's own SoftHSM and NSS configurations stay untouched;
- PINs are random, reach the token's tools by file or terminal, never by argument or environment, and are kept in
  files that only the owner reads;
- a folder that holds anything already is left alone, but for an instance that was interrupted, which can be finished.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import select
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import ConfigurationInvalid, TokenUnusable

if TYPE_CHECKING:
    import io

    from hsmkms.core.material import Edition

CONFIGURATION_FILE: Final = "hsmkms.toml"
CREDENTIAL_FILE: Final = "credential.json"

_LIBRARY_FOLDERS: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_TOOL_SECONDS: Final = 60
_PIN_BYTES: Final = 16


class TokenKind(StrEnum):
    """The software tokens that an instance can have."""

    SOFTHSM = "softhsm"
    NSS = "nss"


@dataclass(frozen=True, slots=True)
class _TokenFacts:
    module: str
    tool: str
    package: str
    label: str


_FACTS: Final = {
    TokenKind.SOFTHSM: _TokenFacts("libsofthsm2.so", "softhsm2-util", "softhsm2", "hsmkms"),
    TokenKind.NSS: _TokenFacts("libsoftokn3.so", "certutil", "libnss3-tools", "NSS Certificate DB"),
}


def create(folder: Path, kind: TokenKind, edition: Edition, *, port: int, store_url: str | None) -> Path:
    """Make the instance's token, PIN file and configuration in `folder`, and return the configuration's path.

    Raises:
        ConfigurationInvalid: the folder is not empty or cannot be made.
        TokenUnusable: the token's module or tool is not installed, or the tool failed.
    """
    facts = _FACTS[kind]
    module = _module(facts)
    if shutil.which(facts.tool) is None:
        message = f"{facts.tool} is not installed; install the package {facts.package}."
        raise TokenUnusable(message)
    folder = folder.resolve()
    _claim(folder)
    pin = secrets.token_hex(_PIN_BYTES)
    _write_private(folder / "pin", pin)
    hsm = _make_softhsm(folder, pin) if kind is TokenKind.SOFTHSM else _make_nss(folder)
    configuration = folder / CONFIGURATION_FILE
    configuration.write_text(
        f"""edition = "{edition.value}"

[listen]
host = "127.0.0.1"
port = {port}

[store]
url = {json.dumps(store_url or "sqlite:///hsmkms.db")}

[hsm]
module = {json.dumps(str(module))}
token_label = {json.dumps(facts.label)}
pin_file = "pin"
{hsm}""",
        encoding="utf-8",
    )
    return configuration


def unfinished(folder: Path) -> Path | None:
    """Return the configuration of an instance that was interrupted before its credential was written, if it is one."""
    configuration = folder.resolve() / CONFIGURATION_FILE
    whole = not configuration.exists() or (folder / CREDENTIAL_FILE).exists()
    return None if whole else configuration


def write_credential(folder: Path, text: str) -> Path:
    """Write the instance's credential where only its owner reads it, and return the path."""
    path = folder / CREDENTIAL_FILE
    _write_private(path, text)
    return path


def _claim(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        message = f"The folder {folder} cannot be made ({error.strerror}); name another one."
        raise ConfigurationInvalid(message) from error
    if occupied:
        message = f"The folder {folder} is not empty; name a new one, or remove what is in it."
        raise ConfigurationInvalid(message)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _module(facts: _TokenFacts) -> Path:
    for folder in map(Path, _LIBRARY_FOLDERS):
        for pattern in (
            f"softhsm/{facts.module}",
            facts.module,
            f"*/softhsm/{facts.module}",
            f"*/{facts.module}",
            f"*/nss/{facts.module}",
        ):
            found = sorted(folder.glob(pattern))
            if found:
                return found[0]
    package = "libnss3" if facts.module == "libsoftokn3.so" else facts.package
    message = f"The PKCS#11 module {facts.module} is not installed; install the package {package}."
    raise TokenUnusable(message)


def _make_softhsm(folder: Path, pin: str) -> str:
    tokens = folder / "tokens"
    tokens.mkdir(mode=0o700)
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        encoding="utf-8",
    )
    so_pin = secrets.token_hex(_PIN_BYTES)
    _write_private(folder / "so-pin", so_pin)
    label = _FACTS[TokenKind.SOFTHSM].label
    _answer_prompts(
        ["softhsm2-util", "--init-token", "--free", "--label", label],
        {"SOFTHSM2_CONF": str(configuration)},
        [so_pin, so_pin, pin, pin],
    )
    return f"\n[hsm.env]\nSOFTHSM2_CONF = {json.dumps(str(configuration))}\n"


def _make_nss(folder: Path) -> str:
    database = folder / "nss"
    database.mkdir(mode=0o700)
    finished = subprocess.run(  # noqa: S603 - fixed words and a path that we made
        ["certutil", "-N", "-d", f"sql:{database}", "-f", str(folder / "pin")],  # noqa: S607 - wherever the operator's PATH has it
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TOOL_SECONDS,
        check=False,
    )
    if finished.returncode != 0:
        raise TokenUnusable(_failed("certutil", finished.stdout + finished.stderr))
    parameters = f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    return f"initialize_args = {json.dumps(parameters)}\n"


def _answer_prompts(command: list[str], environment: dict[str, str], answers: list[str]) -> None:
    """Run a tool that reads PINs from a terminal, and answer its prompts in order."""
    ours, theirs = pty.openpty()
    output = b""
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(  # noqa: S603 - fixed words
            command, env=os.environ | environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        for answer in answers:
            output += _until_prompt(terminal)
            terminal.write(answer.encode() + b"\n")
        output += _until_prompt(terminal)
    if process.wait(timeout=_TOOL_SECONDS) != 0:
        raise TokenUnusable(_failed(command[0], output))


def _until_prompt(terminal: io.RawIOBase) -> bytes:
    """Return what the tool printed, up to its next prompt or its end."""
    output = b""
    while not output.rstrip().endswith(b"PIN:"):
        readable, _, _ = select.select([terminal], [], [], _TOOL_SECONDS)
        try:
            piece = terminal.read(4096) if readable else b""
        except OSError:  # Linux says EIO when the last process has closed the terminal
            piece = b""
        if not piece:
            break
        output += piece
    return output


def _failed(tool: str, output: bytes) -> str:
    last = output.decode(errors="replace").strip().splitlines()[-1:]
    return f"{tool} could not make the token ({''.join(last) or 'it said nothing'})."
