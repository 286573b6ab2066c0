"""One PKCS#11 session, in our own words and types.

Laws:

- every template passes `Mapper.checked`;
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
from typing import TYPE_CHECKING, Any, Final, cast

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, _pkcs11

from hsmkms.core.ciphertexts import TAG_BYTES
from hsmkms.hsm.host import faults, templates
from hsmkms.hsm.host.faults import TokenSick

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hsmkms.hsm.host.templates import Template

AES_BLOCK_BYTES: Final = 16
MAC_KEY_BITS: Final = 256
_BITS: Final = 8

_logger = logging.getLogger(__name__)
_search: Final[Any] = _pkcs11.SearchIter  # type: ignore[attr-defined] # the class is there, the stub lacks it
"""What Session.get_objects is made of; used directly, because that gives up at the first object it cannot read."""


class TokenSession:
    """One session; for one thread at a time."""

    def __init__(self, session: pkcs11.Session) -> None:
        """Take an open session of a logged-in user."""
        self._session: Any = session
        self._mapper = templates.Mapper()
        self._mark = uuid.uuid4().bytes
        self._may_hold_unknown = False

    def _checked(self, template: Template) -> Template:
        return self._mapper.checked(template)

    def _marked(self, template: Template) -> Template:
        """Return the checked template of an object to be made; those of the token have an id of their own."""
        lasting = template.get(Attribute.TOKEN)
        return self._checked(template if lasting else templates.marked(template, self._mark))

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Remember an error in the block: the object may be there all the same, and its handle nowhere."""
        try:
            yield
        except pkcs11.PKCS11Error:
            self._may_hold_unknown = True
            raise

    def destroy_unknown(self, known: Collection[int | None]) -> None:
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
            _logger.warning("objects of a lost answer were destroyed", extra={"count": len(unknown)})
        self._may_hold_unknown = False

    def find(self, template: Template) -> list[pkcs11.Object]:
        """Return every object that the template matches and that can be read.

        SoftHSM finds files that were half written when a process was killed, and then cannot read them
        (CKR_ATTRIBUTE_VALUE_INVALID); whatever they were to be, they are nobody's key.
        """
        found: list[pkcs11.Object] = []
        with _search(self._session, self._checked(template), 1) as search:
            for batch in search:
                try:
                    found.extend(batch)
                except pkcs11.PKCS11Error as error:
                    _logger.warning("an object cannot be read", extra={"answer": type(error).__name__})
        return found

    def random(self, size: int) -> bytes:
        """Return `size` bytes of the token's random generator."""
        return bytes(self._session.generate_random(size * _BITS))

    def generate_secret(self, bits: int, template: Template) -> pkcs11.SecretKey:
        """Generate an AES key, or a generic secret for MACs, of `bits` as the template says."""
        key_type = cast("KeyType", template[Attribute.KEY_TYPE])
        with self._making():
            key = self._session.generate_key(key_type, bits, template=self._marked(template), capabilities=0)
        return cast("pkcs11.SecretKey", key)

    def generate_pair(self, bits: int) -> tuple[pkcs11.PublicKey, pkcs11.PrivateKey]:
        """Generate an RSA pair as `templates` has it."""
        with self._making():
            public, private = self._session.generate_keypair(
                KeyType.RSA,
                bits,
                capabilities=0,
                public_template=self._marked(templates.pair_public()),
                private_template=self._marked(templates.fresh_pair_private()),
            )
        return public, private

    def wrap(self, sealing: pkcs11.Object, key: pkcs11.Object, mechanism: Mechanism) -> bytes:
        """Return `key` sealed under `sealing` (C_WrapKey)."""
        return bytes(cast("Any", sealing).wrap_key(key, mechanism=mechanism))

    def unwrap(
        self,
        unwrapping: pkcs11.Object,
        blob: bytes,
        template: Template,
        mechanism: Mechanism,
        parameter: object = None,
    ) -> pkcs11.Object:
        """Return the object that C_UnwrapKey makes of `blob`."""
        with self._making():
            key = cast("Any", unwrapping).unwrap_key(
                cast("ObjectClass", template[Attribute.CLASS]),
                cast("KeyType", template[Attribute.KEY_TYPE]),
                blob,
                capabilities=0,
                mechanism=mechanism,
                mechanism_param=parameter,
                template=self._marked(template),
            )
        return cast("pkcs11.Object", key)

    def copy(self, key: pkcs11.Object, template: Template) -> pkcs11.Object:
        """Return a copy of `key` with other attributes (C_CopyObject)."""
        with self._making():
            return cast("pkcs11.Object", cast("Any", key).copy(self._checked(template)))

    def change(self, key: pkcs11.Object, attribute: Attribute, *, value: bool) -> None:
        """Set one attribute (C_SetAttributeValue)."""
        cast("Any", key)[attribute] = value

    def read(self, key: pkcs11.Object, attribute: Attribute) -> Any:  # noqa: ANN401 - as the attribute is
        """Return one attribute; None if the token does not have it for this object."""
        try:
            return cast("Any", key)[attribute]
        except (pkcs11.AttributeTypeInvalid, pkcs11.AttributeSensitive):
            return None
        except pkcs11.PKCS11Error:
            self._may_hold_unknown = True  # of a new pair the modulus is read before anybody keeps it
            raise

    def mac(self, key: pkcs11.Object, data: bytes, mechanism: Mechanism) -> bytes:
        """Return the MAC of `data` under `key` (C_Sign)."""
        return bytes(cast("Any", key).sign(data, mechanism=mechanism))

    def encrypt(self, key: pkcs11.Object, data: bytes, iv: bytes) -> bytes:
        """Return `data` under AES-CBC with PKCS#7 padding."""
        return bytes(cast("Any", key).encrypt(data, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv))

    def decrypt(self, key: pkcs11.Object, data: bytes, iv: bytes) -> bytes:
        """Return what `encrypt` was given."""
        return bytes(cast("Any", key).decrypt(data, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv))

    def seal_gcm(self, key: pkcs11.Object, data: bytes, iv: bytes, authenticated: bytes) -> bytes:
        """Return `data` under AES-GCM, with its tag of 16 bytes behind it (NIST SP 800-38D)."""
        parameter = pkcs11.GCMParams(iv, authenticated, TAG_BYTES * _BITS)  # C points into it: it must outlive the call
        return bytes(cast("Any", key).encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=parameter))

    def open_gcm(self, key: pkcs11.Object, sealed: bytes, iv: bytes, authenticated: bytes) -> bytes:
        """Return what `seal_gcm` was given."""
        parameter = pkcs11.GCMParams(iv, authenticated, TAG_BYTES * _BITS)  # as above
        return bytes(cast("Any", key).decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameter))

    @contextmanager
    def temporary(self, key: pkcs11.Object) -> Iterator[pkcs11.Object]:
        """Destroy `key` at the end of the block, whatever happens in it."""
        try:
            yield key
        finally:
            destroy(key)


def destroy(key: pkcs11.Object) -> None:
    """Destroy an object of a session.

    Raises:
        TokenSick: the token did not; it may hold a secret, and ends with the session.
    """
    try:
        key.destroy()
    except pkcs11.PKCS11Error as error:
        raise TokenSick(faults.word(error)) from error
