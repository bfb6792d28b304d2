"""The WebSocket of a ComfyUI server: a background thread that turns its messages into a queue of events.

Nothing is replayed after a drop, and a message can be missed at any time: what arrives here only tells when to ask over HTTP.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tools.backends.transport import Address

RECEIVE_SECONDS = 1.0
"""How soon the thread notices that it should stop, on a silent connection."""

PING_SECONDS = 20.0
"""Silence after which the other end is asked for a sign of life; without one for as long again, the connection is dropped."""

CLOSE_SECONDS = 2.0
RETRY_PAUSES = (0.0, 0.1, 0.3, 1.0, 2.0, 5.0)
OPEN_SECONDS = 5.0
STEADY_SECONDS = 5.0
"""A connection that ends sooner counts as a failure: the pause before the next one grows."""


CONNECTED, DISCONNECTED = "connected", "disconnected"


@dataclass(frozen=True, slots=True)
class Event:
    """A message of the server, or `connected`/`disconnected` from the thread itself."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)


class EventStream:
    """Keeps one WebSocket open under one client id, and never two: the server forgets the newer when the older ends."""

    def __init__(self, address: Address, client_id: str) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.connected = False
        self._address = address
        self._url = address.websocket_url(client_id)
        self._socket: Any = None
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
        import websocket

        failures = 0
        while not self._closing.is_set():
            opened = time.monotonic()
            try:
                self._open()
                self._receive()
            except (websocket.WebSocketException, OSError, ValueError):
                pass
            finally:
                self._drop()
            failures = 0 if time.monotonic() - opened > STEADY_SECONDS else failures + 1
            self._closing.wait(RETRY_PAUSES[min(failures, len(RETRY_PAUSES) - 1)])

    def _open(self) -> None:
        import websocket

        header = [f"Authorization: {self._address.authorization}"] if self._address.authorization else None
        self._replace.clear()
        self._socket = websocket.create_connection(self._url, timeout=OPEN_SECONDS, header=header, suppress_origin=True)
        self._socket.settimeout(RECEIVE_SECONDS)
        self.connected = True
        self.events.put(Event(CONNECTED))

    def _receive(self) -> None:
        """Until the connection ends. Binary frames are previews: not wanted."""
        import websocket

        heard, pinged = time.monotonic(), False
        while not self._closing.is_set() and not self._replace.is_set():
            try:
                opcode, data = self._socket.recv_data(control_frame=True)
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
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(message, dict) and isinstance(message.get("data"), dict):
            self.events.put(Event(str(message.get("type")), message["data"]))

    def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(Exception):  # the other end may be gone, in any way
                socket.close(timeout=CLOSE_SECONDS)  # the close handshake: the server has let go of our id after it
            socket.shutdown()  # a connection that broke is not closed by `close`
        if self.connected:
            self.connected = False
            self.events.put(Event(DISCONNECTED))
