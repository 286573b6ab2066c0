"""Values of the core that its tests start from."""

from __future__ import annotations

from typing import Final

from hsmkms.core.ids import AccountName, Instant, KeyId, PairId, TicketId, from_seconds, later
from hsmkms.core.keys import Key, KeyUsage, Material, Origin
from hsmkms.core.material import Fingerprint, SealedMaterial
from hsmkms.core.tickets import Pair, Spending, Ticket
from hsmkms.core.wrapping import WrappingAlgorithm

NOW: Final = from_seconds(1_700_000_000)
ACCOUNT: Final = AccountName("acme")
KEY_ID: Final = KeyId("6d8b6a3e-0000-4000-8000-000000000001")
PAIR_ID: Final = PairId("6d8b6a3e-0000-4000-8000-000000000002")
DAY_SECONDS: Final = 86_400


def a_key(*, origin: Origin = Origin.EXTERNAL) -> Key:
    return Key(
        key_id=KEY_ID,
        account=ACCOUNT,
        alias="payments",
        description="",
        usage=KeyUsage.ENCRYPT_DECRYPT,
        origin=origin,
        created_at=NOW,
    )


def sealed(seed: int) -> SealedMaterial:
    return SealedMaterial(b"\x01record %d" % seed, Fingerprint("cmac2-v1", b"fingerprint %d" % seed))


def material(seed: int = 1, *, valid_to: Instant | None = None) -> Material:
    return Material(b"\x01record %d" % seed, NOW, valid_to, TicketId("ticket"))


def a_ticket(number: int = 1, *, now: Instant = NOW, most_attempts: int = 10) -> Ticket:
    return Ticket(
        ticket_id=TicketId(f"ticket {number}"),
        token_digest=b"digest %d" % number,
        account=ACCOUNT,
        key_id=KEY_ID,
        pair_id=PAIR_ID,
        algorithm=WrappingAlgorithm.RSAES_OAEP_SHA_256,
        issued_at=now,
        deadline=later(now, seconds=DAY_SECONDS),
        most_attempts=most_attempts,
    )


def a_pair(*, now: Instant = NOW) -> Pair:
    return Pair(
        pair_id=PAIR_ID,
        account=ACCOUNT,
        algorithm=WrappingAlgorithm.RSAES_OAEP_SHA_256,
        public_key=b"der",
        opened_at=now,
        record=b"\x01private half",
    )


def spending(seed: int = 1, *, valid_to: Instant | None = None) -> Spending:
    return Spending(b"ciphertext digest %d" % seed, valid_to)
