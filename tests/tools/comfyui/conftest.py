"""What the tests of the ComfyUI client can ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tools.comfyui.client import ComfyServer


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
