"""What an answer may be, whatever was asked: an answer of one of the clouds or of the service's own, and no defect."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.fuzz_wire import Malformed

if TYPE_CHECKING:
    from tests.e2e.raw import Answer

TENCENT: Final = "tencent"
HUAWEI: Final = "huawei"
SERVICE: Final = "service"
GRANTED: Final = "granted"
DEFECTS: Final = frozenset(
    {"InternalError", "UnsupportedOperation.ServiceTemporaryUnavailable", "FailedOperation", "KMS.0101", "KMS.0102"}
)
"""What is answered when a defect ended a request, and when a part of the service does not work: here all of them do."""
NOT_BELIEVED: Final = re.compile(r"AuthFailure\..*|APIGW\.0301|KMS\.0301")

_SERVER_ERRORS: Final = 500
_REQUEST_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TENCENT_CODE: Final = re.compile(r"[A-Z][A-Za-z]+(?:\.[A-Z][A-Za-z]+)?")
_HUAWEI_CODE: Final = re.compile(r"(?:KMS|APIGW)\.[0-9]{4}")
_INSIDE: Final = re.compile(r"CKR_|Traceback|sqlite|hsmkms/|\.py\b|0x[0-9a-f]{6}|[^ -~]", re.IGNORECASE)
"""What no message may say."""
_OWN_STATUS: Final = frozenset({400, 404})


def judged(answer: Answer) -> tuple[str, str]:
    """Return whose words the answer is in, and its code or `GRANTED`.

    Raises:
        Malformed: it is in nobody's words, or tells of a defect.
    """
    if answer.status >= _SERVER_ERRORS or answer.values("server") != ["hsmkms"]:
        raise Malformed(answer)
    if answer.values("content-type") not in (["application/json"], ["application/json; charset=utf-8"]):
        raise Malformed(answer)
    if not answer.body:  # the answer to a HEAD
        return SERVICE, ""
    content = json.loads(answer.body.decode("ascii"), object_pairs_hook=_members, parse_constant=_no_constant)
    if not isinstance(content, dict):
        raise Malformed(answer)
    if "Response" in content:
        said = TENCENT, _of_tencent(answer, content)
    elif answer.values("x-request-id") and "status" not in content and content != {"error": "not found"}:
        said = HUAWEI, _of_huawei(answer, content)
    else:
        said = SERVICE, _of_service(answer, content)
    if said[1] in DEFECTS:
        raise Malformed(answer)
    return said


def _of_tencent(answer: Answer, content: dict[str, Any]) -> str:
    shown = content["Response"]
    if answer.status != 200 or set(content) != {"Response"} or not _is_request_id(shown.get("RequestId")):
        raise Malformed(answer)
    if "Error" not in shown:
        return GRANTED
    error = shown["Error"]
    if set(shown) != {"Error", "RequestId"} or set(error) != {"Code", "Message"}:
        raise Malformed(answer)
    return _refused(answer, error["Code"], error["Message"], _TENCENT_CODE)


def _of_huawei(answer: Answer, content: dict[str, Any]) -> str:
    (request_id,) = answer.values("x-request-id")
    if not _is_request_id(request_id) or content.get("request_id", request_id) != request_id:
        raise Malformed(answer)
    if answer.status < 400:
        if {"error", "error_code"} & set(content):
            raise Malformed(answer)
        return GRANTED
    error = content.get("error", content)
    of_gateway = {"error_code", "error_msg", "request_id"}
    if set(error) != (of_gateway if error is content else {"error_code", "error_msg"}):
        raise Malformed(answer)
    return _refused(answer, error["error_code"], error["error_msg"], _HUAWEI_CODE)


def _of_service(answer: Answer, content: dict[str, Any]) -> str:
    if answer.status == 200 and content.get("status") in {"ok", "ready"}:
        return ""
    if answer.status not in _OWN_STATUS or content not in ({"error": "not found"}, {"error": "bad request"}):
        raise Malformed(answer)
    return str(answer.status)


def _refused(answer: Answer, code: object, message: object, form: re.Pattern[str]) -> str:
    if not isinstance(code, str) or not isinstance(message, str) or not message:
        raise Malformed(answer)
    if not form.fullmatch(code) or _INSIDE.search(message):
        raise Malformed(answer)
    return code


def _is_request_id(value: object) -> bool:
    return isinstance(value, str) and bool(_REQUEST_ID.fullmatch(value))


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed(pairs)
    return made


def _no_constant(text: str) -> None:
    raise Malformed(text)
