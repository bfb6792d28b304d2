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
from tools.backends.credentials import TokenError
from tools.backends.server_entry import ServerEntry
from tools.backends.server_groups import LeftOutServer, ask_all, none_of, tell_left_out

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

KINDS = {
    "tools.backends.comfyui": "ComfyUI",
    "tools.backends.embedded": "embedded",
    "tools.backends.comfy_api": "Comfy API v2",
    "tools.backends.serverless": "RunPod serverless",
}
"""What people call the back ends of a module."""

DEFAULT_URL = "http://127.0.0.1:8188"
ALL_ANSWER_SECONDS = 20.0
"""For several servers together to answer at the start; who takes longer comes later, or never."""


def scheme_of(url: str) -> str:
    """`http` where none is written: `host:8188`, `pod.example`."""
    scheme, found, _ = url.strip().partition("://")
    return scheme.lower() if found else "embedded" if url.strip() == "embedded" else "http"


def kind_of(server: Backend) -> str:
    """What people call a back end of its kind."""
    return KINDS.get(type(server).__module__) or kind_at(server.url)


def kind_at(url: str) -> str:
    """The same of an address; the embedded server, where it runs already, looks like any ComfyUI."""
    scheme = scheme_of(url)
    return KINDS.get(BACKENDS.get(scheme, ""), scheme)


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
    """The back ends of some addresses or entries, each once, not yet connected. None means ComfyUI's usual one on this machine.

    Raises InputError, also where a token is not in its place.
    """
    with open_possible(servers, options) as opened:
        if opened.tokenless:
            raise opened.tokenless[0][1]
        yield opened.servers


@dataclass(frozen=True, slots=True)
class OpenedBackends:
    """Back ends that are open, and those that cannot be: their addresses, and what is wrong with their tokens."""

    servers: list[Backend]
    tokenless: list[tuple[str, TokenError]]
    entries: dict[str, ServerEntry]
    """What was said of each that is open, by its URL."""


@contextlib.contextmanager
def open_possible(servers: Sequence[str | ServerEntry], options: BackendOptions | None = None) -> Iterator[OpenedBackends]:
    """The same, where those whose token is not in its place are told apart. Raises InputError for addresses that are none."""
    with contextlib.ExitStack() as stack:
        opened: dict[str, Backend] = {}
        tokenless: list[tuple[str, TokenError]] = []
        entries: dict[str, ServerEntry] = {}
        for each in servers or [DEFAULT_URL]:
            entry = each if isinstance(each, ServerEntry) else ServerEntry(each)
            try:
                backend = stack.enter_context(find_opener(entry.url)(entry.url, entry.options(options or BackendOptions())))
            except TokenError as error:
                tokenless.append((entry.url.rpartition("@")[2], error))
            except InputError as error:
                if not entry.place:
                    raise
                raise InputError(entry.place, f"{str(error.what).removeprefix('--comfy-url ')}: {error.why}", error.fix) from None
            else:
                opened.setdefault(backend.url, backend)
                entries.setdefault(backend.url, entry)
        yield OpenedBackends(list(opened.values()), tokenless, entries)


@dataclass(frozen=True, slots=True)
class ConnectedBackend:
    """A back end that answers, and what it said of itself."""

    server: Backend
    info: ServerInfo


@dataclass(frozen=True, slots=True)
class ReachedServers:
    """The back ends of a command: those that answer, and those that do not, which may later: why not, by URL."""

    connected: tuple[ConnectedBackend, ...] = ()
    absent: tuple[Backend, ...] = ()
    why_absent: tuple[LeftOutServer, ...] = ()

    @property
    def servers(self) -> list[Backend]:
        return [each.server for each in self.connected]

    @property
    def notice(self) -> str | None:
        """What one that makes no real pictures says of itself."""
        return next((each.info.notice for each in self.connected if each.info.notice), None)


@contextlib.contextmanager
def connect_backends(
    servers: Sequence[str | ServerEntry], note: Callable[[str], None], options: BackendOptions | None = None
) -> Iterator[ReachedServers]:
    """Connected back ends, all asked at once, let go of in every ending.

    Of several, those that do not answer, or whose token is missing or wrong, are noted and left out. Raises UnavailableError when none
    is left, InputError where a single one lacks its token.
    """
    with open_possible(servers, options) as opened:
        answers = list(zip(opened.servers, ask_all(opened.servers, lambda server: server.connect(), ALL_ANSWER_SECONDS), strict=True))
        connected = tuple(ConnectedBackend(server, info) for server, info in answers if not isinstance(info, UnavailableError))
        absent = {server.url: LeftOutServer.of(server.url, error) for server, error in answers if isinstance(error, UnavailableError)}
        lacking = [LeftOutServer(url, f"{error.what} {error.why}", error.fix, comes_back=False) for url, error in opened.tokenless]
        left_out = [*absent.values(), *lacking]
        if not connected:
            if len(left_out) == 1 and opened.tokenless:
                raise opened.tokenless[0][1]
            raise none_of(left_out, "answers")
        for line in tell_left_out(left_out, len(connected) + len(left_out)):
            note(f"going on without {line}")
        gone = tuple(server for server in opened.servers if server.url in absent)
        yield ReachedServers(connected, gone, tuple(absent.values()))
