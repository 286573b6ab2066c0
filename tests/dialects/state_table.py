"""What each cloud's documents say of every action in every state: data, written by hand and from nothing of ours.

Sources. Tencent: the descriptions and error tables of GetParametersForImport, ImportKeyMaterial,
DeleteImportedKeyMaterial, EnableKey and DisableKey (API 2019-01-18). Huawei: the descriptions of the operations named
here, and the table of its error codes.

What no document covers is decided in docs/design.md:

- what a key is when its material has expired, and that material which comes back to a disabled key does not enable it
  (the rows `material-expired` and `disabled-material-*`, in both tables);
- all of an archived key under Huawei, which knows no such state (the rows `archived*` and `generated-archived`): it is
  refused what a key is refused that is neither enabled, disabled nor pending import, and shown as "7"; that it may be
  relabelled is because only pending deletion forbids that there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

GRANTED: Final = "granted"


class Shown(NamedTuple):
    """One state, as each cloud shows it."""

    tencent: str
    huawei: str


ENABLED: Final = Shown("Enabled", "2")
DISABLED: Final = Shown("Disabled", "3")
PENDING_DELETE: Final = Shown("PendingDelete", "4")
PENDING_IMPORT: Final = Shown("PendingImport", "5")
ARCHIVED: Final = Shown("Archived", "7")

STATES: Final[Mapping[str, Shown]] = {
    "enabled": ENABLED,
    "disabled": DISABLED,
    "never-imported": PENDING_IMPORT,
    "material-deleted": PENDING_IMPORT,
    "material-expired": PENDING_IMPORT,
    "disabled-material-deleted": PENDING_IMPORT,
    "disabled-material-expired": PENDING_IMPORT,
    "pending-delete": PENDING_DELETE,
    "pending-delete-empty": PENDING_DELETE,
    "archived": ARCHIVED,
    "archived-empty": ARCHIVED,
    "generated-enabled": ENABLED,
    "generated-disabled": DISABLED,
    "generated-pending-delete": PENDING_DELETE,
    "generated-archived": ARCHIVED,
}
"""What a key is by each of `situations.WAYS`."""

NAMED_BY_LIST_KEYS: Final = {"Enabled", "Disabled", "PendingImport"}
"""The states of the keys that Tencent's ListKeys names; ListKeyDetail and Huawei's list-keys leave out none."""

_WORDS: Final[Mapping[str, Shown]] = {
    "enabled": ENABLED,
    "disabled": DISABLED,
    "pending-import": PENDING_IMPORT,
}
_TENCENT_CODES: Final[Mapping[str, str]] = {
    "STATE": "ResourceUnavailable.CmkStateNotSupport",
    "ORIGIN": "UnsupportedOperation.NotExternalCmk",
}

# A cell: "=" is granted, and the state stays; a state is granted, and that is the key's state then; else the refusal.

_TENCENT: Final = """
                           GetParametersForImport ImportKeyMaterial DeleteImportedKeyMaterial EnableKey DisableKey
enabled                    =                      =                 pending-import            =         disabled
disabled                   STATE                  STATE             pending-import            enabled   =
never-imported             =                      enabled           STATE                     STATE     STATE
material-deleted           =                      enabled           STATE                     STATE     STATE
material-expired           =                      enabled           STATE                     STATE     STATE
disabled-material-deleted  =                      disabled          STATE                     STATE     STATE
disabled-material-expired  =                      disabled          STATE                     STATE     STATE
pending-delete             STATE                  STATE             STATE                     STATE     STATE
pending-delete-empty       STATE                  STATE             STATE                     STATE     STATE
archived                   STATE                  STATE             STATE                     STATE     STATE
archived-empty             STATE                  STATE             STATE                     STATE     STATE
generated-enabled          ORIGIN                 ORIGIN            ORIGIN                    =         disabled
generated-disabled         ORIGIN                 ORIGIN            ORIGIN                    enabled   =
generated-pending-delete   ORIGIN                 ORIGIN            ORIGIN                    STATE     STATE
generated-archived         ORIGIN                 ORIGIN            ORIGIN                    STATE     STATE
"""

_HUAWEI_MATERIAL: Final = """
                           get-parameters-for-import import-key-material delete-imported-key-material
enabled                    KMS.0310                  KMS.0310            pending-import
disabled                   KMS.0310                  KMS.0310            pending-import
never-imported             =                         enabled             KMS.2701
material-deleted           =                         enabled             KMS.2701
material-expired           =                         enabled             KMS.2701
disabled-material-deleted  =                         disabled            KMS.2701
disabled-material-expired  =                         disabled            KMS.2701
pending-delete             KMS.0310                  KMS.0310            KMS.2701
pending-delete-empty       KMS.0310                  KMS.0310            KMS.2701
archived                   KMS.0310                  KMS.0310            KMS.2701
archived-empty             KMS.0310                  KMS.0310            KMS.2701
generated-enabled          KMS.0309                  KMS.0309            KMS.0309
generated-disabled         KMS.0309                  KMS.0309            KMS.0309
generated-pending-delete   KMS.0309                  KMS.0309            KMS.0309
generated-archived         KMS.0309                  KMS.0309            KMS.0309
"""

_HUAWEI_KEY: Final = """
                           enable-key disable-key update-key-alias update-key-description
enabled                    KMS.1201   disabled    =                =
disabled                   enabled    KMS.1301    =                =
never-imported             KMS.1201   KMS.1301    =                =
material-deleted           KMS.1201   KMS.1301    =                =
material-expired           KMS.1201   KMS.1301    =                =
disabled-material-deleted  KMS.1201   KMS.1301    =                =
disabled-material-expired  KMS.1201   KMS.1301    =                =
pending-delete             KMS.1201   KMS.1301    KMS.0210         KMS.0210
pending-delete-empty       KMS.1201   KMS.1301    KMS.0210         KMS.0210
archived                   KMS.1201   KMS.1301    =                =
archived-empty             KMS.1201   KMS.1301    =                =
generated-enabled          KMS.1201   disabled    =                =
generated-disabled         enabled    KMS.1301    =                =
generated-pending-delete   KMS.1201   KMS.1301    KMS.0210         KMS.0210
generated-archived         KMS.1201   KMS.1301    =                =
"""


class Cell(NamedTuple):
    """What one action does in one situation."""

    situation: str
    action: str
    code: str
    """`GRANTED`, or the refusal's code."""
    shown: Shown
    """The key's state afterwards."""


def tencent() -> list[Cell]:
    """Return Tencent's table, cell by cell."""
    return _cells(_TENCENT)


def huawei() -> list[Cell]:
    """Return Huawei's table, cell by cell."""
    return _cells(_HUAWEI_MATERIAL) + _cells(_HUAWEI_KEY)


def _cells(table: str) -> list[Cell]:
    head, *rows = table.strip().splitlines()
    cells: list[Cell] = []
    for row in rows:
        situation, *texts = row.split()
        cells += [_cell(situation, action, text) for action, text in zip(head.split(), texts, strict=True)]
    return cells


def _cell(situation: str, action: str, text: str) -> Cell:
    if text in _WORDS:
        return Cell(situation, action, GRANTED, _WORDS[text])
    return Cell(situation, action, GRANTED if text == "=" else _TENCENT_CODES.get(text, text), STATES[situation])
