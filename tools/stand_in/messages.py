"""WebSocket messages: who is connected, who gets what, and the faults of the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from tools.stand_in.faults import FaultInjector

PREVIEW_IMAGE = 1
PREVIEW_IMAGE_WITH_METADATA = 4
PICTURE_TYPES = {"image/jpeg": 1, "image/png": 2}
"""Event and picture types of binary messages, big-endian 32-bit numbers before the picture."""


@dataclass(frozen=True, slots=True)
class _Shown:
    picture: bytes
    metadata: dict[str, Any]
    kind: str

    def frame(self, *, with_metadata: bool) -> bytes:
        if not with_metadata:
            return struct.pack(">II", PREVIEW_IMAGE, PICTURE_TYPES[self.kind]) + self.picture
        described = json.dumps({**self.metadata, "image_type": self.kind}).encode()
        return struct.pack(">II", PREVIEW_IMAGE_WITH_METADATA, len(described)) + described + self.picture


class _Socket:
    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.sent = 0
        self.is_cut = False
        self.features: dict[str, Any] = {}

    def cut(self) -> None:
        """End the connection as a network does: no close frame."""
        self.is_cut = True
        if self.request.transport is not None:
            self.request.transport.abort()


class Messenger:
    """Sends messages from any thread, in order, to the socket of a client id or to all.

    As on a real server there is one socket for an id, the newest; when any socket of that id closes, the id gets nothing more.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, injector: FaultInjector, features: dict[str, Any], on_cut: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._injector = injector
        self._features = features
        self._on_cut = on_cut
        self._sockets: dict[str, _Socket] = {}
        self._outbox: asyncio.Queue[tuple[str | None, str | _Shown]] = asyncio.Queue()
        self._publisher = loop.create_task(self._publish())

    def send(self, kind: str, data: dict[str, Any], client_id: str | None = None) -> None:
        """Queue a message for a client, or for all (None)."""
        self._enqueue(client_id, json.dumps({"type": kind, "data": data}))

    def send_preview(self, picture: bytes, metadata: dict[str, Any], client_id: str | None, kind: str = "image/jpeg") -> None:
        """Queue a picture: a preview, or what a node sends instead of saving it."""
        self._enqueue(client_id, _Shown(picture, metadata, kind))

    def is_listening(self, client_id: str | None) -> bool:
        return bool(self._sockets) if client_id is None else client_id in self._sockets

    def _enqueue(self, client_id: str | None, message: str | _Shown) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: there is no one left to tell
            self._loop.call_soon_threadsafe(self._outbox.put_nowait, (client_id, message))

    async def _publish(self) -> None:
        while True:
            client_id, message = await self._outbox.get()
            if client_id is None:
                for socket in list(self._sockets.values()):
                    await self._deliver(socket, message)
            elif client_id in self._sockets:
                await self._deliver(self._sockets[client_id], message)

    async def _deliver(self, to: _Socket, message: str | _Shown) -> None:
        if to.is_cut:
            return
        with contextlib.suppress(ConnectionError, RuntimeError):  # gone since: its handler takes it off the list
            if isinstance(message, str):
                await to.socket.send_str(message)
            else:
                await to.socket.send_bytes(message.frame(with_metadata=bool(to.features.get("supports_preview_metadata"))))
            to.sent += 1
        if self._injector.drops_socket(to.sent):
            self._on_cut()
            to.cut()

    async def serve(self, request: web.Request, queue_remaining: int, running_node: tuple[str, str] | None) -> web.WebSocketResponse:
        """Serve one WebSocket until it closes. `running_node` is (client id, node) of what runs now: a reconnecting client is told."""
        socket = web.WebSocketResponse(max_msg_size=0, autoclose=True)
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        mine = self._sockets[client_id] = _Socket(socket, request)
        try:
            status = {"status": {"exec_info": {"queue_remaining": queue_remaining}}, "sid": client_id}
            await self._deliver(mine, json.dumps({"type": "status", "data": status}))
            if running_node is not None and running_node[0] == client_id:
                await self._deliver(mine, json.dumps({"type": "executing", "data": {"node": running_node[1]}}))
            await self._listen(mine)
        except ConnectionError:
            pass
        finally:
            self._sockets.pop(client_id, None)
        return socket

    async def _listen(self, mine: _Socket) -> None:
        is_first = True
        async for message in mine.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            with contextlib.suppress(ValueError, AttributeError):
                document = json.loads(message.data)
                if is_first and document.get("type") == "feature_flags":
                    mine.features = dict(document.get("data") or {})
                    await self._deliver(mine, json.dumps({"type": "feature_flags", "data": self._features}))
            is_first = False

    def cut_all(self) -> None:
        for socket in list(self._sockets.values()):
            socket.cut()

    async def close(self) -> None:
        self._publisher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._publisher
