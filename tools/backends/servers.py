"""The servers that a command line names with `--comfy-url`: reached, followed, and let go at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lifeos.errors import UnavailableError
from tools.backends.comfyui import ComfyServer
from tools.backends.outcomes import ServerInfo
from tools.backends.transport import read_address

DEFAULT_URL = "http://127.0.0.1:8188"
EMBEDDED = "embedded"


@contextlib.contextmanager
def embedded_urls(urls: Sequence[str], *, seconds_per_picture: float = 0.0) -> Iterator[list[str]]:
    """The addresses, each once; an `embedded` server of our own runs behind that word while the body does."""
    with contextlib.ExitStack() as stack:
        found: list[str] = []
        for url in urls or [DEFAULT_URL]:
            if url == EMBEDDED:
                from tools.stand_in import start_embedded_server

                url = stack.enter_context(start_embedded_server(seconds_per_picture=seconds_per_picture)).url
            elif read_address(url).base in [read_address(other).base for other in found]:
                continue
            found.append(url)
        yield found


@dataclass(frozen=True, slots=True)
class Reached:
    """A server that answers, and what it said of itself."""

    server: ComfyServer
    info: ServerInfo


@contextlib.contextmanager
def open_servers(
    urls: Sequence[str],
    note: Callable[[str], None],
    *,
    silence_seconds: float = 600,
    outage_seconds: float = 120,
    poll_seconds: float = 0.5,
    seconds_per_picture: float = 0.0,
) -> Iterator[list[Reached]]:
    """Connected servers, let go of in every ending. `embedded` starts one of ours, at `seconds_per_picture`.

    Of several, one that does not answer is noted and left out. Raises UnavailableError when none answers.
    """
    with contextlib.ExitStack() as stack:
        reached: list[Reached] = []
        missing: list[UnavailableError] = []
        for url in stack.enter_context(embedded_urls(urls, seconds_per_picture=seconds_per_picture)):
            server = ComfyServer(url, silence_seconds=silence_seconds, outage_seconds=outage_seconds, poll_seconds=poll_seconds)
            stack.enter_context(server)
            try:
                reached.append(Reached(server, server.connect()))
            except UnavailableError as error:
                missing.append(error)
        if not reached:
            raise missing[0]
        for reason in missing:
            note(f"going on without {reason}")
        yield reached
