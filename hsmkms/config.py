"""The only reader of configuration: one TOML file into one frozen object.

Laws:

- unknown keys are errors, so are values of another TOML type, and no environment variable overrides anything;
- units are in the names; relative paths are relative to the file's folder;
- the file names where the PIN is and never holds it; only a host opens that file;
- what is wrong is said in one sentence that names the key and the cure.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    model_validator,
)

from hsmkms.core.errors import ConfigurationInvalid
from hsmkms.core.material import Edition
from hsmkms.core.wrapping import WRAPPING, WrappingAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

_SQLITE: Final = "sqlite:///"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Section):
    """Where and how the service is reached."""

    host: str = "127.0.0.1"
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = 8765
    tls_cert: Path | None = None
    """PEM certificate chain; together with `tls_key` it turns TLS on."""
    tls_key: Path | None = None
    tls_terminated_by_proxy: StrictBool = False
    """Set it only where a proxy in front speaks TLS and passes the Host header on unchanged."""
    shutdown_seconds: Annotated[StrictFloat, Field(gt=0, le=3600)] = 10
    """How long requests in flight may take after SIGTERM."""

    @model_validator(mode="after")
    def _is_safe(self) -> Listen:
        if (self.tls_cert is None) != (self.tls_key is None):
            message = "tls_cert and tls_key belong together; set both or neither"
            raise ValueError(message)
        if self.tls_cert is None and not self.tls_terminated_by_proxy and not _is_loopback(self.host):
            message = (
                f"host {self.host} is reachable from other machines and there is no TLS; set tls_cert and tls_key, "
                "or tls_terminated_by_proxy, or listen on 127.0.0.1"
            )
            raise ValueError(message)
        return self


class StoreSection(_Section):
    """The database."""

    url: Annotated[str, Field(min_length=1)]
    """`sqlite:///FILE`."""


class HsmSection(_Section):
    """The token and the processes that speak to it."""

    module: Path
    """The PKCS#11 library of the token."""
    token_label: Annotated[str, Field(min_length=1, max_length=32)]
    pin_file: Path
    """A file readable by the service's user only, holding the user PIN on its first line."""
    hosts: Annotated[StrictInt, Field(ge=1, le=64)] = Field(
        default_factory=lambda: min(64, len(os.sched_getaffinity(0)))
    )
    """Processes for requests; one more makes wrapping pairs."""
    sessions_per_host: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    """More than one only for a network HSM with latency."""
    initialize_args: str | None = None
    """NSS's parameter string for C_Initialize."""
    verb_timeout_seconds: Annotated[StrictFloat, Field(gt=0, le=600)] = 10
    """After this a call counts as hung and its host is replaced."""
    env: dict[str, str] = {}
    """Variables such as SOFTHSM2_CONF, set for the hosts only."""


class ImportSection(_Section):
    """The ceremony."""

    wrapping_algorithms: tuple[WrappingAlgorithm, ...] = Field(
        default=tuple(row.algorithm for row in WRAPPING.values() if row.on_by_default), min_length=1
    )
    """RSAES_PKCS1_V1_5 must be named to be offered; see SECURITY.md first."""
    parameters_valid_seconds: Annotated[StrictInt, Field(ge=1, le=7 * 86400)] = 86400
    ready_pairs: Annotated[StrictInt, Field(ge=0, le=1000)] = 4
    """Wrapping pairs kept ready."""
    tickets_per_pair: Annotated[StrictInt, Field(ge=1, le=100_000)] = 1
    """More than one lets a bulk migration share a pair among tickets of one account and algorithm."""
    max_attempts: Annotated[StrictInt, Field(ge=1, le=10)] = 10
    """Failing imports per import token."""


class LimitsSection(_Section):
    """Quotas."""


class LogSection(_Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section):
    """The whole configuration."""

    edition: Edition
    listen: Listen = Field(default_factory=Listen)
    store: StoreSection
    hsm: HsmSection
    import_: ImportSection = Field(default_factory=ImportSection, alias="import")
    limits: LimitsSection = Field(default_factory=LimitsSection)
    log: LogSection = Field(default_factory=LogSection)


def load(path: Path) -> Settings:
    """Read and check the configuration file.

    Raises:
        ConfigurationInvalid: it cannot be read, or a key in it is unknown, missing or wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"The configuration {path} cannot be read ({error.strerror}); give its path with --config."
        raise ConfigurationInvalid(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"The configuration {path} is not TOML: {error}."
        raise ConfigurationInvalid(message) from error
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise ConfigurationInvalid(_sentence(path, error.errors()[0])) from error
    return _anchored(settings, path.resolve().parent)


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Return the settings with every relative path made absolute."""
    listen, hsm, url = settings.listen, settings.hsm, settings.store.url
    if url.startswith(_SQLITE):
        url = _SQLITE + str(folder / url.removeprefix(_SQLITE))
    return settings.model_copy(
        update={
            "listen": listen.model_copy(
                update={
                    "tls_cert": listen.tls_cert and folder / listen.tls_cert,
                    "tls_key": listen.tls_key and folder / listen.tls_key,
                }
            ),
            "hsm": hsm.model_copy(update={"module": folder / hsm.module, "pin_file": folder / hsm.pin_file}),
            "store": settings.store.model_copy(update={"url": url}),
        }
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sentence(path: Path, error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "the file"
    match error["type"]:
        case "missing":
            return f"{path}: the key {key} is missing; add it."
        case "extra_forbidden":
            return f"{path}: the key {key} is unknown; {_suggestion(error['loc'])}."
        case "tuple_type":
            return f"{path}: {key} is wrong: write a list, in square brackets."
        case "value_error":
            return f"{path}: {key}: {error['ctx']['error']}."
    return f"{path}: {key} is wrong: {error['msg'][0].lower()}{error['msg'][1:]}."


def _suggestion(location: tuple[str | int, ...]) -> str:
    fields: Mapping[str, object] = _fields_of(Settings)
    for part in location[:-1]:
        section = Settings.model_fields.get("import_" if part == "import" else str(part))
        fields = _fields_of(section.annotation) if section is not None else {}
    if not fields:
        return "this section has no key yet; remove it"
    near = difflib.get_close_matches(str(location[-1]), fields, n=1)
    return f"did you mean {near[0]}" if near else f"known here are {', '.join(fields)}"


def _fields_of(model: object) -> Mapping[str, object]:
    for candidate in (model, *get_args(model)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return {field.alias or name: field for name, field in candidate.model_fields.items()}
    return {}
