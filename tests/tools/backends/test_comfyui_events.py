"""The WebSocket of a ComfyUI: of the messages about each step few are taken, of all others every one."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from tests.tools.backends.job_graphs import sampled_graph
from tools.backends.address import read_address
from tools.backends.comfyui import ComfyServer
from tools.backends.comfyui_events import EventStream, SocketMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.stand_in.server import EmbeddedServer


def take_until(stream: EventStream, kind: str) -> list[SocketMessage]:
    taken: list[SocketMessage] = []
    until = time.monotonic() + 20
    while not any(message.type == kind for message in taken):
        assert time.monotonic() < until, f"no {kind} came"
        with contextlib.suppress(queue.Empty):
            taken.append(stream.events.get(timeout=0.5))
    return taken


def test_few_messages_about_steps_are_taken_and_all_others(embedded_server: Callable[..., EmbeddedServer]) -> None:
    """A picture of 150 steps comes with 300 messages about them."""
    server = embedded_server()
    graph = sampled_graph(7)
    sampler = next(node for node in graph.values() if node["class_type"] == "KSampler")
    sampler["inputs"]["steps"] = 150
    client_id = f"lifeos-{uuid.uuid4().hex}"
    stream = EventStream(read_address(server.url), client_id)
    stream.start()
    try:
        take_until(stream, "connected")
        with ComfyServer(server.url) as client:
            client.client_id = client_id
            client.submit(str(uuid.uuid4()), graph)
            counts = Counter(message.type for message in take_until(stream, "execution_success"))
    finally:
        stream.close()
    assert 1 <= counts["progress"] <= 4
    assert 1 <= counts["progress_state"] <= 4
    assert counts["execution_start"] == 1
    assert counts["executing"] >= len(graph)
