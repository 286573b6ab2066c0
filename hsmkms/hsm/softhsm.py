"""Where SoftHSM keeps its tokens, as its own configuration says (softhsm2.conf(5))."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import TokenUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIBRARY: Final = "libsofthsm2"
CONFIGURATION_VARIABLE: Final = "SOFTHSM2_CONF"
_DEFAULT_CONFIGURATION: Final = "/etc/softhsm/softhsm2.conf"
_TOKEN_DIRECTORY_KEY: Final = "directories.tokendir"  # noqa: S105 - a key of softhsm2.conf


def is_softhsm(module: str) -> bool:
    """Tell by its name whether the PKCS#11 module at `module` is SoftHSM."""
    return Path(module).name.startswith(_LIBRARY)


def configuration(environment: Mapping[str, str]) -> Path:
    """Return the configuration that SoftHSM reads in this environment."""
    return Path(environment.get(CONFIGURATION_VARIABLE, _DEFAULT_CONFIGURATION))


def token_directory(environment: Mapping[str, str]) -> Path:
    """Return SoftHSM's token directory in this environment.

    Raises:
        TokenUnusable: the configuration does not name one.
    """
    path = configuration(environment)
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise TokenUnusable(
            f"SoftHSM's configuration '{path}' cannot be read ({error.strerror}): correct SOFTHSM2_CONF in [hsm.env]."
        ) from error
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == _TOKEN_DIRECTORY_KEY:
            return Path(value.strip())
    raise TokenUnusable(f"SoftHSM's configuration '{path}' has no '{_TOKEN_DIRECTORY_KEY}': add it.")
