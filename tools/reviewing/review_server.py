"""The server of a review: one batch, on this machine alone, for those who have the address with its token.

Who else can reach the port? Other programs of this machine, and web pages in the same browser. Neither knows the token, which is in the
address that the command prints and then in a cookie that no other site may send. A page elsewhere that points its own name at 127.0.0.1
is refused by the Host header, one that posts by Origin and Sec-Fetch-Site. The page may load nothing but what this server serves
(Content-Security-Policy), and the server hands out pictures by their names in the batch, never by a path.
"""

from __future__ import annotations

import http.server
import json
import secrets
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from lifeos import foreign
from lifeos.errors import LifeosError, UnavailableError
from lifeos.pages.page_templates import PAGES
from tools.production.skin_marks import skin_ellipses
from tools.reviewing.carrying import Carrier
from tools.reviewing.desk import RefusedError, ReviewDesk, Wish
from tools.reviewing.review_document import review_document
from tools.reviewing.served_pictures import ServedPicture, find_picture, find_reference, find_thumbnail

HOST = "127.0.0.1"
FILES = {
    "/": ("review.html", "text/html; charset=utf-8"),
    "/colours.css": ("colours.css", "text/css; charset=utf-8"),
    "/look.css": ("look.css", "text/css; charset=utf-8"),
    "/viewer.css": ("viewer.css", "text/css; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/swipe.js": ("swipe.js", "text/javascript; charset=utf-8"),
    "/viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
}
MOST_BODY_BYTES = 1 << 18
IDLE_SECONDS = 30
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class ReviewServer(http.server.ThreadingHTTPServer):
    """Serves one desk. `port` 0 takes a free one. Raises UnavailableError where the port is taken."""

    daemon_threads = True
    allow_reuse_address = not hasattr(socket, "SO_EXCLUSIVEADDRUSE")  # on Windows it would let two servers share a port

    def __init__(self, desk: ReviewDesk, carrier: Carrier, *, port: int, token: str) -> None:
        self.desk, self.carrier, self.token = desk, carrier, token
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            why = f"cannot be used: {error.strerror or error}"
            raise UnavailableError(f"port {port}", why, "name another with --port, or leave it out for a free one") from None

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        """What to open: with the token."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """Cookies are shared by all ports of a machine: each review has one of its own."""
        return f"lifeos_review_{self.port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle of an answer is nothing to tell."""


class _Answer(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        self.status, self.text = status, text
        super().__init__(text)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "LifeOS-review", ""
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_HEAD(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: an access log would hold the token."""

    def _serve(self, handle: Callable[[], None]) -> None:
        try:
            self._check_caller()
            handle()
        except _Answer as answer:
            self._send(answer.status, f"{answer.text}\n".encode(), "text/plain; charset=utf-8")
        except RefusedError as error:
            told = {"what": error.what, "why": error.why, "fix": error.fix, "picture": error.picture, "guards": list(error.guards)}
            self._send_json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": told})
        except LifeosError as error:
            self._send_json(HTTPStatus.CONFLICT, {"error": {"what": error.what, "why": error.why, "fix": error.fix}})
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise
            why = error.strerror or str(error)
            self._send_json(HTTPStatus.INSUFFICIENT_STORAGE, {"error": {"what": "the disk", "why": why, "fix": "nothing was written"}})

    # Who may ask

    def _check_caller(self) -> None:
        hosts = {f"{name}:{self.server.port}" for name in (HOST, "localhost")}
        host = self.headers.get("Host", "")
        if self.headers.get_all("Host", []) != [host] or host not in hosts:
            raise self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "this server answers as 127.0.0.1 alone")
        origin = self.headers.get("Origin")
        if (origin is None and self.command == "POST") or origin not in (None, f"http://{host}"):
            raise self._refuse(HTTPStatus.FORBIDDEN, "another page may not ask this server")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise self._refuse(HTTPStatus.FORBIDDEN, "another page may not ask this server")
        if self._token_in_address():
            return
        if not secrets.compare_digest(self._token_in_cookie().encode(), self.server.token.encode()):
            raise self._refuse(HTTPStatus.FORBIDDEN, "open the address that tools/review.py has printed: it holds the token")

    def _refuse(self, status: HTTPStatus, text: str) -> _Answer:
        self.close_connection = True  # the body of what was refused is not read
        return _Answer(status, text)

    def _token_in_address(self) -> bool:
        given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        return bool(given) and self.command == "GET" and secrets.compare_digest(given.encode(), self.server.token.encode())

    def _token_in_cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
        except CookieError:
            return ""
        return found.value if found is not None else ""

    # What is asked

    def _get(self) -> None:
        path = urlsplit(self.path).path
        if path == "/" and self._token_in_address():
            cookie = f"{self.server.cookie}={self.server.token}; HttpOnly; SameSite=Strict; Path=/"
            self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", {"Location": "/", "Set-Cookie": cookie})
        elif path in FILES:
            name, kind = FILES[path]
            self._send(HTTPStatus.OK, (PAGES / name).read_bytes(), kind)
        elif path == "/favicon.ico":
            self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        elif path == "/api/batch":
            self._send_json(HTTPStatus.OK, self._document())
        elif path == "/api/state":
            self._send_json(HTTPStatus.OK, self._state())
        elif path.startswith("/skin/"):
            picture = self.server.desk.batch.look().pictures.get(_name_in(path))
            self._send_json(HTTPStatus.OK, {"ellipses": skin_ellipses(picture) if picture is not None else []})
        else:
            self._send_picture(path)

    def _post(self) -> None:
        if self.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JSON is wanted")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 9 or int(length) > MOST_BODY_BYTES or "Transfer-Encoding" in self.headers:
            raise self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BODY_BYTES:,} bytes are taken")
        body = self.rfile.read(int(length))
        desk = self.server.desk
        if self.path == "/api/decide":
            names = desk.decide(foreign.decode(body, list[Wish], "the request", surrogates="keep"))
        elif self.path == "/api/undo":
            names = desk.undo()
        else:
            raise _Answer(HTTPStatus.NOT_FOUND, "there is nothing of that name here")
        self._send_json(HTTPStatus.OK, {"names": names, "batch": self._document(names)})

    def _document(self, only: list[str] | None = None) -> dict[str, Any]:
        desk = self.server.desk
        return review_document(desk, desk.batch.look(), self.server.carrier.status, running=self._is_running(), only=only)

    def _state(self) -> dict[str, Any]:
        """What the page asks for now and then: whether there is anything new."""
        desk = self.server.desk
        return {"version": desk.batch.look().version, "status": self.server.carrier.status, "running": self._is_running()}

    def _is_running(self) -> bool:
        return self.server.desk.batch.is_running and not self.server.carrier.is_busy

    def _send_picture(self, path: str) -> None:
        batch, name = self.server.desk.batch, _name_in(path)
        served: ServedPicture | None = None
        if path.startswith("/thumb/"):
            served = find_thumbnail(batch.folder, batch.look(), name)
        elif path.startswith("/picture/"):
            served = find_picture(batch.folder, batch.look(), name)
        elif path.startswith("/reference/"):
            served = find_reference(batch.look(), name)
        if served is None:
            raise _Answer(HTTPStatus.NOT_FOUND, "there is nothing of that name here")
        tag = {"ETag": f'"{served.tag}"'} if served.tag else {}
        if tag and self.headers.get("If-None-Match") == tag["ETag"]:
            self._send(HTTPStatus.NOT_MODIFIED, b"", served.kind, {**tag, "Cache-Control": "private, no-cache"})
        else:
            self._send(HTTPStatus.OK, served.data, served.kind, {**tag, "Cache-Control": "private, no-cache"})

    # Answers

    def _send_json(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        self._send(status, json.dumps(document, allow_nan=False).encode("ascii"), "application/json")

    def _send(self, status: HTTPStatus, data: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {**HEADERS, "Cache-Control": "no-store", "Content-Type": kind, **(more or {})}
        if status is not HTTPStatus.NOT_MODIFIED:
            headers["Content-Length"] = str(len(data))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _name_in(path: str) -> str:
    """The picture's name behind the first part of a path; bytes that are no UTF-8 as Python names files by them."""
    return unquote_to_bytes(path.split("/", 2)[-1]).decode("utf-8", "surrogateescape")
