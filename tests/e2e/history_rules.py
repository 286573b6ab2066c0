"""What each cloud's documents say of every action in every state of a key, and how each says its refusals: data.

Written by hand from docs/tencent.md, docs/huawei.md and the tables that those name, and from none of our code. What no
document covers is in docs/design.md: that Huawei refuses an archived key whatever it refuses a key that is neither
enabled, disabled nor pending import.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

GRANTED: Final = "granted"
STATES: Final = ("Enabled", "Disabled", "PendingImport", "PendingDelete", "Archived")
ENABLED, DISABLED, PENDING_IMPORT, PENDING_DELETE, ARCHIVED = STATES

# A cell: "=" is granted; else the refusal. The columns are those of `STATES`.

_TENCENT: Final = """
parameters  =         STATE       =         STATE       STATE
import      =         STATE       =         STATE       STATE
unload      =         =           STATE     STATE       STATE
enable      =         =           STATE     STATE       STATE
disable     =         =           STATE     STATE       STATE
relabel     =         =           =         STATE       =
schedule    SHOULD    =           SHOULD    SHOULD      SHOULD
cancel      NOT       NOT         NOT       =           NOT
archive     =         =           STATE     STATE       STATE
unarchive   STATE     STATE       STATE     STATE       =
encrypt     =         DISABLED    STATE     DELETE      ARCHIVED
decrypt     =         DISABLED    STATE     DELETE      =
"""
_TENCENT_WORDS: Final = {
    "STATE": "ResourceUnavailable.CmkStateNotSupport",
    "SHOULD": "ResourceUnavailable.CmkShouldBeDisabled",
    "NOT": "ResourceUnavailable.CmkNotPendingDelete",
    "DISABLED": "ResourceUnavailable.CmkDisabled",
    "DELETE": "ResourceUnavailable.KeyPendingDelete",
    "ARCHIVED": "ResourceUnavailable.CmkArchived",
}

_HUAWEI: Final = """
parameters  KMS.0310  KMS.0310    =         KMS.0310    KMS.0310
import      KMS.0310  KMS.0310    =         KMS.0310    KMS.0310
unload      =         =           KMS.2701  KMS.2701    KMS.2701
enable      KMS.1201  =           KMS.1201  KMS.1201    KMS.1201
disable     =         KMS.1301    KMS.1301  KMS.1301    KMS.1301
relabel     =         =           =         KMS.0210    =
schedule    =         =           =         KMS.1402    =
cancel      KMS.1501  KMS.1501    KMS.1501  =           KMS.1501
encrypt     =         KMS.0209    KMS.0310  KMS.0210    KMS.0209
decrypt     =         KMS.0209    KMS.0310  KMS.0210    =
"""


class Why(Enum):
    """Why a request is refused for another reason than its key's state: what each cloud says then."""

    NO_SUCH_KEY = "ResourceUnavailable.CmkNotFound", "KMS.0207"
    ALIAS_TAKEN = "InvalidParameterValue.AliasAlreadyExists", "KMS.1104"
    NOT_EXTERNAL = "UnsupportedOperation.NotExternalCmk", "KMS.0309"
    TOKEN_UNKNOWN = "InvalidParameter", "KMS.2605"
    TOKEN_FOREIGN = "InvalidParameter", "KMS.2603"
    TOKEN_OVER = "ResourceUnavailable.TokenExpired", "KMS.2601"
    UNDECRYPTABLE = "InvalidParameter.DecryptMaterialError", "KMS.0311"
    WRONG_LENGTH = "InvalidParameter.DecryptMaterialError", "KMS.2604"
    OTHER_MATERIAL = "InvalidParameterValue.MaterialNotMatch", "KMS.2606"
    NO_USABLE_MATERIAL = "ResourceUnavailable.CmkStateNotSupport", "KMS.0310"
    CIPHERTEXT = "InvalidParameterValue.InvalidCiphertext", "KMS.0308"


class Rules(NamedTuple):
    """What one cloud says."""

    of_states: Mapping[tuple[str, str], str]
    """(action, state) -> `GRANTED`, or the refusal's code."""
    of_reasons: Mapping[Why, str]

    def codes(self) -> set[str]:
        """Return all that a history can be answered."""
        return {*self.of_states.values(), *self.of_reasons.values()}


def _rules(table: str, words: Mapping[str, str], column: int) -> Rules:
    cells: dict[tuple[str, str], str] = {}
    for row in table.strip().splitlines():
        action, *texts = row.split()
        for state, text in zip(STATES, texts, strict=True):
            cells[action, state] = GRANTED if text == "=" else words.get(text, text)
    return Rules(cells, {why: why.value[column] for why in Why})


RULES: Final = {"tencent": _rules(_TENCENT, _TENCENT_WORDS, 0), "huawei": _rules(_HUAWEI, {}, 1)}
