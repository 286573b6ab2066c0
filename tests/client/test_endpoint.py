from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from hsmkms.client.endpoint import Endpoint, NoAnswer, endpoint
from hsmkms.core.errors import InputUnusable, ServiceUnreachable
from hsmkms.dialects.base import RequestHead
from tests.client.played import SILENCE, Played, Reply, answer, playing, serving
from tests.e2e.test_tls import certificate  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DROP_SECONDS: Final = 0.02
SLOW_SECONDS: Final = 10
HEAD = RequestHead("POST", "/", (("Host", "h"), ("X-TC-Action", "A")))


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("https://kms.example", "kms.example", None, "kms.example"),
        ("https://KMS.example:8443/", "kms.example", 8443, "KMS.example:8443"),
        ("http://127.0.0.1:8765", "127.0.0.1", 8765, "127.0.0.1:8765"),
        ("http://127.1.2.3", "127.1.2.3", None, "127.1.2.3"),
        ("http://localhost:1", "localhost", 1, "localhost:1"),
        ("http://[::1]:8765", "::1", 8765, "[::1]:8765"),
    ],
)
def test_a_url_names_the_host_and_how_to_speak_to_it(url: str, host: str, port: int | None, authority: str) -> None:
    found = endpoint(url)
    assert (found.host, found.port, found.authority) == (host, port, authority)
    assert (found.context is None) == url.startswith("http://")


def test_certificates_are_verified() -> None:
    context = endpoint("https://kms.example").context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kms.example",
        "ftp://kms.example",
        "https://",
        "https://user:secret@kms.example",
        "https://kms.example/path",
        "https://kms.example?Action=A",
        "https://kms.example:99999",
        "https://kms.example:x",
        "https://kms.\nexample",
        "https://кмс.example",
        "https://[::1",
    ],
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(InputUnusable, match="--endpoint must be https://HOST"):
        endpoint(url)


@pytest.mark.parametrize("host", ["10.0.0.1", "kms.example", "0.0.0.0", "localhost.example", "[2001:db8::1]"])  # noqa: S104
def test_plain_http_does_not_leave_this_machine_unasked(host: str) -> None:
    with pytest.raises(InputUnusable, match="answer with a public key of his own"):
        endpoint(f"http://{host}:8765")
    assert endpoint(f"http://{host}:8765", insecure_http=True).context is None


def test_the_certificates_of_an_authority_must_be_some(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="--ca is for an https:// endpoint"):
        endpoint("http://127.0.0.1", tmp_path)
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")
    for ca in (empty, tmp_path / "none.pem"):
        with pytest.raises(InputUnusable, match=f"--ca {ca} cannot be used"):
            endpoint("https://kms.example", ca)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (SILENCE, "connection"),
        (Reply(b"{}", missing=5), "cut off"),
        (Reply(b"", status=503), "503"),
        (Reply(b"", status=502), "502"),
    ],
)
def test_what_is_no_answer_may_be_asked_again(reply: Reply, why: str) -> None:
    with playing({"A": [reply]}) as played:
        got = endpoint(played.url).post(HEAD, b"{}")
    assert isinstance(got, NoAnswer)
    assert why in got.why


@pytest.mark.parametrize("status", [301, 400, 403, 404, 500])
def test_another_status_is_not_this_api(status: int) -> None:
    with playing({"A": [Reply(b"x", status=status)]}) as played, pytest.raises(ServiceUnreachable, match=str(status)):
        endpoint(played.url).post(HEAD, b"{}")


def test_nobody_listens_and_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        got = endpoint(f"http://127.0.0.1:{port}").post(HEAD, b"{}", seconds=0.05)
        assert got == NoAnswer("no whole answer came within 0.05 seconds")
    assert endpoint(f"http://127.0.0.1:{port}").post(HEAD, b"{}") == NoAnswer("connection refused")


def test_a_name_that_can_be_none() -> None:
    with pytest.raises(ServiceUnreachable, match="There is no host xxx"):
        endpoint(f"https://{'x' * 70}").post(HEAD, b"{}")


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_FAIL])
def test_a_host_that_is_none(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lookups_failing_with(number))
    with pytest.raises(ServiceUnreachable, match=r"There is no host kms\.example"):
        endpoint("https://kms.example").post(HEAD, b"{}")


def test_a_lookup_that_fails_for_the_moment_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lookups_failing_with(socket.EAI_AGAIN))
    got = endpoint("https://kms.example").post(HEAD, b"{}")
    assert got == NoAnswer("failed as told")


def lookups_failing_with(number: int) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(number, "Failed As Told")

    return fail


def test_a_certificate_is_trusted_only_if_its_authority_is(certificate: tuple[Path, Path]) -> None:  # noqa: F811 - the fixture
    public, private = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    with serving(Played({"A": [answer()]}), context) as played:
        url = f"https://127.0.0.1:{played.port}"
        assert endpoint(url, public).post(HEAD, b"{}") == answer().body
        with pytest.raises(ServiceUnreachable, match=r"is not trusted .*--ca"):
            endpoint(url).post(HEAD, b"{}")
        with pytest.raises(ServiceUnreachable, match=r"is not trusted .*as the certificate does"):
            endpoint(f"https://localhost:{played.port}", public).post(HEAD, b"{}")
    assert len(played.requests) == 1


@contextlib.contextmanager
def answering(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """Listen until the block ends, let `speak` have the first connection, and close that."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):  # the client may be gone before we are done
                connection.recv(4096)
                speak(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join()


def test_tls_to_what_speaks_none() -> None:
    with (
        answering(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as authority,
        pytest.raises(ServiceUnreachable, match="does not speak TLS"),
    ):
        endpoint(f"https://{authority}").post(HEAD, b"{}")


CLOSE_NOTIFY: Final = bytes.fromhex("15 0303 0002 01 00")
"""The alert of RFC 8446, 6.1, as a record."""


@pytest.mark.parametrize("last", [b"", CLOSE_NOTIFY], ids=["cut", "close_notify"])
def test_a_connection_closed_in_the_handshake_is_no_answer(last: bytes) -> None:
    with answering(lambda connection: connection.sendall(last)) as authority:
        got = endpoint(f"https://{authority}").post(HEAD, b"{}")
    assert got == NoAnswer("the connection was cut")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_an_answer_that_drips_is_not_waited_for(start: bytes) -> None:
    dripping = itertools.chain([start or b"H"], itertools.repeat(b"x"))
    gone = threading.Event()

    def drip(connection: socket.socket) -> None:
        for part in dripping:
            connection.sendall(part)
            if gone.wait(DROP_SECONDS):
                return

    with answering(drip) as authority:
        started = time.monotonic()
        try:
            got = endpoint(f"http://{authority}").post(HEAD, b"{}", seconds=5 * DROP_SECONDS)
        finally:
            gone.set()
        assert time.monotonic() - started < SLOW_SECONDS
    assert got == NoAnswer("no whole answer came within 0.1 seconds")


def test_no_proxy_comes_between(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with playing({"A": [answer()]}) as played:
        assert not isinstance(endpoint(played.url).post(HEAD, b"{}"), NoAnswer)


def test_the_host_is_said_as_the_url_spells_it() -> None:
    with playing({"A": [answer()]}) as played:
        found = endpoint(played.url)
        head = RequestHead("POST", "/", (("Host", found.authority), ("X-TC-Action", "A")))
        assert isinstance(found, Endpoint)
        found.post(head, b"{}")
    assert [value for name, value in played.requests[0].headers if name == "Host"] == [found.authority]
