"""Running commands inside the test's own process: enough where no token is asked."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from hsmkms.cli.main import app


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def run(*arguments: str) -> Done:
    """Run `hsmkms` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(list(arguments), prog_name="hsmkms")
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())
