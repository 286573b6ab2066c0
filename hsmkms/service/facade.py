"""The one door of the service: a caller and a command in, an outcome out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsmkms.service import commands
from hsmkms.service.commands import ServiceShown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hsmkms.core.credentials import Caller
    from hsmkms.core.ids import AccessId
    from hsmkms.core.material import Edition
    from hsmkms.core.secrets import AuthToken
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.service.auth_tokens import AuthTokenUseCases
    from hsmkms.service.commands import Command, DescribeService, OpenCredential, Outcome, TokenHolder
    from hsmkms.service.credentials import CredentialUseCases
    from hsmkms.service.importing import ImportUseCases
    from hsmkms.service.issuing import IssuingUseCases
    from hsmkms.service.keys import KeyUseCases
    from hsmkms.service.offering import Offer


class Service:
    """What the dialects drive."""

    def __init__(
        self,
        edition: Edition,
        offer: Offer,
        keys: KeyUseCases,
        issuing: IssuingUseCases,
        imports: ImportUseCases,
        credentials: CredentialUseCases,
        auth_tokens: AuthTokenUseCases,
    ) -> None:
        """Put the use cases behind one door."""
        self._edition = edition
        self._keys = keys
        self._offer = offer
        self._credentials = credentials
        self._auth_tokens = auth_tokens
        self._handlers: Mapping[type, Callable[[Caller, Any], Awaitable[Outcome]]] = {
            commands.CreateKey: keys.create,
            commands.DescribeKey: keys.describe,
            commands.DescribeKeys: keys.describe_all,
            commands.ListKeys: keys.list,
            commands.SwitchKey: keys.switch,
            commands.RelabelKey: keys.relabel,
            commands.GetImportParameters: issuing.get_parameters,
            commands.ImportMaterial: imports.import_material,
            commands.DeleteMaterial: keys.delete_material,
            commands.DescribeService: self._describe,
        }

    @property
    def offered_algorithms(self) -> tuple[WrappingAlgorithm, ...]:
        """The wrapping algorithms that both the token and the configuration offer."""
        return self._offer.algorithms

    async def execute(self, caller: Caller, command: Command) -> Outcome:
        """Do what `caller` asks.

        Raises:
            CallerFault: it cannot be granted.
            ServiceFault: it could not be done.
        """
        return await self._handlers[type(command)](caller, command)

    async def secret_of(self, access_id: AccessId) -> OpenCredential | None:
        """Return the credential with its secret, or None if there is none that is switched on."""
        return await self._credentials.open(access_id)

    async def holder_of(self, token: AuthToken) -> TokenHolder | None:
        """Return whose the auth token is, or None if it is nobody's who is switched on."""
        return await self._auth_tokens.holder_of(token)

    async def _describe(self, caller: Caller, _command: DescribeService) -> ServiceShown:
        return ServiceShown(self._edition, self._offer.algorithms, await self._keys.count(caller), self._keys.most_keys)
