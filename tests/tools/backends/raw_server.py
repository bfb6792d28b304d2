"""A server that sends exactly the bytes it is told, however wrong they are as HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator

Send = Callable[[bytes], Iterable[bytes]]
"""From the request's head to the pieces of the answer, sent one after the other; the connection is closed behind the last."""


class RawServer:
    def __init__(self, answer: Send, pause: float = 0.0) -> None:
        self.answer, self.pause = answer, pause
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            self.heads.append(head)
            for piece in self.answer(head):
                connection.sendall(piece)
                time.sleep(self.pause)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextlib.contextmanager
def raw_server(answer: Send, pause: float = 0.0) -> Iterator[RawServer]:
    server = RawServer(answer, pause)
    try:
        yield server
    finally:
        server.close()


def http(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer with its length, other headers by keyword (`_` for `-`)."""
    named = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
