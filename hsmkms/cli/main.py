"""The command line's table of contents."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from hsmkms import __version__, log
from hsmkms.cli import audit, backup, credentials, doctor, importing, installing, keys, sealing
from hsmkms.cli.running import ConfigOption, load, saying
from hsmkms.supervisor import Supervisor
from hsmkms.wiring import pins

app = typer.Typer(
    name="hsmkms",
    help="An on-prem key management service: customers bring their own key material into your PKCS#11 token.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(audit.app, name="audit")
app.add_typer(backup.app, name="backup")
app.add_typer(credentials.app, name="credential")
app.add_typer(keys.app, name="key")
app.add_typer(sealing.app, name="sealing")
app.command("new")(installing.new)
app.command("init")(installing.init)
app.command("doctor")(doctor.doctor)
app.command("import-key", rich_help_panel=importing.PANEL)(importing.import_key)
app.command("wrap", rich_help_panel=importing.PANEL)(importing.wrap)


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
def serve(config_path: ConfigOption) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    with saying():
        settings = load(config_path)
        log.configure(settings.log.level, "supervisor")
        settings = pins.taken(settings)

        async def supervise() -> int:
            return await Supervisor(settings, config_path).run()

        code = asyncio.run(supervise())
    raise typer.Exit(code)
