"""One kept connection to a server that is not trusted: whatever is read or written over it ends at a deadline and at a limit.

On `http.client`, since a deadline for a whole answer, headers included, needs the socket: a server that sends one byte a second keeps
every library with a timeout per read waiting for ever.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import http.client
import math
import os
import select
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from lifeos.errors import UnavailableError
from tools.backends.address import Address

CONNECT_SECONDS = 5.0
CHUNK_BYTES = 1 << 16


class RefusedReplyError(UnavailableError):
    """An answer that may not be taken and would come again: too large, or a redirect that leads elsewhere."""


class RefusedTokenError(RefusedReplyError):
    """What lets us in is refused, or wanted: no other try changes that."""


@dataclass(frozen=True, slots=True)
class Reply:
    """`content_length` as the server told it, None where it did not, or told that of a compressed body.

    `retry_after`: the seconds after which it wants to be asked again. `credits`: what it says that the work cost (`X-Comfy-Credits-Used`).
    """

    status: int
    body: bytes
    content_length: int | None
    location: str | None = None
    retry_after: float | None = None
    credits: float | None = None


class BoundedConnection:
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
        plain = _Timed(raw.family, raw.type, raw.proto, fileno=raw.detach())
        self._http.sock = self._socket = plain
        plain.settimeout(timeout)
        if self._is_tls:
            wrapped = tls_context().wrap_socket(plain, server_hostname=self._host)
            assert isinstance(wrapped, _TimedTlsSocket)
            self._http.sock = self._socket = wrapped

    def exchange(self, method: str, path: str, data: bytes | Iterable[bytes] | None, headers: dict[str, str], limit: int) -> Reply:
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
        wait, used = _retry_seconds(response), _number(response.getheader("X-Comfy-Credits-Used"))
        return Reply(response.status, body, known, response.getheader("Location"), wait, used)

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
    connection = BoundedConnection(base)
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

    def recv(self, *arguments: Any, **more: Any) -> bytes:
        self._limit()
        return super().recv(*arguments, **more)

    def recv_into(self, *arguments: Any, **more: Any) -> int:
        self._limit()
        return super().recv_into(*arguments, **more)

    def send(self, *arguments: Any, **more: Any) -> int:  # `sendall` of a TLS socket calls it for each piece
        self._limit()
        return super().send(*arguments, **more)

    def sendall(self, *arguments: Any, **more: Any) -> None:
        self._limit()
        super().sendall(*arguments, **more)


class _TimedTlsSocket(_Timed, ssl.SSLSocket):
    """The same over TLS."""


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


def _number(text: str | None) -> float | None:
    """The value of a header that is a number, 0 or more; None for anything else, such as a date."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _retry_seconds(response: http.client.HTTPResponse) -> float | None:
    """Retry-After in seconds; where it is a date (RFC 9110, 10.2.3), from the date of the answer itself, whatever this machine's clock
    says."""
    told = response.getheader("Retry-After")
    if told is None or (seconds := _number(told)) is not None:
        return None if told is None else seconds
    try:
        then, now = (email.utils.parsedate_to_datetime(text) for text in (told, response.getheader("Date") or ""))
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError):  # no date, or one with a time zone and one without
        return None


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
