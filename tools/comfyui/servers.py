"""The servers that a command line names with `--comfy-url`: reached, followed, and let go at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from lifeos.errors import UnavailableError
from tools.comfyui.client import ComfyServer
from tools.comfyui.transport import read_address

DEFAULT_URL = "http://127.0.0.1:8188"
EMBEDDED = "embedded"


@contextlib.contextmanager
def embedded_urls(urls: Sequence[str], *, seconds_per_picture: float = 0.0) -> Iterator[list[str]]:
    """The addresses, each once; an `embedded` server of our own runs behind that word while the body does."""
    with contextlib.ExitStack() as stack:
        found: list[str] = []
        for url in urls or [DEFAULT_URL]:
            if url == EMBEDDED:
                from tools.comfyui.embedded import start_embedded_server

                url = stack.enter_context(start_embedded_server(seconds_per_picture=seconds_per_picture)).url
            elif read_address(url).base in [read_address(other).base for other in found]:
                continue
            found.append(url)
        yield found


@contextlib.contextmanager
def open_servers(
    urls: Sequence[str],
    *,
    silence_seconds: float = 600,
    poll_seconds: float = 0.5,
    seconds_per_picture: float = 0.0,
    on_note: Callable[[str], None] = lambda text: None,
) -> Iterator[list[ComfyServer]]:
    """Connected servers. `embedded` starts one of ours, at `seconds_per_picture`.

    Of several, one that is not there is noted and left out. Raises UnavailableError when none is there.
    """
    with contextlib.ExitStack() as stack:
        named = stack.enter_context(embedded_urls(urls, seconds_per_picture=seconds_per_picture))
        servers: list[ComfyServer] = []
        absent: list[UnavailableError] = []
        for url in named:
            server = stack.enter_context(ComfyServer(url, silence_seconds=silence_seconds, poll_seconds=poll_seconds))
            try:
                server.connect()
                servers.append(server)
            except UnavailableError as error:
                absent.append(error)
        if not servers:
            raise absent[0]
        for reason in absent:
            on_note(f"left out: {reason}")
        yield servers
