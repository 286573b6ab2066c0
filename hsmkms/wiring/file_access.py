"""Who may read and write the files that secrets are in, or depend on: looked at on every start.

Laws:

- files are looked at, never opened and never changed; what is not there is left to whoever needs it;
- what lets another user read a secret, or choose what our processes load or believe, is refused; the rest is told;
- a file that belongs neither to the service's user nor to root is in the hands of its owner, whatever its mode says;
- so is a file that another user could replace: every folder on the way to it counts, through symbolic links and beside
  them, up to the root;
- it is looked at again before a host gets the PIN, because what it loads is found by its path each time.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hsmkms.core.errors import ConfigurationInvalid, TokenUnusable
from hsmkms.hsm import softhsm
from hsmkms.store.urls import SqliteFile, database_of
from hsmkms.wiring import pins
from hsmkms.wiring.path_resolution import ways

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hsmkms.config import HsmSection, Settings
    from hsmkms.store.urls import PostgresDatabase

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ANY: Final = stat.S_IRWXG | stat.S_IRWXO
_GROUP_READS: Final = _OTHERS_ANY & ~stat.S_IRGRP
"""What is left to refuse where one group may read: of TLS keys by custom, of credentials because systemd's access
control list shows as that."""
_OF_LIBPQ: Final = {
    "passfile": _OTHERS_ANY,  # libpq does without it otherwise
    "sslkey": _GROUP_READS,
    "sslcert": _OTHERS_WRITE,
    "sslrootcert": _OTHERS_WRITE,
}
"""Mode bits to refuse on the files of a connection, by its parameter."""
_NSS_DIRECTORY: Final = re.compile(r"configdir='(?:sql:|dbm:)?([^']+)'")


@dataclass(frozen=True, slots=True)
class FileFinding:
    """One file or folder, and what is to be done about it."""

    what: str
    path: Path
    wanted: str
    found: str
    cure: str
    """A command for the operator's shell; empty if all is well."""
    refused: bool
    """Whether the service does not start before that."""

    @property
    def sentence(self) -> str:
        """What is wrong with it, with the cure."""
        return f"The {self.what} {self.path} has {self.found}; {self.wanted} is wanted: run '{self.cure}'."


@dataclass(frozen=True, slots=True)
class _Rule:
    what: str
    path: Path
    refused: int
    """Mode bits with which the service does not start."""
    told: int = 0
    """Mode bits that are shown and logged."""
    of_server: bool = False
    """Whether it belongs to the user of the database's server, who is believed as the database is."""
    whole: bool = False
    """Whether it is read again and again, from its beginning to its end, so that a pipe will not do."""


def look(settings: Settings, config_path: Path, so_pin_file: Path | None = None) -> tuple[FileFinding, ...]:
    """Return what there is to say of every file that is there, and of the folders above where there is something to do.

    Args:
        settings: what is served.
        config_path: the file they are from.
        so_pin_file: the security officer's, where a command was given it.

    Raises:
        ConfigurationInvalid: the PIN is a credential of systemd's, and there is none; or a PIN is to come from what is
            no regular file.
    """
    rules = tuple(_rules(settings, config_path))
    if so_pin_file is not None:
        rules += (_Rule("security officer's PIN file", so_pin_file.absolute(), _OTHERS_ANY, whole=True),)
    for rule in rules:
        _require_whole(rule)
    files = tuple(finding for rule in rules if (finding := _finding(rule)) is not None)
    named = [(rule.what, rule.path) for rule in rules]
    database = database_of(settings.store.url)
    if isinstance(database, SqliteFile):
        named.insert(0, ("database", database.path))
    return files + tuple(_above(named, {each.path for each in files if each.refused}))


def require_private(findings: tuple[FileFinding, ...]) -> None:
    """Return if the service may start with these files.

    Raises:
        ConfigurationInvalid: another user could read a secret, or change what is loaded or believed.
    """
    if refused := [finding.sentence for finding in findings if finding.refused]:
        raise ConfigurationInvalid(" ".join(refused))


def _rules(settings: Settings, config_path: Path) -> Iterator[_Rule]:
    yield _Rule("configuration", config_path.absolute(), _OTHERS_WRITE)
    pin = pins.pin_path(settings.hsm)
    if pin is not None:
        yield _Rule("PIN file", pin, _OTHERS_ANY if settings.hsm.pin_credential is None else _GROUP_READS, whole=True)
    if settings.listen.tls_key is not None:
        yield _Rule("TLS key", settings.listen.tls_key, _GROUP_READS)
    database = database_of(settings.store.url)
    if isinstance(database, SqliteFile):
        # SQLite, too, puts its files beside the one that a symbolic link leads to.
        yield from _database(Path(os.path.realpath(database.path)))
    else:
        yield from _server(database)
    if settings.store.node_folder is not None:
        yield _Rule("folder of this node", settings.store.node_folder, _OTHERS_WRITE)
    yield _Rule("PKCS#11 module", settings.hsm.module, _OTHERS_WRITE)
    yield from _token(settings.hsm)


def _database(path: Path) -> Iterator[_Rule]:
    # SQLite plays back a journal that it finds beside the file: who may put one there may change the database.
    yield _Rule("folder of the database", path.parent, _OTHERS_WRITE)
    reachable = _reachable(path.parent)
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        yield _Rule("database", file, _OTHERS_WRITE & reachable, _OTHERS_ANY & ~_OTHERS_WRITE & reachable)


def _server(database: PostgresDatabase) -> Iterator[_Rule]:
    if database.socket_folder is not None:
        # While the server is down, whoever may write there can listen in its place.
        yield _Rule("folder of the database's socket", database.socket_folder, stat.S_IWOTH, of_server=True)
    for name, path in database.files.items():
        yield _Rule(f"database's {name}", path, _OF_LIBPQ[name])


def _reachable(folder: Path) -> int:
    """Return the mode bits that are of use to others on a file in `folder`."""
    mode = _mode(folder)
    group = stat.S_IRWXG if mode & stat.S_IXGRP else 0
    return group | (stat.S_IRWXO if mode & stat.S_IXOTH else 0)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _token(hsm: HsmSection) -> Iterator[_Rule]:
    """Yield what a software token is kept in; an HSM guards itself."""
    if softhsm.is_softhsm(str(hsm.module)):
        environment = {**os.environ, **hsm.env}
        yield _Rule("configuration of SoftHSM", softhsm.configuration(environment), _OTHERS_WRITE)
        try:
            yield _Rule("token folder", softhsm.token_directory(environment), _OTHERS_ANY)
        except TokenUnusable:
            return  # the host will say so
    elif found := _NSS_DIRECTORY.search(hsm.initialize_args or ""):
        yield _Rule("token folder", Path(found[1]), _OTHERS_ANY)


def _finding(rule: _Rule) -> FileFinding | None:
    try:
        status = rule.path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return None  # a device, a pipe: nothing is kept in it
    return _judged(rule, status, owner=_trusted_owners()[-1])


def _require_whole(rule: _Rule) -> None:
    if rule.whole and not stat.S_ISREG(_mode(rule.path) or stat.S_IFREG):  # what is not there is left to the host
        raise ConfigurationInvalid(
            f"The {rule.what} {rule.path} is no regular file: each host reads it for itself, and a pipe or a terminal "
            "can be read once. Write the PIN into a file."
        )


def _judged(rule: _Rule, status: os.stat_result, *, owner: int) -> FileFinding:
    """Return what `status` says of what the rule is for; if that belongs to another user, `owner` is to have it."""
    foreign = not rule.of_server and _is_foreign(status)
    unwanted = rule.refused | rule.told
    excess = status.st_mode & unwanted
    name = shlex.quote(str(rule.path))
    cures = [f"chown {owner} {name}"] if foreign else []
    if excess:
        cures.append(f"chmod {_without(excess)} {name}")
    return FileFinding(
        what=rule.what,
        path=rule.path,
        wanted=f"{_at_most(unwanted)}, {'any owner' if rule.of_server else _trusted_owner()}",
        found=f"mode {stat.S_IMODE(status.st_mode):04o}, owner {status.st_uid}",
        cure=" && ".join(cures),
        refused=foreign or bool(status.st_mode & rule.refused),
    )


def _above(named: Iterable[tuple[str, Path]], seen: set[Path]) -> Iterator[FileFinding]:
    """Yield what is wrong on the way to each of these files; what is in `seen` was said already."""
    for what, path in named:
        for folder, entry in ways(path):
            for found in _way(what, folder, entry):
                if found.refused and found.path not in seen:
                    seen.add(found.path)
                    yield found


def _way(what: str, folder: Path, entry: Path) -> Iterator[FileFinding]:
    """Yield what there is to say of a folder, and of a name that is looked up in it."""
    above, status = _lstat(folder), _lstat(entry)
    if above is None or status is None or not stat.S_ISDIR(above.st_mode):
        return
    shared = above.st_mode & _OTHERS_WRITE
    sticky = above.st_mode & stat.S_ISVTX
    yield _judged(_Rule(f"folder above the {what}", folder, 0 if sticky else _OTHERS_WRITE), above, owner=0)
    if shared and sticky:  # others may add names, and remove or rename their own
        yield FileFinding(
            what=f"way to the {what}",
            path=entry,
            wanted=_trusted_owner(),
            found=f"owner {status.st_uid} in a folder that others may write in",
            cure=f"chown -h 0 {shlex.quote(str(entry))}",
            refused=_is_foreign(status),
        )


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _is_foreign(status: os.stat_result) -> bool:
    return status.st_uid not in _trusted_owners()


def _trusted_owner() -> str:
    return f"owner {' or '.join(map(str, _trusted_owners()))}"


def _trusted_owners() -> tuple[int, ...]:
    return tuple(sorted({0, os.geteuid()}))


def _at_most(excess: int) -> str:
    return f"mode {0o777 & ~excess:04o} at most" if excess else "any mode"


def _without(excess: int) -> str:
    """Return the argument of chmod(1) that takes these bits away."""
    parts = []
    for who, shift in (("g", 3), ("o", 0)):
        letters = "".join(letter for letter, bit in zip("rwx", (4, 2, 1), strict=True) if excess >> shift & bit)
        if letters:
            parts.append(f"{who}-{letters}")
    return ",".join(parts)
