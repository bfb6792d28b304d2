"""HTTP to one server that is not trusted: every answer has a limit and a deadline, no redirect leads elsewhere, failures have names.

On `http.client`, since a deadline for a whole answer, headers included, needs the socket: a server that sends one byte a second keeps
every library with a timeout per read waiting for ever.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import math
import os
import select
import socket
import ssl
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from typing import Any, TypeVar, overload
from urllib.parse import unquote, urlencode, urljoin, urlsplit

from lifeos import foreign
from lifeos.errors import InputError, UnavailableError
from tools.backends.address import Address

T = TypeVar("T")

CONNECT_SECONDS = 5.0
SAFE_PAUSES = (0.1, 0.4)
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""Statuses that another try can get over: a server in trouble, a proxy that misses its server (520 to 524: Cloudflare, before a pod)."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 3
ANSWER_FACTOR = 4
"""A whole answer may take this many times as long as a pause within it."""

SMALL_ANSWER, LARGE_ANSWER = 4 << 20, 64 << 20
"""Limits in bytes, after decompression: one prompt's or folder's answer, and a whole queue or all node classes (2 MB with 1,000)."""

CHUNK_BYTES = 1 << 16
HINT = "is ComfyUI running there? start it, or give another --comfy-url"


class NoReplyError(UnavailableError):
    """No usable answer. `may_have_arrived`: the request may have been carried out all the same."""

    def __init__(self, url: str, why: str, *, may_have_arrived: bool) -> None:
        self.may_have_arrived = may_have_arrived
        super().__init__(url, why, HINT)


class RefusedReplyError(UnavailableError):
    """An answer that may not be taken and would come again: too large, or a redirect that leads elsewhere."""


@dataclass(frozen=True, slots=True)
class Reply:
    """`content_length` as the server told it, None where it did not, or told that of a compressed body."""

    status: int
    body: bytes
    content_length: int | None
    location: str | None = None


class Transport:
    """Requests to one server, from any thread: each has a connection of its own, which is kept.

    `timeout_seconds` is for each pause of the server's, `answer_seconds` for a whole answer.
    """

    def __init__(self, address: Address, *, timeout_seconds: float, answer_seconds: float | None = None) -> None:
        self.address = address
        self.timeout_seconds = timeout_seconds
        self.answer_seconds = answer_seconds if answer_seconds is not None else ANSWER_FACTOR * timeout_seconds
        self._local = threading.local()
        self._connections: list[_Connection] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def get(self, path: str, params: dict[str, str] | None = None, *, limit: int = SMALL_ANSWER) -> Reply:
        """A GET, sent again where its failure can pass. Raises UnavailableError; any other status is the caller's to judge."""
        return self._safely("GET", f"{path}?{urlencode(params)}" if params else path, None, limit)

    @overload
    def get_record(self, path: str, kind: type[T], *, limit: int = ...) -> T: ...
    @overload
    def get_record(self, path: str, kind: Any, *, limit: int = ...) -> Any: ...
    def get_record(self, path: str, kind: Any, *, limit: int = SMALL_ANSWER) -> Any:
        """The answer to a GET that must be a 200, as a record of `kind`. Raises UnavailableError."""
        reply = self.get(path, limit=limit)
        if reply.status in (401, 403):
            raise UnavailableError(self.address.base, f"refuses with {reply.status}", "put user:password@ before the host in --comfy-url")
        if reply.status != 200:
            raise self.odd(f"{path} gives status {reply.status}")
        return self.record(reply, path, kind)

    @overload
    def record(self, reply: Reply, path: str, kind: type[T]) -> T: ...
    @overload
    def record(self, reply: Reply, path: str, kind: Any) -> Any: ...
    def record(self, reply: Reply, path: str, kind: Any) -> Any:
        """The body of an answer as a record of `kind`. Raises UnavailableError, which names the place of the fault."""
        try:
            return foreign.decode(reply.body, kind, path, max_bytes=max(len(reply.body), 1), too_large="null")
        except InputError as error:
            raise self.odd(str(error)) from None

    def odd(self, what: str) -> UnavailableError:
        """The error of an answer that ComfyUI would not give."""
        return UnavailableError(self.address.base, f"answers, but not as ComfyUI does ({what})", "check --comfy-url")

    def post_safely(self, path: str, body: dict[str, Any]) -> Reply:
        """A POST that may be repeated without harm."""
        return self._safely("POST", path, body, SMALL_ANSWER)

    def post_once(self, path: str, body: dict[str, Any], *, limit: int = LARGE_ANSWER) -> Reply:
        """A POST that must not be repeated unasked. Raises NoReplyError, which says whether it may have arrived."""
        return self._send("POST", path, body, limit)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            for connection in self._connections:
                connection.end()
            self._connections.clear()

    def _safely(self, method: str, path: str, body: dict[str, Any] | None, limit: int) -> Reply:
        for pause in SAFE_PAUSES:
            try:
                return self._send(method, path, body, limit)
            except NoReplyError:
                if self._closed.wait(pause):
                    raise
        return self._send(method, path, body, limit)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, limit: int) -> Reply:
        base = moved = self.address.base
        reply = self._exchange(base, method, path, body, limit)
        for _ in range(MAX_REDIRECTS):
            if reply.status not in REDIRECTS:
                break
            base, path, moved = self._follow(base, method, path, reply.location or "", moved)
            reply = self._exchange(base, method, path, body, limit)
        if reply.status in REDIRECTS:
            raise RefusedReplyError(base, f"redirects {method} {path} again and again", "check --comfy-url")
        if reply.status in PASSING_STATUSES:
            raise NoReplyError(base, f"answers {method} {path} with status {reply.status}", may_have_arrived=True)
        if moved != self.address.base and reply.status < 300:
            self.address = Address(moved, self.address.authorization)  # from here on, also for a POST, which is never redirected
        return reply

    def _follow(self, base: str, method: str, path: str, location: str, moved: str) -> tuple[str, str, str]:
        """Base and path that a redirect leads to, and the server's address, where that is what changed. Raises RefusedReplyError."""
        old = urlsplit(base)
        try:
            new = urlsplit(urljoin(base + path, location))
            port, shown = new.port, f"{new.scheme}://{new.netloc.rpartition('@')[2]}"
        except ValueError:
            raise RefusedReplyError(base, f"redirects {method} {path} to what is no address", "check --comfy-url") from None
        fix = "give --comfy-url the address that it leads to, if you trust it"
        if method != "GET":
            raise RefusedReplyError(base, f"redirects {method} {path} to {shown}: only questions are redirected", fix)
        if new.scheme not in ("http", "https") or new.hostname is None or new.hostname != old.hostname:
            raise RefusedReplyError(base, f"redirects to another host, {shown}", fix)
        if (old.scheme, new.scheme) == ("https", "http"):
            raise RefusedReplyError(base, f"redirects from https to {shown}, where everybody could read along", fix)
        host = f"[{new.hostname}]" if ":" in new.hostname else new.hostname
        origin = f"{new.scheme}://{host}" + (f":{port}" if port else "")
        if self.address.authorization is not None and origin != f"{old.scheme}://{old.netloc}":
            raise RefusedReplyError(base, f"redirects to {shown}, where your password is not sent", fix)
        wanted, _, asked = path.partition("?")
        prefix, found, rest = new.path.rpartition(wanted)
        if found and not rest:
            query = new.query or asked
            return origin + prefix, wanted + (f"?{query}" if query else ""), origin + prefix
        return origin, (new.path or "/") + (f"?{new.query}" if new.query else ""), moved

    def _exchange(self, base: str, method: str, path: str, body: dict[str, Any] | None, limit: int) -> Reply:
        what = f"{method} {path.partition('?')[0]}"
        data = json.dumps(body).encode() if body is not None else None
        connection = self._connection(base)
        sent = done = False
        with connection.in_use:
            try:
                connection.open(self.timeout_seconds, self.answer_seconds)
                sent = True
                reply = connection.exchange(method, path, data, self._headers(data), limit)
                done = not self._closed.is_set()
                return reply
            except TimeoutError:
                if not sent:
                    raise NoReplyError(base, f"does not answer within {CONNECT_SECONDS:g} s", may_have_arrived=False) from None
                late = connection.is_late()
                why = f"did not finish its answer to {what} within" if late else f"did not answer {what} within"
                seconds = self.answer_seconds if late else self.timeout_seconds
                raise NoReplyError(base, f"{why} {seconds:g} s", may_have_arrived=True) from None
            except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
                if not sent:
                    raise NoReplyError(base, f"cannot be reached ({_reason(error)})", may_have_arrived=False) from None
                if isinstance(error, ConnectionError):
                    raise NoReplyError(base, f"broke off the connection during {what}", may_have_arrived=True) from None
                raise NoReplyError(base, f"gave a broken answer to {what} ({_reason(error)})", may_have_arrived=True) from None
            finally:
                if not done:  # also when interrupted: the next request must not read the rest of this answer
                    connection.close()

    def _headers(self, data: bytes | None) -> dict[str, str]:
        headers = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "lifeos"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self.address.authorization is not None:
            headers["Authorization"] = self.address.authorization
        return headers

    def _connection(self, base: str) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection.base != base:
            if connection is not None:
                connection.end()
            connection = _Connection(base)
            with self._lock:
                self._connections.append(connection)
            self._local.connection = connection
        return connection


class _Connection:
    """One kept connection to a server, of one thread."""

    def __init__(self, base: str) -> None:
        self.base = base
        parts = urlsplit(base)
        self._path = parts.path
        self._host, self._is_tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._proxy = find_proxy(base)
        self._http: http.client.HTTPConnection | None = None
        self._socket: _Timed | None = None
        self._deadline = math.inf
        self.in_use = threading.Lock()

    def open(self, timeout: float, seconds: float) -> None:
        """Be connected, and let everything that follows be over in `seconds`."""
        self._deadline = time.monotonic() + seconds
        if self._http is None or self._socket is None or self._http.sock is None or _was_dropped(self._http.sock):
            self.close()
            self._connect(min(CONNECT_SECONDS, timeout))
        assert self._socket is not None
        self._socket.deadline, self._socket.patience = self._deadline, timeout

    def _connect(self, timeout: float) -> None:
        if self._proxy is None:
            self._http = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        else:
            self._http = http.client.HTTPConnection(self._proxy.host, self._proxy.port, timeout=timeout)
            if self._is_tls:
                self._http.set_tunnel(self._host, self._port, self._proxy.headers)
        if self._is_tls:
            self._http.default_port = 443  # else the Host header would name it
        self._http.connect()
        raw = self._http.sock
        plain = _TimedSocket(raw.family, raw.type, raw.proto, fileno=raw.detach())
        self._http.sock = self._socket = plain
        plain.settimeout(timeout)
        if self._is_tls:
            wrapped = tls_context().wrap_socket(plain, server_hostname=self._host)
            assert isinstance(wrapped, _TimedTlsSocket)
            self._http.sock = self._socket = wrapped

    def exchange(self, method: str, path: str, data: bytes | None, headers: dict[str, str], limit: int) -> Reply:
        assert self._http is not None
        target = self._path + path
        if self._proxy is not None and not self._is_tls:
            target, headers = f"{self.base}{path}", headers | self._proxy.headers
        self._http.request(method, target, data, headers)
        response = self._http.getresponse()
        encoding = response.getheader("Content-Encoding", "identity").strip().lower()
        body = self._read(response, encoding, limit, f"{method} {path.partition('?')[0]}")
        response.close()
        length = response.getheader("Content-Length", "")
        known = int(length) if encoding == "identity" and length.isdecimal() and len(length) < 20 else None
        return Reply(response.status, body, known, response.getheader("Location"))

    def _read(self, response: http.client.HTTPResponse, encoding: str, limit: int, what: str) -> bytes:
        """The body, decompressed, never more than `limit` bytes of it in memory."""
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise RefusedReplyError(self.base, f"answers {what} encoded as {encoding[:20]!r}, which was not asked for")
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding != "identity" else None
        pieces: list[bytes] = []
        size = 0
        while piece := response.read1(CHUNK_BYTES):
            if unpacker is not None:
                piece = unpacker.decompress(piece, limit - size + 1)
            size += len(piece)
            if size > limit or (unpacker is not None and unpacker.unconsumed_tail):
                raise RefusedReplyError(self.base, f"answers {what} with more than {limit / (1 << 20):.3g} MiB", "look at the server")
            pieces.append(piece)
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        if unpacker is not None and size and not unpacker.eof:
            raise http.client.IncompleteRead(b"")
        return b"".join(pieces)

    def detach(self) -> _Timed:
        assert self._socket is not None
        return self._socket

    def end(self) -> None:
        """Close it from any thread: at once where nobody uses it, else by waking the one who does."""
        if self.in_use.acquire(blocking=False):
            try:
                self.close()
            finally:
                self.in_use.release()
        elif (used := self._socket) is not None:
            with contextlib.suppress(OSError):
                used.shutdown(socket.SHUT_RDWR)

    def is_late(self) -> bool:
        return time.monotonic() >= self._deadline

    def close(self) -> None:
        if self._http is not None:
            with contextlib.suppress(OSError):
                self._http.close()
        self._http = self._socket = None


def open_socket(base: str, seconds: float) -> _Timed:
    """A connection for another protocol than HTTP's, such as a WebSocket: whatever is done over it must be over in `seconds`."""
    connection = _Connection(base)
    connection.open(seconds, seconds)
    return connection.detach()


class _Timed(socket.socket):
    """A socket whose reads and writes all end at `deadline` (of `time.monotonic`), and each after `patience` seconds of silence."""

    deadline: float = math.inf
    patience: float = CONNECT_SECONDS

    def _limit(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the whole answer is over")
        self.settimeout(min(left, self.patience))


class _TimedSocket(_Timed):
    def recv(self, *arguments: Any, **more: Any) -> bytes:
        self._limit()
        return super().recv(*arguments, **more)

    def recv_into(self, *arguments: Any, **more: Any) -> int:
        self._limit()
        return super().recv_into(*arguments, **more)

    def sendall(self, *arguments: Any, **more: Any) -> None:
        self._limit()
        super().sendall(*arguments, **more)


class _TimedTlsSocket(ssl.SSLSocket, _Timed):
    def recv(self, *arguments: Any, **more: Any) -> bytes:
        self._limit()
        return super().recv(*arguments, **more)

    def recv_into(self, *arguments: Any, **more: Any) -> int:
        self._limit()
        return super().recv_into(*arguments, **more)

    def send(self, *arguments: Any, **more: Any) -> int:  # `sendall` of a TLS socket calls it for each piece
        self._limit()
        return super().send(*arguments, **more)


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Verifies by the system's certificates and certifi's, or by the file that REQUESTS_CA_BUNDLE names."""
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    context = ssl.create_default_context(cafile=named or None)
    if not named:
        with contextlib.suppress(ImportError, OSError):
            import certifi

            context.load_verify_locations(certifi.where())
    context.sslsocket_class = _TimedTlsSocket
    return context


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    headers: dict[str, str]


def find_proxy(base: str) -> Proxy | None:
    """The proxy that the environment names for an address; never one for this machine's own ports, which it could not reach."""
    import base64
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(base)
    if Address(base, None).is_loopback or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named:
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    if proxy.scheme not in ("http", "https") or not proxy.hostname:
        return None
    headers = {}
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(proxy.hostname, proxy.port or 8080, headers)


def _was_dropped(connection: socket.socket) -> bool:
    """Whether a kept connection has been closed by the server, or holds something that nobody asked for."""
    try:
        if sys.platform != "win32":  # select itself cannot watch a handle above 1023
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            return bool(poll.poll(0))
        else:  # noqa: RET505 - mypy reads it for each platform
            return bool(select.select([connection], [], [], 0)[0])
    except (OSError, ValueError):
        return True


def _reason(error: BaseException) -> str:
    """The words of an error: `Connection refused`, not the number before it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]
