"""What the tests of the tools can ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tools.backends.comfyui import ComfyServer
from tools.stand_in import start_embedded_server

if TYPE_CHECKING:
    from tests.tools.backends.api_proxy import Proxied
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


@pytest.fixture(scope="session")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """The official proxy of Comfy API v2 before an embedded server: one for all tests."""
    from tests.tools.backends.api_proxy import TOKEN, Proxied, ProxyFaults, api_proxy

    base = tmp_path_factory.mktemp("proxied")
    (base / "models" / "loras").mkdir(parents=True)
    (base / "token").write_text(f"{TOKEN}\n", "utf-8")
    (base / "token").chmod(0o600)
    faults = ProxyFaults()
    with start_embedded_server(seconds_per_picture=0.4) as comfyui, api_proxy(comfyui.url, base, TOKEN, faults) as url:
        yield Proxied(f"comfy+{url}", comfyui, base / "models", base / "token", faults)


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
