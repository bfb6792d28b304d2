"""What the tests of the tools can ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tools.backends.comfyui import ComfyServer
from tools.stand_in import start_embedded_server

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer


@pytest.fixture
def embedded_server() -> Iterator[Callable[..., EmbeddedServer]]:
    """A factory of embedded ComfyUI servers, stopped when the test ends: `embedded_server(faults=Faults(…))`."""
    started: list[EmbeddedServer] = []

    def start(**options: Any) -> EmbeddedServer:
        started.append(start_embedded_server(**options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def follow() -> Iterator[Callable[..., ComfyServer]]:
    """A factory of connected clients, closed when the test ends."""
    opened: list[ComfyServer] = []

    def connect(url: str, **options: Any) -> ComfyServer:
        opened.append(ComfyServer(url, **options))
        opened[-1].connect()
        return opened[-1]

    yield connect
    for server in opened:
        server.close()
