"""HTTP to one server that is not trusted: every answer has a limit and a deadline, no redirect leads elsewhere, failures have names."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, overload
from urllib.parse import urlencode, urljoin, urlsplit

from lifeos import foreign
from lifeos.errors import InputError, UnavailableError
from tools.backends.address import Address
from tools.backends.bounded_connection import CONNECT_SECONDS, BoundedConnection, RefusedReplyError, RefusedTokenError, Reply
from tools.backends.file_form import FileForm

T = TypeVar("T")

SAFE_PAUSES = (0.1, 0.4)
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""Statuses that another try can get over: a server in trouble, a proxy that misses its server (520 to 524: Cloudflare, before a pod)."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 3
ANSWER_FACTOR = 4
"""A whole answer may take this many times as long as a pause within it."""

SMALL_ANSWER, LARGE_ANSWER = 4 << 20, 64 << 20
"""Limits in bytes, after decompression: one prompt's or folder's answer, and a whole queue or all node classes (2 MB with 1,000)."""

HINT = "is ComfyUI running there? start it, or give another --comfy-url"

WANTS_CREDENTIALS = "put user:password@ before the host in --comfy-url, or name the variable that holds its token with --comfy-token-env"

HIDDEN = b"***"
SHORTEST_SECRET = 6
"""In characters: a shorter one is not looked for in answers, where it would be found in any word."""


@dataclass(frozen=True, slots=True)
class Form:
    """The bytes of a request's body, and what they are."""

    data: bytes
    content_type: str = "application/json"


Body = dict[str, Any] | Form | FileForm


class NoReplyError(UnavailableError):
    """No usable answer. `may_have_arrived`: the request may have been carried out all the same. `retry_after`: seconds, if it said so."""

    def __init__(self, url: str, why: str, *, may_have_arrived: bool, retry_after: float | None = None) -> None:
        self.may_have_arrived, self.retry_after = may_have_arrived, retry_after
        super().__init__(url, why, HINT)


class Transport:
    """Requests to one server, from any thread: each has a connection of its own, which is kept.

    `timeout_seconds` is for each pause of the server's, `answer_seconds` for a whole answer. `service` is what should answer there.
    """

    def __init__(self, address: Address, *, timeout_seconds: float, answer_seconds: float | None = None, service: str = "ComfyUI") -> None:
        self.address, self._service = address, service
        self.timeout_seconds = timeout_seconds
        self.answer_seconds = answer_seconds if answer_seconds is not None else ANSWER_FACTOR * timeout_seconds
        self._local = threading.local()
        self._connections: list[BoundedConnection] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def look_at_token(self) -> str:
        """What to do where the server refuses what lets us in; empty where nothing does."""
        return self.address.look_at_token if self.address.authorization is not None else ""

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
            raise self.refused(reply.status)
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
            return foreign.decode(self._without_secret(reply.body), kind, path, max_bytes=max(len(reply.body), 1), too_large="null")
        except InputError as error:
            raise self.odd(str(error)) from None

    def _without_secret(self, body: bytes) -> bytes:
        """An answer without our token: a server may repeat what it was sent, and its words go into journals and reports."""
        secret = (self.address.authorization or "").rpartition(" ")[2].encode()
        return body.replace(secret, HIDDEN) if len(secret) >= SHORTEST_SECRET else body

    def refused(self, status: int) -> RefusedTokenError:
        """The error of a 401 or 403."""
        return RefusedTokenError(self.address.base, f"refuses with {status}", self.look_at_token or WANTS_CREDENTIALS)

    def odd(self, what: str) -> UnavailableError:
        """The error of an answer that the service would not give."""
        return UnavailableError(self.address.base, f"answers, but not as {self._service} does ({what})", "check --comfy-url")

    def post_safely(self, path: str, body: dict[str, Any]) -> Reply:
        """A POST that may be repeated without harm."""
        return self._safely("POST", path, body, SMALL_ANSWER)

    def post_once(self, path: str, body: Body, *, limit: int = LARGE_ANSWER, more: Mapping[str, str] | None = None) -> Reply:
        """A POST that must not be repeated unasked. Raises NoReplyError, which says whether it may have arrived.

        With `more` headers, the caller judges every status itself.
        """
        return self._send("POST", path, body, limit, more)

    def get_once(self, path: str, *, limit: int = SMALL_ANSWER) -> Reply:
        """A GET whose answer is handed out whatever its status, a redirect too."""
        return self._exchange(self.address.base, "GET", path, None, limit, {})

    def post_file(self, path: str, form: FileForm, seconds: float) -> Reply:
        """Send a file as a form, in pieces; `seconds` for all of it. Raises NoReplyError; any status is the caller's to judge."""
        return self._exchange(self.address.base, "POST", path, form, SMALL_ANSWER, form.headers, seconds)

    def send_form(self, path: str, form: Form) -> Reply:
        """A POST of a form with a file, that may be repeated without harm."""
        return self._safely("POST", path, form, SMALL_ANSWER)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            for connection in self._connections:
                connection.end()
            self._connections.clear()

    def _safely(self, method: str, path: str, body: Body | None, limit: int) -> Reply:
        for pause in SAFE_PAUSES:
            try:
                return self._send(method, path, body, limit)
            except NoReplyError:
                if self._closed.wait(pause):
                    raise
        return self._send(method, path, body, limit)

    def _send(self, method: str, path: str, body: Body | None, limit: int, more: Mapping[str, str] | None = None) -> Reply:
        base = moved = self.address.base
        reply = self._exchange(base, method, path, body, limit, more or {})
        for _ in range(MAX_REDIRECTS):
            if reply.status not in REDIRECTS:
                break
            base, path, moved = self._follow(base, method, path, reply.location or "", moved)
            reply = self._exchange(base, method, path, body, limit, more or {})
        if reply.status in REDIRECTS:
            raise RefusedReplyError(base, f"redirects {method} {path} again and again", "check --comfy-url")
        if reply.status in PASSING_STATUSES and more is None:
            why = f"answers {method} {path} with status {reply.status}"
            raise NoReplyError(base, why, may_have_arrived=True, retry_after=reply.retry_after)
        if moved != self.address.base and reply.status < 300:
            self.address = replace(self.address, base=moved)  # from here on, also for a POST, which is never redirected
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
            raise RefusedReplyError(base, f"redirects to {shown}, where your password or token is not sent", fix)
        wanted, _, asked = path.partition("?")
        prefix, found, rest = new.path.rpartition(wanted)
        if found and not rest:
            query = new.query or asked
            return origin + prefix, wanted + (f"?{query}" if query else ""), origin + prefix
        return origin, (new.path or "/") + (f"?{new.query}" if new.query else ""), moved

    def _exchange(
        self, base: str, method: str, path: str, body: Body | None, limit: int, more: Mapping[str, str], answer_seconds: float | None = None
    ) -> Reply:
        what = f"{method} {path.partition('?')[0]}"
        form = body if body is None or isinstance(body, Form | FileForm) else Form(json.dumps(body).encode())
        allowed = answer_seconds or self.answer_seconds
        connection = self._connection(base)
        sent = done = False
        with connection.in_use:
            try:
                connection.open(self.timeout_seconds, allowed)
                sent = True
                reply = connection.exchange(method, path, form.data if form else None, {**self._headers(form), **more}, limit)
                done = not self._closed.is_set()
                return reply
            except TimeoutError:
                if not sent:
                    raise NoReplyError(base, f"does not answer within {CONNECT_SECONDS:g} s", may_have_arrived=False) from None
                late = connection.is_late()
                why = f"did not finish its answer to {what} within" if late else f"did not answer {what} within"
                seconds = allowed if late else self.timeout_seconds
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

    def _headers(self, form: Form | FileForm | None) -> dict[str, str]:
        headers = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "lifeos"}
        if form is not None:
            headers["Content-Type"] = form.content_type
        return headers | self.address.credentials

    def _connection(self, base: str) -> BoundedConnection:
        connection: BoundedConnection | None = getattr(self._local, "connection", None)
        if connection is None or connection.base != base:
            if connection is not None:
                connection.end()
            connection = BoundedConnection(base)
            with self._lock:
                self._connections.append(connection)
            self._local.connection = connection
        return connection


def _reason(error: BaseException) -> str:
    """The words of an error: `Connection refused`, not the number before it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:160]
