"""What a dialect reads of a request's head."""

from __future__ import annotations

from dataclasses import replace

from hsmkms.dialects.base import RequestHead

HEAD = RequestHead(
    "POST", "/a?b?c", (("X-One", " 1\t"), ("x-TWO", "a"), ("X-Two", ""), ("X-Two", "a")), source="192.0.2.1"
)


def test_a_header_has_every_value_in_its_order_without_the_space_around_it() -> None:
    assert [HEAD.values(name) for name in ("x-one", "x-two", "x-three")] == [("1",), ("a", "", "a"), ()]
    assert RequestHead("GET", "/", ()).values("x-one") == ()


def test_a_head_that_arrived_differs_in_when() -> None:
    for head in (HEAD, RequestHead(HEAD.method, HEAD.target, HEAD.headers, HEAD.source)):
        assert head.arrived(7.0) == replace(HEAD, received=7.0)
        assert head.arrived(7.0).values("x-one") == ("1",)


def test_a_head_with_other_headers_has_their_values_and_no_others() -> None:
    assert HEAD.values("x-one") == ("1",)
    other = replace(HEAD, headers=(("X-Four", "4"),))
    assert (other.values("x-one"), other.values("x-four")) == ((), ("4",))


def test_what_is_shown_of_a_head_holds_no_header() -> None:
    assert HEAD.values("x-two")
    assert "X-" not in repr(HEAD)
    assert "x-" not in repr(HEAD)
