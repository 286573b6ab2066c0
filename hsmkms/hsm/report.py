"""What a token really does, as the operator reads it: the result of the start-up probe.

Law: it is found by trying, never read from the token's list of mechanisms.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hsmkms.core.ciphertexts import CipherAlgorithm
from hsmkms.core.errors import TokenUnusable
from hsmkms.core.material import Edition
from hsmkms.core.wrapping import WrappingAlgorithm

RANDOM: Final = "random"
ZERO_PADDED: Final = "zero-padded"
"""The bytes after the right length, or before it after fewer random ones, are zeros."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value of the report."""


class TokenDescription(_Part, frozen=True):
    """Which token this is, as the module says."""

    label: str
    serial: str
    manufacturer: str
    model: str
    module: str
    """Path of the PKCS#11 module."""
    module_description: str
    module_version: str
    profile: str
    """Name of the set of known exceptions that applies to it."""


class HostProtection(_Part, frozen=True):
    """How well a host's memory is kept to itself, as the host found after it did what it could."""

    dumpable: bool
    """Whether other processes of its user may look into it."""
    not_locked: str
    """Why its memory may go to the swap; empty if it does not."""


class LengthFinding(_Part, frozen=True):
    """What became of one plaintext of one length."""

    length_bytes: int
    plaintext: str
    """`RANDOM` or `ZERO_PADDED`."""
    accepted: bool
    refused_by: str
    """The step of the import that refused it; empty if it was accepted."""
    detail: str
    """The token's own word for the refusal; empty if there was none."""


class AlgorithmFinding(_Part, frozen=True):
    """What the token does with one wrapping algorithm."""

    algorithm: WrappingAlgorithm
    works: bool
    """Whether material of the right length, wrapped outside, came through unchanged."""
    why_not: str
    damaged: str
    """What became of a damaged ciphertext. A token may unwrap damaged RSAES_PKCS1_V1_5 to a random key."""
    lengths: tuple[LengthFinding, ...]


class CipherFinding(_Part, frozen=True):
    """Whether keys can encrypt and decrypt with one cipher."""

    algorithm: CipherAlgorithm
    works: bool
    """Whether the token made of known material and data what was computed outside, and refused what was damaged."""
    why_not: str


class CheckFinding(_Part, frozen=True):
    """One thing that a token must do or refuse, and what it did."""

    check: str
    passed: bool
    finding: str
    exception: str
    """Why this token's profile lets it pass all the same; empty if it does not, or need not."""

    @property
    def tolerated(self) -> bool:
        """Tell whether the deployment may serve with this finding."""
        return self.passed or bool(self.exception)


class UnknownKey(_Part, frozen=True):
    """A sealing key that has the deployment's name, and that its database does not name."""

    label: str
    version: int
    """That its label says; 0 if none that we write."""


class TokenReport(_Part, frozen=True):
    """All findings of one probe."""

    token: TokenDescription
    edition: Edition
    algorithms: tuple[AlgorithmFinding, ...]
    ciphers: tuple[CipherFinding, ...]
    checks: tuple[CheckFinding, ...]
    value_len: str
    """How truthfully the token reports the length of an unwrapped key."""
    fingerprint_algorithm: str
    fingerprint_note: str
    """Of which cipher the MAC of a fingerprint is."""
    unknown_keys: tuple[UnknownKey, ...] = ()
    """They stop nothing: an interrupted rotation or retirement, or a database older than the token."""

    @property
    def working(self) -> frozenset[WrappingAlgorithm]:
        """The algorithms that may be offered."""
        return frozenset(finding.algorithm for finding in self.algorithms if finding.works)

    @property
    def working_ciphers(self) -> frozenset[CipherAlgorithm]:
        """The ciphers that may be offered; a deployment without any still takes imports."""
        return frozenset(finding.algorithm for finding in self.ciphers if finding.works)

    @property
    def wrong_lengths(self) -> tuple[str, ...]:
        """Sentences naming each wrong length that was accepted: with any of them the service must not start."""
        right = self.edition.material_bytes
        return tuple(
            f"{finding.algorithm} let {found.length_bytes} bytes through ({found.plaintext})."
            for finding in self.algorithms
            for found in finding.lengths
            if found.accepted and found.length_bytes != right
        )

    @property
    def exceptions(self) -> tuple[str, ...]:
        """Everything in which the token falls short and which its profile knows, as sentences."""
        return tuple(
            f"{found.check}: {found.finding}. {found.exception}"
            for found in self.checks
            if not found.passed and found.exception
        )

    @property
    def refusals(self) -> tuple[str, ...]:
        """Sentences saying why the deployment must not serve with this token; none if it may."""
        unknown = tuple(f"{found.check}: {found.finding}." for found in self.checks if not found.tolerated)
        nothing = () if self.working else ("No wrapping algorithm passed its round trip.",)
        return self.wrong_lengths + unknown + nothing

    def require_usable(self) -> None:
        """Return if the deployment may serve with this token.

        Raises:
            TokenUnusable: a wrong length survives, a finding is not in the profile, or no algorithm works.
        """
        if self.refusals:
            raise TokenUnusable(
                f"The token '{self.token.label}' failed its start-up probe, so nothing is served: "
                f"{' '.join(self.refusals)} 'hsmkms doctor' shows the whole probe."
            )
