"""`hsmkms doctor`: what this token really does, found by trying; who may read what; how memory is kept."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hsmkms.cli.running import ConfigOption, JsonOption, read, run, saying
from hsmkms.core.custody import FIRST_VERSION
from hsmkms.hsm.report import ZERO_PADDED
from hsmkms.service.rotating import versions
from hsmkms.wiring import file_access
from hsmkms.wiring.commands import examine

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.hsm.report import AlgorithmFinding, HostProtection, LengthFinding, TokenReport, UnknownKey
    from hsmkms.service.rotating import SealingVersion
    from hsmkms.wiring.file_access import FileFinding

_FILE_WIDTH: Final = 160
"""Columns, where the output does not go to a terminal that has a width of its own."""


def doctor(config_path: ConfigOption, as_json: JsonOption = False) -> None:
    """Try out what this token really does, per wrapping algorithm, length and cipher, and show every exception.

    The token must have been initialised ('hsmkms init'); nothing in it is changed. Before that, the files that secrets
    are in or depend on, and who may read and write them. Exit code 78 if the service would refuse to start.
    """
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    with saying():
        settings = read(config_path)
        files = file_access.look(settings, config_path)
        if not as_json:
            _show_files(console, files)
        elif any(each.refused for each in files):
            typer.echo(msgspec.json.encode({"files": [_members(each) for each in files]}).decode())
        file_access.require_private(files)  # before there is a host: it would load what others may have chosen
        found = run(examine(settings))
    if as_json:
        members = msgspec.to_builtins(found.report)
        members |= {"files": [_members(each) for each in files], "memory": msgspec.to_builtins(found.protection)}
        members["sealing_versions"] = list(found.deployment.sealing_versions)
        typer.echo(msgspec.json.encode(members).decode())
    else:
        _show_memory(console, found.protection)
        _show_sealing(console, versions(found.deployment, {}), found.report.unknown_keys)
        _show(console, found.report, settings.import_.wrapping_algorithms)
    with saying():
        found.report.require_usable()


def _members(finding: FileFinding) -> dict[str, object]:
    return {
        "what": finding.what,
        "path": str(finding.path),
        "wanted": finding.wanted,
        "found": finding.found,
        "cure": finding.cure,
        "refused": finding.refused,
    }


def _show_files(console: Console, findings: Collection[FileFinding]) -> None:
    table = Table("file", "path", "wanted", "found", "", "what to do", box=None)
    for each in findings:
        verdict = "[red]NO[/red]" if each.refused else "[yellow]open[/yellow]" if each.cure else "[green]ok[/green]"
        path = Text(str(each.path), overflow="fold")
        table.add_row(each.what, path, each.wanted, each.found, verdict, Text(each.cure, overflow="fold"))
    console.print(table)
    console.print()


def _show_memory(console: Console, protection: HostProtection) -> None:
    if protection.dumpable:
        console.print(
            "[bold red]OPEN TO OTHER PROCESSES: whatever runs as the service's user may read keys and PIN in memory; "
            "hsm.dumpable_processes is for tests, remove it.[/bold red]"
        )
    else:
        console.print("memory of our processes: closed to other processes of the user; no core files")
    locked = f"not locked: {protection.not_locked}" if protection.not_locked else "locked: none of it goes to the swap"
    console.print(escape(f"memory of the hosts: {locked}\n"))


def _show_sealing(console: Console, present: Sequence[SealingVersion], unknown: Collection[UnknownKey] = ()) -> None:
    *older, newest = present
    kind = "transferable" if newest.transferable else "not transferable: the token lets no material go"
    opens = f"; {', '.join(str(each.version) for each in older)} only open what they sealed" if older else ""
    console.print(f"sealing keys: version {newest.version} seals, {kind}{opens} ('hsmkms sealing status')")
    for sentence in dict.fromkeys(_unknown(each, newest.version) for each in unknown):
        console.print(f"[yellow]{escape(sentence)}[/yellow]")
    console.print()


def _unknown(key: UnknownKey, newest: int) -> str:
    """Return what a sealing key may be that the database does not name; one sentence for both keys of a version."""
    if FIRST_VERSION <= key.version < newest:
        return (
            f"version {key.version} is retired and still in the token: run 'hsmkms sealing retire {key.version}' again"
        )
    if key.version > newest:
        return (
            f"version {key.version} is in the token, and the database does not know it: a rotation was interrupted, or "
            "the database is older than the token"
        )
    return f"the token has an object '{key.label}', which has our name and is not ours"


def _show(console: Console, report: TokenReport, configured: Collection[WrappingAlgorithm]) -> None:
    token = report.token
    # What the token says of itself is text, also where it looks like rich's markup.
    maker = escape(f"serial {token.serial}, {token.manufacturer} {token.model}")
    console.print(f"[bold]{escape(token.label)}[/bold], {maker}")
    console.print(
        escape(f"{token.module} ({token.module_description} {token.module_version}), profile {token.profile}")
    )
    console.print(
        f"edition {report.edition.value}: exactly {report.edition.material_bits} bits; {report.fingerprint_note}\n"
    )
    algorithms = Table(
        "wrapping algorithm",
        "works on this token",
        "offered to clients",
        "damaged ciphertext",
        "lengths accepted",
        box=None,
    )
    for finding in report.algorithms:
        algorithms.add_row(
            finding.algorithm.value,
            "yes" if finding.works else escape(f"no: {finding.why_not}"),
            _offered(finding, configured),
            escape(finding.damaged or "-"),
            _accepted(finding),
        )
    console.print(algorithms)
    console.print()
    console.print(_ciphers(report))
    console.print()
    for finding in report.algorithms:
        if finding.works:
            console.print(_lengths(finding, report.edition.material_bytes))
            console.print()
    console.print(f"CKA_VALUE_LEN of an unwrapped key: {report.value_len}\n")
    checks = Table("check", "", "what the token did", box=None)
    for check in report.checks:
        verdict = (
            "[green]ok[/green]" if check.passed else "[yellow]known[/yellow]" if check.exception else "[red]NO[/red]"
        )
        checks.add_row(
            check.check, verdict, escape(f"{check.finding}: {check.exception}" if check.exception else check.finding)
        )
    console.print(checks)
    for sentence in report.refusals:
        console.print(f"[red]{escape(sentence)}[/red]")


def _offered(finding: AlgorithmFinding, configured: Collection[WrappingAlgorithm]) -> str:
    if finding.algorithm not in configured:
        return "no: not in import.wrapping_algorithms"
    return "yes" if finding.works else "no"


def _ciphers(report: TokenReport) -> Table:
    table = Table("cipher of keys", "offered to clients", box=None)
    for finding in report.ciphers:
        table.add_row(finding.algorithm.value, "yes" if finding.works else escape(f"no: {finding.why_not}"))
    return table


def _accepted(finding: AlgorithmFinding) -> str:
    lengths = sorted({found.length_bytes for found in finding.lengths if found.accepted})
    return ", ".join(f"{length} bytes" for length in lengths) or "-"


def _lengths(finding: AlgorithmFinding, right_bytes: int) -> Table:
    table = Table(f"{finding.algorithm.value}: length", "plaintext", "", "why", box=None)
    rows = (
        (
            f"{found.length_bytes} bytes",
            found.plaintext,
            "accepted" if found.accepted else "refused",
            escape(_why(found, right_bytes)),
        )
        for found in finding.lengths
    )
    for row in dict.fromkeys(rows):
        table.add_row(*row)
    return table


def _why(found: LengthFinding, right_bytes: int) -> str:
    if not found.accepted:
        return f"by {found.refused_by} ({found.detail})" if found.detail else f"by {found.refused_by}"
    if found.length_bytes != right_bytes:
        return "A WRONG LENGTH CAME THROUGH"
    if found.plaintext == ZERO_PADDED:
        return "of the right length: the zeros are part of it, not added by the token"
    return "of the right length"
