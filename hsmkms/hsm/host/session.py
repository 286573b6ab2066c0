"""One PKCS#11 session, in our own words and types.

Laws:

- every template passes `Mapper.checked` before it is packed;
- errors are python-pkcs11's; whoever calls sorts them with `faults`;
- an object made here that is not destroyed, destroyed twice or by another session is a defect: use `temporary`;
- an object that the token does not destroy goes with the process: `destroy` says that the host must end;
- an object that was made although the token said otherwise, or did not come to say so, is found by the mark that each
  object of this session has, and destroyed: it may be material, and extractable.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, _pkcs11

from hsmkms.core.ciphertexts import TAG_BYTES
from hsmkms.hsm.host import faults, packing, templates
from hsmkms.hsm.host.cryptoki import Calls
from hsmkms.hsm.host.faults import TokenSick
from hsmkms.hsm.host.mapper import Mapper
from hsmkms.hsm.host.packing import Parameter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from hsmkms.hsm.host.packing import Packed
    from hsmkms.hsm.host.templates import Template

AES_BLOCK_BYTES: Final = 16
MAC_KEY_BITS: Final = 256
_BITS: Final = 8
_MOST_TEMPLATES: Final = 16
_GENERATING: Final[Mapping[KeyType, Mechanism]] = {
    KeyType.AES: Mechanism.AES_KEY_GEN,
    KeyType.GENERIC_SECRET: Mechanism.GENERIC_SECRET_KEY_GEN,
}

_logger = logging.getLogger(__name__)
_search: Final[Any] = _pkcs11.SearchIter  # type: ignore[attr-defined] # the class is there, the stub lacks it
"""What Session.get_objects is made of; used directly, because that gives up at the first object it cannot read."""


class TokenObject(Protocol):
    """An object of the token, whichever way it was made or found."""

    @property
    def handle(self) -> int:
        """Its number in this process."""

    def destroy(self) -> None:
        """Destroy it."""


@dataclass(frozen=True, slots=True)
class _Object:
    """One that was made by a direct call."""

    handle: int
    _calls: Calls = field(repr=False)

    def destroy(self) -> None:
        self._calls.destroy(self.handle)


class TokenSession:
    """One session; for one thread at a time."""

    def __init__(self, session: pkcs11.Session, transit_key: TokenObject | None = None) -> None:
        """Take an open session of a logged-in user, and the transit key where there is one (`transit`)."""
        self._session: Any = session
        self._mapper = Mapper()
        self._calls = Calls(cast("Any", session).handle)
        self._templates: dict[int, tuple[Template, Packed]] = {}
        self._parameters: dict[Mechanism, Parameter] = {}
        self._mark = uuid.uuid4().bytes
        self._may_hold_unknown = False
        self._answer_lost = False
        self._transit_key = transit_key

    @property
    def transit_key(self) -> TokenObject:
        """The key that takes material from one sealing key to the next."""
        assert self._transit_key is not None  # noqa: S101 - a host started for a transfer has one, and only it asks
        return self._transit_key

    @property
    def may_hold_unknown(self) -> bool:
        """Whether `destroy_unknown` has anything to look for."""
        return self._may_hold_unknown

    def _checked(self, template: Template) -> dict[Attribute, Any]:
        return dict(self._mapper.checked(template))

    def _marked(self, template: Template) -> Template:
        """Return the template of an object to be made; those of the token have an id of their own."""
        return template if template.get(Attribute.TOKEN) else templates.marked(template, self._mark)

    def _packed(self, template: Template) -> Packed:
        """Return the marked template as C reads it; each is packed once, by its identity, while it is kept."""
        kept = self._templates.get(id(template))
        if kept is None:
            if len(self._templates) >= _MOST_TEMPLATES:  # such as the probe's, each of which is used once
                self._templates.clear()
            kept = self._templates[id(template)] = template, self._mapper.packed(self._marked(template))
        return kept[1]

    def _parameter(self, mechanism: Mechanism | Parameter) -> Parameter:
        if isinstance(mechanism, Parameter):
            return mechanism
        kept = self._parameters.get(mechanism)
        if kept is None:
            kept = self._parameters[mechanism] = packing.plain(mechanism)
        return kept

    def _made(self, handle: int) -> TokenObject:
        return _Object(handle, self._calls)

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Remember an error in the block: the object may be there all the same, and its handle nowhere."""
        try:
            yield
        except pkcs11.PKCS11Error:
            self._may_hold_unknown = self._answer_lost = True
            raise

    @contextmanager
    def to_be_refused(self) -> Iterator[None]:
        """Expect an error in the block: what it leaves is destroyed as ever, and is not worth a warning.

        SoftHSM keeps what it refuses to generate, create or unwrap as it was when it came to what it refuses.
        """
        before = self._answer_lost
        try:
            yield
        finally:
            self._answer_lost = before

    def destroy_unknown(self, known: Collection[int]) -> None:
        """Destroy what this session made, after an error, without telling; nothing else may be under way in it.

        Args:
            known: handles of the objects that somebody keeps.

        Raises:
            TokenSick: the token does not find or not destroy them; they end with the host.
        """
        if not self._may_hold_unknown:
            return
        try:
            with _search(self._session, self._checked(templates.find_marked(self._mark)), 1) as search:
                unknown = [each for batch in search for each in batch if each.handle not in known]
        except pkcs11.PKCS11Error as error:
            raise TokenSick(faults.word(error)) from error
        for each in unknown:
            destroy(each)
        if unknown:
            facts = {"count": len(unknown)}
            if self._answer_lost:
                _logger.warning("objects of a lost answer were destroyed", extra=facts)
            else:
                _logger.debug("objects of refused attempts were destroyed", extra=facts)
        self._may_hold_unknown = self._answer_lost = False

    def find(self, template: Template) -> list[TokenObject]:
        """Return every object that the template matches and that can be read.

        SoftHSM finds files that were half written when a process was killed, and then cannot read them
        (CKR_ATTRIBUTE_VALUE_INVALID); whatever they were to be, they are nobody's key.
        """
        found: list[TokenObject] = []
        with _search(self._session, self._checked(template), 1) as search:
            for batch in search:
                try:
                    found.extend(batch)
                except pkcs11.PKCS11Error as error:
                    _logger.warning("an object cannot be read", extra={"answer": type(error).__name__})
        return found

    def random(self, size: int) -> bytes:
        """Return `size` bytes of the token's random generator."""
        return self._calls.random(size)

    def generate_secret(self, bits: int, template: Template) -> TokenObject:
        """Generate an AES key, or a generic secret for MACs, of `bits` as the template says."""
        key_type = cast("KeyType", template[Attribute.KEY_TYPE])
        packed = self._mapper.packed(templates.of_length(self._marked(template), bits // _BITS))
        with self._making():
            return self._made(self._calls.generate(packed, self._parameter(_GENERATING[key_type])))

    def create(self, template: Template) -> TokenObject:
        """Return the object that C_CreateObject makes of `template`, its value and all."""
        packed = self._mapper.packed(self._marked(template))
        with self._making():
            return self._made(self._calls.create(packed))

    def generate_pair(self, bits: int) -> tuple[TokenObject, TokenObject]:
        """Generate an RSA pair as `templates` has it."""
        with self._making():
            halves: tuple[TokenObject, TokenObject] = self._session.generate_keypair(
                KeyType.RSA,
                bits,
                capabilities=0,
                public_template=self._checked(self._marked(templates.pair_public())),
                private_template=self._checked(self._marked(templates.fresh_pair_private())),
            )
        return halves

    def wrap(self, sealing: TokenObject, key: TokenObject, mechanism: Mechanism) -> bytes:
        """Return `key` sealed under `sealing` (C_WrapKey)."""
        return self._calls.wrap(sealing.handle, key.handle, self._parameter(mechanism))

    def unwrap(
        self, unwrapping: TokenObject, blob: bytes, template: Template, parameter: Mechanism | Parameter
    ) -> TokenObject:
        """Return the object that C_UnwrapKey makes of `blob`."""
        packed = self._packed(template)
        with self._making():
            return self._made(self._calls.unwrap(unwrapping.handle, blob, packed, self._parameter(parameter)))

    def copy(self, key: TokenObject, template: Template) -> TokenObject:
        """Return a copy of `key` with other attributes (C_CopyObject)."""
        packed = self._mapper.packed(template)
        with self._making():
            return self._made(self._calls.copy(key.handle, packed))

    def change(self, key: TokenObject, attribute: Attribute, *, value: bool) -> None:
        """Set one attribute (C_SetAttributeValue)."""
        self._calls.write(key.handle, self._mapper.packed({attribute: value}))

    def read(self, key: TokenObject, attribute: Attribute) -> Any:  # noqa: ANN401 - as the attribute is
        """Return one attribute; None if the token does not have it for this object."""
        try:
            return self._mapper.unpack_attributes(attribute, self._calls.read(key.handle, attribute))
        except (pkcs11.AttributeTypeInvalid, pkcs11.AttributeSensitive):
            return None
        except pkcs11.PKCS11Error:
            self._may_hold_unknown = self._answer_lost = (
                True  # of a new pair the modulus is read before anybody keeps it
            )
            raise

    def mac(self, key: TokenObject, data: bytes, mechanism: Mechanism) -> bytes:
        """Return the MAC of `data` under `key` (C_Sign)."""
        return self._calls.sign(key.handle, data, self._parameter(mechanism))

    def encrypt(self, key: TokenObject, data: bytes, iv: bytes) -> bytes:
        """Return `data` under AES-CBC with PKCS#7 padding."""
        return self._calls.encrypt(key.handle, data, packing.with_iv(Mechanism.AES_CBC_PAD, iv))

    def decrypt(self, key: TokenObject, data: bytes, iv: bytes) -> bytes:
        """Return what `encrypt` was given."""
        return self._calls.decrypt(key.handle, data, packing.with_iv(Mechanism.AES_CBC_PAD, iv))

    def seal_gcm(self, key: TokenObject, data: bytes, iv: bytes, authenticated: bytes) -> bytes:
        """Return `data` under AES-GCM, with its tag of 16 bytes behind it (NIST SP 800-38D)."""
        return self._calls.encrypt(key.handle, data, packing.gcm(iv, authenticated, TAG_BYTES))

    def seal_gcm_as_announced(self, key: TokenObject, data: bytes, iv: bytes, authenticated: bytes) -> bytes:
        """Do as `seal_gcm`, in the room that the token says it needs: for known values.

        NSS softoken names too little, and a token that misjudges its own output is not to be relied on.
        """
        return self._calls.encrypt_as_announced(key.handle, data, packing.gcm(iv, authenticated, TAG_BYTES))

    def open_gcm(self, key: TokenObject, sealed: bytes, iv: bytes, authenticated: bytes) -> bytes:
        """Return what `seal_gcm` was given."""
        return self._calls.decrypt(key.handle, sealed, packing.gcm(iv, authenticated, TAG_BYTES))

    @contextmanager
    def temporary(self, key: TokenObject) -> Iterator[TokenObject]:
        """Destroy `key` at the end of the block, whatever happens in it."""
        try:
            yield key
        finally:
            destroy(key)


def destroy(key: TokenObject) -> None:
    """Destroy an object of a session.

    Raises:
        TokenSick: the token did not; it may hold a secret, and ends with the session.
    """
    try:
        key.destroy()
    except pkcs11.PKCS11Error as error:
        raise TokenSick(faults.word(error)) from error
