"""Bodies that no dialect reads, whatever its fields are."""

from __future__ import annotations

from typing import Final

MALFORMED: Final = {
    "duplicate_members": b'{"a": "b", "a": "c"}',
    "duplicate_members_inside": b'{"a": [{"b": 1, "b": 2}]}',
    "nan": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a_number_out_of_range": b'{"a": 1e999}',
    "an_endless_integer": b'{"a": ' + b"9" * 5000 + b"}",
    "nesting_of_17_levels": b'{"a": ' + b"[" * 16 + b"]" * 16 + b"}",
    "nesting_without_end": b"[" * 60_000,
    "an_array": b'["a"]',
    "a_string": b'"a"',
    "null": b"null",
    "nothing": b"",
    "two_values": b'{"a": "b"} {}',
    "not_json": b"a=b",
    "not_utf8": b'{"a": "\xff"}',
    "utf16": '{"a": "b"}'.encode("utf-16"),
    "half_a_surrogate_pair": b'{"a": "\\ud800"}',
}
OVERSIZED: Final = b'{"a": "' + b"x" * 65_536 + b'"}'
"""More than 64 KiB."""
