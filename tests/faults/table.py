"""What a caller must be told when the token goes wrong: the whole table, written from PKCS#11 and the issue.

Three answers are possible: the caller's data is at fault, try again later, or nothing (the call was done all the same).
Any other answer, an internal error among them, is wrong wherever it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Answer(Enum):
    """What the caller is told."""

    DONE = "done"
    CALLER = "caller's fault"
    LATER = "temporarily unavailable"


class Word(Enum):
    """Of what a return value speaks, when it comes from a cryptographic function (PKCS#11 2.40, section 5.1)."""

    OF_DATA = "of the data"
    OF_TOKEN = "of the token, the session or the login"
    OF_NOTHING = "of nothing: the canary must tell"


CODES: Final = {
    0x20: Word.OF_DATA,  # DATA_INVALID
    0x21: Word.OF_DATA,  # DATA_LEN_RANGE
    0x40: Word.OF_DATA,  # ENCRYPTED_DATA_INVALID
    0x41: Word.OF_DATA,  # ENCRYPTED_DATA_LEN_RANGE
    0x62: Word.OF_DATA,  # KEY_SIZE_RANGE
    0x110: Word.OF_DATA,  # WRAPPED_KEY_INVALID
    0x112: Word.OF_DATA,  # WRAPPED_KEY_LEN_RANGE
    0x31: Word.OF_TOKEN,  # DEVICE_MEMORY
    0x32: Word.OF_TOKEN,  # DEVICE_REMOVED
    0xB3: Word.OF_TOKEN,  # SESSION_HANDLE_INVALID
    0xE0: Word.OF_TOKEN,  # TOKEN_NOT_PRESENT
    0x101: Word.OF_TOKEN,  # USER_NOT_LOGGED_IN
    0x05: Word.OF_NOTHING,  # GENERAL_ERROR: SoftHSM's word for a bad ciphertext, and for a sick disk
    0x06: Word.OF_NOTHING,  # FUNCTION_FAILED
    0x30: Word.OF_NOTHING,  # DEVICE_ERROR: some tokens' word for a bad ciphertext
    0xA0: Word.OF_NOTHING,  # PIN_INCORRECT, where no PIN is asked for
    0xA4: Word.OF_NOTHING,  # PIN_LOCKED, as above
    0x150: Word.OF_NOTHING,  # BUFFER_TOO_SMALL
    0x162: Word.OF_NOTHING,  # a number that the standard does not give
    0x190: Word.OF_NOTHING,  # CRYPTOKI_NOT_INITIALIZED
    0x80000001: Word.OF_NOTHING,  # a vendor's
}


class Place(Enum):
    """What the service can know of a function that went wrong."""

    UNWRAPS_THE_CALLERS = "it is the one that sees the caller's wrapped material"
    REPEATED = "an error that may have been the token's is tried once more, if the canary comes through"
    ENDS_THE_HOST = "nobody can go on in a session in which it went wrong"
    MAKES_PAIRS = "as REPEATED, behind a pool that asks again while the caller waits; two pairs may take too long"


DONE, CALLER, LATER = ({each} for each in Answer)

ONCE: Final = {
    (Place.UNWRAPS_THE_CALLERS, Word.OF_DATA): CALLER,
    (Place.UNWRAPS_THE_CALLERS, Word.OF_TOKEN): LATER,
    (Place.UNWRAPS_THE_CALLERS, Word.OF_NOTHING): DONE,
    (Place.REPEATED, Word.OF_DATA): DONE,
    (Place.REPEATED, Word.OF_TOKEN): LATER,
    (Place.REPEATED, Word.OF_NOTHING): DONE,
    (Place.ENDS_THE_HOST, Word.OF_DATA): LATER,
    (Place.ENDS_THE_HOST, Word.OF_TOKEN): LATER,
    (Place.ENDS_THE_HOST, Word.OF_NOTHING): LATER,
    (Place.MAKES_PAIRS, Word.OF_DATA): DONE | LATER,
    (Place.MAKES_PAIRS, Word.OF_TOKEN): DONE | LATER,
    (Place.MAKES_PAIRS, Word.OF_NOTHING): DONE | LATER,
}
"""The function goes wrong once, and the token is well again."""

ALWAYS: Final = {
    (Place.UNWRAPS_THE_CALLERS, Word.OF_DATA): CALLER,
    (Place.UNWRAPS_THE_CALLERS, Word.OF_TOKEN): LATER,
    (Place.UNWRAPS_THE_CALLERS, Word.OF_NOTHING): LATER,
    (Place.REPEATED, Word.OF_DATA): LATER,
    (Place.REPEATED, Word.OF_TOKEN): LATER,
    (Place.REPEATED, Word.OF_NOTHING): LATER,
    (Place.ENDS_THE_HOST, Word.OF_DATA): LATER,
    (Place.ENDS_THE_HOST, Word.OF_TOKEN): LATER,
    (Place.ENDS_THE_HOST, Word.OF_NOTHING): LATER,
    (Place.MAKES_PAIRS, Word.OF_DATA): LATER,
    (Place.MAKES_PAIRS, Word.OF_TOKEN): LATER,
    (Place.MAKES_PAIRS, Word.OF_NOTHING): LATER,
}
"""The function goes wrong until the caller has been answered."""


@dataclass(frozen=True)
class Site:
    """A PKCS#11 function where a request meets it."""

    asked: str
    """The request, by its name in `asking`."""
    function: str
    before: Place
    """What it is when the call was not made."""
    after: Place
    """What it is when the call was made, and its answer lost."""
    mechanism: str = ""

    def __str__(self) -> str:
        return f"{self.asked}-{self.function}{self.mechanism and f'({self.mechanism})'}"


def _plain(asked: str, function: str, place: Place, mechanism: str = "") -> Site:
    return Site(asked, function, place, place, mechanism)


# What was begun in a session and not ended, because the answer or the call was lost, lets nothing else begin in it.


def _begins(asked: str, function: str, place: Place, mechanism: str) -> Site:
    return Site(asked, function, place, Place.ENDS_THE_HOST, mechanism)


def _ends(asked: str, function: str, place: Place) -> Site:
    return Site(asked, function, Place.ENDS_THE_HOST, place)


OAEP, AES_CBC_PAD, AES_GCM, AES_CMAC, AES_KEY_WRAP, AES_KEY_WRAP_PAD = (
    "0x9", "0x1085", "0x1087", "0x108a", "0x2109", "0x210a",
)  # fmt: skip

SITES: Final = (
    _plain("import", "C_UnwrapKey", Place.UNWRAPS_THE_CALLERS, OAEP),
    _begins("import", "C_SignInit", Place.REPEATED, AES_CMAC),
    _ends("import", "C_Sign", Place.REPEATED),
    _plain("import", "C_WrapKey", Place.REPEATED, AES_KEY_WRAP),
    _plain("import", "C_UnwrapKey", Place.REPEATED, AES_KEY_WRAP),
    _plain("import", "C_GenerateRandom", Place.ENDS_THE_HOST),
    _plain("import", "C_EncryptInit", Place.ENDS_THE_HOST, AES_CBC_PAD),
    _plain("import", "C_DestroyObject", Place.ENDS_THE_HOST),
    _begins("encrypt", "C_EncryptInit", Place.REPEATED, AES_GCM),
    _ends("encrypt", "C_Encrypt", Place.REPEATED),
    _begins("decrypt", "C_DecryptInit", Place.REPEATED, AES_GCM),
    _ends("decrypt", "C_Decrypt", Place.REPEATED),
    _plain("random", "C_GenerateRandom", Place.REPEATED),
    _plain("data key", "C_GenerateRandom", Place.REPEATED),
    _plain("create", "C_GenerateKey", Place.REPEATED),
    _plain("parameters", "C_GenerateKeyPair", Place.MAKES_PAIRS),
    _plain("parameters", "C_CopyObject", Place.MAKES_PAIRS),
    _plain("parameters", "C_GetAttributeValue", Place.MAKES_PAIRS),
    _plain("parameters", "C_WrapKey", Place.MAKES_PAIRS, AES_KEY_WRAP_PAD),
)


STARTING_MS: Final = 3000
"""So long after it has loaded its module a host may still be attaching, on a busy machine."""


@dataclass(frozen=True)
class Case:
    """One function that goes wrong in one way."""

    site: Site
    code: int
    is_after: bool
    is_always: bool

    def __str__(self) -> str:
        return f"{self.site}-{self.code:#x}-{self._when}-{'always' if self.is_always else 'once'}"

    @property
    def _when(self) -> str:
        return "after" if self.is_after else "before"

    @property
    def rule(self) -> str:
        """The rule for the module."""
        words = [self.site.function, f"{self.code:#x}", self._when]
        if self.site.mechanism:
            words.append(f"mechanism={self.site.mechanism}")
        if not self.is_always:
            words += ["count=1"]
            # Or a host that is just starting, in place of the one before, could be the one that meets it. Where pairs
            # are made there is one host only, and both answers are right.
            words += [] if self.site.before is Place.MAKES_PAIRS else [f"older_ms={STARTING_MS}"]
        return " ".join(words)

    @property
    def expected(self) -> set[Answer]:
        """The answers that are right."""
        place = self.site.after if self.is_after else self.site.before
        return (ALWAYS if self.is_always else ONCE)[place, CODES[self.code]]


EVERY: Final = [
    Case(site, code, is_after, is_always)
    for site in SITES
    for code in CODES
    for is_after in (False, True)
    for is_always in (False, True)
]


def ends_a_host(case: Case) -> bool:
    """Tell whether a host may end of it."""
    return Answer.LATER in case.expected


def is_normal(case: Case) -> bool:
    """Tell whether a case is in the normal run: a diagonal of every site, with every code; more where it costs no host.

    A case after which the caller must try later costs a host, and a new one a second of the processor.
    """
    at, code = SITES.index(case.site), list(CODES).index(case.code)
    if ends_a_host(case):
        return code == at * 8 % len(CODES) and case.is_after == at % 2 and case.is_always == (at % 4 < 3)
    if case.site.before is Place.UNWRAPS_THE_CALLERS:
        return not case.is_always
    return (at + code) % 21 == case.is_after
