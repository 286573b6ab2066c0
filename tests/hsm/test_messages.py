from __future__ import annotations

import uuid
from dataclasses import replace

import msgspec
import pytest
from msgspec import structs

from hsmkms.core.ciphertexts import MOST_CIPHERTEXT_BYTES, MOST_CONTEXT_BYTES, MOST_DATA_KEY_BYTES
from hsmkms.core.custody import SEALING_ROLES, CustodyObject, CustodyRole
from hsmkms.core.material import Edition
from hsmkms.core.records import RecordKind, of_credential, of_material
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.hsm import frames, messages
from hsmkms.hsm.host.purposes import OBEYED
from hsmkms.hsm.messages import Reply, Request
from hsmkms.hsm.parts import CustodyItem, Head, Held, Identity, Place
from hsmkms.hsm.settings import HostPurpose

SECRET = b"needle-in-a-message"
OWNER = Identity.of(of_material("alice", str(uuid.uuid4()), Edition.FIPS, 3))  # type: ignore[arg-type]
CREDENTIAL = Identity.of(of_credential("alice", "AKID", Edition.SM))  # type: ignore[arg-type]

HELD = Held(owner=OWNER, record=b"r")


def place_of(**changed: bytes | int) -> Place:
    item = CustodyItem.of(CustodyObject(CustodyRole.MAC, bytes(16)))
    objects = (structs.replace(item, **changed),)
    return Place(deployment_id="d", edition=Edition.FIPS, token_serial="s", objects=objects)


def payload_of(frame: bytes) -> bytes:
    header, payload = frame[: frames.LENGTH.size], frame[frames.LENGTH.size :]
    assert frames.payload_length(header) == len(payload)
    return payload


@pytest.mark.parametrize(
    "verb",
    [
        messages.Probe(),
        messages.ProtectSecret(identity=CREDENTIAL, secret=SECRET),
        messages.InspectMaterial(owner=OWNER, record=SECRET),
        messages.Encrypt(material=HELD, plaintext=SECRET, context=b"c"),
        messages.MakeDataKey(material=HELD, size=1024, context=b"", shown=False),
        messages.Random(size=1),
    ],
)
def test_a_request_comes_out_as_it_went_in(verb: messages.Verb) -> None:
    request = Request(number=7, verb=verb, request_id="r-1")
    assert frames.parse_request(payload_of(frames.frame(request))) == request


@pytest.mark.parametrize(
    "answer",
    [
        messages.Attached(),
        messages.DataKeyMade(ciphertext=b"c", plaintext=None),
        messages.DataKeyMade(ciphertext=b"c", plaintext=SECRET),
        messages.Fault(kind=messages.FaultKind.LENGTH_WRONG, needed_bits=256),
        messages.MaterialInspected(
            attributes={"LOCAL": False, "VALUE_LEN": 0, "CLASS": "SECRET_KEY", "SIGN_RECOVER": None},
            length_bits=256,
            length_proof="so",
            fingerprint_algorithm="a",
            fingerprint=SECRET,
        ),
    ],
)
def test_a_reply_comes_out_as_it_went_in(answer: messages.Answer) -> None:
    reply = Reply(number=7, answer=answer)
    assert frames.parse_reply(payload_of(frames.frame(reply))) == reply


def test_a_frame_holds_64_kibibytes_and_not_more() -> None:
    def frame_of(size: int) -> bytes:
        return frames.frame(Reply(number=1, answer=messages.SecretOpened(secret=bytes(size))))

    overhead = len(frame_of(1 << 15)) - frames.LENGTH.size - (1 << 15)
    most = frames.MAX_FRAME_BYTES - overhead
    assert len(frame_of(most)) == (1 << 16) + frames.LENGTH.size
    with pytest.raises(frames.FrameTooLarge):
        frame_of(most + 1)


def test_a_header_announcing_more_than_64_kibibytes_is_refused() -> None:
    assert frames.payload_length((1 << 16).to_bytes(4, "big")) == 1 << 16
    with pytest.raises(frames.FrameTooLarge):
        frames.payload_length(((1 << 16) + 1).to_bytes(4, "big"))


LONGEST = of_material("a" * 64, str(uuid.uuid4()), Edition.FIPS, 2**63 - 1)  # type: ignore[arg-type]
LARGEST = messages.ImportMaterial(
    owner=Identity.of(LONGEST),
    pair=Identity.of(replace(LONGEST, kind=RecordKind.PAIR)),
    pair_record=bytes(4096),
    algorithm=WrappingAlgorithm.RSAES_OAEP_SHA_256,
    ciphertext=bytes(1024),
)


LONGEST_HELD = Held(owner=Identity.of(LONGEST), record=bytes(4096))
LARGEST_OF_ALL = messages.ReEncrypt(
    source=LONGEST_HELD,
    ciphertext=bytes(MOST_CIPHERTEXT_BYTES),
    context=bytes(MOST_CONTEXT_BYTES),
    target=LONGEST_HELD,
    target_context=bytes(MOST_CONTEXT_BYTES),
)
LARGEST_PLAINTEXT = messages.Encrypt(material=LONGEST_HELD, plaintext=bytes(4096), context=bytes(MOST_CONTEXT_BYTES))
DATA_KEY = messages.MakeDataKey(material=HELD, size=1, context=b"", shown=True)


def longest_item(role: CustodyRole, version: int = 1) -> CustodyItem:
    """Return a long-lived object with known answers as long as they are: a sealed pair of 2048 bits has 1232 bytes."""
    challenge = bytes(1280 if role is CustodyRole.PAIR_SEALING else 64)
    return CustodyItem(
        role=role, object_id=bytes(16), challenge=challenge, answer=bytes(32), version=version, transferable=True
    )


LONGEST_PLACE = Place(
    deployment_id="d" * 64,
    edition=Edition.FIPS,
    token_serial="s" * 64,
    objects=(
        *(longest_item(role) for role in CustodyRole if role not in SEALING_ROLES),
        *(longest_item(role, 2**31 - 1 - version) for role in SEALING_ROLES for version in range(30)),
    ),
)
"""With as many versions of the sealing keys as there can be."""
NEXT_VERSION = tuple(longest_item(role, 2**31 - 1) for role in SEALING_ROLES)
LONGEST_HEAD = Head(sequence=2**63 - 1, digest=bytes(32), node="n" * 32)
LARGEST_OF_EACH: tuple[messages.Verb, ...] = (
    messages.Attach(place=LONGEST_PLACE),
    messages.Initialise(place=LONGEST_PLACE),
    messages.Adopt(place=LONGEST_PLACE),
    messages.MakeSealingKeys(place=LONGEST_PLACE, planned=NEXT_VERSION, replace_unknown=False),
    messages.DestroySealingKeys(place=LONGEST_PLACE, retired=NEXT_VERSION),
    messages.Probe(),
    messages.MakePair(identity=Identity.of(LONGEST), bits=2**63 - 1),
    LARGEST,
    messages.GenerateMaterial(owner=Identity.of(LONGEST)),
    messages.ResealMaterial(owner=Identity.of(LONGEST), record=bytes(4096)),
    messages.InspectMaterial(owner=Identity.of(LONGEST), record=bytes(4096)),
    LARGEST_PLAINTEXT,
    messages.Decrypt(material=LONGEST_HELD, ciphertext=bytes(MOST_CIPHERTEXT_BYTES), context=bytes(MOST_CONTEXT_BYTES)),
    messages.RequireDecryptable(
        material=LONGEST_HELD, ciphertext=bytes(MOST_CIPHERTEXT_BYTES), context=bytes(MOST_CONTEXT_BYTES)
    ),
    LARGEST_OF_ALL,
    messages.MakeDataKey(
        material=LONGEST_HELD, size=MOST_DATA_KEY_BYTES, context=bytes(MOST_CONTEXT_BYTES), shown=True
    ),
    messages.Random(size=MOST_DATA_KEY_BYTES),
    messages.SealHead(deployment_id="d" * 64, head=LONGEST_HEAD),
    messages.HoldsSeal(deployment_id="d" * 64, head=LONGEST_HEAD, mac=bytes(32)),
    messages.CutAfter(deployment_id="d" * 64, head=LONGEST_HEAD),
    messages.HoldsCut(deployment_id="d" * 64, head=LONGEST_HEAD, mac=bytes(32)),
    messages.ProtectSecret(identity=Identity.of(LONGEST), secret=bytes(256)),
    messages.OpenSecret(identity=Identity.of(LONGEST), record=bytes(4096)),
)


@pytest.mark.parametrize("verb", LARGEST_OF_EACH, ids=lambda verb: type(verb).__name__)
def test_the_largest_request_passes(verb: messages.Verb) -> None:
    request = Request(number=2**63 - 1, verb=verb, request_id="r" * 64)
    assert frames.parse_request(payload_of(frames.frame(request))) == request


def test_the_largest_request_of_every_verb_was_tried() -> None:
    assert {type(verb) for verb in LARGEST_OF_EACH} == set(messages.Verb.__args__)


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(structs.replace(LARGEST, ciphertext=bytes(1025)), id="ciphertext"),
        pytest.param(structs.replace(LARGEST, pair_record=bytes(4097)), id="record"),
        pytest.param(messages.GenerateMaterial(owner=Identity.of(replace(LONGEST, generation=2**63))), id="generation"),
        pytest.param(messages.GenerateMaterial(owner=Identity.of(replace(LONGEST, generation=-1))), id="negative"),
        pytest.param(messages.GenerateMaterial(owner=Identity.of(replace(LONGEST, account="a" * 65))), id="account"),
        pytest.param(messages.GenerateMaterial(owner=Identity.of(replace(LONGEST, owner="a" * 65))), id="owner"),
        pytest.param(messages.ProtectSecret(identity=CREDENTIAL, secret=bytes(257)), id="secret"),
        pytest.param(messages.OpenSecret(identity=CREDENTIAL, record=bytes(4097)), id="credential"),
        pytest.param(
            structs.replace(LARGEST_OF_ALL, ciphertext=bytes(MOST_CIPHERTEXT_BYTES + 1)), id="key's ciphertext"
        ),
        pytest.param(structs.replace(LARGEST_OF_ALL, context=bytes(MOST_CONTEXT_BYTES + 1)), id="context"),
        pytest.param(
            structs.replace(LARGEST_OF_ALL, target_context=bytes(MOST_CONTEXT_BYTES + 1)), id="target's context"
        ),
        pytest.param(structs.replace(LARGEST_PLAINTEXT, plaintext=bytes(4097)), id="plaintext"),
        pytest.param(
            structs.replace(LARGEST_PLAINTEXT, material=Held(owner=OWNER, record=bytes(4097))), id="material's record"
        ),
        pytest.param(structs.replace(DATA_KEY, size=0), id="no data key"),
        pytest.param(structs.replace(DATA_KEY, size=1025), id="data key"),
        pytest.param(messages.Random(size=0), id="no random bytes"),
        pytest.param(messages.Random(size=1025), id="random bytes"),
        pytest.param(
            messages.SealHead(deployment_id="d", head=Head(sequence=1, digest=bytes(31), node="")), id="head's digest"
        ),
        pytest.param(messages.HoldsSeal(deployment_id="d", head=LONGEST_HEAD, mac=bytes(33)), id="seal"),
        pytest.param(messages.CutAfter(deployment_id="d" * 65, head=LONGEST_HEAD), id="cut's deployment"),
        pytest.param(
            messages.CutAfter(deployment_id="d", head=structs.replace(LONGEST_HEAD, digest=bytes(33))),
            id="cut's digest",
        ),
        pytest.param(
            messages.CutAfter(deployment_id="d", head=structs.replace(LONGEST_HEAD, sequence=-1)), id="cut's sequence"
        ),
        pytest.param(
            messages.HoldsCut(deployment_id="d", head=structs.replace(LONGEST_HEAD, node="n" * 33), mac=bytes(32)),
            id="cut's node",
        ),
        pytest.param(messages.HoldsCut(deployment_id="d", head=LONGEST_HEAD, mac=bytes(31)), id="cut too short"),
        pytest.param(messages.HoldsCut(deployment_id="d", head=LONGEST_HEAD, mac=bytes(33)), id="cut too long"),
        pytest.param(messages.Attach(place=place_of(object_id=bytes(15))), id="object id"),
        pytest.param(messages.Attach(place=place_of(challenge=bytes(4097))), id="challenge"),
        pytest.param(messages.Attach(place=place_of(answer=bytes(4097))), id="answer"),
        pytest.param(messages.Attach(place=place_of(version=0)), id="no version"),
        pytest.param(messages.Attach(place=place_of(version=2**31)), id="version"),
        pytest.param(
            messages.Attach(place=structs.replace(LONGEST_PLACE, objects=(*LONGEST_PLACE.objects, NEXT_VERSION[0]))),
            id="objects",
        ),
    ],
)
def test_a_request_beyond_its_bounds_is_neither_sent_nor_read(verb: messages.Verb) -> None:
    request = Request(number=1, verb=verb)
    with pytest.raises(msgspec.ValidationError):
        frames.frame(request)
    with pytest.raises(msgspec.ValidationError):
        frames.parse_request(msgspec.msgpack.encode(request))


@pytest.mark.parametrize(
    ("verb", "broken"),
    [
        (
            structs.replace(LARGEST_OF_ALL, target_context=b"needle".ljust(MOST_CONTEXT_BYTES + 1)),
            "$.verb.target_context",
        ),
        (messages.InspectMaterial(owner=OWNER, record=b"needle".ljust(4097)), "$.verb.record"),
        (messages.GenerateMaterial(owner=Identity.of(replace(LONGEST, account="needle" * 11))), "$.verb.owner.account"),
    ],
)
def test_of_a_request_beyond_its_bounds_the_field_is_known_and_not_the_value(verb: messages.Verb, broken: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        frames.frame(Request(number=1, verb=verb))
    assert frames.field_of(raised.value) == broken


def test_of_a_refusal_that_names_no_field_nothing_is_repeated() -> None:
    assert frames.field_of(msgspec.ValidationError("Invalid value 'needle'")) == ""


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\xc1", msgspec.msgpack.encode({"number": 1, "verb": {"type": "C_Sign"}})]
)
def test_what_is_no_request_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        frames.parse_request(payload)


def test_the_verbs_are_a_short_fixed_list() -> None:
    verbs = {each.__name__ for each in messages.Verb.__args__}
    assert verbs == {
        "Attach",
        "Initialise",
        "Adopt",
        "MakeSealingKeys",
        "DestroySealingKeys",
        "Probe",
        "MakePair",
        "ImportMaterial",
        "GenerateMaterial",
        "ResealMaterial",
        "InspectMaterial",
        "Encrypt",
        "Decrypt",
        "RequireDecryptable",
        "ReEncrypt",
        "MakeDataKey",
        "Random",
        "SealHead",
        "HoldsSeal",
        "CutAfter",
        "HoldsCut",
        "ProtectSecret",
        "OpenSecret",
    }


@pytest.mark.parametrize("verb", [messages.ProtectSecret, messages.CutAfter, messages.HoldsCut])
def test_what_only_a_command_s_host_may_do_no_other_does(verb: type[messages.Verb]) -> None:
    assert [purpose for purpose, obeyed in OBEYED.items() if verb in obeyed] == [HostPurpose.OPERATE]


def test_no_message_shows_its_values() -> None:
    item = CustodyItem.of(CustodyObject(CustodyRole.MAC, b"id", SECRET, SECRET))
    shown = [
        messages.ProtectSecret(identity=CREDENTIAL, secret=SECRET),
        Request(number=1, verb=messages.ProtectSecret(identity=CREDENTIAL, secret=SECRET)),
        Reply(number=1, answer=messages.SecretOpened(secret=SECRET)),
        messages.Encrypt(material=Held(owner=OWNER, record=SECRET), plaintext=SECRET, context=SECRET),
        messages.Decrypt(material=HELD, ciphertext=SECRET, context=SECRET),
        messages.RequireDecryptable(material=HELD, ciphertext=SECRET, context=SECRET),
        messages.Encrypted(ciphertext=SECRET),
        messages.Decrypted(plaintext=SECRET),
        messages.DataKeyMade(ciphertext=SECRET, plaintext=SECRET),
        messages.RandomMade(content=SECRET),
        messages.MaterialSealed(record=SECRET, fingerprint_algorithm="a", fingerprint=SECRET),
        messages.Initialised(objects=(item,)),
        item,
    ]
    for message in shown:
        assert SECRET.decode() not in repr(message) + str(message)


def test_wire_forms_give_back_what_they_were_made_of() -> None:
    identity = of_material("alice", "key", Edition.SM, 9)  # type: ignore[arg-type]
    assert Identity.of(identity).core() == identity
    item = CustodyObject(CustodyRole.MATERIAL_SEALING, b"id", b"challenge", b"answer", version=7, transferable=True)
    assert CustodyItem.of(item).core() == item
