"""The command line's table of contents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from hsmkms import __version__, config, log
from hsmkms.cli import credentials, doctor, keys
from hsmkms.cli.running import ConfigOption, run, saying
from hsmkms.core.material import Edition
from hsmkms.instance import CONFIGURATION_FILE, TokenKind
from hsmkms.instance import create as create_instance
from hsmkms.supervisor import Supervisor

app = typer.Typer(
    name="hsmkms",
    help="An on-prem key management service: customers bring their own key material into your PKCS#11 token.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(credentials.app, name="credential")
app.add_typer(keys.app, name="key")
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """An on-prem key management service: customers bring their own key material into your PKCS#11 token."""


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet, or is empty.")],
    token: Annotated[TokenKind, typer.Option(help="The software token to make.")] = TokenKind.SOFTHSM,
    edition: Annotated[
        Edition, typer.Option(help="fips imports exactly 256 bits, sm exactly 128 bits.")
    ] = Edition.FIPS,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on, on 127.0.0.1.")] = 8765,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="The database; a file in DIR if not given.")
    ] = None,
) -> None:
    """Make a self-contained instance in DIR, for development, CI and demos.

    DIR then holds a software token, its PIN, hsmkms.toml, the database, and credential.json with a credential that
    has all roles. Start it with: hsmkms serve --config DIR/hsmkms.toml
    """
    with saying():
        configuration = create_instance(folder, token, edition, port=port, store_url=store)
        run(credentials.furnish(configuration))
    typer.echo(f"made {configuration}")
    typer.echo(f"start it with: hsmkms serve --config {folder / CONFIGURATION_FILE}", err=True)


@app.command()
def init(config_path: ConfigOption) -> None:
    """Make the database, and the long-lived keys of this deployment in the token; run again, it changes nothing."""
    with saying():
        made = run(credentials.initialise(config.load(config_path)))
    typer.echo("initialised" if made else "already initialised; nothing was changed")


@app.command()
def serve(config_path: ConfigOption) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    with saying():
        settings = config.load(config_path)
        log.configure(settings.log.level, "supervisor")

        async def supervise() -> int:
            return await Supervisor(settings, config_path).run()

        code = asyncio.run(supervise())
    raise typer.Exit(code)
