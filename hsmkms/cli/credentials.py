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
from hsmkms.wiring.commands import create_auth_token, create_credential

if TYPE_CHECKING:
    from hsmkms.service.auth_tokens import IssuedToken
    from hsmkms.service.credentials import IssuedCredential

app = typer.Typer(help="Credentials: who may call the API.", no_args_is_help=True)


@app.command("create")
def create(
    config_path: ConfigOption,
    account: Annotated[
        str, typer.Option(metavar="A", help="The account that owns what the credential makes; made if it is new.")
    ],
    roles: Annotated[
        str,
        typer.Option(
            metavar="R1,R2",
            help=f"Its roles, of: {', '.join(role.value for role in Role)}. They are recorded and not enforced yet.",
        ),
    ],
    auth_token: Annotated[
        bool,
        typer.Option(
            "--auth-token",
            help="Make an auth token in place of a secret key, for plain REST clients of the Huawei API.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a credential and show its secret: this once, the database holds it sealed by the token.

    It holds in a running service within 5 seconds. Roles are not enforced yet:
    every credential may do everything in its account.

    With --auth-token it is a token, for plain REST clients of the Huawei API
    (header X-Auth-Token), and the database holds its SHA-256 only. Where the
    client can sign, a secret key is the better choice: it never leaves the
    client, while a token travels with each request.
    """
    with saying():
        wanted = frozenset(_role(name.strip()) for name in roles.split(","))
        name = account_name(account)
        settings = config.load(config_path)
        shown = (
            _of_token(run(create_auth_token(settings, name, wanted)))
            if auth_token
            else _of_signer(run(create_credential(settings, name, wanted)))
        )
    if as_json:
        typer.echo(json.dumps(shown))
        return
    for field, value in shown.items():
        typer.echo(f"{field.replace('_', ' '):<10}  {value}")
    typer.echo(f"Keep the {'auth token' if auth_token else 'secret key'} now: it is not shown again.", err=True)


def credential_json(issued: IssuedCredential) -> str:
    """Return the credential as the JSON object of `credential.json`."""
    return json.dumps(_of_signer(issued))


def _of_signer(issued: IssuedCredential) -> dict[str, str]:
    return {"account": issued.account, "secret_id": issued.access_id, "secret_key": issued.secret.reveal().decode()}


def _of_token(issued: IssuedToken) -> dict[str, str]:
    return {"account": issued.account, "secret_id": issued.access_id, "auth_token": issued.token.reveal().decode()}


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError as error:
        raise FieldInvalid("--roles", f"{name!r} is no role; the roles are {', '.join(Role)}.") from error
