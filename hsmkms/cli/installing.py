"""`hsmkms new` and `hsmkms init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from hsmkms import instance
from hsmkms.cli.credentials import credential_json
from hsmkms.cli.running import ConfigOption, keep_files_private, load, run, saying
from hsmkms.core.credentials import Grant, Role
from hsmkms.core.ids import account_name
from hsmkms.core.material import Edition
from hsmkms.instance import TokenKind, Wish
from hsmkms.wiring import file_access
from hsmkms.wiring.commands import Initialised, initialise
from hsmkms.wiring.credentials import create_credential

FIRST_ACCOUNT: Final = "demo"

TransferableOption = Annotated[
    bool,
    typer.Option(
        "--transferable",
        help="Make sealing keys whose material can be moved to later ones, with the security officer's PIN.",
    ),
]

_SAID: Final = {
    Initialised.MADE: "initialised",
    Initialised.UPGRADED: "already initialised; the database's schema was brought up to date",
    Initialised.NOTHING: "already initialised; nothing was changed",
}


def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet, or is empty.")],
    token: Annotated[TokenKind, typer.Option(help="The software token to make.")] = TokenKind.SOFTHSM,
    edition: Annotated[
        Edition, typer.Option(help="fips imports exactly 256 bits, sm exactly 128 bits.")
    ] = Edition.FIPS,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on, on 127.0.0.1.")] = 8765,
    store: Annotated[str | None, typer.Option(metavar="URL", help="The database; a file in DIR if not given.")] = None,
    transferable: TransferableOption = False,
) -> None:
    """Make a self-contained instance in DIR, for development, CI and demos.

    DIR then holds a software token, its PINs, hsmkms.toml, the database, and credential.json with a credential that
    has all roles. Start it with: hsmkms serve --config DIR/hsmkms.toml
    If it was interrupted, run it again with the same options: it goes on once hsmkms.toml is there; before that, empty
    DIR by hand first.
    """
    keep_files_private()
    with saying():
        wish = Wish(token, edition, port, store)
        configuration = instance.unfinished(folder, wish) or instance.create(folder, wish)
        run(_furnish(configuration, transferable=transferable))
    typer.echo(f"made {configuration}")
    typer.echo(f"start it with: hsmkms serve --config {folder / instance.CONFIGURATION_FILE}", err=True)


def init(config_path: ConfigOption, transferable: TransferableOption = False) -> None:
    """Make the database, and the long-lived keys of this deployment in the token.

    Run again, it proves the keys, and changes nothing but the schema of a database that an older version wrote.
    """
    with saying():
        settings = load(config_path)
        for finding in file_access.look(settings, config_path):
            if finding.cure:
                typer.echo(f"hsmkms: {finding.sentence}", err=True)
        done = run(initialise(settings, transferable=transferable))
    typer.echo(_SAID[done])


async def _furnish(configuration: Path, *, transferable: bool) -> None:
    """Initialise a new instance and write a credential with all roles beside its configuration."""
    settings = load(configuration)
    await initialise(settings, transferable=transferable)
    issued = await create_credential(settings, Grant(account_name(FIRST_ACCOUNT), frozenset(Role)))
    instance.write_credential(configuration.parent, credential_json(issued))
