"""One GET to a server that breaks, lies, never ends or sends us elsewhere. Real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lifeos import web
from lifeos.errors import UnavailableError


class RawServer:
    """Sends what the test wants to every request, byte by byte if it wants, and notes the requests."""

    def __init__(self, answer: Callable[[str, socket.socket], None]) -> None:
        self.requests: list[str] = []
        self._answer, self._listener = answer, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = connection.recv(65536).decode("latin-1")
            self.requests.append(request)
            self._answer(request.split(" ")[1], connection)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[bytes | Callable[[str, socket.socket], None]], RawServer]]:
    with contextlib.ExitStack() as stack:

        def start(answer: bytes | Callable[[str, socket.socket], None]) -> RawServer:
            handle = (lambda path, connection: connection.sendall(answer)) if isinstance(answer, bytes) else answer
            server = RawServer(handle)
            stack.callback(server.close)
            return server

        yield start


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def ask(server: RawServer, path: str = "/", **options: float) -> bytes:
    return web.get(server.url + path, "the server", seconds=options.pop("seconds", 5), **options)  # type: ignore[arg-type]


def test_a_whole_answer(serve: Callable[..., RawServer]) -> None:
    assert ask(serve(ok(b"[1]"))) == b"[1]"
    assert ask(serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n")) == b"[1]"
    assert ask(serve(ok(b""))) == b""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(b"", "the connection ended before the answer did", id="nothing"),
        pytest.param(b"\xff\x00 no HTTP\r\n\r\n", "it is not what HTTP prescribes", id="no HTTP"),
        pytest.param(b"HTTP/1.1 " + b"2" * 70_000 + b"\r\n\r\n", "it is not what HTTP prescribes", id="a line too long"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "it is not what HTTP prescribes", id="too many headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "the connection ended before the answer did", id="cut"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", "it is not what HTTP prescribes", id="a cut chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf", "it is not what HTTP prescribes", id="no chunk"),
        pytest.param(ok(b"x" * 2000), "its answer is longer than 1,000 bytes", id="too long"),
        pytest.param(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "answered 503", id="an error status"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\r\n\r\n", "it redirects to another host", id="another host"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "it redirects to another host", id="another port"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "answered 302", id="a file"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n", "answered 302", id="in circles"),
    ],
)
def test_an_answer_that_cannot_be_used_is_one_line(serve: Callable[..., RawServer], answer: bytes, why: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        ask(serve(answer), max_bytes=1000)
    assert why in str(caught.value)


def test_a_redirect_on_the_same_host_is_followed(serve: Callable[..., RawServer]) -> None:
    def answer(path: str, connection: socket.socket) -> None:
        connection.sendall(ok(b"here") if path == "/there" else b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n")

    assert ask(serve(answer), "/first") == b"here"


@pytest.mark.parametrize(
    "begin", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_an_answer_that_drips_is_not_waited_for(serve: Callable[..., RawServer], begin: bytes) -> None:
    def drip(path: str, connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(b"X")
            time.sleep(0.02)

    with pytest.raises(UnavailableError, match=r"^the server: no whole answer within 0\.3 s$"):
        ask(serve(drip), seconds=0.3)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UnavailableError, match=r"^the server: no usable answer: Connection refused$"):
        web.get(f"http://127.0.0.1:{port}/", "the server", seconds=5)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/", "127.0.0.1:80", "http://a b/", "http://\r\n/", "http://x:y/", "http://[/", "http:///"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UnavailableError):
        web.get(url, "the server", seconds=5)


def test_a_header_that_cannot_be_sent_is_not_shown(serve: Callable[..., RawServer]) -> None:
    server = serve(ok(b"x"))
    with pytest.raises(UnavailableError) as caught:
        web.get(server.url, "the server", seconds=5, headers={"Authorization": "Bearer secret\r\n"})
    assert "secret" not in str(caught.value) and server.requests == []


def test_a_post_carries_its_body_and_a_refusal_says_why(serve: Callable[..., RawServer]) -> None:
    refusal = b'{"title": "Conflict"}'
    head = b"HTTP/1.1 409 Conflict\r\nRetry-After: 30\r\nContent-Length: %d\r\n\r\n%b" % (len(refusal), refusal)
    server = serve(head)
    with pytest.raises(web.StatusError) as raised:
        web.ask(server.url, "the server", seconds=5, headers={"Authorization": "Bearer x", "Content-Type": "application/json"}, body=b"{}")
    assert (raised.value.status, raised.value.body, raised.value.retry_after) == (409, refusal, "30")
    assert server.requests[0].startswith("POST / ") and server.requests[0].lower().count("content-type: application/json") == 1


def test_the_clock_of_the_server_comes_with_its_answer(serve: Callable[..., RawServer]) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\n[]")
    assert web.ask(server.url, "the server", seconds=5) == web.WebReply(b"[]", "Mon, 30 Nov 2026 12:00:00 GMT")
