from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from hsmkms.core.ciphertexts import CipherAlgorithm
from hsmkms.core.custody import CustodyRole
from hsmkms.core.errors import TokenUnusable
from hsmkms.core.material import Edition
from hsmkms.core.wrapping import WrappingAlgorithm
from hsmkms.hsm import frames, messages
from hsmkms.hsm.host import profiles
from hsmkms.hsm.host.probe import LENGTHS
from hsmkms.hsm.messages import Reply
from hsmkms.hsm.report import AlgorithmFinding, CheckFinding, TokenReport
from hsmkms.wiring.web_process import _Arrivals

if TYPE_CHECKING:
    from hsmkms.hsm.handover import WebEnd
    from tests.hsm.conftest import Served

SHA_256 = WrappingAlgorithm.RSAES_OAEP_SHA_256
SHA_1 = WrappingAlgorithm.RSAES_OAEP_SHA_1
PKCS1 = WrappingAlgorithm.RSAES_PKCS1_V1_5


def finding(report: TokenReport, algorithm: WrappingAlgorithm) -> AlgorithmFinding:
    (found,) = [each for each in report.algorithms if each.algorithm is algorithm]
    return found


def check(report: TokenReport, name: str) -> CheckFinding:
    (found,) = [each for each in report.checks if each.check == name]
    return found


def test_each_algorithm_is_known_by_its_round_trip(served: Served) -> None:
    expected = {SHA_1, PKCS1} if served.token.kind == "softhsm" else {SHA_256, SHA_1, PKCS1}
    assert served.report.working == expected
    assert served.pool.algorithms == expected


def test_each_cipher_is_known_by_its_round_trip_or_there_is_a_reason(served: Served) -> None:
    works = (served.token.kind, served.edition) == ("softhsm", Edition.FIPS)
    expected = {CipherAlgorithm.AES_256_GCM} if works else set()
    assert served.report.working_ciphers == served.pool.ciphers == expected
    assert [each.algorithm for each in served.report.ciphers] == list(CipherAlgorithm)
    assert all(bool(each.why_not) != each.works for each in served.report.ciphers)


def test_why_a_cipher_is_not_offered(served: Served) -> None:
    why_not = {each.algorithm: each.why_not for each in served.report.ciphers}
    if served.edition is Edition.SM:
        assert why_not == {
            CipherAlgorithm.AES_256_GCM: "keys of the edition sm encrypt with SM4_GCM",
            CipherAlgorithm.SM4_GCM: "this token has no SM4_GCM that we know of, and AES is no stand-in",
        }
    else:
        assert why_not[CipherAlgorithm.SM4_GCM] == "keys of the edition fips encrypt with AES_256_GCM"
    if (served.token.kind, served.edition) == ("nss", Edition.FIPS):
        assert why_not[CipherAlgorithm.AES_256_GCM] == "encryption is refused (BUFFER_TOO_SMALL)"


def test_what_encrypts_can_do_nothing_else(served: Served) -> None:
    names = [each.check for each in served.report.checks]
    assert (profiles.CIPHERING_MATERIAL in names) == (served.edition is Edition.FIPS)
    if served.edition is Edition.FIPS:
        assert check(served.report, profiles.CIPHERING_MATERIAL).passed


def test_softhsm_lists_oaep_with_sha_256_and_does_not_do_it(served: Served) -> None:
    found = finding(served.report, SHA_256)
    if served.token.kind == "softhsm":
        assert not found.works
        assert found.why_not == "material of the right length is refused by unwrapping (ArgumentsBad)"
    else:
        assert found.works
        assert not found.why_not


@pytest.mark.parametrize("algorithm", WrappingAlgorithm)
def test_every_doubtful_length_was_tried_and_only_the_right_one_came_through(
    served: Served, algorithm: WrappingAlgorithm
) -> None:
    found = finding(served.report, algorithm)
    tried = {each.length_bytes for each in found.lengths if each.plaintext == "random"}
    assert tried == (set(LENGTHS) if found.works else set())
    assert {each.length_bytes for each in found.lengths if each.accepted} <= {served.edition.material_bytes}
    assert all(each.refused_by for each in found.lengths if not each.accepted)
    assert served.report.wrong_lengths == ()


def test_both_halves_of_the_length_proof_are_needed_on_softhsm(served: Served) -> None:
    refused_by = {
        each.length_bytes: each.refused_by
        for each in finding(served.report, SHA_1).lengths
        if each.plaintext == "random"
    }
    other = 16 if served.edition is Edition.FIPS else 32
    if served.token.kind == "softhsm":
        assert refused_by[31] == "fingerprint (CMAC)"
        assert refused_by[24] == refused_by[other] == "size of the sealed blob"
    else:
        assert refused_by[31] == "unwrapping"
        assert refused_by[24] == refused_by[other] == "size of the sealed blob"


def test_a_damaged_pkcs1_ciphertext_is_a_random_key_on_nss(served: Served) -> None:
    damaged = finding(served.report, PKCS1).damaged
    if served.token.kind == "softhsm":
        assert damaged == "refused by unwrapping (GeneralError)"
    else:
        assert "random key" in damaged


def test_what_value_len_is_worth(served: Served) -> None:
    truthful = served.report.value_len == "truthful for 16, 24 and 32 bytes"
    assert truthful == (served.token.kind == "nss")


ENFORCED = [
    profiles.REFUSES_WRAPPING,
    profiles.REFUSES_WIDENING,
    profiles.REFUSES_UNSEALING_EXTRACTABLE,
    profiles.REFUSES_UNSEALING_IN_ANOTHER_ROLE,
    profiles.REFUSES_UNSEALING_DECRYPTING_PAIR,
    profiles.REFUSES_ANOTHER_MECHANISM,
]


@pytest.mark.parametrize("name", ENFORCED)
def test_softhsm_enforces_what_nss_does_not_and_that_is_a_named_exception(served: Served, name: str) -> None:
    found = check(served.report, name)
    assert found.passed == (served.token.kind == "softhsm")
    assert found.tolerated
    assert bool(found.exception) == (served.token.kind == "nss")


@pytest.mark.parametrize("name", [profiles.REFUSES_CHANGES, profiles.CHECKS_INTEGRITY])
def test_both_tokens_enforce_these(served: Served, name: str) -> None:
    assert check(served.report, name).passed


def test_softhsm_needs_no_exception_and_nss_just_these(served: Served) -> None:
    excepted = [f"{each.check.split(', ')[0]}: {each.finding}" for each in served.report.checks if not each.passed]
    expected = set(profiles.NSS.exceptions) if served.token.kind == "nss" else set()
    assert set(excepted) == expected
    assert len(set(served.report.exceptions)) == len(excepted)


def test_a_long_lived_object_is_called_by_its_role(served: Served) -> None:
    names = [each.check for each in served.report.checks if each.check.startswith(profiles.CUSTODY)]
    assert set(names) == {f"{profiles.CUSTODY}, {role.value}" for role in CustodyRole}


def test_no_finding_is_a_number_that_the_standard_has_a_name_for(served: Served) -> None:
    assert "0x" not in msgspec.json.encode(served.report).decode()
    if served.token.kind == "softhsm":
        assert check(served.report, profiles.REFUSES_CHANGES).finding == "refused (ACTION_PROHIBITED)"


@pytest.mark.parametrize(
    "subject",
    [
        profiles.GENERATED_MATERIAL,
        profiles.IMPORTED_MATERIAL,
        profiles.UNSEALED_MATERIAL,
        profiles.NARROWED_PAIR,
    ],
)
def test_these_have_the_attributes_asked_for_on_both(served: Served, subject: str) -> None:
    assert check(served.report, subject).passed


def test_both_may_be_served_with(served: Served) -> None:
    served.report.require_usable()
    assert served.report.refusals == ()


def test_the_report_names_the_token_and_the_fingerprint(served: Served) -> None:
    assert served.report.token.profile == {"softhsm": "SoftHSM", "nss": "NSS"}[served.token.kind]
    assert served.report.token.label == served.token.settings["token_label"]
    assert ("held as an AES key" in served.report.fingerprint_note) == (served.edition is Edition.SM)


def test_the_report_is_plain_json(served: Served) -> None:
    again = msgspec.json.decode(msgspec.json.encode(served.report), type=TokenReport)
    assert again == served.report


# --- what a report decides, on reports that no token of ours gives ------------------------------------------


def changed_check(report: TokenReport, name: str, **changes: object) -> TokenReport:
    checks = tuple(msgspec.structs.replace(each, **changes) if each.check == name else each for each in report.checks)
    return msgspec.structs.replace(report, checks=checks)


def test_a_wrong_length_that_came_through_stops_serve(served: Served) -> None:
    found = finding(served.report, SHA_1)
    lengths = tuple(
        msgspec.structs.replace(each, accepted=True) if (each.length_bytes, each.plaintext) == (24, "random") else each
        for each in found.lengths
    )
    report = msgspec.structs.replace(served.report, algorithms=(msgspec.structs.replace(found, lengths=lengths),))
    assert report.wrong_lengths == ("RSAES_OAEP_SHA_1 let 24 bytes through (random).",)
    with pytest.raises(TokenUnusable, match="let 24 bytes through"):
        report.require_usable()


def test_a_finding_that_the_profile_does_not_know_stops_serve(served: Served) -> None:
    report = changed_check(served.report, profiles.REFUSES_CHANGES, passed=False, finding="not enforced")
    with pytest.raises(TokenUnusable, match="enforces MODIFIABLE: not enforced"):
        report.require_usable()


def test_a_token_that_does_no_algorithm_stops_serve(served: Served) -> None:
    algorithms = tuple(msgspec.structs.replace(each, works=False, lengths=()) for each in served.report.algorithms)
    with pytest.raises(TokenUnusable, match="No wrapping algorithm"):
        msgspec.structs.replace(served.report, algorithms=algorithms).require_usable()


def test_a_token_without_a_cipher_still_serves_imports(served: Served) -> None:
    none = tuple(msgspec.structs.replace(each, works=False, why_not="because") for each in served.report.ciphers)
    report = msgspec.structs.replace(served.report, ciphers=none)
    assert report.working_ciphers == frozenset()
    report.require_usable()


def test_the_log_says_which_ciphers_are_served_and_warns_where_there_is_none(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    arrivals = _Arrivals(cast("WebEnd", None), served.pool, tuple(served.report.working))
    arrivals._say_what_is_offered(served.report)
    facts = {record.message: vars(record) for record in caplog.records}
    assert facts["serving"]["ciphers"] == sorted(served.report.working_ciphers)
    warned = "keys cannot encrypt or decrypt with this token" in facts
    assert warned == (not served.report.working_ciphers)


def test_a_token_without_a_profile_is_excused_nothing() -> None:
    unknown = profiles.profile_of("Some Vendor")
    assert unknown is profiles.UNKNOWN
    assert not any(unknown.excuse(each) for each in profiles.NSS.exceptions)


def test_the_report_is_far_from_filling_a_frame(served: Served) -> None:
    frame = frames.frame(Reply(number=1, answer=messages.Probed(report=served.report)))
    assert len(frame) < frames.MAX_FRAME_BYTES // 2
