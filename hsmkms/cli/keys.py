"""`hsmkms key ...`: what an operator or an auditor wants to know of one key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from hsmkms import config
from hsmkms.cli.running import ConfigOption, JsonOption, run, saying
from hsmkms.core.ids import key_id as parse_key_id
from hsmkms.core.ids import to_seconds
from hsmkms.wiring.commands import inspect_key

if TYPE_CHECKING:
    from hsmkms.wiring.commands import InspectedKey

app = typer.Typer(help="Keys: what the database and the token say of them.", no_args_is_help=True)


@app.command("show")
def show(
    config_path: ConfigOption,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's id, as the API shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Show a key's state, and the attributes of its material as the token reports them now.

    The material is unsealed inside the token for the purpose, its length is proved again, and its fingerprint compared.
    """
    with saying():
        found = run(inspect_key(config.load(config_path), parse_key_id(key_id)))
    if as_json:
        typer.echo(json.dumps(_members(found)))
        return
    console = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _members(found).items():
        if name != "attributes":
            table.add_row(name.replace("_", " "), "-" if value is None else str(value))
    console.print(table)
    if found.evidence is not None:
        attributes = Table("attribute read from the token", "value", box=None, pad_edge=False)
        for name, read in found.evidence.attributes.items():
            attributes.add_row(f"CKA_{name}", "not reported" if read is None else str(read))
        console.print(attributes)


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
