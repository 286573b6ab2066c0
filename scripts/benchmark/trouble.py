"""Why a bench ends without figures."""

from __future__ import annotations


class BenchError(Exception):
    """There are no figures; the message says why, and what to do."""


class WrongAnswerError(BenchError):
    """The service answered otherwise than it must."""


class NotStartedError(BenchError):
    """What is to be measured did not start."""
