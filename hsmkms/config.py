"""The only reader of configuration: one TOML file into one frozen object.

Laws:

- unknown keys are errors, so are values of another TOML type, and no environment variable overrides anything;
- units are in the names; relative paths are relative to the file's folder;
- the file names where the PIN is and never holds it; only a host reads it there;
- what is wrong is said in one sentence that names the key and the cure.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
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
from hsmkms.store import urls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

_NODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)

_CURES: Final[Mapping[str, str]] = {
    "string_type": "write a string, in quotation marks",
    "path_type": "write a path, in quotation marks",
    "int_type": "write an integer, without quotation marks",
    "float_type": "write a number, without quotation marks",
    "bool_type": "write a boolean: true or false, without quotation marks",
    "tuple_type": "write a list, in square brackets",
    "dict_type": "write it as a section, [{key}]",
    "model_type": "write it as a section, [{key}]",
    "enum": "write {expected}",
    "literal_error": "write {expected}",
    "greater_than": "write more than {gt}",
    "greater_than_equal": "write at least {ge}",
    "less_than_equal": "write at most {le}",
    "string_too_short": "write at least {min_length} character",
    "string_too_long": "write at most {max_length} characters",
    "too_short": "name at least {min_length}",
}
"""What to do about a wrong value, by pydantic's name of the fault; in braces what pydantic tells of it."""


def _named(value: object) -> object:
    if value == "":
        raise ValueError("it names no file")
    return value


def _supported(url: str) -> str:
    urls.parse(url)
    return url


def _a_node(name: str) -> str:
    if not _NODE.fullmatch(name):
        raise ValueError("write lower-case letters, digits and hyphens, 32 at most, and a letter or digit first")
    return name


def _speakable(env: dict[str, str]) -> dict[str, str]:
    for name in env:
        if not name or "=" in name:
            raise ValueError(f'no variable can be called {name!r}; write NAME = "value"')
    return env


def _a_credentials(name: str) -> str:
    if "/" in name or name in {"", ".", ".."}:
        raise ValueError("write the credential's name, as LoadCredential=NAME:PATH has it")
    return name


def _different(algorithms: tuple[WrappingAlgorithm, ...]) -> tuple[WrappingAlgorithm, ...]:
    for algorithm in algorithms:
        if algorithms.count(algorithm) > 1:
            raise ValueError(f"it names {algorithm} twice; name it once")
    return algorithms


FilePath = Annotated[Path, BeforeValidator(_named)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Section):
    """Where and how the service is reached."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = 8765
    tls_cert: FilePath | None = None
    """PEM certificate chain; together with `tls_key` it turns TLS on."""
    tls_key: FilePath | None = None
    tls_terminated_by_proxy: StrictBool = False
    """Set it only where a proxy in front speaks TLS and passes the Host header on unchanged."""
    shutdown_seconds: Annotated[StrictFloat, Field(gt=0, le=3600)] = 10
    """How long requests in flight may take after SIGTERM."""

    @model_validator(mode="after")
    def _is_safe(self) -> Listen:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together; set both or neither")
        if self.tls_cert is None and not self.tls_terminated_by_proxy and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reachable from other machines and there is no TLS; set tls_cert and tls_key, "
                "or tls_terminated_by_proxy, or listen on 127.0.0.1"
            )
        return self


class StoreSection(_Section):
    """The database."""

    url: Annotated[str, AfterValidator(_supported)]
    """`sqlite:///FILE` or `postgresql://USER@HOST:PORT/DATABASE?...` (see `store.urls`), percent-encoded as URLs are
    (RFC 3986); its paths are absolute once it is loaded."""
    node: Annotated[str, AfterValidator(_a_node)] = ""
    """Name of this node among those that share a PostgreSQL database; its own part of the audit trail bears it."""
    node_folder: FilePath | None = None
    """With PostgreSQL, where this node remembers how its clock stood; with SQLite that is beside the database."""

    @model_validator(mode="after")
    def _has_a_node(self) -> StoreSection:
        shared = isinstance(urls.parse(self.url), urls.PostgresDatabase)
        if shared and (self.node == "" or self.node_folder is None):
            raise ValueError(
                "with PostgreSQL, set node to a name that no other node of this database has, and node_folder to a "
                "folder of this node's own"
            )
        if not shared and (self.node != "" or self.node_folder is not None):
            raise ValueError("node and node_folder are for PostgreSQL; a SQLite file has one node, so remove them")
        return self


class HsmSection(_Section):
    """The token and the processes that speak to it."""

    module: FilePath
    """The PKCS#11 library of the token."""
    token_label: Annotated[str, Field(min_length=1, max_length=32)]
    pin_file: FilePath | None = None
    """A file readable by the service's user only, holding the user PIN and nothing else."""
    pin_credential: Annotated[str, AfterValidator(_a_credentials)] | None = None
    """Name of a credential that systemd hands the service (LoadCredential), holding the user PIN."""
    pin_fd: Annotated[StrictInt, Field(ge=3, le=1023)] | None = None
    """Number of a descriptor that a command inherits, of a pipe or file holding the user PIN."""
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
    env: Annotated[dict[str, str], AfterValidator(_speakable)] = {}
    """Variables such as SOFTHSM2_CONF, set for the hosts only."""
    dumpable_processes: StrictBool = False
    """For tests: let other processes of the service's user look into the memory of ours."""

    @model_validator(mode="after")
    def _has_one_pin(self) -> HsmSection:
        given = [name for name in ("pin_file", "pin_credential", "pin_fd") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"name the PIN in exactly one of pin_file, pin_credential and pin_fd; {found} is set")
        return self


class ImportSection(_Section):
    """The ceremony."""

    wrapping_algorithms: Annotated[tuple[WrappingAlgorithm, ...], AfterValidator(_different)] = Field(
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
    failure_deadline_milliseconds: Annotated[StrictInt, Field(ge=0, le=60_000)] = 250
    """A failed import is answered at a multiple of this after it arrived; 0: as soon as it failed."""


class LimitsSection(_Section):
    """Quotas."""

    keys_per_account: Annotated[StrictInt, Field(ge=0, le=10_000_000)] = 0
    """How many keys an account may have; 0: any number."""
    requests_per_second_per_api: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 100
    """How often an account may call each action; 0: as often as it likes."""
    get_parameters_burst: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 100
    """How many import parameters an account gets at once; 0: as many as it likes."""
    get_parameters_per_second: Annotated[StrictFloat, Field(gt=0, le=1_000_000)] = 5
    """How fast they come back."""


class TencentSection(_Section):
    """Tencent Cloud's API."""

    bind_signature_to_action: StrictBool = False
    """Let a signature serve one action only, whatever the clients sign; see SECURITY.md first."""


class MetricsSection(_Section):
    """What Prometheus asks for: on an address of its own, because nobody who asks has to say who he is."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Another one than a loopback address lets other machines see what is done here, and how often."""
    port: Annotated[StrictInt, Field(ge=1, le=65535)] | None = None
    """None: nothing is counted and nobody listens."""

    @property
    def exposed(self) -> bool:
        """Whether other machines may ask."""
        return self.port is not None and not _is_loopback(self.host)


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
    tencent: TencentSection = Field(default_factory=TencentSection)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    log: LogSection = Field(default_factory=LogSection)


def load(path: Path) -> Settings:
    """Read and check the configuration file.

    Raises:
        ConfigurationInvalid: it cannot be read, or a key in it is unknown, missing or wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationInvalid(
            f"The configuration {path} cannot be read ({error.strerror}); give its path with --config."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(f"The configuration {path} is not TOML: {error}.") from error
    return parse(path, text)


def parse(path: Path, text: str) -> Settings:
    """Check what the configuration file `path` holds, or is to hold.

    Raises:
        ConfigurationInvalid: a key in it is unknown, missing or wrong.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(f"The configuration {path} is not TOML: {error}.") from error
    if (key := _with_nul(content)) is not None:
        raise ConfigurationInvalid(f"{path}: {key} is wrong: write it without the character U+0000.")
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise ConfigurationInvalid(_sentence(path, error.errors()[0])) from error
    return _anchored(settings, path.resolve().parent)


def _with_nul(value: object, key: str = "") -> str | None:
    """Return the key of a text that the system's calls would cut short, or refuse; None if there is none."""
    match value:
        case str():
            return (key or "the file") if "\0" in value else None
        case dict():
            inside = [(f"{key}.{name}".lstrip("."), each) for name, each in value.items()]
            return next(
                (found for name, each in inside if (found := _with_nul(name, key) or _with_nul(each, name))), None
            )
        case list():
            return next((found for each in value if (found := _with_nul(each, key))), None)
    return None


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Return the settings with every relative path made absolute."""
    listen, hsm, store = settings.listen, settings.hsm, settings.store
    return settings.model_copy(
        update={
            "listen": listen.model_copy(
                update={
                    "tls_cert": listen.tls_cert and folder / listen.tls_cert,
                    "tls_key": listen.tls_key and folder / listen.tls_key,
                }
            ),
            "hsm": hsm.model_copy(
                update={"module": folder / hsm.module, "pin_file": hsm.pin_file and folder / hsm.pin_file}
            ),
            "store": store.model_copy(
                update={
                    "url": urls.parse(store.url).within(folder).url,
                    "node_folder": store.node_folder and folder / store.node_folder,
                }
            ),
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
        case "value_error":
            return f"{path}: {key}: {error['ctx']['error']}."
    cure = _CURES.get(error["type"], "its value cannot be used").format(key=key, **error.get("ctx", {}))
    return f"{path}: {key} is wrong: {cure}."


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
