"""`hsmkms credential ...`: who may call the API, and what each may do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hsmkms.cli.running import ConfigOption, JsonOption, load, run, saying
from hsmkms.client.telling import moment
from hsmkms.core.credentials import Grant, KeyScope, Role
from hsmkms.core.errors import FieldInvalid
from hsmkms.core.ids import AccessId, account_name, to_seconds
from hsmkms.core.ids import key_id as parse_key_id
from hsmkms.service.auth_tokens import IssuedToken
from hsmkms.wiring.credentials import (
    create_auth_token,
    create_credential,
    list_credentials,
    rotate_credential,
    turn_credential,
)

if TYPE_CHECKING:
    from hsmkms.service.credentials import IssuedCredential
    from hsmkms.wiring.credentials import ListedCredential

_COLUMNS: Final = {
    "access id": "access_id",
    "account": "account",
    "roles": "roles",
    "only keys": "keys",
    "only tags": "tags",
    "kind": "kind",
    "created": "created_at",
    "valid to": "valid_to",
    "state": "state",
    "replaced by": "replaced_by",
}
"""What a table is headed with, by the members that it shows."""
_FILE_WIDTH: Final = 240
"""Columns, where the output does not go to a terminal that has a width of its own."""
_SECONDS_PER_HOUR: Final = 3_600
_SECONDS_PER_DAY: Final = 86_400

app = typer.Typer(help="Credentials: who may call the API, and what each may do.", no_args_is_help=True)

_AccessId = Annotated[
    str, typer.Argument(metavar="ACCESS_ID", help="The credential's id, shown as secret id when it was made.")
]


@app.command("create")
def create(
    config_path: ConfigOption,
    account: Annotated[
        str, typer.Option(metavar="A", help="The account that owns what the credential makes; made if it is new.")
    ],
    roles: Annotated[
        str,
        typer.Option(metavar="R1,R2", help=f"What it may do, of: {', '.join(role.value for role in Role)}."),
    ],
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="ID", help="Limit it to this key, and to others that are named; repeatable."),
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            metavar="NAME=VALUE",
            help="Limit it to keys with this tag (the first = ends its name); repeatable, one is enough.",
        ),
    ] = None,
    valid_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, metavar="N", help="Let it end after as many days.")
    ] = None,
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

    It holds in a running service within 5 seconds. An admin makes, switches and
    deletes keys; an importer brings and removes their material; a user encrypts
    and decrypts; an auditor looks. With --key or --tag it may do so with these
    keys only, and hears of no others.

    With --auth-token it is a token, for plain REST clients of the Huawei API
    (header X-Auth-Token), and the database holds its SHA-256 only. Where the
    client can sign, a secret key is the better choice: it never leaves the
    client, while a token travels with each request.
    """
    with saying():
        grant = Grant(
            account_name(account),
            frozenset(_role(name.strip()) for name in roles.split(",")),
            KeyScope(frozenset(map(parse_key_id, keys or ())), frozenset(map(_tag, tags or ()))),
            None if valid_days is None else valid_days * _SECONDS_PER_DAY,
        )
        settings = load(config_path)
        issued: IssuedCredential | IssuedToken = (
            run(create_auth_token(settings, grant)) if auth_token else run(create_credential(settings, grant))
        )
    _show_once(issued, as_json=as_json)


@app.command("list")
def list_(
    config_path: ConfigOption,
    account: Annotated[str | None, typer.Option(metavar="A", help="Show only those of this account.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show every credential, what it may do and until when; secrets are not shown, nobody has them."""
    with saying():
        wanted = None if account is None else account_name(account)
        found = run(list_credentials(load(config_path)))
    shown = [_members(each) for each in found if wanted in {None, each.credential.account.name}]
    if as_json:
        typer.echo(json.dumps(shown))
        return
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for members in shown:
        table.add_row(*(Text(_in_words(members[name]), overflow="fold") for name in _COLUMNS.values()))
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    console.print(table)


@app.command("disable")
def disable(config_path: ConfigOption, access_id: _AccessId) -> None:
    """Withdraw a credential: a running service refuses it within 5 seconds, an auth token at once."""
    _turn(config_path, access_id, on=False)


@app.command("enable")
def enable(config_path: ConfigOption, access_id: _AccessId) -> None:
    """Let a credential that was disabled be used again; not one that has ended, which takes a new one."""
    _turn(config_path, access_id, on=True)


@app.command("rotate")
def rotate(
    config_path: ConfigOption,
    access_id: _AccessId,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=8_760, metavar="H", help="How long the old one is good beside the new one.")
    ] = 24,
    as_json: JsonOption = False,
) -> None:
    """Make a credential of the same kind that may do the same, and let the old one end.

    The new one holds in a running service within 5 seconds, and its secret is shown
    this once. With --overlap-hours 0 the old one stops at once, as if disabled. One
    that was made for some days is replaced by one for as many, from now on. Each is
    replaced once: after that, rotate the new one.
    """
    with saying():
        overlap = overlap_hours * _SECONDS_PER_HOUR
        issued = run(rotate_credential(load(config_path), AccessId(access_id), overlap))
    _show_once(issued, as_json=as_json)


def credential_json(issued: IssuedCredential) -> str:
    """Return the credential as the JSON object of `credential.json`."""
    return json.dumps(_issued_members(issued))


def _turn(config_path: Path, access_id: str, *, on: bool) -> None:
    with saying():
        changed = run(turn_credential(load(config_path), AccessId(access_id), on=on))
    state = "enabled" if on else "disabled"
    typer.echo(f"{access_id} is {state}." if changed else f"{access_id} was {state} already; nothing changed.")


def _show_once(issued: IssuedCredential | IssuedToken, *, as_json: bool) -> None:
    members = _issued_members(issued)
    if as_json:
        typer.echo(json.dumps(members))
        return
    for field, value in members.items():
        typer.echo(f"{field.replace('_', ' '):<10}  {value}")
    secret = "auth token" if isinstance(issued, IssuedToken) else "secret key"
    typer.echo(f"Keep the {secret} now: it is not shown again.", err=True)
    if issued.valid_to is not None:
        typer.echo(f"It ends at {moment(to_seconds(issued.valid_to))}.", err=True)


def _issued_members(issued: IssuedCredential | IssuedToken) -> dict[str, str]:
    named = {"account": issued.account, "secret_id": issued.access_id}
    if isinstance(issued, IssuedToken):
        return {**named, "auth_token": issued.token.reveal().decode()}
    return {**named, "secret_key": issued.secret.reveal().decode()}


def _members(listed: ListedCredential) -> dict[str, object]:
    found = listed.credential
    return {
        "access_id": found.access_id,
        "account": found.account.name,
        "roles": sorted(found.roles),
        "keys": sorted(found.scope.key_ids),
        "tags": [f"{name}={value}" for name, value in sorted(found.scope.tags)],
        "kind": "secret key" if found.token_digest is None else "auth token",
        "created_at": to_seconds(found.created_at),
        "valid_to": None if found.valid_to is None else to_seconds(found.valid_to),
        "state": "enabled" if listed.good else "ended" if found.switched_on else "disabled",
        "replaced_by": found.replaced_by,
    }


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, int):
        return moment(value)
    return "-" if value is None else str(value)


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and text.isprintable()):
        raise FieldInvalid("--tag", f"{text!a} is no tag; write NAME=VALUE.")
    return name, value


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError as error:
        raise FieldInvalid("--roles", f"{name!r} is no role; the roles are {', '.join(Role)}.") from error
