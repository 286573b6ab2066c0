"""`hsmkms key ...`: what an operator or an auditor wants to know of one key."""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from hsmkms.cli.running import ConfigOption, JsonOption, load, run, saying
from hsmkms.client.telling import moment
from hsmkms.core.ids import key_id as parse_key_id
from hsmkms.core.ids import to_seconds
from hsmkms.core.ports import Tombstone
from hsmkms.wiring.commands import InspectedKey, inspect_key

_DELETED: Final = "Deleted"
"""Shown in place of a state: a deleted key has none."""
_TIMES: Final = frozenset({"valid_to", "created_at", "deleted_at"})
"""Members in Unix seconds."""

app = typer.Typer(help="Keys: what the database and the token say of them.", no_args_is_help=True)


@app.command("show")
def show(
    config_path: ConfigOption,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's id, as the API shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Show a key's state, and the attributes of its material as the token reports them now.

    The material is unsealed inside the token for the purpose, its length is proved again, and its fingerprint compared.
    Of a deleted key it shows what is left: whose it was, and when it was created and deleted.
    """
    with saying():
        found = run(inspect_key(load(config_path), parse_key_id(key_id)))
    members = _of_tombstone(found) if isinstance(found, Tombstone) else _members(found)
    if as_json:
        typer.echo(json.dumps(members))
        return
    console = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in members.items():
        if name != "attributes":
            table.add_row(name.replace("_", " "), _in_words(name, value))
    console.print(table)
    if isinstance(found, InspectedKey) and found.evidence is not None:
        attributes = Table("attribute read from the token", "value", box=None, pad_edge=False)
        for name, read in found.evidence.attributes.items():
            attributes.add_row(f"CKA_{name}", "not reported" if read is None else str(read))
        console.print(attributes)


def _in_words(name: str, value: object) -> str:
    if value is None:
        return "-"
    return moment(value) if name in _TIMES and isinstance(value, int) else str(value)


def _members(found: InspectedKey) -> dict[str, object]:
    key, evidence = found.key, found.evidence
    valid_to = key.material.valid_to if key.material is not None else None
    return {
        "key_id": key.key_id,
        "account": key.account,
        "alias": key.alias,
        "origin": key.origin.value,
        "state": found.state.value,
        "valid_to": None if valid_to is None else to_seconds(valid_to),
        "length_bits": None if evidence is None else evidence.length_bits,
        "length_proof": None if evidence is None else evidence.length_proof,
        "fingerprint_matches": found.fingerprint_matches,
        "attributes": None if evidence is None else dict(evidence.attributes),
    }


def _of_tombstone(left: Tombstone) -> dict[str, object]:
    return {
        "key_id": left.key_id,
        "account": left.account,
        "origin": left.origin.value,
        "state": _DELETED,
        "created_at": to_seconds(left.created_at),
        "deleted_at": to_seconds(left.deleted_at),
    }
