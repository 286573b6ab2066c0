"""The text of an archive: what is written is read, and nothing else is."""

from __future__ import annotations

import itertools
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsmkms.audit.archive import ArchivedEvent, ArchiveOf, NodeBegins, line_of, members_of, read, text_of
from hsmkms.core.errors import ArchiveUnusable
from hsmkms.core.events import AuditHead, AuditSeal, ChainedEvent, Event, EventTag
from hsmkms.core.ids import AccountName, Instant, KeyId, RequestId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsmkms.audit.archive import Line

DEPLOYMENT: Final = "a deployment"
LAST_INSTANT: Final = 253_402_300_799_999


def joined(text: str) -> str:
    """Return the text with each pair of surrogates as the one character that it stands for, as readers of JSON do."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


texts = st.text(st.characters(codec=None), max_size=8).map(joined)  # lone surrogates included
values = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts
names = st.just("") | st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32)
heads = st.builds(AuditHead, st.integers(1, 10**19 - 1), digests, names)
instants = st.integers(0, LAST_INSTANT) | st.sampled_from((0, 1, LAST_INSTANT))
events = st.builds(
    Event,
    tag=st.sampled_from(EventTag),
    at=instants.map(Instant),
    account=st.none() | texts.map(AccountName),
    actor=texts,
    key_id=st.none() | texts.map(KeyId),
    request_id=st.none() | texts.map(RequestId),
    detail=st.dictionaries(texts, values, max_size=3),
)
archived = st.builds(ArchivedEvent, names, st.builds(ChainedEvent, st.integers(1, 2**63 - 1), digests, events))
lines = (
    st.builds(ArchiveOf, texts)
    | st.builds(NodeBegins, names, st.none() | heads)
    | archived
    | st.builds(AuditSeal, heads, digests)
)

EVENT: Final = Event(
    EventTag.KEY_CREATED, Instant(1_800_000_000_001), AccountName("acme"), "ak-1", detail={"number": 7, "text": "ü"}
)
HEAD: Final = AuditHead(7, bytes(range(32)), "a")
EACH: Final[dict[str, Line]] = {
    "archive": ArchiveOf(DEPLOYMENT),
    "begins": NodeBegins("a", HEAD),
    "event": ArchivedEvent("a", ChainedEvent(7, HEAD.digest, EVENT)),
    "seal": AuditSeal(HEAD, bytes(range(32, 64))),
}


@given(line=lines)
def test_every_line_is_read_as_it_was_written(line: Line) -> None:
    text = text_of(line)
    assert text.isascii()
    assert text.isprintable()
    assert repr(line_of(text)) == repr(line)  # in which 1 and True differ


@given(at=instants)
@example(at=LAST_INSTANT - 7)
def test_an_instant_is_written_to_the_millisecond(at: int) -> None:
    event = Event(EventTag.KEY_CREATED, Instant(at), None, "ak-1")
    written = members_of("", ChainedEvent(1, bytes(32), event))["at"]
    assert isinstance(written, str)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written)
    assert int(written[-4:-1]) == at % 1000
    assert int(written[-7:-5]) == at // 1000 % 60


def test_the_lines_have_a_form_that_archives_in_the_field_have() -> None:
    digest, mac = bytes(range(32)).hex(), bytes(range(32, 64)).hex()
    assert {name: text_of(line) for name, line in EACH.items()} == {
        "archive": '{"archive": "hsmkms audit trail v1", "deployment": "a deployment"}',
        "begins": f'{{"after": "a/7:{digest}", "node": "a"}}',
        "event": (
            '{"sequence": 7, "at": "2027-01-15T08:00:00.001Z", "tag": "key:created", "account": "acme",'
            ' "actor": "ak-1", "key_id": null, "request_id": null, "detail": {"number": 7, "text": "\\u00fc"},'
            f' "digest": "{digest}", "node": "a"}}'
        ),
        "seal": f'{{"seal": "a/7:{digest}", "mac": "{mac}"}}',
    }
    assert text_of(NodeBegins("", None)) == '{"after": null, "node": ""}'


characters = st.sampled_from(' \t\n",:{}[]\\/-+.0123456789abcdefABCDEFuTZ\u00fc\ud800\0') | st.characters(codec=None)


@given(line=lines, data=st.data())
def test_a_text_with_another_character_is_no_line_or_another_one(line: Line, data: st.DataObject) -> None:
    text = text_of(line)
    at = data.draw(st.integers(0, len(text)))
    instead = data.draw(st.just("") | characters)
    other = text[:at] + instead + text[at + data.draw(st.integers(0, 1)) :]
    found = line_of(other)
    if other == text:
        assert repr(found) == repr(line)
    elif found is not None:
        assert repr(found) != repr(line)
        assert text_of(found) == other


def with_members(name: str, **members: object) -> str:
    return json.dumps({**json.loads(text_of(EACH[name])), **members})


DAY: Final = "2027-01-15"
WRONG: Final[dict[str, dict[str, tuple[object, ...]]]] = {
    "archive": {"archive": ("hsmkms audit trail v2", None), "deployment": (7, None, True, [], {}), "more": (None,)},
    "begins": {
        "node": (7, None, []),
        "after": (7, "", [], f"a/0:{HEAD.digest.hex()}", str(HEAD).upper()),
        "more": (None,),
    },
    "event": {
        "sequence": (7.0, True, "7", None),
        "at": (
            *(7, None, "", f"{DAY}T08:00:00.001", f"{DAY}T08:00:00.001+00:00", f"{DAY}T08:00:00.0010Z"),
            *(f"{DAY}T08:00:00.0019Z", "20270115T080000.001Z", f"{DAY}T09:00:00.001+01:00", f"1{DAY}T08:00:00.001Z"),
        ),
        "tag": ("key:made", None, 7, "KEY_CREATED"),
        "account": (7, True, []),
        "actor": (7, None, []),
        "key_id": (7, True, []),
        "request_id": (7, True, []),
        "detail": (None, [], 7, "", {"x": 1.5}, {"x": []}, {"x": {}}),
        "digest": (None, 7, "", "00" * 31, "00" * 33, "AB" * 32, " ".join(["ab"] * 32)),
        "node": ("", None, 7),
        "more": (None,),
    },
    "seal": {
        "seal": (None, 7, "", "x", f"a/0:{HEAD.digest.hex()}"),
        "mac": (None, 7, "00" * 31, "00" * 33, "AB" * 32),
        "more": (None,),
    },
}
NO_LINES: Final[tuple[str, ...]] = (
    *("", "null", "7", '"archive"', '["archive"]', '["sequence"]', "{}", "{", "[" * 100_000, "1" * 5000),
    *(
        with_members(kind, **{name: value})
        for kind, members in WRONG.items()
        for name, wrong in members.items()
        for value in wrong
    ),
    *(text_of(line).replace(": ", ":", 1) for line in EACH.values()),
    *(text_of(line) + " " for line in EACH.values()),
    *(text_of(line)[:-1] + ', "node": "a"}' for line in EACH.values()),
    text_of(EACH["seal"]).replace('"seal"', '"cut"'),
    text_of(EACH["event"]).replace("acme", "\\u0061cme"),
    text_of(EACH["event"]).replace("\\u00fc", "ü"),
    text_of(EACH["event"]).replace('"number": 7', '"number": 7, "number": 7'),
    text_of(EACH["event"]).replace('"number": 7', '"number": NaN'),
    text_of(EACH["event"]).replace('"number": 7', '"number": -0'),
    text_of(EACH["event"]).replace('"number": 7', '"number": 7e0'),
)


@pytest.mark.parametrize("text", NO_LINES, ids=range(len(NO_LINES)))
def test_what_is_not_written_is_no_line(text: str) -> None:
    assert line_of(text) is None


# --- the order of lines --------------------------------------------------------------------------------

LETTERS: Final = "AOBbMEeSsx"
WHOLE: Final = re.compile(r"A(BE+S|be+s)+")
BEGUN: Final = re.compile(r"(A(BE+S|be+s)*(BE*|be*)?)?")
"""Each of which can become a whole one."""


@cache
def meant(letter: str) -> tuple[str, Line | None]:
    """Return what a letter stands for: capitals are of node a, small ones of b; O and M are of others, x is none."""
    of_b = AuditHead(8, bytes(32), "b")
    line: Line
    match letter:
        case "A":
            line = ArchiveOf(DEPLOYMENT)
        case "O":
            line = ArchiveOf("another deployment")
        case "B" | "b":
            line = NodeBegins("a", HEAD) if letter == "B" else NodeBegins("b", None)
        case "M":
            line = NodeBegins("a", of_b)
        case "E" | "e":
            line = ArchivedEvent("a" if letter == "E" else "b", ChainedEvent(7, HEAD.digest, EVENT))
        case "S" | "s":
            line = AuditSeal(HEAD if letter == "S" else of_b, bytes(32))
        case _:
            return "x", None
    return text_of(line), line


def outcome(word: str, end: str = "\n") -> tuple[Sequence[Line], str]:
    """Return the lines that are read of an archive, and what is said in the end."""
    found: list[Line] = []
    try:
        for line in read([meant(each)[0] + end for each in word], DEPLOYMENT):
            found.append(line)  # noqa: PERF402 - what was read before it is refused counts
    except ArchiveUnusable as refused:
        return found, refused.message
    return found, ""


def foretold(word: str) -> tuple[Sequence[Line], str]:
    """Return the same by the grammar."""
    held = max(length for length in range(len(word) + 1) if BEGUN.fullmatch(word[:length]))
    found = [line for each in word[:held] if (line := meant(each)[1]) is not None and not isinstance(line, ArchiveOf)]
    if held < len(word):
        if word[0] == "O":
            return found, "of another deployment"
        return found, f"Line {held + 1} of the archive is not what was written there"
    return found, "" if WHOLE.fullmatch(word) else f"ends after line {held}, and not with a seal"


def check(word: str) -> None:
    (found, said), (expected, refusal) = outcome(word), foretold(word)
    assert found == expected, word
    assert refusal in said, word
    assert bool(refusal) == bool(said), word


def test_every_short_archive_is_read_exactly_if_it_is_whole() -> None:
    for length in range(5):
        for letters in itertools.product(LETTERS, repeat=length):
            check("".join(letters))


whole = st.from_regex(r"A(BE{1,3}S|be{1,3}s){1,3}", fullmatch=True)
edits = st.lists(st.tuples(st.integers(0, 15), st.sampled_from(("", *LETTERS)), st.integers(0, 1)), max_size=2)


@given(word=whole, changes=edits)
def test_a_long_archive_is_read_exactly_if_it_is_whole(word: str, changes: Sequence[tuple[int, str, int]]) -> None:
    for at, instead, removed in changes:
        word = word[:at] + instead + word[at + removed :]
    check(word)


@pytest.mark.parametrize(("end", "read"), [("", True), ("\n", True), ("\r\n", False), ("\n\n", False), (" ", False)])
def test_how_a_line_may_end(end: str, read: bool) -> None:
    assert (not outcome("ABES", end)[1]) is read


def test_an_archive_cut_short_anywhere_but_after_a_seal_is_refused() -> None:
    content = "".join(meant(each)[0] + "\n" for each in "ABEESbes")
    first = len("".join(meant(each)[0] + "\n" for each in "ABEES"))
    accepted = []
    for length in range(len(content) + 1):
        try:
            list(read(content[:length].splitlines(keepends=True), DEPLOYMENT))
        except ArchiveUnusable:
            continue
        accepted.append(length)
    assert accepted == [first - 1, first, len(content) - 1, len(content)]  # the last line's end says nothing
