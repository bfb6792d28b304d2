"""The WebSocket of a ComfyUI server: a background thread that turns its messages into a queue of events.

Nothing is replayed after a drop, and a message can be missed at any time: what arrives here only tells when to ask over HTTP.
"""

from __future__ import annotations

import contextlib
import functools
import math
import queue
import threading
import time
from typing import Any

from lifeos.errors import LifeosError
from tools.backends.address import Address
from tools.backends.bounded_connection import open_socket
from tools.backends.comfyui_answers import SocketMessage, read_message

RECEIVE_SECONDS = 1.0
"""How soon the thread notices that it should stop, on a silent connection."""

PING_SECONDS = 20.0
"""Silence after which the other end is asked for a sign of life; without one for as long again, the connection is dropped."""

CLOSE_SECONDS = 2.0
RETRY_PAUSES = (0.0, 0.1, 0.3, 1.0, 2.0, 5.0)
OPEN_SECONDS = 5.0
STEADY_SECONDS = 5.0
"""A connection that ends sooner counts as a failure: the pause before the next one grows."""
REASON_LENGTH = 100

CONNECTED, DISCONNECTED = SocketMessage("connected"), SocketMessage("disconnected")
"""What the thread itself tells, among the server's messages."""

MESSAGE_LIMIT = 8 << 20
"""Bytes of one message: those that we read have a few hundred, `progress_state` of a large graph some 100,000, previews up to 1 MB."""

PROGRESS = (b'{"type": "progress"', b'{"type": "progress_state"')
"""How the messages of each step begin, in the server's own spelling: most of what it sends."""

PROGRESS_SECONDS = 0.5
"""Of each kind of them one in this time is taken: with hundreds of servers, reading them all would keep a core busy."""

AHEAD_BYTES = 1 << 14
"""Read at once: a frame's header, its length and its content would else be asked of the system one by one."""

WAITING_LIMIT = 10_000
"""Messages that nobody has taken yet; further ones are dropped, since the truth is asked for over HTTP."""


class EventStream:
    """Keeps one WebSocket open under one client id, and never two: the server forgets the newer when the older ends."""

    def __init__(self, address: Address, client_id: str) -> None:
        self.events: queue.Queue[SocketMessage] = queue.Queue(WAITING_LIMIT)
        self.connected = False
        self.failures = 0
        """Connections in a row that could not be opened or kept."""
        self.reason = ""
        """Why the last of them."""
        self._address = address
        self._url = address.websocket_url(client_id)
        self._socket: Any = None
        self._progress_due = dict.fromkeys(PROGRESS, 0.0)
        self._closing = threading.Event()
        self._replace = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"events {address.base}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def replace(self) -> None:
        """Close a connection that gets nothing any more, wholly, and only then open the next."""
        self._replace.set()

    def close(self) -> None:
        self._closing.set()
        socket = self._socket
        if socket is not None:
            with contextlib.suppress(Exception):  # either end may have closed it at this very moment
                socket.send_close()  # the server answers, which wakes the thread
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS + RECEIVE_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            opened, reason = time.monotonic(), "the connection was closed"
            try:
                self._open()
                self._receive()
            except Exception as error:  # noqa: BLE001 - a decoder of others' bytes: whatever it meets, the connection is made anew
                reason = _in_short(error)
            finally:
                self._drop()
            self.reason = reason
            self.failures = 0 if time.monotonic() - opened > STEADY_SECONDS else self.failures + 1
            self._closing.wait(RETRY_PAUSES[min(self.failures, len(RETRY_PAUSES) - 1)])

    def _open(self) -> None:
        header = [f"{name}: {value}" for name, value in self._address.credentials.items()] or None
        self._replace.clear()
        make_socket = _bounded_class()
        read_message(b"{}", MESSAGE_LIMIT)  # both import a package, for which the first message should not have to wait
        plain = open_socket(self._address.base, OPEN_SECONDS)
        try:
            self._socket = make_socket(suppress_origin=True, skip_utf8_validation=True)  # in pure Python; msgspec looks as well
            self._socket.connect(self._url, socket=plain, header=header, suppress_origin=True, redirect_limit=0)
        except BaseException:
            plain.close()
            raise
        plain.deadline, plain.patience = math.inf, RECEIVE_SECONDS
        self.connected = True
        self._tell(CONNECTED)

    def _receive(self) -> None:
        """Until the connection ends. Binary frames are previews: not wanted."""
        import websocket

        heard, pinged = time.monotonic(), False
        while not self._closing.is_set() and not self._replace.is_set():
            try:
                opcode, data = self._socket.recv_data(control_frame=True)
                self._socket.received = 0
            except websocket.WebSocketTimeoutException:
                silent = time.monotonic() - heard
                if silent > 2 * PING_SECONDS:
                    return
                if silent > PING_SECONDS and not pinged:
                    self._socket.ping()
                    pinged = True
                continue
            heard, pinged = time.monotonic(), False
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self._take(data)

    def _take(self, data: bytes) -> None:
        kind = next((each for each in PROGRESS if data.startswith(each)), None)
        if kind is not None:
            now = time.monotonic()
            if now < self._progress_due[kind]:
                return
            self._progress_due[kind] = now + PROGRESS_SECONDS
        message = read_message(data, MESSAGE_LIMIT)
        if message is not None:
            self._tell(message)

    def _tell(self, message: SocketMessage) -> None:
        with contextlib.suppress(queue.Full):
            self.events.put_nowait(message)

    def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(Exception):  # the other end may be gone, in any way
                socket.close(timeout=CLOSE_SECONDS)  # the close handshake: the server has let go of our id after it
            socket.shutdown()  # a connection that broke is not closed by `close`
        if self.connected:
            self.connected = False
            self._tell(DISCONNECTED)


def _in_short(error: Exception) -> str:
    """What went wrong, without the headers and the page that websocket-client adds to a status."""
    text = error.why if isinstance(error, LifeosError) else str(error).partition(" -+-+")[0]
    return text[:REASON_LENGTH] or type(error).__name__


@functools.cache
def _bounded_class() -> Any:
    """websocket-client's WebSocket, which would take a message of any size, with a limit for the bytes of one."""
    import websocket

    class BoundedWebSocket(websocket.WebSocket):
        received = 0
        ahead = b""

        def _recv(self, bufsize: int) -> bytes:
            self.ahead = self.ahead or super()._recv(max(bufsize, AHEAD_BYTES))  # type: ignore[no-untyped-call]
            data, self.ahead = self.ahead[:bufsize], self.ahead[bufsize:]
            self.received += len(data)
            if self.received > MESSAGE_LIMIT:
                raise websocket.WebSocketException("a message beyond the limit")
            return data

    return BoundedWebSocket
