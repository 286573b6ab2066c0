"""`hsmkms backup ...`: token and database of one instant, together; docs/deployment.md has the rehearsal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hsmkms.cli.running import ConfigOption, JsonOption, keep_files_private, load, run, saying
from hsmkms.wiring import backup, backup_folder
from hsmkms.wiring.backup_folder import Manifest

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup.", show_default=False)]

app = typer.Typer(help="Backups of database and token: make, check and restore them.", no_args_is_help=True)


@app.command("create")
def create(
    config_path: ConfigOption,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.", show_default=False)
    ],
    without_database: Annotated[
        bool, typer.Option("--without-database", help="Leave out the database, which is backed up by other means.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the database and a SoftHSM token to DIR, also while the service runs; no PIN is in it.

    The copy of the token is proved: a host logs in to it, and its keys must
    give their known answers. Another token than SoftHSM's is backed up by its
    vendor's means. A PostgreSQL database is dumped with pg_dump.

    DIR appears when everything is in it and on the disk. Keep the audit heads
    that are shown elsewhere, for 'hsmkms audit verify --expect-head'.
    """
    with saying():
        made = run(backup.create(load(config_path), config_path, folder, with_database=not without_database))
    _show(made, f"made {folder}", as_json=as_json)
    if made.tokens is None:
        typer.echo("The token is not in it: back up its partition by its vendor's means.", err=True)


@app.command("verify")
def verify(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Compare every file of a backup with its manifest; neither token nor database nor configuration is needed."""
    with saying():
        found = backup_folder.verified(folder)
    _show(found, f"{folder} is as it was written", as_json=as_json)


@app.command("restore")
def restore(config_path: ConfigOption, folder: FolderArgument) -> None:
    """Put the token and the database of a backup where the configuration says; nothing may be there.

    'hsmkms init' proves that they belong together, 'hsmkms audit verify' that
    the audit trail is the one that was backed up.
    """
    keep_files_private()
    with saying():
        restored = run(backup.restore(load(config_path), folder))
    heads = "".join(f" --expect-head {each}" for each in restored.audit_heads)
    typer.echo(f"restored what there was at {restored.made_at}")
    typer.echo(f"prove it with: hsmkms init --config {config_path}", err=True)
    typer.echo(f"          and: hsmkms audit verify --config {config_path}{heads}", err=True)


def _show(manifest: Manifest, done: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(manifest)))
        return
    typer.echo(done)
    for name, value in (
        ("made at", manifest.made_at),
        ("deployment", manifest.deployment),
        ("database", manifest.database or "not in it"),
        ("token", manifest.tokens or "not in it"),
        *(("audit head", head) for head in manifest.audit_heads),
    ):
        typer.echo(f"{name:<12}{value}")
