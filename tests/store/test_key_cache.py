"""What a process remembers of keys is what it would read."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hsmkms.core.errors import InternalFault
from hsmkms.core.ids import KeyId
from hsmkms.store.key_cache import KeyCache, KnownKey
from tests.contract.store_contract import ALICE, BOB, SECONDS, key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hsmkms.core.keys import Key

MINE = key()


def known(found: Key | None, tags: Mapping[str, str] | None = None) -> KnownKey:
    key_id = MINE.key_id if found is None else found.key_id
    return KnownKey(ALICE, key_id, found, tags)


def told(keys: KeyCache, read: KnownKey) -> None:
    with keys.asking(read.key_id) as question:
        question.remember(read)


@pytest.fixture
def keys() -> KeyCache:
    return KeyCache(seconds=60)


def test_what_was_read_is_remembered_for_its_account_and_with_what_was_asked(keys: KeyCache) -> None:
    assert keys.find(ALICE, MINE.key_id, tagged=False) is None
    told(keys, known(MINE))
    assert keys.find(ALICE, MINE.key_id, tagged=False) == known(MINE)
    assert keys.find(ALICE, MINE.key_id, tagged=True) is None
    assert keys.find(BOB, MINE.key_id, tagged=False) is None
    told(keys, known(MINE, {}))
    for tagged in (True, False):
        assert keys.find(ALICE, MINE.key_id, tagged=tagged) == known(MINE, {})


def test_a_key_that_there_is_not_is_not_remembered(keys: KeyCache) -> None:
    told(keys, known(None, {}))
    assert keys.find(ALICE, MINE.key_id, tagged=False) is None


def test_a_view_tells_of_nothing_else() -> None:
    view = known(MINE)
    for account, key_id in ((BOB, MINE.key_id), (ALICE, KeyId("other"))):
        with pytest.raises(InternalFault):
            view.key(account, key_id)
        with pytest.raises(InternalFault):
            known(MINE, {}).tags(account, key_id)
    with pytest.raises(InternalFault):
        view.tags(ALICE, MINE.key_id)


def test_it_remembers_no_more_than_it_may_and_what_was_read_last() -> None:
    keys = KeyCache(seconds=60, most=3)
    made = [key(str(number)) for number in range(5)]
    for each in (*made[:3], made[0], *made[3:]):
        told(keys, known(each))
    found = [each for each in made if keys.find(ALICE, each.key_id, tagged=False)]
    assert found == [made[0], *made[3:]]


def test_a_key_is_as_old_as_the_question_not_as_the_answer() -> None:
    keys = KeyCache(seconds=0.2)
    with keys.asking(MINE.key_id) as question:
        asked = time.monotonic()
        while time.monotonic() < asked + 0.21:
            pass
        question.remember(known(MINE))
    assert keys.find(ALICE, MINE.key_id, tagged=False) is None


def test_what_was_read_long_ago_is_read_again() -> None:
    keys = KeyCache(seconds=0.05)
    told(keys, known(MINE))
    end = time.monotonic() + SECONDS
    while keys.find(ALICE, MINE.key_id, tagged=False) is not None:
        assert time.monotonic() < end


def test_an_answer_to_an_older_question_does_not_replace_a_newer_one(keys: KeyCache) -> None:
    """Another process changed it between the two."""
    with keys.asking(MINE.key_id) as earlier:
        told(keys, known(MINE.switched(on=False)))
        earlier.remember(known(MINE))
    assert keys.find(ALICE, MINE.key_id, tagged=False) == known(MINE.switched(on=False))


def test_one_that_failed_to_read_leaves_nothing_behind(keys: KeyCache) -> None:
    with pytest.raises(KeyError), keys.asking(MINE.key_id) as failing:
        raise KeyError
    failing.remember(known(MINE))
    assert keys.find(ALICE, MINE.key_id, tagged=False) is None


STEPS = ("ask", "read", "answer"), ("begin 1", "commit 1", "end 1"), ("begin 2", "commit 2", "end 2")


def interleaved(*each: tuple[str, ...]) -> Iterator[list[str]]:
    """Return every order of the steps in which each one's are in theirs."""
    if not any(each):
        yield []
    for at, steps in enumerate(each):
        if steps:
            for rest in interleaved(*each[:at], steps[1:], *each[at + 1 :]):
                yield [steps[0], *rest]


class Remembering:
    """One question about a key, and two changes of it, which may overlap, as they can on a database server."""

    def __init__(self) -> None:
        self.keys = KeyCache(seconds=3600)
        told(self.keys, known(MINE))
        self.committed = self.read = MINE
        self.changing: set[str] = set()
        self.open = {each: ExitStack() for each in ("ask", "begin 1", "begin 2")}

    def take(self, step: str) -> None:
        match step.split():
            case ["ask"]:
                self.question = self.open[step].enter_context(self.keys.asking(MINE.key_id))
            case ["read"]:
                self.read = self.committed
            case ["answer"]:
                self.question.remember(known(self.read))
                self.open["ask"].close()
            case ["begin", number]:
                self.changing.add(number)
                self.open[step].enter_context(self.keys.changing([MINE.key_id]))
            case ["commit", _]:
                self.committed = replace(self.committed, revision=self.committed.revision + 1)
            case ["end", number]:
                self.changing.remove(number)
                self.open[f"begin {number}"].close()


def test_in_whatever_order_a_key_is_read_and_changed_nothing_else_is_shown() -> None:
    remembered = 0
    orders = list(interleaved(*STEPS))
    for order in orders:
        remembering = Remembering()
        for step in order:
            remembering.take(step)
            found = remembering.keys.find(ALICE, MINE.key_id, tagged=False)
            assert found is None or (found.found == remembering.committed and not remembering.changing), order
        remembered += remembering.keys.find(ALICE, MINE.key_id, tagged=False) is not None
    assert len(orders) == 1680
    assert remembered == len(list(interleaved(*STEPS[1:]))), "if it was asked for after both, and only then"
