"""What can be wrong with the head of a message after it was signed: its request line, and its headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.e2e.fuzz_message import Reading, picked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.e2e.fuzz_message import Message

# --- the request line -----------------------------------------------------------------------------------

_METHODS: Final = (
    *("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "POST", "post", "PRI", "M-SEARCH", "PURGE"),
    *("", " POST", "POST\t", "P\0ST", "P\xd6ST", "POST\r\nX: y", "A" * 9000, "GET /healthz HTTP/1.1\r\n\r\nPOST"),
)
_VERSIONS: Final = (
    *(
        "HTTP/1.0",
        "HTTP/0.9",
        "HTTP/2.0",
        "HTTP/1.10",
        "HTTP/1.1 ",
        "http/1.1",
        "HTTP/1.",
        "HTTPS/1.1",
        "",
        "HTTP/1.1\0",
    ),
    *("HTTP/9.9", "HTTP/1.1 HTTP/1.1", "ICE/1.0", "RTSP/1.0"),
)
_TARGETS: Final = (
    *(
        "*",
        "/",
        "//",
        "",
        "/?",
        "/%",
        "/%zz",
        "/%00",
        "/%2f",
        "/..;/",
        "/\xff\xfe",
        "/\0",
        "/a b",
        "?",
        "#",
        "/#",
        "/?Action=Encrypt",
    ),
    *(
        "http://127.0.0.1/",
        "http://[::1",
        "http://[",
        "https://example.invalid:99999/",
        "//example.invalid/v1.0",
        "127.0.0.1:1",
    ),
    *(
        "/v1.0",
        "/v1.0/",
        "/v1.0//kms/list-keys",
        "/v1.0/%64efault/kms/list-keys",
        "/v3/projects?name=%ff&name=",
        "/v2/x/kms/y",
    ),
    *(
        "/v3/projects?name=%00%0a",
        "/v1.0/../healthz",
        "/healthz/",
        "/readyz?x",
        "/v1.0/x/kms/" + "%41" * 2000,
        "/" + "a" * 9000,
    ),
    *(
        "/?" + "a=b&" * 2000,
        "/v1.0/" + "/" * 4000,
        "http://u:p@127.0.0.1/v1.0",
        "/?%",
        "/?=&=&&==",
        "/v1.0/\xe4/kms/list-keys",
    ),
)


def _method(message: Message, number: int) -> None:
    message.method = picked(_METHODS, number)


def _version(message: Message, number: int) -> None:
    message.version = picked(_VERSIONS, number)
    if message.version in {"HTTP/0.9", ""}:
        message.reading = Reading.ONE_ANSWER


def _target(message: Message, number: int) -> None:
    message.target = picked(_TARGETS, number)


def _target_spelling(message: Message, number: int) -> None:
    """Spell a path in another way: some of them mean the same."""
    path, mark, query = message.target.partition("?")
    at = number % (len(path) or 1)
    spelled = (
        path + "/",
        "/" + path,
        f"{path[:at]}%{ord(path[at : at + 1] or ' '):02x}{path[at + 1 :]}",
        f"{path[:at]}%25{ord(path[at : at + 1] or ' '):02X}{path[at + 1 :]}",
        path[:at] + "/./" + path[at:],
        path.upper(),
        path + ";a=b",
        path + "%20",
    )
    message.target = picked(spelled, number // 7) + mark + query


# --- headers --------------------------------------------------------------------------------------------

_VALUES: Final = (
    "",
    " ",
    "\0",
    "\t\x0b",
    "\xff" * 9,
    "a\rb",
    "a\r\n b",
    "x" * 8000,
    "x" * 9000,
    "127.0.0.1:1",
    "0",
    "-1",
    "2019-01-18 ",
)
_LINES: Final = (
    *(
        ("NoColon\r\nX", "y"),
        ("", "empty name"),
        ("X Y", "z"),
        ("X\0", "y"),
        ("\xe4", "y"),
        (" X", "folded"),
        ("X", "\x7f\x01"),
    ),
    *(("Connection", "close"), ("Connection", "keep-alive, upgrade"), ("Expect", "100-continue"), ("Expect", "x")),
    *(
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "br, x"),
        ("Accept-Encoding", "gzip;q=NaN"),
        ("Cookie", "a=b; c"),
    ),
    *(("X-HTTP-Method-Override", "DELETE"), ("Host", "example.invalid"), ("Range", "bytes=0-"), ("If-None-Match", "*")),
    *(
        ("X-Forwarded-For", "::1"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
        ("Trailer", "X-TC-Action"),
    ),
    *(
        ("X-TC-Token", "t"),
        ("X-Security-Token", "t"),
        ("X-TC-Region", "\xff"),
        ("X-TC-Language", "zh-CN"),
        ("Via", "x" * 8000),
    ),
    *(("X-TC-Content-SHA256", "UNSIGNED-PAYLOAD"), ("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD"), ("x" * 8500, "y")),
)
_CONTENT_TYPES: Final = (
    *(
        "",
        "application/json",
        "application/json; charset=utf-7",
        "text/plain",
        "application/x-www-form-urlencoded",
        "json",
    ),
    *(
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        'application/json; charset="',
        ";",
        "\xff/\xff",
        "a/b;" * 500,
    ),
)


def _without_header(message: Message, number: int) -> None:
    del message.headers[number % len(message.headers)]


def _header_twice(message: Message, number: int) -> None:
    name, value = picked(message.headers, number)
    message.headers.append((name.swapcase(), value if number % 2 else value + "x"))


def _header_value(message: Message, number: int) -> None:
    at = number // len(_VALUES) % len(message.headers)
    message.headers[at] = (message.headers[at][0], picked(_VALUES, number))


def _header_name(message: Message, number: int) -> None:
    at = number % len(message.headers)
    name, value = message.headers[at]
    message.headers[at] = (
        picked((name.upper(), name.lower(), name + " ", name.replace("-", "_"), name + "x"), number // 5),
        value,
    )


def _another_header(message: Message, number: int) -> None:
    message.headers.insert(number % (len(message.headers) + 1), picked(_LINES, number))
    if picked(_LINES, number)[0] == "Upgrade":
        message.headers.append(("Connection", "Upgrade"))
        message.reading = Reading.ONE_ANSWER


def _many_headers(message: Message, number: int) -> None:
    message.headers += [(f"X-{place}", "y" * (number % 40)) for place in range(number * 8)]


def _content_type(message: Message, number: int) -> None:
    kept = [(name, value) for name, value in message.headers if name.lower() != "content-type"]
    message.headers = [*kept, ("Content-Type", picked(_CONTENT_TYPES, number))]


def _authorization(message: Message, number: int) -> None:
    """Spoil the text of an Authorization, or bring one."""
    value = next((value for name, value in message.headers if name == "Authorization"), "")
    at = number * 3 % (len(value) or 1)
    variants = (
        value[:at],
        value[:at] + chr(ord(value[at : at + 1] or " ") ^ 1) + value[at + 1 :],
        value.replace(" ", ""),
        value.replace(", ", ","),
        value.replace("Signature=", "Signature=,Signature="),
        value.replace("SignedHeaders=", "SignedHeaders=host;" * (number % 5)),
        value.replace("content-type", "x-tc-action;content-type").replace("x-sdk-date", "x-sdk-date;x-missing"),
        value.replace("HMAC-SHA256", "HMAC-SM3"),
        value.swapcase(),
        value + value,
        value + "\xe9",
        "Basic " + value,
        "Bearer ",
        "TC3-HMAC-SHA256 Credential=/0000-00-00/kms/tc3_request, SignedHeaders=, Signature=",
        "SDK-HMAC-SHA256 Access=" + "a" * 129 + ", SignedHeaders=host;x-sdk-date, Signature=" + "0" * 64,
        "AWS4-HMAC-SHA256 Credential=a/20260101/x/kms/aws4_request, SignedHeaders=host, Signature=0",
        "V11-HMAC-SHA256 x",
        "TC3-",
    )
    kept = [(name, each) for name, each in message.headers if name != "Authorization"]
    message.headers = [*kept, ("Authorization", picked(variants, number))]


def _time(message: Message, number: int) -> None:
    """Sign at a time that is none, or none of ours."""
    times = (
        *("20260230T000000Z", "20261301T000000Z", "20260101T240000Z", "20260101T000060Z", "00000000T000000Z"),
        *("99991231T235959Z", "20260101T000000", "99999999999", "0", "00000000000", "-1", "1e9", "", "1 "),
    )
    names = {"X-Sdk-Date", "X-TC-Timestamp"}
    message.headers = [(name, picked(times, number) if name in names else value) for name, value in message.headers]


def _both_clouds(message: Message, number: int) -> None:
    """Add what only requests of another cloud have."""
    marks = (
        ("X-Auth-Token", "t"),
        ("X-Auth-Token", "\xff" * 500),
        ("X-TC-Action", "Encrypt"),
        ("X-TC-Timestamp", "99999999999"),
        ("X-TC-Version", "2019-01-18"),
        ("X-Project-Id", "default"),
        ("X-Sdk-Date", "20260230T000000Z"),
        ("Authorization", "SDK-HMAC-SHA256 Access=a, SignedHeaders=host;x-sdk-date, Signature=" + "0" * 64),
        (
            "Authorization",
            "TC3-HMAC-SHA256 Credential=a/2026-01-01/kms/tc3_request, SignedHeaders=content-type;host, Signature="
            + "0" * 64,
        ),
        ("Authorization", "AWS4-HMAC-SHA256 x"),
    )
    message.headers.insert(number % 3, picked(marks, number))
    if number > 127:
        message.target = picked(("/v1.0/default/kms/list-keys", "/?Action=Encrypt", "/", "/v1.0"), number)


OF_HEADS: Final[Mapping[str, Callable[[Message, int], None]]] = {
    "another header": _another_header,
    "authorization": _authorization,
    "both clouds": _both_clouds,
    "content type": _content_type,
    "header name": _header_name,
    "header twice": _header_twice,
    "header value": _header_value,
    "many headers": _many_headers,
    "method": _method,
    "target": _target,
    "target's spelling": _target_spelling,
    "time": _time,
    "version": _version,
    "without header": _without_header,
}
