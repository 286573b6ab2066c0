"""`hsmkms import-key` and `hsmkms wrap`: what a customer does, on a machine of his own, as a client of the API."""

from __future__ import annotations

import json
import time
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from hsmkms.cli.running import JsonOption, saying
from hsmkms.client import ceremony, credential, keys, material, wrapping
from hsmkms.client.api import Api
from hsmkms.client.ceremony import Order
from hsmkms.client.endpoint import endpoint
from hsmkms.client.telling import moment
from hsmkms.core.errors import ExpiryInvalid, InputUnusable, KeyIdMalformed
from hsmkms.core.ids import Instant, from_seconds, key_id
from hsmkms.core.keys import require_expiry
from hsmkms.core.wrapping import WRAPPING_KEY_BITS, WrappingAlgorithm

if TYPE_CHECKING:
    from hsmkms.client.ceremony import Imported
    from hsmkms.core.ids import KeyId

PANEL: Final = "Commands for clients of the API"

_NO_EXPIRY: Final = "none"
_STEP_COLUMNS: Final = 12

MaterialArgument = Annotated[
    str,
    typer.Argument(metavar="FILE", help="The key material, raw bytes; - reads standard input.", show_default=False),
]


class Bits(StrEnum):
    """The lengths that `--bits` takes."""

    FIPS = "256"
    SM = "128"


class _Terminal:
    """Shows on standard error what the client says: in colour on a terminal, else plain, and never wrapped."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)

    def step(self, what: str, fact: str) -> None:
        self._console.print(Text.assemble((f"{what:<{_STEP_COLUMNS}}", "cyan"), fact))

    def warning(self, sentence: str) -> None:
        self._console.print(Text.assemble((f"{'warning':<{_STEP_COLUMNS}}", "yellow"), sentence))


def import_key(  # noqa: PLR0913, PLR0917 - each option of a command is an argument
    file: MaterialArgument,
    url: Annotated[
        str,
        typer.Option("--endpoint", metavar="URL", help="The service: https://HOST:PORT, or http:// on this machine."),
    ],
    credential_path: Annotated[
        Path,
        typer.Option(
            "--credential", metavar="F", help="The credential, as 'hsmkms credential create --json' prints it."
        ),
    ],
    wanted: Annotated[
        str | None, typer.Option("--key-id", metavar="ID", help="The EXTERNAL key to import into.", show_default=False)
    ] = None,
    alias: Annotated[
        str | None,
        typer.Option(
            "--create",
            metavar="ALIAS",
            help="In place of --key-id: the EXTERNAL key with this alias, made if there is none.",
            show_default=False,
        ),
    ] = None,
    algorithm: Annotated[
        WrappingAlgorithm | None,
        typer.Option(help="How to wrap; if not given OAEP with SHA-256, or with SHA-1 where only that is offered."),
    ] = None,
    valid_to: Annotated[
        str | None,
        typer.Option(
            "--valid-to",
            metavar="T",
            help="When the material expires: Unix seconds, a time such as 2030-01-31T12:00:00Z, or none. If not given, "
            "what the key has already stays.",
            show_default=False,
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="F", help="Certificates (PEM) to trust in place of the system's."),
    ] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="Allow http:// to another machine; answers could be forged there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Import key material into a key: get parameters, wrap, import, and look at the key again.

    The material leaves this machine encrypted only, and of the right length only.
    Run again with the same material, it succeeds and changes nothing. If there is
    no answer, the same request is sent again for half a minute.
    """
    terminal = _Terminal()
    with saying():
        expiry = _expiry(valid_to)
        asked = _asked_key(wanted, alias)
        place = endpoint(url, ca, insecure_http=insecure_http)
        service = Api(place, credential.read(credential_path, terminal), terminal)
        with material.read(file, terminal) as value:
            material.require_length(value, *material.ALL_BITS)
            material.warn_of_text(value, terminal)
            target = asked or keys.external_key(service, alias or "", value)
            done = ceremony.import_material(service, Order(target, algorithm, expiry), value)
    _show(done, as_json=as_json)


def wrap(
    file: MaterialArgument,
    public_key: Annotated[
        Path,
        typer.Option(metavar="F", help="The wrapping key: DER, PEM, or the base64 that the APIs return."),
    ],
    algorithm: Annotated[
        WrappingAlgorithm, typer.Option(help="The algorithm that the import parameters were asked for with.")
    ] = WrappingAlgorithm.RSAES_OAEP_SHA_256,
    bits: Annotated[
        Bits, typer.Option(help="The length that the service imports: 256 in its edition fips, 128 in sm.")
    ] = Bits.FIPS,
    output: Annotated[
        Path | None, typer.Option(metavar="F", help="A new file for the result, in place of standard output.")
    ] = None,
) -> None:
    """Encrypt key material under the public key of import parameters, without a network.

    The result is base64 of 344 characters: what the import request calls
    EncryptedKeyMaterial (Tencent) or encrypted_key_material (Huawei).
    """
    terminal = _Terminal()
    with saying():
        key = wrapping.read_public_key(public_key)
        with material.read(file, terminal) as value:
            material.require_length(value, int(bits))
            material.warn_of_text(value, terminal)
            encrypted = wrapping.wrap(key, value, algorithm)
        if output is not None:
            _write_new(output, encrypted)
    terminal.step("wrapped", f"{bits} bits by {algorithm} under an RSA-{WRAPPING_KEY_BITS} public key")
    if output is None:
        typer.echo(encrypted)
    else:
        terminal.step("written", str(output))


def _asked_key(wanted: str | None, alias: str | None) -> KeyId | None:
    """Return the key named, or None if one is to be found by its alias."""
    if (wanted is None) == (alias is None):
        raise InputUnusable("Name the key by one of --key-id and --create.")
    if wanted is None:
        return None
    try:
        return key_id(wanted)
    except KeyIdMalformed as error:
        raise InputUnusable(f"--key-id: {error.message}") from error


def _expiry(text: str | None) -> int | None:
    if text is None:
        return None
    if text == _NO_EXPIRY:
        return ceremony.NEVER
    try:
        seconds = int(text) if text.isascii() and text.isdigit() else _seconds(datetime.fromisoformat(text))
        require_expiry(from_seconds(seconds), Instant(int(time.time() * 1000)))
    except ValueError as error:
        raise InputUnusable(
            f"--valid-to {text!r} is no time; write Unix seconds, a time with its zone such as 2030-01-31T12:00:00Z, "
            "or none."
        ) from error
    except ExpiryInvalid as error:
        raise InputUnusable("--valid-to must be later than now, and not after 2038-01-18T16:00:00Z.") from error
    return seconds


def _seconds(time_given: datetime) -> int:
    if time_given.tzinfo is None:
        raise ValueError("without a zone it is another moment on every machine")
    return int(time_given.timestamp())


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise InputUnusable(f"{path} cannot be written ({error.strerror or error}); name a new file.") from error


def _show(done: Imported, *, as_json: bool) -> None:
    key = done.key
    if as_json:
        members = {
            "key_id": key.key_id,
            "state": key.state,
            "valid_to": key.valid_to or None,
            "length_bits": key.edition.material_bits,
            "algorithm": done.algorithm.value,
            "already_held": done.already_held,
        }
        typer.echo(json.dumps(members))
        return
    typer.echo(f"key id    {key.key_id}")
    typer.echo(f"state     {key.state}")
    typer.echo(f"valid to  {moment(key.valid_to)}")
