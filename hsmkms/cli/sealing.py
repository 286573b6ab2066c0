"""`hsmkms sealing ...`: the rotation of the sealing keys; docs/deployment.md has the procedure."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from hsmkms.cli.running import ConfigOption, JsonOption, load, run, saying
from hsmkms.client.telling import moment
from hsmkms.core.ids import to_seconds
from hsmkms.wiring.adapters import SystemClock
from hsmkms.wiring.sealing import retire_sealing_keys, rotate_sealing_keys, sealing_versions, transfer_material

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.service.rotating import Retired, SealingVersion
    from hsmkms.service.transferring import Transfer

_INCOMPLETE: Final = 1
_MOST_SHOWN: Final = 20
_COLUMNS: Final = ("version", "made", "use", "keys under it", "wrapping pairs", "transferable", "what to do")
_TELL_SECONDS: Final = 1.0
_FILE_WIDTH: Final = 160
"""Columns, where the output does not go to a terminal that has a width of its own."""

app = typer.Typer(help="The sealing keys: how old, how much is under each, the next one.", no_args_is_help=True)


@app.command("status")
def status(config_path: ConfigOption, as_json: JsonOption = False) -> None:
    """Show each version of the sealing keys, what is sealed under it, and what can be done about it.

    The newest seals what is imported or generated now; an older one only opens
    what it sealed. The token is not asked.
    """
    with saying():
        found = run(sealing_versions(load(config_path)))
    if as_json:
        typer.echo(json.dumps([_members(each) for each in found]))
        return
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for each in found:
        table.add_row(
            str(each.version),
            "-" if each.made_at is None else moment(to_seconds(each.made_at)),
            _use(each),
            str(each.sealed.materials),
            str(each.sealed.pairs),
            "-" if each.lost else "yes" if each.transferable else "no",
            _advice(each),
        )
    console = Console()
    (console if console.is_terminal else Console(width=_FILE_WIDTH)).print(table)


@app.command("rotate")
def rotate(
    config_path: ConfigOption,
    transferable: Annotated[
        bool | None,
        typer.Option(
            "--transferable/--not-transferable",
            help="Whether what they seal can be transferred to a later version; as with the newest if not given.",
            show_default=False,
        ),
    ] = None,
    replace_unknown: Annotated[
        bool,
        typer.Option(
            "--replace-unknown",
            help="Destroy keys of the next version's names that the database does not know: an interrupted rotation's. "
            "Not where the database is an older copy: they may have sealed what a newer one holds.",
        ),
    ] = False,
) -> None:
    """Make the next version of the sealing keys; from the next second on they seal, in every running service.

    Nothing that is sealed changes, and no request fails.
    'hsmkms sealing transfer' then moves what there is to the new version.
    """
    with saying():
        settings = load(config_path)
        made = run(rotate_sealing_keys(settings, transferable=transferable, replace_unknown=replace_unknown))
    kind = "transferable" if made.transferable else "not transferable"
    typer.echo(f"made version {made.version} of the sealing keys, {kind}; it seals from now on")


@app.command("transfer")
def transfer(
    config_path: ConfigOption,
    so_pin_file: Annotated[
        Path,
        typer.Option(metavar="P", help="A file with the PIN of the token's security officer.", show_default=False),
    ],
    as_json: JsonOption = False,
) -> None:
    """Seal all material anew under the newest version, inside the token, while the services go on serving.

    It takes the security officer's PIN, for a key that is in the token's memory
    only as long as this runs; where there is nothing to seal anew it is not
    tried. If it was interrupted, run it again: it does the rest. Exit code 1 if
    something had to stay under an older version.
    """
    with saying():
        so_pin_file = so_pin_file.absolute()
        done = run(transfer_material(load(config_path, so_pin_file), so_pin_file, _Progress().tell))
    if as_json:
        typer.echo(json.dumps(_report(done)))
    else:
        typer.echo(f"sealed the material of {done.resealed} keys anew under version {done.version}")
    if done.overtaken:
        typer.echo(f"{done.overtaken} keys were imported anew or lost their material meanwhile.", err=True)
    if done.not_transferable:
        typer.echo(
            f"{_named(done.not_transferable)} under a version that is not transferable. What was imported: import the "
            "same material again, and it is sealed under the newest. What the token generated cannot be imported: make "
            "another key, ReEncrypt under it what this one encrypted, and delete this one.",
            err=True,
        )
    for version, lost in sorted(done.lost.items()):
        typer.echo(
            f"{_named(lost)} under version {version}, whose keys this deployment does not have any more: bring back a "
            "copy of the token, and of the database, that have them; or import the same material again.",
            err=True,
        )
    if done.broken:
        typer.echo(
            f"{_named(done.broken)} in a record that does not open, or not as it was imported: look at it with "
            "'hsmkms key show', and restore it from a backup.",
            err=True,
        )
    if done.erased is False:
        typer.echo(
            "Records of before may still be read in the database's -wal file, because a reader was in the way: run "
            "it again.",
            err=True,
        )
    if not done.complete:
        raise typer.Exit(_INCOMPLETE)


@app.command("retire")
def retire(
    config_path: ConfigOption,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="A version that nothing is under any more.")],
) -> None:
    """Destroy an older version of the sealing keys in the token; it cannot be undone.

    Backups of the database from before the transfer cannot be used with this
    token from then on: they need a copy of the token that has these keys. If it
    was interrupted, run it again.
    """
    with saying():
        retired = run(retire_sealing_keys(load(config_path), version))
    typer.echo(_destroyed(version, retired))


class _Progress:
    """Says on standard error how far a transfer has come, once a second."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def tell(self, transfer: Transfer) -> None:
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + _TELL_SECONDS
            typer.echo(f"{transfer.looked_at} of {transfer.found} keys", err=True)


def _destroyed(version: int, retired: Retired) -> str:
    what = f"version {version} of the sealing keys"
    if retired.destroyed:
        forgotten = "" if retired.known else ", which the database had forgotten before"
        return f"destroyed {what}{forgotten}"
    if retired.known:
        return f"forgot {what}; there was nothing of it in the token to be destroyed"
    return f"{what} was retired before; there was nothing left to be destroyed"


def _use(each: SealingVersion) -> str:
    return "lost" if each.lost else "seals" if each.newest else "opens"


def _advice(each: SealingVersion) -> str:
    if each.newest:
        return "-"
    if each.lost:
        return "bring back its keys (a copy of token and database that has them), or import again"
    if each.sealed.materials:
        return "hsmkms sealing transfer" if each.transferable else "import again; what was generated: ReEncrypt, delete"
    if each.sealed.pairs:
        return "wait: the pairs end with their import tokens"
    if seconds := each.waits(SystemClock().now()):
        return f"wait for {seconds} seconds"
    return f"hsmkms sealing retire {each.version}"


def _named(key_ids: Sequence[str]) -> str:
    shown = ", ".join(key_ids[:_MOST_SHOWN])
    more = f" and {len(key_ids) - _MOST_SHOWN} more" if len(key_ids) > _MOST_SHOWN else ""
    return f"The material of {len(key_ids)} keys ({shown}{more}) stays as it is,"


def _members(each: SealingVersion) -> dict[str, object]:
    return {
        "version": each.version,
        "made_at": None if each.made_at is None else to_seconds(each.made_at),
        "superseded_at": None if each.superseded_at is None else to_seconds(each.superseded_at),
        "newest": each.newest,
        "lost": each.lost,
        "transferable": each.transferable,
        "keys": each.sealed.materials,
        "wrapping_pairs": each.sealed.pairs,
    }


def _report(done: Transfer) -> dict[str, object]:
    return {
        "version": done.version,
        "found": done.found,
        "resealed": done.resealed,
        "overtaken": done.overtaken,
        "not_transferable": done.not_transferable,
        "broken": done.broken,
        "lost": {str(version): lost for version, lost in sorted(done.lost.items())},
        "erased": done.erased,
    }
