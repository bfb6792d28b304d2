"""A server that is not trusted: what it sends is bounded in bytes and time, leads nowhere else, and fails with one line."""

from __future__ import annotations

import gzip
import threading
import time
import tracemalloc
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest

from lifeos.errors import EXIT_UNAVAILABLE, UnavailableError
from tests.tools.backends.fakes import fake_server
from tests.tools.backends.raw_server import http, raw_server
from tools.backends import transport as transport_module
from tools.backends.address import read_address
from tools.backends.bounded_connection import RefusedReplyError, find_proxy
from tools.backends.transport import NoReplyError, Transport


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "SAFE_PAUSES", ())


def ask(url: str, *, limit: int = 1 << 20, timeout: float = 5.0, answer: float | None = None) -> bytes:
    transport = Transport(read_address(url), timeout_seconds=timeout, answer_seconds=answer)
    try:
        return transport.get("/x", limit=limit).body
    finally:
        transport.close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

BROKEN = {
    "cut short": http(b"abc", Content_Length="10"),
    "no status line": b"hello\r\n\r\n",
    "a status of words": b"HTTP/1.1 fine OK\r\n\r\n",
    "nothing": b"",
    "a header too long": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    "a status line too long": b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: 1\r\n" % number for number in range(200)) + b"\r\n",
    "no number of a chunk": CHUNKED + b"zz\r\nabc\r\n",
    "a chunk cut short": CHUNKED + b"10\r\nabc",
    "a chunk's line without end": CHUNKED + b"1" * 70_000,
    "no gzip": http(b"not gzip", Content_Encoding="gzip"),
    "gzip cut short": http(gzip.compress(b"abc" * 100)[:-12], Content_Encoding="gzip"),
    "an encoding that was not asked for": http(b"abc", Content_Encoding="br"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_a_reply_that_breaks_is_one_line(answer: bytes) -> None:
    with raw_server(lambda head: [answer]) as server, pytest.raises(UnavailableError) as caught:
        ask(server.url)
    assert caught.value.exit_code == EXIT_UNAVAILABLE
    assert str(caught.value).startswith(f"{server.url}: ")
    assert "\n" not in str(caught.value)


WHOLE = {
    "with its length": (http(b"abc"), b"abc"),
    "a length of 5,000 digits is no length": (http(b"abc", Content_Length="9" * 5000), b"abc"),
    "until the end of the connection": (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
    "in chunks": (CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
    "compressed": (http(gzip.compress(b"abc"), Content_Encoding="gzip"), b"abc"),
    "nothing": (http(), b""),
}


@pytest.mark.parametrize(("answer", "body"), WHOLE.values(), ids=WHOLE)
def test_whole_replies(answer: bytes, body: bytes) -> None:
    with raw_server(lambda head: [answer]) as server:
        assert ask(server.url) == body


def endless(head: bytes) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    yield from repeat(b"x" * 65536)


def endless_chunks(head: bytes) -> Iterator[bytes]:
    yield CHUNKED
    yield from repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n")


PACKED = gzip.compress(bytes(32 << 20), 1)


def bomb(head: bytes) -> Iterator[bytes]:
    """32 MB in 140 KB, twice: a member behind the first would be as large again."""
    yield http(PACKED + PACKED, Content_Encoding="gzip")


@pytest.mark.parametrize("answer", [endless, endless_chunks, bomb, lambda head: [http(b"x" * (1 << 20) + b"y")]], ids=range(4))
def test_no_more_than_the_limit_is_taken(answer: Any) -> None:
    tracemalloc.start()
    try:
        with raw_server(answer) as server, pytest.raises(RefusedReplyError, match=r"answers GET /x with more than 1 MiB"):
            ask(server.url)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def drip(*parts: bytes) -> Any:
    def answer(head: bytes) -> Iterator[bytes]:
        for part in parts:
            yield from (part[at : at + 1] for at in range(len(part)))

    return answer


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 99, http(b"a" * 500)], ids=["head", "body"])
def test_one_byte_after_the_other_is_not_waited_for_without_end(part: bytes) -> None:
    begun = time.monotonic()
    with raw_server(drip(part), pause=0.02) as server, pytest.raises(NoReplyError) as caught:
        ask(server.url, timeout=5.0, answer=0.3)
    assert caught.value.why == "did not finish its answer to GET /x within 0.3 s"
    assert caught.value.may_have_arrived
    assert time.monotonic() - begun < 3.0


def test_a_kept_connection_that_the_server_closed_is_opened_again() -> None:
    with raw_server(lambda head: [http(b"abc")]) as server:
        transport = Transport(read_address(server.url), timeout_seconds=5)
        assert transport.get("/x").body == b"abc"
        time.sleep(0.05)
        assert transport.post_once("/x", {}).body == b"abc"  # a POST, which is not sent again
        transport.close()


def test_connection_is_kept() -> None:
    with fake_server({"GET /x": (200, b"1")}) as fake:
        transport = Transport(read_address(fake.url), timeout_seconds=5)
        ports = set()
        for _ in range(3):
            transport.get("/x")
            ports.add(transport._local.connection._socket.getsockname())
        assert len(ports) == 1
        transport.close()


def test_closing_wakes_who_waits() -> None:
    transport_error: list[BaseException] = []

    def work() -> None:
        try:
            transport.get("/x")
        except UnavailableError as error:
            transport_error.append(error)

    def never(head: bytes) -> Iterator[bytes]:
        asked.set()
        waiting.wait(10)
        yield b""

    asked, waiting = threading.Event(), threading.Event()
    with raw_server(never) as server:
        transport = Transport(read_address(server.url), timeout_seconds=30)
        thread = threading.Thread(target=work)
        thread.start()
        assert asked.wait(5)
        transport.close()
        thread.join(5)
        waiting.set()
        assert not thread.is_alive()
    assert len(transport_error) == 1


# Redirects


def redirect(to: str, status: int = 302) -> tuple[int, bytes, dict[str, str]]:
    return status, b"", {"Location": to}


REDIRECTS = {
    "another host": ("http://localhost:{port}/x", "redirects to another host, http://localhost:{port}"),
    "another host over https": ("https://pod.example/x", "redirects to another host, https://pod.example"),
    "a password of theirs is not shown": ("http://me:secret@pod.example/x", "redirects to another host, http://pod.example"),
    "a file": ("file:///etc/passwd", "redirects to another host, file://"),
    "no address": ("http://[::1/x", "redirects GET /x to what is no address"),
    "a port that is none": ("http://127.0.0.1:99999/x", "redirects GET /x to what is no address"),
    "round and round": ("/x", "redirects GET /x again and again"),
}


@pytest.mark.parametrize(("to", "why"), REDIRECTS.values(), ids=REDIRECTS)
def test_redirects_that_are_not_followed(to: str, why: str) -> None:
    with fake_server({"GET /x": (200, b"from elsewhere")}) as other, fake_server({}) as fake:
        port = str(other.server_address[1])
        fake.answers["GET /x"] = redirect(to.replace("{port}", port))
        with pytest.raises(RefusedReplyError) as caught:
            ask(fake.url)
        assert caught.value.why == why.replace("{port}", port)
        assert other.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_post_is_never_redirected(status: int) -> None:
    with fake_server({"POST /prompt": (200, {}), "GET /prompt": (200, {})}) as other:
        with fake_server({"POST /prompt": redirect(f"{other.url}/prompt", status)}) as fake:
            transport = Transport(read_address(fake.url), timeout_seconds=5)
            with pytest.raises(RefusedReplyError, match=r"redirects POST /prompt to .*: only questions are redirected"):
                transport.post_once("/prompt", {"prompt": {}})
            transport.close()
        assert other.requests == []


def test_http_leads_to_https_and_never_back() -> None:
    transport = Transport(read_address("https://pod.example"), timeout_seconds=5)
    with pytest.raises(RefusedReplyError, match=r"redirects from https to http://pod\.example"):
        transport._follow("https://pod.example", "GET", "/x", "http://pod.example/x", "https://pod.example")
    followed = transport._follow("http://pod.example", "GET", "/x", "https://pod.example/x", "http://pod.example")
    assert followed == ("https://pod.example", "/x", "https://pod.example")


def test_a_redirect_within_the_server_keeps_its_question() -> None:
    with fake_server({"GET /x": redirect("/comfy/x"), "GET /comfy/x": (200, b"here")}) as fake:
        transport = Transport(read_address(fake.url), timeout_seconds=5)
        assert transport.get("/x", {"a": "1"}).body == b"here"
        assert transport.address.base == f"{fake.url}/comfy"
        transport.close()


def test_a_password_does_not_go_along() -> None:
    with fake_server({"GET /x": (200, b"")}) as other, fake_server({"GET /x": redirect(f"{other.url}/x")}) as fake:
        with pytest.raises(RefusedReplyError, match="where your password or token is not sent"):
            ask(fake.url.replace("//", "//me:secret@"))
        assert other.requests == []


# Proxies


def test_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:p%40ss@proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    proxy = find_proxy("http://pod.example")
    assert proxy is not None
    # base64 of "me:p@ss"
    assert (proxy.host, proxy.port, proxy.headers) == ("proxy.example", 3128, {"Proxy-Authorization": "Basic bWU6cEBzcw=="})
    assert find_proxy("http://127.0.0.1:8188") is None
    monkeypatch.setenv("no_proxy", "pod.example")
    assert find_proxy("http://pod.example") is None


def test_a_proxy_is_asked_for_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(lambda head: [http(b"by the proxy")]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert ask("http://pod.example/comfy") == b"by the proxy"
        assert proxy.heads[0].startswith(b"GET http://pod.example/comfy/x HTTP/1.1\r\nHost: pod.example\r\n")
