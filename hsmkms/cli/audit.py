"""`hsmkms audit ...`: is the audit trail what was written, and what does it say."""

from __future__ import annotations

import json
import os
import sys
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hsmkms.cli.running import ConfigOption, JsonOption, load, run, saying
from hsmkms.core.errors import FieldInvalid
from hsmkms.core.events import AuditHead
from hsmkms.core.ids import MILLISECONDS_PER_SECOND
from hsmkms.wiring.trail import read_trail, verify_trail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.audit.verification import Verification
    from hsmkms.config import Settings
    from hsmkms.core.events import ChainedEvent

_DOES_NOT_HOLD: Final = 1
_MOST_SHOWN: Final = 20
_LAST_SEQUENCE: Final = 2**63 - 1
"""What a column of the database can hold."""

app = typer.Typer(help="The audit trail: does it hold, and what does it say.", no_args_is_help=True)


@app.command("verify")
def verify(
    config_path: ConfigOption,
    expect_head: Annotated[
        list[str] | None,
        typer.Option(
            metavar="H",
            help="A head as this command showed it or the log had it, SEQUENCE:DIGEST: the trail must still hold it. "
            "With several nodes, one of each.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the whole audit trail against the seals that the token made; exit with 1 if it does not hold.

    It finds each event that was changed, deleted, inserted or moved, up to the
    last one sealed, and each seal that was changed or deleted below another.
    Without their seals, the newest events can be deleted or written anew and
    leave no trace in the database: for that, and for an older copy in its
    place, give the last head that was kept elsewhere with --expect-head.

    It can be run while the service runs.
    """
    with saying():
        trails = run(verify_trail(load(config_path), [_head(each) for each in expect_head or ()]))
    if as_json:
        typer.echo(json.dumps(_report(trails)))
    else:
        for found in trails:
            for line in _sentences(found):
                typer.echo(f"{found.node}: {line}" if found.node else line)
    if not all(map(_holds, trails)):
        raise typer.Exit(_DOES_NOT_HOLD)


@app.command("export")
def export(
    config_path: ConfigOption,
    after: Annotated[
        int, typer.Option(metavar="N", min=0, max=_LAST_SEQUENCE, help="Begin after the event of this sequence.")
    ] = 0,
    account: Annotated[
        str | None, typer.Option(metavar="A", help="Only the events of this account.", show_default=False)
    ] = None,
) -> None:
    """Write the audit trail on standard output, one JSON object a line, in its order.

    It does not verify anything: 'hsmkms audit verify' does.
    """
    with saying():
        settings = load(config_path)
        try:
            run(_export(settings, after, account))
        except BrokenPipeError:
            # Whoever read has enough. What is left in the buffer must go somewhere, or Python complains at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _export(settings: Settings, after: int, account: str | None) -> None:
    async with aclosing(read_trail(settings, after)) as events:
        async for node, each in events:
            if account is None or each.event.account == account:
                sys.stdout.write(json.dumps({**_line(each), **({"node": node} if node else {})}) + "\n")
    sys.stdout.flush()


def _line(chained: ChainedEvent) -> dict[str, object]:
    event = chained.event
    at = datetime.fromtimestamp(event.at / MILLISECONDS_PER_SECOND, UTC).isoformat(timespec="milliseconds")
    return {
        "sequence": chained.sequence,
        "at": at.replace("+00:00", "Z"),
        "tag": event.tag.value,
        "account": event.account,
        "actor": event.actor,
        "key_id": event.key_id,
        "request_id": event.request_id,
        "detail": dict(event.detail),
        "digest": chained.digest.hex(),
    }


def _head(text: str) -> AuditHead:
    head = AuditHead.parse(text)
    if head is None:
        raise FieldInvalid(
            "--expect-head", "write it as it was shown: the sequence, a colon, and 64 hexadecimal digits."
        )
    return head


def _holds(found: Verification) -> bool:
    return not found.found and found.sealed is not None


def _report(trails: Sequence[Verification]) -> dict[str, object]:
    """Return the members of the one trail there is, or of the trail of each node."""
    if [found.node for found in trails] == [""]:
        return _members(trails[0])
    nodes = [{"node": found.node, **_members(found)} for found in trails]
    return {"holds": all(map(_holds, trails)), "nodes": nodes}


def _members(found: Verification) -> dict[str, object]:
    return {
        "holds": _holds(found),
        "breaks": [{"sequence": each.sequence, "reason": each.reason.value} for each in found.found],
        "events": found.length,
        "head": None if found.head is None else str(found.head),
        "sealed_head": None if found.sealed is None else str(found.sealed),
        "not_yet_protected": found.newer,
    }


def _sentences(found: Verification) -> list[str]:
    lines = [f"Event {each.sequence}: {each.reason.value}." for each in found.found[:_MOST_SHOWN]]
    if len(found.found) > _MOST_SHOWN:
        lines.append(f"... and {len(found.found) - _MOST_SHOWN} more.")
    if not found.seals and found.length:
        lines.append(
            f"There is no seal: nothing protects these {found.length} events. The service makes the first seal when it "
            "starts; if it has been running, the seals were deleted."
        )
    elif found.sealed is not None:
        lines.append(f"Last sealed head: {found.sealed}")
        lines.append(f"Newer than that, and not yet protected: {_events(found.newer)}.")
    if _holds(found):
        lines.append(f"The audit trail holds: {_events(found.length)}.")
    else:
        lines.append(f"The audit trail does NOT hold; {_events(found.length)} could be followed.")
    return lines


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"
