"""The credential: the JSON file that `hsmkms new` and `hsmkms credential create --json` write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hsmkms.client.material import readable_by_others
from hsmkms.core.errors import BodyMalformed, InputUnusable
from hsmkms.core.ids import AccessId
from hsmkms.core.secrets import SecretKey
from hsmkms.dialects import strict_json

if TYPE_CHECKING:
    from pathlib import Path

    from hsmkms.client.telling import Teller

_MOST_BYTES: Final = 16 * 1024
_SECRET_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ClientCredential:
    """What signs."""

    secret_id: AccessId
    secret_key: SecretKey


def read(path: Path, tell: Teller) -> ClientCredential:
    """Read a credential, and warn if others can.

    Raises:
        InputUnusable: the file cannot be read, or is no such credential.
    """
    try:
        with path.open("rb") as file:
            if readable_by_others(file.fileno()):
                tell.warning(f"The credential {path} can be read by others; use: chmod 600 {path}")
            members = strict_json.read_object(file.read(_MOST_BYTES))
    except OSError as error:
        raise InputUnusable(f"The credential {path} cannot be read ({error.strerror or error}).") from error
    except BodyMalformed:
        members = {}
    match members:
        case {"secret_id": str(secret_id), "secret_key": str(secret_key)} if (
            _SECRET_ID.fullmatch(secret_id) and secret_key
        ):
            return ClientCredential(AccessId(secret_id), SecretKey(secret_key.encode()))
        case _:
            raise InputUnusable(
                f"{path} is no credential with a secret key: it must be the JSON object that 'hsmkms credential "
                "create --json' prints, with secret_id and secret_key."
            )
