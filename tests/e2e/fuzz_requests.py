"""Requests of both clouds, drawn from the operations that the dialects publish, and what is wrong with them.

A request is drawn as `Asked`: what it is about and how it is spoilt, in words. It is signed, and spoilt, when it is
sent (`fuzz_sending`); so an example that Hypothesis prints is short, and can be sent again to another service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from hsmkms.dialects.huawei.codec import OPERATIONS
from hsmkms.dialects.tencent.codec import ACTIONS
from tests.e2e.fuzz_bodies import SPOILERS
from tests.e2e.fuzz_fields import sound, spoilt
from tests.e2e.fuzz_twists import TWISTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hsmkms.dialects.wire_models import WireRequest

TENCENT: Final = "tencent"
HUAWEI: Final = "huawei"
OWN: Final = "own"
FORGERIES: Final = ("wrong secret", "nobody", "other body", "late", "nothing")
"""Signatures that must not be believed."""
SIGNERS: Final = ("stranger", "auth token", *FORGERIES)
"""Who else signs, and what; the auth token is Huawei's, and beside a signature of Tencent's nothing."""
MOST_IN_A_BATCH: Final = 25
SOUND_MESSAGES: Final = 65
SPOILT_BODIES: Final = 72
OTHER_SIGNERS: Final = 78
STRANGE_ACTIONS: Final = 80
"""Hundredths of all requests, each beside those before it; the rest is twisted after it was signed."""
SOUND_FIELDS: Final = 6
ONE_SPOILT_FIELD: Final = 9
"""Tenths, in the same way; in the rest every field is spoilt."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    cloud: str
    action: str
    members: dict[str, Any]
    signer: str = OWN
    body: tuple[str, int] | None = None
    """How the body is spoilt before it is signed: one of `fuzz_bodies.SPOILERS`, and a number for it."""
    twists: tuple[tuple[str, int], ...] = ()
    """How the signed message is spoilt: some of `fuzz_twists.TWISTS`, and a number for each."""


def _models(table: Mapping[str, Any]) -> dict[str, type[WireRequest]]:
    return {name: row.model for name, row in sorted(table.items())}


MODELS: Final = {TENCENT: _models(ACTIONS), HUAWEI: _models(OPERATIONS)}
"""What each cloud's operations take."""
FIELDS: Final = sorted({name for models in MODELS.values() for each in models.values() for name in each.model_fields})

_CALLS: Final = st.sampled_from([(cloud, action) for cloud, models in MODELS.items() for action in models])
_STRANGE_ACTIONS: Final = st.sampled_from(
    ("", "Encrypt ", "encrypt", "DeleteKey", "../create-key", "create-key/", "%63reate-key", "create-key%2f", "x" * 300)
)
_TENTHS: Final = st.integers(0, 9)
_HUNDREDTHS: Final = st.integers(0, 99)
_NUMBERS: Final = st.integers(0, 33)
_MASKS: Final = st.integers(0, 2**12 - 1)
_BYTES: Final = st.integers(0, 255)
_SIGNERS: Final = st.sampled_from(SIGNERS)
_TWISTS: Final = st.sampled_from(sorted(TWISTS))
_SPOILERS: Final = st.sampled_from(sorted(SPOILERS))


def _members(draw: Callable[[st.SearchStrategy[Any]], Any], action: str, model: type[WireRequest]) -> dict[str, Any]:
    """Draw the fields of a request: six in ten have none that is spoilt, three have one, and one has only such."""
    number, mask, faults = draw(_NUMBERS), draw(_MASKS), draw(_TENTHS)
    names = [
        name for place, (name, each) in enumerate(model.model_fields.items()) if each.is_required() or mask >> place & 1
    ]
    wrong = {draw(_BYTES) % (len(names) or 1)} if SOUND_FIELDS <= faults < ONE_SPOILT_FIELD else set()
    all_wrong = faults >= ONE_SPOILT_FIELD
    members: dict[str, Any] = {}
    for place, name in enumerate(names):
        choose = spoilt if all_wrong or place in wrong else sound
        members[name] = choose(draw, action, name, number)
    if all_wrong and mask & 1:
        members["Surprise"] = 1
    return members


@st.composite
def asked(draw: Callable[[st.SearchStrategy[Any]], Any], signers: Sequence[str] = ()) -> Asked:
    """Draw one request: two thirds as they should be but for their fields, a fifth spoilt as a message.

    With `signers`, one of them signs it, and nothing else is wrong but its fields.
    """
    cloud, action = draw(_CALLS)
    members = _members(draw, action, MODELS[cloud][action])
    if signers:
        return Asked(cloud, action, members, signer=signers[draw(_BYTES) % len(signers)])
    trouble = draw(_HUNDREDTHS)
    if trouble < SOUND_MESSAGES:
        return Asked(cloud, action, members)
    if trouble < SPOILT_BODIES:
        return Asked(cloud, action, members, body=(draw(_SPOILERS), draw(_BYTES)))
    if trouble < OTHER_SIGNERS:
        return Asked(cloud, action, members, signer=draw(_SIGNERS))
    if trouble < STRANGE_ACTIONS:
        return Asked(cloud, draw(_STRANGE_ACTIONS), members)
    twists = tuple((draw(_TWISTS), draw(_BYTES)) for _ in range(1 + trouble % 2))
    return Asked(cloud, action, members, twists=twists)


@st.composite
def batches(draw: Callable[[st.SearchStrategy[Any]], Any], signers: Sequence[str] = ()) -> list[Asked]:
    """Draw some requests, to be sent one after the other; each can be left out, so that what shrinks gets short."""
    one = asked(signers)
    return [draw(one) for _ in range(MOST_IN_A_BATCH) if draw(_BYTES)]
