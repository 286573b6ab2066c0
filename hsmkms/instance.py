"""Self-contained instances for development, CI and demos: token, PIN, configuration and database in one folder.

Laws:

- nothing outside the folder is read or changed: the user's own SoftHSM and NSS configurations stay untouched;
- PINs are random, reach the token's tools by file or terminal, never by argument or environment, and are kept in
  files that only the owner reads;
- a folder that holds anything already is left alone, but for an instance that was interrupted, which can be finished;
- hsmkms.toml, and after it credential.json, appear whole or not at all: which of them is there tells how far it came.
"""

from __future__ import annotations

import contextlib
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

from hsmkms import config
from hsmkms.core.errors import ConfigurationInvalid, TokenUnusable

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from hsmkms.config import Settings
    from hsmkms.core.material import Edition

CONFIGURATION_FILE: Final = "hsmkms.toml"
CREDENTIAL_FILE: Final = "credential.json"
_SOFTHSM_CONFIGURATION: Final = "softhsm2.conf"
_NSS_DATABASE: Final = "nss"
_LIBRARY_FOLDERS: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_TOOL_SECONDS: Final = 60
_PIN_BYTES: Final = 16
_NODE: Final = "node-1"
"""The name of an instance among those that share a PostgreSQL database; a second one is to have another."""


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
    unspeakable: str
    """Characters that the token's own configuration cannot hold in a path."""


_FACTS: Final = {
    TokenKind.SOFTHSM: _TokenFacts("libsofthsm2.so", "softhsm2-util", "softhsm2", "hsmkms", "#="),
    TokenKind.NSS: _TokenFacts("libsoftokn3.so", "certutil", "libnss3-tools", "NSS Certificate DB", "'\\"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What an instance is to be."""

    kind: TokenKind
    edition: Edition
    port: int
    store_url: str | None
    """None: a file in the instance's folder. A PostgreSQL database must exist already."""


def create(folder: Path, wish: Wish) -> Path:
    """Make the instance's token, PIN file and configuration in `folder`, and return the configuration's path.

    Raises:
        ConfigurationInvalid: the folder is not empty or cannot be made, or there can be no such instance.
        TokenUnusable: the token's module or tool is not installed, or the tool failed.
    """
    facts = _FACTS[wish.kind]
    folder = folder.resolve()
    _require_speakable(folder, facts)
    text = _configuration(folder, wish)
    config.parse(folder / CONFIGURATION_FILE, text)
    if shutil.which(facts.tool) is None:
        raise TokenUnusable(f"{facts.tool} is not installed; install the package {facts.package}.")
    with _writing(folder):
        _claim(folder)
        pin = secrets.token_hex(_PIN_BYTES)
        _write_private(folder / "pin", pin)
        if wish.kind is TokenKind.SOFTHSM:
            _make_softhsm(folder, pin)
        else:
            _make_nss(folder)
        return _put(folder / CONFIGURATION_FILE, text, 0o600)


def unfinished(folder: Path, wish: Wish) -> Path | None:
    """Return the configuration of an instance that was interrupted before its credential was written, if it is one.

    Raises:
        ConfigurationInvalid: it is one, and was to be another than `wish`.
    """
    configuration = folder.resolve() / CONFIGURATION_FILE
    with _writing(folder):
        if not configuration.exists() or (folder / CREDENTIAL_FILE).exists():
            return None
    there = _values(config.load(configuration))
    wanted = _values(config.parse(configuration, _configuration(configuration.parent, wish)))
    for key in {**there, **wanted}:
        if there.get(key) != wanted.get(key):
            raise ConfigurationInvalid(
                f"The instance begun in {folder} has {key} = {there.get(key)}, not {wanted.get(key)}; "
                "repeat the options it was begun with, or empty the folder."
            )
    return configuration


def write_credential(folder: Path, text: str) -> None:
    """Write the instance's credential where only its owner reads it.

    Raises:
        ConfigurationInvalid: the folder does not take it.
    """
    with _writing(folder):
        _put(folder / CREDENTIAL_FILE, text + "\n", 0o400)


def _values(settings: Settings) -> dict[str, object]:
    """Return every key of a configuration, by its name in the file, with its value."""
    sections = settings.model_dump(mode="json", by_alias=True)
    edition = sections.pop("edition")
    return {"edition": edition} | {f"{name}.{key}": value for name, of in sections.items() for key, value in of.items()}


def _configuration(folder: Path, wish: Wish) -> str:
    facts = _FACTS[wish.kind]
    if wish.kind is TokenKind.SOFTHSM:
        own = f"\n[hsm.env]\nSOFTHSM2_CONF = {_quoted(str(folder / _SOFTHSM_CONFIGURATION))}\n"
    else:
        parameters = f"configdir='sql:{folder / _NSS_DATABASE}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        own = f"initialize_args = {_quoted(parameters)}\n"
    store_url = wish.store_url or "sqlite:///hsmkms.db"
    node = "" if store_url.startswith("sqlite:") else f'node = {_quoted(_NODE)}\nnode_folder = "."\n'
    return f"""edition = "{wish.edition.value}"

[listen]
host = "127.0.0.1"
port = {wish.port}

[store]
url = {_quoted(store_url)}
{node}
[hsm]
module = {_quoted(str(_module(facts)))}
token_label = {_quoted(facts.label)}
pin_file = "pin"
{own}"""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a TOML string too, but for what `_require_speakable` refuses


def _require_speakable(folder: Path, facts: _TokenFacts) -> None:
    if not str(folder).isprintable() or any(character in facts.unspeakable for character in str(folder)):
        raise ConfigurationInvalid(
            f"The folder {str(folder)!r} cannot be named in the configuration of this token; name one without "
            f"{' and '.join(facts.unspeakable)} and without control characters."
        )


@contextlib.contextmanager
def _writing(folder: Path, what: str = "used") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationInvalid(
            f"The folder {folder} cannot be {what} ({error.strerror}); name another one, or make room there."
        ) from error


def _claim(folder: Path) -> None:
    with _writing(folder, "made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    if occupied:
        raise ConfigurationInvalid(f"The folder {folder} is not empty; name a new one, or remove what is in it.")
    with _writing(folder):
        folder.chmod(0o700)  # one that was there already may be open to others, and then 'serve' refuses it


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _put(path: Path, text: str, mode: int) -> Path:
    """Write a file so that it is there whole or, after a kill, as it was before."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    return new.replace(path)


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
    raise TokenUnusable(f"The PKCS#11 module {facts.module} is not installed; install the package {package}.")


def _make_softhsm(folder: Path, pin: str) -> None:
    tokens = folder / "tokens"
    tokens.mkdir(mode=0o700)
    configuration = folder / _SOFTHSM_CONFIGURATION
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


def _make_nss(folder: Path) -> None:
    database = folder / _NSS_DATABASE
    database.mkdir(mode=0o700)
    try:
        finished = subprocess.run(  # noqa: S603 - fixed words and a path that we made
            ["certutil", "-N", "-d", f"sql:{database}", "-f", str(folder / "pin")],  # noqa: S607 - wherever the operator's PATH has it
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TOOL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TokenUnusable(_hung("certutil")) from error
    if finished.returncode != 0:
        raise TokenUnusable(_failed("certutil", finished.stdout + finished.stderr))


def _answer_prompts(command: list[str], environment: dict[str, str], answers: list[str]) -> None:
    """Run a tool that reads PINs from a terminal, and answer its prompts in order."""
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        raise TokenUnusable(f"There is no terminal to give PINs to {command[0]} through; mount /dev/pts.") from error
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
    try:
        code = process.wait(timeout=_TOOL_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise TokenUnusable(_hung(command[0])) from error
    if code != 0:
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


def _hung(tool: str) -> str:
    return f"{tool} did not end within {_TOOL_SECONDS} seconds; try it by hand, then remove what is in the folder."


def _failed(tool: str, output: bytes) -> str:
    last = output.decode(errors="replace").strip().splitlines()[-1:]
    return f"{tool} could not make the token ({''.join(last) or 'it said nothing'})."
