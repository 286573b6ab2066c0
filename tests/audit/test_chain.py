from __future__ import annotations

import hashlib
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from hsmkms.audit.chain import GENESIS, canonical, link
from hsmkms.core.events import DIGEST_BYTES, Event, EventTag
from hsmkms.core.ids import AccountName, Instant, KeyId, RequestId

EVENT = Event(
    EventTag.KEY_CREATED,
    Instant(1_800_000_000_000),
    AccountName("alice"),
    "ak-1",
    KeyId("k-1"),
    RequestId("r-1"),
    {"alias": "x", "number": 7, "yes": True, "nothing": None},
)

texts = st.text(st.characters(codec=None), max_size=8)  # lone surrogates included
values = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts
optional = st.none() | texts
events = st.builds(
    Event,
    tag=st.sampled_from(EventTag),
    at=st.integers(0, 2**50).map(Instant),
    account=optional.map(lambda text: None if text is None else AccountName(text)),
    actor=texts,
    key_id=optional.map(lambda text: None if text is None else KeyId(text)),
    request_id=optional.map(lambda text: None if text is None else RequestId(text)),
    detail=st.dictionaries(texts, values, max_size=3),
)


def exactly(event: Event) -> tuple[object, ...]:
    """The event such that 1, True and "1" differ, and the order of the details does not matter."""
    detail = sorted((name, type(value).__name__, str(value)) for name, value in event.detail.items())
    return (event.tag, event.at, event.account, event.actor, event.key_id, event.request_id, tuple(detail))


def test_a_known_event_keeps_its_digest() -> None:
    """A changed form would break every trail in the field: it must get a new domain, and this test a new value."""
    parts = [
        b"hsmkms audit event v1",
        b"",
        b"key:created",
        b"i1800000000000",
        b"salice",
        b"ak-1",
        b"sk-1",
        b"sr-1",
        bytes(7) + b"\x04",
        *(b"alias", b"sx", b"nothing", b"n", b"number", b"i7", b"yes", b"t"),
    ]
    form = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    assert canonical(GENESIS, EVENT) == form
    assert link(GENESIS, EVENT) == hashlib.sha256(form).digest()
    assert len(link(GENESIS, EVENT)) == DIGEST_BYTES == 32


@given(one=events, other=events, before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_two_events_have_one_form_only_if_they_are_one(one: Event, other: Event, before: bytes, after: bytes) -> None:
    same = exactly(one) == exactly(other) and before == after
    assert (canonical(before, one) == canonical(after, other)) == same


@given(event=events)
def test_the_order_of_the_details_does_not_matter(event: Event) -> None:
    turned = replace(event, detail=dict(reversed(list(event.detail.items()))))
    assert link(GENESIS, turned) == link(GENESIS, event)


def test_every_field_counts() -> None:
    others = {
        "tag": replace(EVENT, tag=EventTag.KEY_ENABLED),
        "at": replace(EVENT, at=Instant(1)),
        "account": replace(EVENT, account=None),
        "actor": replace(EVENT, actor=""),
        "key_id": replace(EVENT, key_id=None),
        "request_id": replace(EVENT, request_id=RequestId("")),
        "detail": replace(EVENT, detail={"alias": "x", "number": 7, "yes": 1, "nothing": None}),
    }
    assert set(others) == {each.name for each in fields(Event)}
    digests = {link(GENESIS, each) for each in others.values()}
    digests |= {link(GENESIS, EVENT), link(b"\x00", EVENT)}
    assert len(digests) == len(others) + 2
