"""Which back end an address belongs to, and the servers of a command line: opened, connected, and let go of at the end.

A new back end is a module beside this one with `open_backend(url, options)`, and a row in `BACKENDS`.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lifeos.errors import InputError, UnavailableError, did_you_mean
from tools.backends.backend import Backend, BackendOptions, OpenBackend, ServerInfo
from tools.backends.server_entry import ServerEntry

BACKENDS = {
    "http": "tools.backends.comfyui",
    "https": "tools.backends.comfyui",
    "ws": "tools.backends.comfyui",
    "wss": "tools.backends.comfyui",
    "embedded": "tools.backends.embedded",
    "comfy+https": "tools.backends.comfy_api",
    "comfy+http": "tools.backends.comfy_api",
    "runpod": "tools.backends.serverless",
    "runpod+http": "tools.backends.serverless",
}
"""The scheme of an address (what stands before `://`, or the whole word) and the module whose `open_backend` opens it."""

DEFAULT_URL = "http://127.0.0.1:8188"


def scheme_of(url: str) -> str:
    """`http` where none is written: `host:8188`, `pod.example`."""
    scheme, found, _ = url.strip().partition("://")
    return scheme.lower() if found else "embedded" if url.strip() == "embedded" else "http"


def find_opener(url: str) -> OpenBackend:
    """The function that opens an address. Raises InputError for a scheme that nobody knows."""
    scheme = scheme_of(url)
    if scheme not in BACKENDS:
        hint = did_you_mean(scheme, BACKENDS)
        raise InputError(f"--comfy-url {url.rpartition('@')[2]}", f"{scheme}:// is no back end that is known", hint)
    opener: OpenBackend = importlib.import_module(BACKENDS[scheme]).open_backend
    return opener


@contextlib.contextmanager
def open_backends(servers: Sequence[str | ServerEntry], options: BackendOptions | None = None) -> Iterator[list[Backend]]:
    """The back ends of some addresses or entries, each once, not yet connected. None means ComfyUI's usual one on this machine."""
    with contextlib.ExitStack() as stack:
        opened: dict[str, Backend] = {}
        for each in servers or [DEFAULT_URL]:
            entry = each if isinstance(each, ServerEntry) else ServerEntry(each)
            backend = stack.enter_context(find_opener(entry.url)(entry.url, entry.options(options or BackendOptions())))
            opened.setdefault(backend.url, backend)
        yield list(opened.values())


@dataclass(frozen=True, slots=True)
class ConnectedBackend:
    """A back end that answers, and what it said of itself."""

    server: Backend
    info: ServerInfo


@contextlib.contextmanager
def connect_backends(
    servers: Sequence[str | ServerEntry], note: Callable[[str], None], options: BackendOptions | None = None
) -> Iterator[list[ConnectedBackend]]:
    """Connected back ends, let go of in every ending.

    Of several, one that does not answer is noted and left out. Raises UnavailableError when none answers.
    """
    with open_backends(servers, options) as opened:
        connected: list[ConnectedBackend] = []
        missing: list[UnavailableError] = []
        for backend in opened:
            try:
                connected.append(ConnectedBackend(backend, backend.connect()))
            except UnavailableError as error:
                missing.append(error)
        if not connected:
            raise missing[0]
        for reason in missing:
            note(f"going on without {reason}")
        yield connected
