"""The one door of the service: a caller and a command in, an outcome out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hsmkms.core.errors import HsmkmsError, InternalFault
from hsmkms.core.metering import UNMETERED
from hsmkms.service import commands
from hsmkms.service.commands import ServiceShown
from hsmkms.service.permissions import require_role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hsmkms.core.ciphertexts import CipherAlgorithm
    from hsmkms.core.credentials import Caller
    from hsmkms.core.ids import AccessId
    from hsmkms.core.material import Edition
    from hsmkms.core.metering import Meter
    from hsmkms.core.secrets import AuthToken
    from hsmkms.core.wrapping import WrappingAlgorithm
    from hsmkms.service.admission import Admission
    from hsmkms.service.answering import FailureSchedule
    from hsmkms.service.auditing import Trail
    from hsmkms.service.auth_tokens import AuthTokenUseCases
    from hsmkms.service.commands import Command, DescribeService, OpenCredential, Outcome, TokenHolder
    from hsmkms.service.credentials import CredentialUseCases
    from hsmkms.service.crypto import CryptoUseCases
    from hsmkms.service.importing import ImportUseCases
    from hsmkms.service.issuing import IssuingUseCases
    from hsmkms.service.keys import KeyUseCases
    from hsmkms.service.lifecycle import LifecycleUseCases
    from hsmkms.service.limits import RateLimits
    from hsmkms.service.offering import Offer


@dataclass(frozen=True, slots=True)
class UseCases:
    """All that the service does."""

    keys: KeyUseCases
    lifecycle: LifecycleUseCases
    issuing: IssuingUseCases
    imports: ImportUseCases
    crypto: CryptoUseCases
    credentials: CredentialUseCases
    auth_tokens: AuthTokenUseCases


@dataclass(frozen=True, slots=True)
class Guards:
    """What every command passes on its way in and out."""

    limits: RateLimits
    admission: Admission
    failures: FailureSchedule
    trail: Trail
    meter: Meter = UNMETERED


class Service:
    """What the dialects drive."""

    def __init__(self, edition: Edition, offer: Offer, use_cases: UseCases, guards: Guards) -> None:
        """Put the use cases behind one door."""
        self._edition = edition
        self._offer = offer
        self._use_cases = use_cases
        self._guards = guards
        keys, lifecycle, crypto = use_cases.keys, use_cases.lifecycle, use_cases.crypto
        self._handlers: Mapping[type, Callable[[Caller, Any], Awaitable[Outcome]]] = {
            commands.CreateKey: keys.create,
            commands.DescribeKey: keys.describe,
            commands.DescribeKeys: keys.describe_all,
            commands.ListKeys: keys.list,
            commands.SwitchKey: keys.switch,
            commands.SwitchKeys: keys.switch_all,
            commands.ArchiveKey: lifecycle.archive,
            commands.ScheduleDeletion: lifecycle.schedule_deletion,
            commands.CancelDeletion: lifecycle.cancel_deletion,
            commands.EnableRotation: lifecycle.enable_rotation,
            commands.Encrypt: crypto.encrypt,
            commands.Decrypt: crypto.decrypt,
            commands.ReEncrypt: crypto.re_encrypt,
            commands.MakeDataKey: crypto.make_data_key,
            commands.MakeRandom: crypto.make_random,
            commands.RelabelKey: keys.relabel,
            commands.GetImportParameters: use_cases.issuing.get_parameters,
            commands.ImportMaterial: use_cases.imports.import_material,
            commands.DeleteMaterial: keys.delete_material,
            commands.DescribeService: self._describe,
        }

    @property
    def offered_algorithms(self) -> tuple[WrappingAlgorithm, ...]:
        """The wrapping algorithms that both the token and the configuration offer."""
        return self._offer.algorithms

    @property
    def ciphers(self) -> frozenset[CipherAlgorithm]:
        """How the token was seen to encrypt with the material of a key."""
        return self._use_cases.crypto.ciphers

    def admit(self, caller: Caller, api: str) -> None:
        """Count one request of the caller's account to the action `api` of a dialect.

        Raises:
            RequestRateExceeded: there were too many of them lately.
        """
        self._guards.limits.admit(caller.account.name, api)

    def note_refusal(self, error: HsmkmsError, source: str, caller: Caller | None, api: str | None) -> None:
        """Write down what was refused before it became a command."""
        self._guards.meter.turned_away(type(error).__name__)
        if caller is not None:
            self._guards.trail.turned_away(caller, api, error)
        elif not isinstance(error, InternalFault):  # a defect: whose request it was `execute` knew, and wrote down
            self._guards.trail.stranger(source, error)

    async def execute(self, caller: Caller, command: Command) -> Outcome:
        """Do what `caller` asks, and have it in the audit trail before it is answered.

        An import that fails, of whatever, a defect of ours included, is not answered as soon as that is known.

        Raises:
            CallerFault: it cannot be granted.
            ServiceFault: it could not be done.
        """
        try:
            return await self._execute(caller, command)
        except Exception:
            if isinstance(command, commands.ImportMaterial):
                await self._guards.failures.wait(caller.received)
            raise

    async def _execute(self, caller: Caller, command: Command) -> Outcome:
        trail = self._guards.trail
        try:
            await trail.until_writable()
            require_role(caller, command)
            async with self._guards.admission.place(caller.account.name, command):
                outcome = await self._handlers[type(command)](caller, command)
        except Exception as error:
            trail.refused(caller, command, error if isinstance(error, HsmkmsError) else InternalFault())
            raise
        trail.done(caller, command, outcome)
        return outcome

    async def secret_of(self, access_id: AccessId, source: str = "") -> OpenCredential | None:
        """Return the credential with its secret, or None if there is none that is switched on."""
        return await self._use_cases.credentials.open(access_id, source)

    async def holder_of(self, token: AuthToken, source: str = "") -> TokenHolder | None:
        """Return whose the auth token is, or None if it is nobody's who is switched on."""
        return await self._use_cases.auth_tokens.holder_of(token, source)

    async def _describe(self, caller: Caller, _command: DescribeService) -> ServiceShown:
        keys = self._use_cases.keys
        return ServiceShown(self._edition, self._offer.algorithms, await keys.count(caller), keys.most_keys)
