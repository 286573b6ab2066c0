"""What the web room hands to a dialect and gets back, what a dialect asks of the service, and what it answers alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from hsmkms.service.commands import Done, ListKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hsmkms.core.ciphertexts import CipherAlgorithm
    from hsmkms.core.credentials import Caller
    from hsmkms.core.errors import HsmkmsError
    from hsmkms.core.ids import AccessId, RequestId
    from hsmkms.core.secrets import AuthToken
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.service.commands import Command, OpenCredential, Outcome, TokenHolder


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The request line and the headers exactly as they arrived; every string stands for bytes in ISO 8859-1."""

    method: str
    target: str
    """The request target of RFC 9112 3.2, percent-encoding untouched."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """Name and value in the order of arrival."""
    source: str = ""
    """Who sent it, as far as the network tells: an IP address."""
    received: float = 0.0
    """When the last byte of the request arrived, in the seconds of the event loop's clock."""
    _by_name: dict[str, tuple[str, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)
    """What `values` returns; empty until it is asked, for a request is asked for some dozen headers."""

    def arrived(self, moment: float) -> RequestHead:
        """Return the head of the same request, whose last byte arrived at `moment`."""
        whole = RequestHead(self.method, self.target, self.headers, self.source, moment)
        whole._by_name.update(self._by_name)
        return whole

    @property
    def path(self) -> str:
        """The target up to the first '?'."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the first '?', without it."""
        return self.target.partition("?")[2]

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of the header `name` (in lower case), without the white space around it."""
        if not self._by_name:
            for each, value in self.headers:
                lower = each.lower()
                self._by_name[lower] = (*self._by_name.get(lower, ()), value.strip(" \t"))
        return self._by_name.get(name, ())


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send, and what the access log may say of it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    facts: Mapping[str, str] = field(default_factory=dict)
    """Facts for the access log, such as the action, the code and the account; nothing secret."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An outcome that needs no service."""

    outcome: Outcome


NO_ACTION: Final = "actions that do not exist"
"""What requests count as that name none of a dialect's."""
NO_KEYS: Final = ListKeys(0, 1, states=frozenset())
"""What whoever asks for a kind of key that no deployment has asks for: a command, because not everybody may list."""


def at_once(_view: object, _request: object) -> Ready:
    """Answer what a dialect knows without the service."""
    return Ready(Done())


class KeyService(Protocol):
    """What a dialect asks of the service room."""

    @property
    def offered_algorithms(self) -> Collection[WrappingAlgorithm]:
        """The wrapping algorithms that both the token and the configuration offer."""

    @property
    def ciphers(self) -> Collection[CipherAlgorithm]:
        """How the token was seen to encrypt with the material of a key."""

    def admit(self, caller: Caller, api: str) -> None:
        """Count one request of the caller's account to the action `api` of a dialect.

        Raises:
            RequestRateExceeded: there were too many of them lately.
        """

    def note_refusal(self, error: HsmkmsError, source: str, caller: Caller | None, api: str | None) -> None:
        """Write down what was refused before it became a command; `execute` does so itself.

        Args:
            error: why.
            source: the address it came from.
            caller: whose request it was, if that is known.
            api: what was asked for, if there is such an action.
        """

    async def execute(self, caller: Caller, command: Command) -> Outcome:
        """Do what `caller` asks.

        Raises:
            CallerFault: it cannot be granted.
            ServiceFault: it could not be done.
        """

    async def secret_of(self, access_id: AccessId, source: str) -> OpenCredential | None:
        """Return the credential with its secret, or None if there is none that is switched on.

        Args:
            access_id: what is claimed.
            source: the address that the claim came from.

        Raises:
            ServiceFault: it could not be found out.
        """

    async def holder_of(self, token: AuthToken, source: str) -> TokenHolder | None:
        """Return whose the auth token is, or None if it is nobody's who is switched on.

        Args:
            token: what was shown.
            source: the address it came from.

        Raises:
            ServiceFault: it could not be found out.
        """


class Dialect(Protocol):
    """One cloud's API."""

    @property
    def name(self) -> str:
        """The dialect's name in logs."""

    def claims(self, head: RequestHead) -> bool:
        """Tell from the head alone whether the request speaks this dialect."""

    async def answer(self, head: RequestHead, body: bytes, request_id: RequestId) -> Reply:
        """Answer the request; every `HsmkmsError` becomes a reply of this dialect."""

    def refuse(self, head: RequestHead, error: HsmkmsError, request_id: RequestId) -> Reply:
        """Say `error` in this dialect: for what is found before or outside of `answer`."""
