"""What a host is told when it is started: as JSON on its standard input, never in its arguments.

Law: the PIN is not in here, only where it is: the path of a file, or a descriptor, that the host itself reads.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from hsmkms.core.material import Edition


class HostPurpose(StrEnum):
    """What a host may be asked."""

    SERVE = "serve"
    """What API requests need. Its sessions are read-only, so that the token refuses to make long-lived objects, too."""
    OPERATE = "operate"
    """What the operator's commands need: all that of `SERVE`, and to protect a new credential's secret. Read-only."""
    INIT = "init"
    """To make the long-lived objects, to prove and to destroy them; nothing else."""
    TRANSFER = "transfer"
    """To seal material anew while the security officer's transit key is in the token; nothing else."""


class Duty(StrEnum):
    """What a host of a pool is used for."""

    OPERATIONS = "operations"
    """Everything but making pairs."""
    PAIRS = "pairs"
    """Making pairs, which takes a second and must not keep an import waiting."""


class HostExit(IntEnum):
    """How a host ends by itself (sysexits.h)."""

    ORPHANED = 0
    """The other end of the socket was closed."""
    TOKEN_SICK = 75
    """EX_TEMPFAIL: the token failed its canary or lost the session; a new host may find it well again."""
    UNUSABLE = 78
    """EX_CONFIG: PIN refused, or module, token or PIN file not to be used: a new host would fail alike."""


class HostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One host."""

    module: str
    """Path of the PKCS#11 module."""
    token_label: str
    edition: Edition
    pin_file: str | None = None
    """The file that holds the PIN; None: `pin_fd` does."""
    pin_fd: int | None = None
    """A descriptor of what holds the PIN, to be inherited by the host; others may read from it, too."""
    pin_key: str = "hsm.pin_file"
    """The key of the configuration that named it, for sentences."""
    so_pin_file: str | None = None
    """The file that holds the security officer's PIN; a host started for `transfer` needs it, and no other takes it."""
    initialize_args: str | None = None
    """Parameter string for C_Initialize, which NSS needs; other modules need none."""
    sessions: int = 1
    purpose: HostPurpose = HostPurpose.SERVE
    env: dict[str, str] = {}
    """Variables for this host only, such as SOFTHSM2_CONF."""
    dumpable: bool = False
    """For tests: let other processes of the same user look into the host's memory."""
    log_level: str = "INFO"
