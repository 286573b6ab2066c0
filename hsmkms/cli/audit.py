"""`hsmkms audit ...`: is the audit trail what was written, and what does it say."""

from __future__ import annotations

import json
import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hsmkms.audit.archive import members_of
from hsmkms.audit.verification import Break, BreakReason
from hsmkms.cli.running import ConfigOption, JsonOption, load, run, saying
from hsmkms.core.errors import FieldInvalid
from hsmkms.core.events import AuditHead
from hsmkms.wiring.trail import archive_trail, read_trail, verify_trail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.audit.verification import Verification
    from hsmkms.config import Settings

_DOES_NOT_HOLD: Final = 1
_MOST_SHOWN: Final = 20
_MOST_DAYS: Final = 100_000
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
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="An archive that 'hsmkms audit archive' made, to verify the trail from its first event on. Name all "
            "there are, with one --archive for each.",
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

    What 'hsmkms audit archive' has removed is not looked at, unless its files
    are given with --archive: only that the token made the cut that the trail
    begins after.

    It can be run while the service runs, and while the trail is archived.
    """
    with saying():
        trails = run(verify_trail(load(config_path), [_head(each) for each in expect_head or ()], archive or ()))
    if as_json:
        typer.echo(json.dumps(_report(trails)))
    else:
        for found in trails:
            for line in sentences_of(found):
                typer.echo(f"{found.node}: {line}" if found.node else line)
    if not all(map(_holds, trails)):
        raise typer.Exit(_DOES_NOT_HOLD)


@app.command("archive")
def archive(
    config_path: ConfigOption,
    to: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="The file to write, which is not there yet, in a folder that is.", show_default=False
        ),
    ],
    keep_days: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=_MOST_DAYS,
            help="Leave what is from the last N days, by this machine's clock; 0: archive all that can be, whatever "
            "its date.",
        ),
    ] = 90,
    as_json: JsonOption = False,
) -> None:
    """Write the oldest part of the audit trail into a file, and remove it from the database.

    The trail is verified first, and nothing is removed before the file is on
    the disk and was read again. Then the token makes a MAC over where the trail
    goes on, which is in the database only, so that nobody without the token can
    pass a deletion off as an archive.

    Keep the file: it has the only copy of what it holds. 'hsmkms audit verify
    --archive' verifies it. What was sealed last stays in the database, however
    old it is: up to a thousand events.

    It can be run while the service runs. If it was interrupted, name this file
    and all older ones to 'hsmkms audit verify --archive'. If that exits with 0,
    the database goes on after this file: keep it. If it says that this file is
    not whole or was changed, or that the database goes on after another event
    than it ends with, remove it, and run this again.
    """
    with saying():
        parts = run(archive_trail(load(config_path), to.absolute(), keep_days))
    if as_json:
        members = [{"node": each.node, "cut": str(each.seal.head), "events": each.events} for each in parts]
        typer.echo(json.dumps({"archived": members}))
    elif not parts:
        typer.echo(nothing_to_archive(keep_days))
    else:
        for each in parts:
            typer.echo(f"Archived {_events(each.events)}, up to {each.seal.head}")
        typer.echo(f"Keep {to.absolute()}: it is the only copy.")


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
                sys.stdout.write(json.dumps(members_of(node, each)) + "\n")
    sys.stdout.flush()


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
        return members_of_trail(trails[0])
    nodes = [{"node": found.node, **members_of_trail(found)} for found in trails]
    return {"holds": all(map(_holds, trails)), "nodes": nodes}


def members_of_trail(found: Verification) -> dict[str, object]:
    """Return what was found of one trail as the members of a JSON object."""
    return {
        "holds": _holds(found),
        "breaks": [{"sequence": each.sequence, "reason": each.reason.value} for each in found.found],
        "events": found.length,
        "head": None if found.head is None else str(found.head),
        "archived": str(found.cut) if found.cut is not None and _is_genuine(found.cut, found) else None,
        "sealed_head": None if found.sealed is None else str(found.sealed),
        "not_yet_protected": found.newer,
    }


def sentences_of(found: Verification) -> list[str]:
    """Return what was found of one trail in words, line by line."""
    lines = [f"Event {each.sequence}: {each.reason.value}." for each in found.found[:_MOST_SHOWN]]
    if len(found.found) > _MOST_SHOWN:
        lines.append(f"... and {len(found.found) - _MOST_SHOWN} more.")
    if found.cut is not None and _is_genuine(found.cut, found):
        lines.append(f"Archived up to: {found.cut}")
    if not found.seals and found.length and found.cut is None and not found.ended:
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


def nothing_to_archive(keep_days: int) -> str:
    """Return why no archive was made that was to leave so many days."""
    if keep_days == 0:
        why = "what was sealed last stays, and there is nothing sealed before it"
    else:
        why = (
            f"no sealed block of a thousand events is older than {keep_days} day{'' if keep_days == 1 else 's'} as a "
            "whole, or only the last one"
        )
    return f"There is nothing to archive: {why}. No file was written."


def _is_genuine(cut: AuditHead, found: Verification) -> bool:
    return Break(cut.sequence, BreakReason.CUT_FORGED) not in found.found


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"
