"""HTTP to a ComfyUI server: its address, sessions, timeouts, which requests may be sent again, and what each failure means."""

from __future__ import annotations

import base64
import ipaddress
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from lifeos.errors import InputError, UnavailableError

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 5.0
SAFE_PAUSES = (0.1, 0.4)
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""Statuses that another try can get over: a server in trouble, a proxy that misses its server (520 to 524: Cloudflare, before a pod)."""

HINT = "is ComfyUI running there? start it, or give another --comfy-url"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. `base` has neither a trailing slash nor credentials, which `authorization` holds."""

    base: str
    authorization: str | None

    @property
    def is_loopback(self) -> bool:
        host = urlsplit(self.base).hostname or ""
        return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)

    def websocket_url(self, client_id: str) -> str:
        return f"ws{self.base.removeprefix('http')}/ws?clientId={quote(client_id)}"


def read_address(text: str) -> Address:
    """An address as people type it: without a scheme, with a slash or path at the end, with `user:password@`.

    Without a scheme it is http, but https for a name with dots and no port, such as a pod's proxy. Raises InputError.
    """
    wanted = "an address like http://127.0.0.1:8188 is wanted"
    raw = text.strip()
    shown = raw.rpartition("@")[2]  # an error never shows a password
    if "://" not in raw:
        host = raw.partition("/")[0]
        public = "." in host and ":" not in host and not _is_ip(host)
        raw = f"{'https' if public else 'http'}://{raw}"
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--comfy-url {shown}", str(error), wanted) from None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname or any(char.isspace() for char in raw):
        raise InputError(f"--comfy-url {shown}", "not an http or https address", wanted)
    if parts.query:
        raise InputError(f"--comfy-url {parts.hostname}", "an address with a query (?…) cannot be followed", wanted)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    base = urlunsplit(SplitResult(scheme, f"{host}:{port}" if port else host, parts.path.rstrip("/"), "", ""))
    return Address(base, _basic(parts) if parts.username else None)


def _basic(parts: SplitResult) -> str:
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class NoReplyError(UnavailableError):
    """No usable answer. `may_have_arrived`: the request may have been carried out all the same."""

    def __init__(self, url: str, why: str, *, may_have_arrived: bool) -> None:
        self.may_have_arrived = may_have_arrived
        super().__init__(url, why, HINT)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    content_length: int | None

    def json(self) -> Any:
        """The document, or None where the body is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Transport:
    """Requests to one server, from any thread: each has a session, and so connections, of its own."""

    def __init__(self, address: Address, *, timeout_seconds: float) -> None:
        self.address = address
        self.timeout_seconds = timeout_seconds
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def get(self, path: str, params: dict[str, str] | None = None) -> Reply:
        """A GET, sent again where its failure can pass. Raises NoReplyError; any other status is the caller's to judge."""
        return self._safely("GET", path, params=params)

    def get_json(self, path: str) -> Any:
        """The JSON of a GET that must answer 200. Raises UnavailableError."""
        reply = self.get(path)
        document = reply.json()
        if reply.status in (401, 403):
            raise UnavailableError(self.address.base, f"refuses with {reply.status}", "put user:password@ before the host in --comfy-url")
        if reply.status != 200 or document is None:
            what = f"status {reply.status}" if reply.status != 200 else "no JSON"
            raise UnavailableError(self.address.base, f"answers, but not as ComfyUI does ({path} gives {what})", "check --comfy-url")
        return document

    def post_safely(self, path: str, body: dict[str, Any]) -> Reply:
        """A POST that may be repeated without harm."""
        return self._safely("POST", path, body=body)

    def post_once(self, path: str, body: dict[str, Any]) -> Reply:
        """A POST that must not be repeated unasked. Raises NoReplyError, which says whether it may have arrived."""
        return self._send("POST", path, body=body)

    def _follow_redirect(self, arrived_at: str, path: str) -> None:
        """Take the address that a GET was redirected to (http to https at a proxy): a POST would not survive the redirect."""
        base, found, rest = arrived_at.partition("?")[0].rpartition(path)
        if found and not rest and urlsplit(base).hostname == urlsplit(self.address.base).hostname:
            self.address = Address(base, self.address.authorization)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()

    def _safely(self, method: str, path: str, *, params: dict[str, str] | None = None, body: dict[str, Any] | None = None) -> Reply:
        for pause in SAFE_PAUSES:
            try:
                return self._send(method, path, params=params, body=body)
            except NoReplyError:
                if self._closed.wait(pause):
                    raise
        return self._send(method, path, params=params, body=body)

    def _send(self, method: str, path: str, *, params: dict[str, str] | None = None, body: dict[str, Any] | None = None) -> Reply:
        import requests
        from urllib3.exceptions import NewConnectionError

        base = self.address.base
        try:
            response = self._session().request(
                method,
                base + path,
                params=params,
                json=body,
                timeout=(min(CONNECT_SECONDS, self.timeout_seconds), self.timeout_seconds),
                allow_redirects=method == "GET",  # a redirected POST would arrive as a GET
            )
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
            raise NoReplyError(base, f"cannot be reached ({_root(error)})", may_have_arrived=False) from None
        except requests.exceptions.ConnectTimeout:
            raise NoReplyError(base, f"does not answer within {CONNECT_SECONDS:g} s", may_have_arrived=False) from None
        except requests.exceptions.Timeout:
            raise NoReplyError(base, f"did not answer {method} {path} within {self.timeout_seconds:g} s", may_have_arrived=True) from None
        except requests.exceptions.ConnectionError as error:
            reason = getattr(error.args[0] if error.args else None, "reason", None)
            if isinstance(reason, NewConnectionError):
                raise NoReplyError(base, f"cannot be reached ({_root(reason)})", may_have_arrived=False) from None
            raise NoReplyError(base, f"broke off the connection during {method} {path}", may_have_arrived=True) from None
        except requests.exceptions.RequestException as error:  # a body cut short, a broken encoding
            raise NoReplyError(base, f"gave a broken answer to {method} {path} ({_root(error)})", may_have_arrived=True) from None
        if response.status_code in PASSING_STATUSES:
            raise NoReplyError(base, f"answers {method} {path} with status {response.status_code}", may_have_arrived=True)
        if response.history and response.ok:
            self._follow_redirect(response.url, path)
        length = response.headers.get("Content-Length", "")
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        known = int(length) if length.isdecimal() and not encoded else None
        return Reply(response.status_code, response.content, known)

    def _session(self) -> requests.Session:
        import requests

        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = not self.address.is_loopback  # a proxy for the internet cannot reach this machine's own port
            if self.address.authorization:
                session.headers["Authorization"] = self.address.authorization
            with self._lock:
                self._sessions.append(session)
            self._local.session = session
        return session


def _root(error: BaseException) -> str:
    """The last words of an exception chain that urllib3 has wrapped: `Connection refused`, not the four classes around it."""
    seen: BaseException = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    text = getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
    return " ".join(text.split())[:160]
