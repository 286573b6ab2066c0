"""A configuration that is wrong: one sentence that names file, key and cure, and exit code 78."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Final

import pytest

from hsmkms import config
from hsmkms.core.material import Edition
from hsmkms.core.wrapping import WrappingAlgorithm
from tests.cli.commands import run

EXAMPLE: Final = Path(__file__).parents[2] / "conf" / "hsmkms.example.toml"
UNUSABLE: Final = 78

GOOD: Final = """edition = "fips"

[listen]
port = 8765

[store]
url = "sqlite:///hsmkms.db"

[hsm]
module = "module.so"
token_label = "hsmkms"
pin_file = "pin"

[hsm.env]

[import]

[limits]

[tencent]

[log]
"""
URL: Final = 'url = "sqlite:///hsmkms.db"'


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "hsmkms.toml"
    path.write_text(GOOD)
    return path


def sentence_of(path: Path, command: str = "serve") -> str:
    """Return the one line that a command says about a configuration."""
    done = run(command, "--config", str(path))
    assert (done.code, done.stdout) == (UNUSABLE, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("hsmkms: ")
    assert line.endswith(".")
    assert str(path) in line
    return line


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        # unknown
        ('edition = "fips"', 'edition = "fips"\nediton = "sm"', ("editon", "did you mean edition")),
        ("[limits]", "[limit]", ("limit", "did you mean limits")),
        ("token_label =", 'tokenlabel = "x"\ntoken_label =', ("hsm.tokenlabel", "did you mean token_label")),
        ("[listen]", "[listen]\nadress = 1", ("listen.adress", "known here are host, port")),
        ("[import]", "[import]\nready_pair = 1", ("import.ready_pair", "did you mean ready_pairs")),
        ("[limits]", "[limits]\nrate = 1", ("limits.rate", "known here are keys_per_account")),
        ("[log]", '[log]\nfile = "x"', ("log.file", "known here are level")),
        # missing
        ('edition = "fips"', "", ("edition", "missing")),
        ('url = "sqlite:///hsmkms.db"', "", ("store.url", "missing")),
        ('module = "module.so"', "", ("hsm.module", "missing")),
        ('token_label = "hsmkms"', "", ("hsm.token_label", "missing")),
        ('pin_file = "pin"', "", ("hsm: ", "exactly one", "pin_file", "pin_credential", "pin_fd", "none of them")),
        ('pin_file = "pin"', 'pin_file = "pin"\npin_fd = 3', ("hsm: ", "exactly one", "pin_file and pin_fd is set")),
        ('pin_file = "pin"', 'pin_fd = 3\npin_credential = "pin"', ("pin_credential and pin_fd",)),
        ('pin_file = "pin"', "pin_fd = 2", ("hsm.pin_fd", "at least 3")),
        ('pin_file = "pin"', 'pin_fd = "3"', ("hsm.pin_fd", "integer")),
        ('pin_file = "pin"', 'pin_credential = "a/b"', ("hsm.pin_credential", "LoadCredential")),
        ('pin_file = "pin"', 'pin_credential = ".."', ("hsm.pin_credential", "LoadCredential")),
        ("[hsm]", "[hsm]\ndumpable_processes = 1", ("hsm.dumpable_processes", "boolean")),
        # of another type
        ("port = 8765", 'port = "8765"', ("listen.port", "integer")),
        ("port = 8765", "port = true", ("listen.port", "integer")),
        ("port = 8765", "port = 8765.5", ("listen.port", "integer")),
        ("[listen]", '[listen]\ntls_terminated_by_proxy = "yes"', ("listen.tls_terminated_by_proxy", "boolean")),
        ("[listen]", "[listen]\ntls_terminated_by_proxy = 1", ("listen.tls_terminated_by_proxy", "boolean")),
        ("[listen]", "[listen]\nhost = 5", ("listen.host", "string")),
        ("[hsm.env]", "[hsm.env]\nA = 1", ("hsm.env.A", "string")),
        ('pin_file = "pin"', "pin_file = 1234", ("hsm.pin_file", "path")),
        ("[import]", '[import]\nwrapping_algorithms = "RSAES_OAEP_SHA_1"', ("import.wrapping_algorithms", "list")),
        ("[limits]", "", ()),
        # out of bounds
        ('edition = "fips"', 'edition = "gm"', ("edition", "'fips' or 'sm'")),
        ("port = 8765", "port = 0", ("listen.port", "1")),
        ("port = 8765", "port = 65536", ("listen.port", "65535")),
        ("[listen]", "[listen]\nshutdown_seconds = 0", ("listen.shutdown_seconds", "0")),
        ("[listen]", "[listen]\nshutdown_seconds = nan", ("listen.shutdown_seconds",)),
        ("[listen]", "[listen]\nshutdown_seconds = inf", ("listen.shutdown_seconds", "3600")),
        ('url = "sqlite:///hsmkms.db"', 'url = ""', ("store.url",)),
        (URL, 'url = "postgresql://u@localhost/d"', ("store: ", "set node", "node_folder")),
        (URL, 'url = "postgresql://u@localhost/d"\nnode = "a"', ("store: ", "set node", "node_folder")),
        (URL, 'url = "postgresql://u@localhost/d"\nnode_folder = "a"', ("store: ", "set node", "node_folder")),
        (URL, f'{URL}\nnode = "a"', ("store: ", "remove them")),
        (URL, f'{URL}\nnode_folder = "a"', ("store: ", "remove them")),
        *((URL, f'{URL}\nnode = "{name}"', ("store.node: ", "32 at most")) for name in ("A", "-a", "a_b", "a" * 33)),
        (URL, f"{URL}\nnode = 1", ("store.node", "string")),
        (URL, 'url = "postgresql://u@db.example/d"', ("store.url: ", "sslrootcert")),
        ('token_label = "hsmkms"', f'token_label = "{"x" * 33}"', ("hsm.token_label", "32")),
        ('token_label = "hsmkms"', 'token_label = ""', ("hsm.token_label",)),
        ("[hsm]", "[hsm]\nhosts = 0", ("hsm.hosts", "1")),
        ("[hsm]", "[hsm]\nhosts = 65", ("hsm.hosts", "64")),
        ("[hsm]", "[hsm]\nsessions_per_host = 0", ("hsm.sessions_per_host",)),
        ("[hsm]", "[hsm]\nverb_timeout_seconds = -1", ("hsm.verb_timeout_seconds", "0")),
        ("[import]", "[import]\nwrapping_algorithms = []", ("import.wrapping_algorithms",)),
        (
            "[import]",
            '[import]\nwrapping_algorithms = ["RSAES_OAEP_SHA_512"]',
            ("import.wrapping_algorithms.0", "RSAES_OAEP_SHA_256"),
        ),
        ("[import]", "[import]\nmax_attempts = 11", ("import.max_attempts", "10")),
        ("[import]", "[import]\nmax_attempts = 0", ("import.max_attempts", "1")),
        ("[import]", "[import]\ntickets_per_pair = 0", ("import.tickets_per_pair", "1")),
        ("[import]", "[import]\nready_pairs = -1", ("import.ready_pairs", "0")),
        ("[import]", "[import]\nparameters_valid_seconds = 604801", ("import.parameters_valid_seconds", "604800")),
        ("[limits]", "[limits]\nkeys_per_account = -1", ("limits.keys_per_account", "0")),
        ("[limits]", "[limits]\nkeys_per_account = 10000001", ("limits.keys_per_account", "10000000")),
        ("[limits]", '[limits]\nkeys_per_account = "20"', ("limits.keys_per_account", "integer")),
        ("[log]", '[log]\nlevel = "loud"', ("log.level", "'info'")),
        # unsafe, or no whole
        ("[listen]", '[listen]\nhost = "192.0.2.1"', ("listen", "192.0.2.1", "tls_cert", "127.0.0.1")),
        ("[listen]", f'[listen]\nhost = "{ipaddress.IPv4Address(0)}"', ("listen", "tls_cert")),
        ("[listen]", '[listen]\nhost = "::"', ("listen", "tls_cert")),
        ("[listen]", '[listen]\nhost = "127.0.0.1.example"', ("listen", "tls_cert")),
        ("[listen]", '[listen]\ntls_cert = "a.pem"', ("listen", "tls_key", "both or neither")),
        ("[listen]", '[listen]\ntls_key = "a.key"', ("listen", "tls_cert", "both or neither")),
        # no TOML
        ("[log]", "[log", ("not TOML", "line")),
        ("[log]", "[log]\n[log]", ("not TOML",)),
        ("port = 8765", "port = 8765\nport = 8766", ("not TOML",)),
    ],
    ids=lambda value: value.replace("\n", " ") if isinstance(value, str) else "",
)
def test_a_wrong_key_is_named_with_its_cure(written: Path, old: str, new: str, says: tuple[str, ...]) -> None:
    assert GOOD.count(old) >= 1
    written.write_text(GOOD.replace(old, new, 1))
    if not says:
        config.load(written)  # a section may be absent
        return
    line = sentence_of(written)
    assert all(word in line for word in says), line


@pytest.mark.parametrize("command", ["serve", "init", "doctor"])
def test_every_command_reads_it_first(written: Path, command: str) -> None:
    written.write_text("")
    assert "edition" in sentence_of(written, command)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "--config" in sentence_of(tmp_path / "nothing.toml")
    assert "--config" in sentence_of(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(GOOD.encode() + b"# \xe9")
    assert "not TOML" in sentence_of(latin)


def test_the_environment_overrides_nothing(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "LISTEN_PORT", "HSMKMS_PORT", "HSMKMS_LISTEN_PORT", "HSMKMS_LISTEN__PORT", "listen__port"):
        monkeypatch.setenv(name, "1")
    assert config.load(written).listen.port == 8765


def test_the_defaults_are_the_documented_ones(written: Path) -> None:
    written.write_text(GOOD.replace("port = 8765", ""))
    settings = config.load(written)
    assert (settings.listen.host, settings.listen.port, settings.listen.tls_terminated_by_proxy) == (
        "127.0.0.1",
        8765,
        False,
    )
    assert (settings.import_.parameters_valid_seconds, settings.import_.tickets_per_pair) == (86400, 1)
    assert settings.import_.max_attempts == 10
    assert settings.limits.keys_per_account == 0
    assert WrappingAlgorithm.RSAES_PKCS1_V1_5 not in settings.import_.wrapping_algorithms
    assert settings.log.level == "info"


def test_paths_are_relative_to_the_file(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    settings = config.load(written)
    assert settings.hsm.module == written.parent / "module.so"
    assert settings.hsm.pin_file == written.parent / "pin"
    assert settings.store.url == f"sqlite:///{written.parent / 'hsmkms.db'}"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_needs_no_tls(written: Path, host: str) -> None:
    written.write_text(GOOD.replace("[listen]", f'[listen]\nhost = "{host}"'))
    assert config.load(written).listen.host == host


def test_a_proxy_may_speak_tls_instead(written: Path) -> None:
    written.write_text(GOOD.replace("[listen]", '[listen]\nhost = "192.0.2.1"\ntls_terminated_by_proxy = true'))
    assert config.load(written).listen.host == "192.0.2.1"


def test_the_paths_of_a_server_are_anchored_too(written: Path) -> None:
    url = "postgresql://u@localhost/d?passfile=pgpass"
    written.write_text(GOOD.replace(URL, f'url = "{url}"\nnode = "n-1"\nnode_folder = "of-node"'))
    store = config.load(written).store
    assert store.node_folder == written.parent / "of-node"
    assert f"passfile={written.parent}/pgpass" in store.url


def test_the_example_loads_and_shows_every_key() -> None:
    settings = config.load(EXAMPLE)
    assert settings.edition is Edition.FIPS
    shown = EXAMPLE.read_text()
    for name, section in config.Settings.model_fields.items():
        inner = getattr(settings, name)
        for key in getattr(type(inner), "model_fields", {}):
            assert f"{key} = " in shown or f"[{section.alias or name}.{key}]" in shown, f"{name}.{key}"


def test_the_examples_values_are_the_defaults(tmp_path: Path) -> None:
    told = tomllib.loads(EXAMPLE.read_text())
    bare = {"edition": told["edition"], "store": told["store"], "hsm": dict(told["hsm"])}
    for name in ("sessions_per_host", "verb_timeout_seconds", "env"):
        del bare["hsm"][name]
    defaults = config.Settings.model_validate(bare)
    example = config.Settings.model_validate(told)
    assert example.listen == defaults.listen
    assert example.import_ == defaults.import_
    assert example.limits == defaults.limits
    assert example.log == defaults.log
    assert example.hsm.model_copy(update={"env": {}}) == defaults.hsm
