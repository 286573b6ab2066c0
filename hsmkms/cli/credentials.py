"""`hsmkms credential ...`: who may call the API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from hsmkms import config
from hsmkms.cli.running import ConfigOption, JsonOption, run, saying
from hsmkms.core.credentials import Role
from hsmkms.core.errors import FieldInvalid
from hsmkms.core.ids import account_name
from hsmkms.wiring.commands import create_credential

if TYPE_CHECKING:
    from hsmkms.service.credentials import IssuedCredential

app = typer.Typer(help="Credentials: who may call the API.", no_args_is_help=True)


@app.command("create")
def create(
    config_path: ConfigOption,
    account: Annotated[
        str, typer.Option(metavar="A", help="The account that owns what the credential makes; made if it is new.")
    ],
    roles: Annotated[
        str, typer.Option(metavar="R1,R2", help=f"What it may do, of: {', '.join(role.value for role in Role)}.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Make a credential and show its secret: this once, the database holds it sealed by the token.

    It holds in a running service within 5 seconds.
    """
    with saying():
        wanted = frozenset(_role(name.strip()) for name in roles.split(","))
        name = account_name(account)
        issued = run(create_credential(config.load(config_path), name, wanted))
    if as_json:
        typer.echo(credential_json(issued))
        return
    typer.echo(f"account     {issued.account}")
    typer.echo(f"secret id   {issued.access_id}")
    typer.echo(f"secret key  {issued.secret.reveal().decode()}")
    typer.echo("Keep the secret key now: it is not shown again.", err=True)


def credential_json(issued: IssuedCredential) -> str:
    """Return the credential as the JSON object of `credential.json`."""
    return json.dumps(
        {"account": issued.account, "secret_id": issued.access_id, "secret_key": issued.secret.reveal().decode()}
    )


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError as error:
        raise FieldInvalid("--roles", f"{name!r} is no role; the roles are {', '.join(Role)}.") from error
