"""How every command starts and ends: the configuration option, and errors as one sentence and an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from hsmkms import config
from hsmkms.core.errors import (
    CallerFault,
    ClientFault,
    HsmkmsError,
    InputUnusable,
    OperatorFault,
    TemporarilyUnavailable,
)
from hsmkms.hsm.process import keep_memory_private
from hsmkms.wiring import file_access

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from hsmkms.config import Settings

Result = TypeVar("Result")

ConfigOption = Annotated[
    Path, typer.Option("--config", metavar="F", help="The configuration file, hsmkms.toml.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else on standard output.")]

_PRIVATE: Final = 0o077
"""A umask: the database and what SQLite keeps beside it are for the service's user alone."""
_REFUSED: Final = 1
_WRONG_INPUT: Final = 2
"""As a command line that is itself wrong."""
_EXIT_CODES: Final = (
    (OperatorFault, os.EX_CONFIG),
    (TemporarilyUnavailable, os.EX_TEMPFAIL),
    (CallerFault, os.EX_DATAERR),
    (InputUnusable, _WRONG_INPUT),
    (ClientFault, _REFUSED),
)


@contextlib.contextmanager
def saying() -> Iterator[None]:
    """Turn an error into its sentence on standard error and its exit code; one that is not ours is a defect."""
    try:
        yield
    except HsmkmsError as error:
        typer.echo(f"hsmkms: {error.message}", err=True)
        code = next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), os.EX_SOFTWARE)
        raise typer.Exit(code) from error
    except typer.Exit:
        raise
    except Exception as error:
        typer.echo(f"hsmkms: a defect: {type(error).__name__}; please report it with the lines below.", err=True)
        typer.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        raise typer.Exit(os.EX_SOFTWARE) from error


def keep_files_private() -> None:
    """Let nobody else touch what this process makes from here on."""
    os.umask(_PRIVATE)


def load(config_path: Path, so_pin_file: Path | None = None) -> Settings:
    """Read the configuration as `read` does, and make sure that nobody else could have chosen what it names.

    Args:
        config_path: the file.
        so_pin_file: the security officer's PIN file, which is looked at as the files that the configuration names are.

    Raises:
        ConfigurationInvalid: it cannot be used, or a file that a host loads or a secret is in is open to others.
    """
    settings = read(config_path)
    file_access.require_private(file_access.look(settings, config_path, so_pin_file))
    return settings


def read(config_path: Path) -> Settings:
    """Read the configuration, and keep to ourselves what this process makes and holds from here on.

    Raises:
        ConfigurationInvalid: it cannot be used.
    """
    settings = config.load(config_path)
    keep_files_private()
    keep_memory_private(dumpable=settings.hsm.dumpable_processes)
    return settings


def run(coroutine: Coroutine[object, object, Result]) -> Result:
    """Run a command's coroutine to its end."""
    return asyncio.run(coroutine)
