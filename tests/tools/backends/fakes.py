"""A scripted HTTP server for answers that a ComfyUI, or a proxy before it, gives and the embedded server does not."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Fake(ThreadingHTTPServer):
    """Answers each `METHOD /path` from `answers`: (status, body, headers), or a function of the request's JSON that returns one.

    `requests` holds what was asked, in order: (method, path, JSON or None, headers).
    """

    daemon_threads = True

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.requests: list[tuple[str, str, Any, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self, route: str) -> list[Any]:
        """The JSON bodies of the requests to a route."""
        return [body for method, path, body, _ in self.requests if f"{method} {path}" == route]


class _Handler(BaseHTTPRequestHandler):
    server: Fake
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        body = json.loads(data) if data.startswith((b"{", b"[")) else data or None
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, path, body, dict(self.headers)))
        found = self.server.answers.get(f"{self.command} {path}", (404, b"", {}))
        if isinstance(found, Callable):  # type: ignore[arg-type]
            found = found(body)
        if found is None:  # no answer at all
            self.close_connection = True
            return
        status, content, headers = (*found, {})[:3] if len(found) == 2 else found
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def fake_server(answers: dict[str, Any]) -> Iterator[Fake]:
    with Fake(answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
