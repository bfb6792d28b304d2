"""One request whose answer has limits, for what is asked now and then: RunPod's bill and pods, the length of a ComfyUI's queue.

Standard library alone: `doctor` asks before anything is installed. An answer comes whole, within its size and its time, from the host
that was asked; everything else is one UnavailableError. The address and the headers, which may hold a key, are never part of it.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from lifeos.errors import UnavailableError

MAX_ANSWER_BYTES = 4 << 20
MAX_PROBLEM_BYTES = 1 << 14
CHUNK_BYTES = 1 << 16
WEB_SCHEMES = ("http", "https")


class StatusError(UnavailableError):
    """The server answered, with `status` 300 or above. `body`: the beginning of what it said; `retry_after`: its header of that name."""

    def __init__(self, what: object, status: int, body: bytes = b"", retry_after: str = "") -> None:
        super().__init__(what, f"answered {status}")
        self.status, self.body, self.retry_after = status, body, retry_after


@dataclass(frozen=True, slots=True)
class WebReply:
    """A whole answer, and the server's clock as its Date header tells it (empty without one)."""

    data: bytes
    date: str = ""


def get(url: str, what: str, *, seconds: float, headers: Mapping[str, str] | None = None, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    """The whole answer to a GET, as of `ask`."""
    return ask(url, what, seconds=seconds, headers=headers, max_bytes=max_bytes).data


def ask(
    url: str,
    what: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = MAX_ANSWER_BYTES,
    body: bytes | None = None,
) -> WebReply:
    """The whole answer to a GET, or to a POST of `body`. `what` is what an error names; `seconds` is for all of it, from the connection to
    the last byte.

    With `headers`, which may hold a key, no redirect is followed: not even the server that was asked says where a key goes.

    Raises StatusError for an answer that is none, UnavailableError where there is no whole answer.
    """
    wire = _Wire()
    timer = threading.Timer(seconds, wire.cut)
    timer.daemon = True
    timer.start()
    try:
        if urllib.parse.urlsplit(url).scheme not in WEB_SCHEMES:
            raise UnavailableError(what, "its address does not begin with http:// or https://")
        request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
        with urllib.request.build_opener(*wire.handlers).open(request, timeout=seconds) as reply:
            answer = WebReply(_read(reply, what, max_bytes), reply.headers.get("Date") or "")
        if wire.is_cut:  # headers that are cut count as whole ones
            raise TimeoutError
    except urllib.error.HTTPError as error:
        problem = _read_problem(error)
        error.close()
        raise StatusError(what, error.code, problem, error.headers.get("Retry-After") or "") from None
    except (OSError, http.client.HTTPException, UnavailableError) as error:
        if wire.is_cut or isinstance(_cause(error), TimeoutError):
            raise UnavailableError(what, f"no whole answer within {seconds:g} s") from None
        if isinstance(error, UnavailableError):
            raise
        raise UnavailableError(what, f"no usable answer: {_reason(error)}") from None
    except ValueError:  # an address or a header that cannot be sent: the library's own error would quote it
        raise UnavailableError(what, "its address, or a header for it, cannot be sent", "look for line ends and odd signs in it") from None
    finally:
        timer.cancel()
        wire.close()
    return answer


def _read_problem(error: urllib.error.HTTPError) -> bytes:
    """The beginning of what a refusal says; nothing where that cannot be read."""
    try:
        return error.read(MAX_PROBLEM_BYTES)
    except (OSError, http.client.HTTPException, ValueError):
        return b""


def _read(reply: Any, what: str, max_bytes: int) -> bytes:
    told = reply.headers.get("Content-Length") or ""
    data = bytearray()
    while chunk := reply.read(CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            raise UnavailableError(what, f"its answer is longer than {max_bytes:,} bytes")
    if told.isdecimal() and str(len(data)) != told.lstrip("0") and len(data) != 0:
        raise UnavailableError(what, "the connection ended before the answer did")  # http.client does not notice
    return bytes(data)


def _cause(error: Exception) -> object:
    return getattr(error, "reason", None) or error


def _reason(error: Exception) -> str:
    cause = _cause(error)
    if isinstance(cause, OSError):
        return cause.strerror or "the connection ended before the answer did"
    return cause if isinstance(cause, str) else "it is not what HTTP prescribes"


class _Wire:
    """The connections of one request, so that all of them can be cut when its time is over."""

    def __init__(self) -> None:
        self.is_cut = False
        self._connections: list[http.client.HTTPConnection] = []
        self._sockets: list[socket.socket] = []
        note = self._noting

        class PlainHandler(urllib.request.HTTPHandler):
            def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
                return self.do_open(note(http.client.HTTPConnection), request)

        class SecureHandler(urllib.request.HTTPSHandler):
            def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
                return self.do_open(note(http.client.HTTPSConnection), request)

        self.handlers = (PlainHandler(), SecureHandler(), _SameHost())

    def _noting(self, kind: type[http.client.HTTPConnection]) -> Callable[..., http.client.HTTPConnection]:
        def make(*args: Any, **options: Any) -> http.client.HTTPConnection:
            connection = kind(*args, **options)
            connect = connection.connect

            def connect_and_note() -> None:
                connect()
                self._sockets.append(connection.sock)  # a connection that ends with its answer forgets its socket
                if self.is_cut:
                    raise TimeoutError

            connection.connect = connect_and_note  # type: ignore[method-assign]
            self._connections.append(connection)
            return connection

        return make

    def cut(self) -> None:
        self.is_cut = True
        for one in [*self._sockets, *(connection.sock for connection in self._connections)]:
            with contextlib.suppress(OSError, AttributeError):  # closed already, or not connected yet
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        for one in self._sockets:
            one.close()


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a redirect on the host that was asked, and from http to https there; never to another host, never back to http."""

    def redirect_request(
        self, request: urllib.request.Request, reply: IO[bytes], code: int, message: str, headers: Any, target: str
    ) -> urllib.request.Request | None:
        if request.headers:  # those of the caller; the library adds its own elsewhere
            reply.close()
            raise urllib.error.URLError("it redirects, and the key does not follow")
        before, after = urllib.parse.urlsplit(request.full_url), urllib.parse.urlsplit(target)
        same = (before.scheme, before.port) == (after.scheme, after.port)
        safer = (before.scheme, after.scheme) == ("http", "https")
        if before.hostname != after.hostname or not (same or safer):
            reply.close()
            raise urllib.error.URLError("it redirects to another host")
        return super().redirect_request(request, reply, code, message, headers, target)
