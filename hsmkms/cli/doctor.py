"""`hsmkms doctor`: what this token really does, found by trying."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hsmkms import config
from hsmkms.cli.running import ConfigOption, JsonOption, run, saying
from hsmkms.hsm.report import ZERO_PADDED
from hsmkms.wiring.commands import examine

if TYPE_CHECKING:
    from collections.abc import Collection

    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.hsm.report import AlgorithmFinding, LengthFinding, TokenReport

_FILE_WIDTH: Final = 160
"""Columns, where the output does not go to a terminal that has a width of its own."""


def doctor(config_path: ConfigOption, as_json: JsonOption = False) -> None:
    """Try out what this token really does, per wrapping algorithm, length and cipher, and show every exception.

    The token must have been initialised ('hsmkms init'); nothing in it is changed. Exit code 78 if the service would
    refuse to start with it.
    """
    with saying():
        settings = config.load(config_path)
        report = run(examine(settings))
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
        _show(console, report, settings.import_.wrapping_algorithms)
    with saying():
        report.require_usable()


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
