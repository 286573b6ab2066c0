"""A service that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hsmkms.core.ciphertexts import CipherAlgorithm
from hsmkms.core.credentials import Role
from hsmkms.core.ids import AccessId, Account, AccountName, Instant, KeyId, from_seconds
from hsmkms.core.keys import Key, KeyState, KeyUsage, Material, Origin
from hsmkms.core.secrets import AuthToken, SecretKey
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.service.commands import Done, KeyShown, OpenCredential, TokenHolder

if TYPE_CHECKING:
    from hsmkms.core.credentials import Caller
    from hsmkms.core.errors import HsmkmsError
    from hsmkms.service.commands import Command, Outcome

NOW: Final = 1795286013
"""The second at which the recorded requests were signed."""
ACCESS_ID: Final = AccessId("AKIDEXAMPLE")
SECRET: Final = SecretKey(b"wJalrXUtnFEMI-EXAMPLE-SECRET")
AUTH_TOKEN: Final = AuthToken(b"MIIFvgYJKoZIhvcN-EXAMPLE-TOKEN")
TOKEN_ACCESS_ID: Final = AccessId("AKIDTOKEN")
"""The credential of `AUTH_TOKEN`."""
ACCOUNT: Final = Account(7, AccountName("acme"))
KEY_ID: Final = KeyId("0d0466b0-e727-4d9c-b35d-f84bb474a37f")


def key(
    *, origin: Origin = Origin.EXTERNAL, valid_to: Instant | None = None, deletion_due: Instant | None = None
) -> Key:
    """Return a key with material."""
    return Key(
        key_id=KEY_ID,
        account=ACCOUNT.name,
        alias="demo-ext",
        description="测试 desc",
        usage=KeyUsage.ENCRYPT_DECRYPT,
        origin=origin,
        created_at=from_seconds(NOW - 60),
        deletion_due=deletion_due,
        material=Material(b"record", from_seconds(NOW - 30), valid_to),
    )


def shown(state: KeyState = KeyState.ENABLED) -> KeyShown:
    """Return a key as the service shows it."""
    return KeyShown(key(), state)


@dataclass
class StoppedClock:
    """A clock that a test moves."""

    second: int = NOW

    def now(self) -> Instant:
        """Return the instant it stands at."""
        return from_seconds(self.second)


@dataclass
class ScriptedService:
    """The service double."""

    outcome: Outcome | HsmkmsError = field(default_factory=Done)
    offered_algorithms: tuple[WrappingAlgorithm, ...] = (
        WrappingAlgorithm.RSAES_OAEP_SHA_256,
        WrappingAlgorithm.RSAES_OAEP_SHA_1,
    )
    ciphers: frozenset[CipherAlgorithm] = frozenset({CipherAlgorithm.AES_256_GCM})
    secret_fault: HsmkmsError | None = None
    rate_fault: HsmkmsError | None = None
    account: Account = ACCOUNT
    auth_token: AuthToken = AUTH_TOKEN
    asked: list[tuple[Caller, Command]] = field(default_factory=list)
    admitted: list[tuple[Caller, str]] = field(default_factory=list)
    refusals: list[tuple[HsmkmsError, str, Caller | None, str | None]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    """Of those whose credentials it was asked for."""

    def admit(self, caller: Caller, api: str) -> None:
        """Keep what each caller asks for, and refuse it if the test says so."""
        self.admitted.append((caller, api))
        if self.rate_fault is not None:
            raise self.rate_fault

    def note_refusal(self, error: HsmkmsError, source: str, caller: Caller | None, api: str | None) -> None:
        """Keep what was refused."""
        self.refusals.append((error, source, caller, api))

    async def execute(self, caller: Caller, command: Command) -> Outcome:
        """Return or raise what the test set."""
        self.asked.append((caller, command))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def secret_of(self, access_id: AccessId, source: str) -> OpenCredential | None:
        """Know one credential."""
        self.sources.append(source)
        if self.secret_fault is not None:
            raise self.secret_fault
        if access_id != ACCESS_ID:
            return None
        return OpenCredential(self.account, frozenset({Role.IMPORTER}), SECRET)

    async def holder_of(self, token: AuthToken, source: str) -> TokenHolder | None:
        """Know one auth token."""
        self.sources.append(source)
        if self.secret_fault is not None:
            raise self.secret_fault
        if token != self.auth_token:
            return None
        return TokenHolder(TOKEN_ACCESS_ID, self.account, frozenset({Role.USER}))

    @property
    def command(self) -> Command:
        """The one command it was asked for."""
        [(_caller, command)] = self.asked
        return command
