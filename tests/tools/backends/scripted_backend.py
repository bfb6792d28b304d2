"""Back ends of any speed and temper without a socket: what a dispatcher does with many unlike servers, in fractions of a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lifeos.errors import UnavailableError
from tools.backends.backend import BusyError, ListsNothing, Offers, PictureRef, PromptEnd, RejectedPrompt, ServerInfo, Tariff, Workload

Judge = Callable[[dict[str, Any]], PromptEnd | None]
"""From a graph to how it ends, None: well. Its prompt id does not matter."""


class ScriptedServer:
    """What outlives a client: the queue, one prompt after the other (`parallel`: so many at once), each of `seconds`.

    `refuses(graph)`: why it refuses a graph, "" where it does not. `judge`: how a prompt ends. `busy`: so many of the next submits are
    answered with 429. `hangs`: nothing ends. `prefix`: it names prompts itself.
    """

    def __init__(self, url: str, seconds: float = 0.01, *, parallel: int = 1, prefix: str = "", tariff: Tariff | None = None) -> None:
        self.url, self.seconds, self.parallel, self.prefix = url, seconds, parallel, prefix
        self.tariff = tariff if tariff is not None else Tariff()
        self.refuses: Callable[[dict[str, Any]], str] = lambda graph: ""
        self.judge: Judge = lambda graph: None
        self.busy = 0
        self.hangs = self.is_dead = False
        self.credits: float | None = None
        self.picture: Callable[[dict[str, Any]], bytes] = lambda graph: self.url.encode()
        self.posted: list[str] = []
        """The prompt ids that it took, in order."""
        self.asked = 0
        self.cancelled: list[str] = []
        self._graphs: dict[str, dict[str, Any]] = {}
        self._queue: dict[str, tuple[dict[str, Any], float | None]] = {}  # prompt id -> graph, when it began
        self._done: dict[str, PromptEnd] = {}
        self.lock = threading.Condition()

    def advance(self) -> None:
        """Let time pass: begin what may begin, end what is through."""
        now = time.monotonic()
        for prompt_id, (graph, began) in list(self._queue.items()):
            if began is not None and now - began >= self.seconds and not self.hangs:
                del self._queue[prompt_id]
                told = self.judge(graph)
                end = told if told is not None else PromptEnd(prompt_id, "done", (PictureRef("x.png", handle=prompt_id),))
                self._done[prompt_id] = replace(end, prompt_id=prompt_id, seconds=self.seconds, credits=self.credits)
        running = sum(began is not None for _, began in self._queue.values())
        for prompt_id, (graph, began) in list(self._queue.items()):
            if began is None and running < self.parallel:
                self._queue[prompt_id] = (graph, now)
                running += 1

    def ended(self, prompt_id: str) -> PromptEnd | None:
        self.advance()
        return self._done.get(prompt_id)

    def knows(self, prompt_id: str) -> bool:
        self.advance()
        return prompt_id in self._queue or prompt_id in self._done

    def take(self, prompt_id: str, graph: dict[str, Any]) -> None:
        self.asked += 1
        if self.busy:
            self.busy -= 1
            raise BusyError(self.url)
        why = self.refuses(graph)
        if why:
            raise RejectedPrompt(self.url, "1", why)
        self.posted.append(prompt_id)
        self._graphs[prompt_id] = graph
        self._queue[prompt_id] = (graph, None)
        self.advance()

    def fetch(self, prompt_id: str) -> bytes:
        return self.picture(self._graphs[prompt_id])

    def stop(self, prompt_id: str) -> None:
        if self._queue.pop(prompt_id, None) is not None:
            self.cancelled.append(prompt_id)
            self._done[prompt_id] = PromptEnd(prompt_id, "interrupted", message="cancelled", can_heal=True)

    def load(self) -> Workload:
        self.advance()
        name = self.prefix.__add__
        running = tuple(name(each) for each, (_, began) in self._queue.items() if began is not None)
        return Workload(running, tuple(name(each) for each, (_, began) in self._queue.items() if began is None))


class ScriptedBackend(ListsNothing):
    """A client of one."""

    outage_seconds = 0.2
    is_cut = False
    """Its process was killed: what it does after that reaches nobody."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server, self.url = server, server.url
        self.offers = Offers(lists_models=False, lists_nodes=False, shares_memory=False, takes_pictures=True)
        self.progress: Mapping[str, tuple[int, int]] = {}
        self.on_outage: Callable[[UnavailableError | None], None] = lambda error: None
        self.on_note: Callable[[str], None] = lambda text: None
        self._open: list[str] = []
        self._mine: set[str] = set()

    def connect(self) -> ServerInfo:
        self._reach()
        return self.info()

    def _reach(self) -> None:
        if self.server.is_dead:
            raise UnavailableError(self.url, "cannot be reached")

    def close(self) -> None:
        pass

    def info(self) -> ServerInfo:
        return ServerInfo(self.url, "scripted", "none")

    def workload(self) -> Workload:
        self._reach()
        with self.server.lock:
            return self.server.load()

    def depth(self, ahead: int) -> int:
        return self.server.parallel + ahead

    def submit(self, prompt_id: str, graph: dict[str, Any], *, ask_first: bool = False, handle: str | None = None) -> str:
        self._reach()
        with self.server.lock:
            if not (ask_first and self.server.knows(prompt_id)):
                self.server.take(prompt_id, graph)
        self._open.append(prompt_id)
        self._mine.add(prompt_id)
        return f"{self.server.prefix}{prompt_id}"

    def wait(self, timeout: float) -> list[PromptEnd]:
        until = time.monotonic() + timeout
        while True:
            self._reach()
            with self.server.lock:
                found = [end for end in map(self.server.ended, self._open) if end is not None]
            if found or time.monotonic() >= until:
                gone = {end.prompt_id for end in found}
                self._open = [each for each in self._open if each not in gone]
                return found
            time.sleep(0.002)

    def cancel(self, prompt_ids: Iterable[str], handles: Mapping[str, str] | None = None) -> None:
        """One that names prompts itself knows those of an earlier run by its own names only."""
        mine = set(prompt_ids) if not self.is_cut else set()
        self._open = [each for each in self._open if each not in mine]
        if mine:
            self._reach()
        with self.server.lock:
            for prompt_id in mine:
                is_named = f"{self.server.prefix}{prompt_id}" == (handles or {}).get(prompt_id)
                if not self.server.prefix or prompt_id in self._mine or is_named:
                    self.server.stop(prompt_id)

    def download(self, ref: PictureRef) -> bytes:
        self._reach()
        return self.server.fetch(ref.handle)

    def free_memory(self) -> None:
        pass

    def upload_model(self, folder: str, file: Any) -> str:
        raise AssertionError

    def upload_picture(self, name: str, data: bytes) -> str:
        return name

    def tariff(self, usd_per_hour: float) -> Tariff:
        return self.server.tariff
