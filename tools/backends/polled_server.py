"""What servers have in common that tell nothing by themselves: each job is asked for until it has ended.

A kind of them adds what differs: how a job is queued (`_enqueue`), asked for (`_look`), cancelled (`_stop`) and fetched (`_fetch`), how
many it should hold (`_usual_depth`) and what it is (`info`). Outages, refusals that last, a pace that it asks for, and the ends are here.
"""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from lifeos.errors import UnavailableError
from tools.backends.backend import BackendOptions, BusyError, ListsNothing, Offers, PictureRef, PromptEnd, ServerInfo, StalledError
from tools.backends.bounded_connection import RefusedReplyError, Reply
from tools.backends.comfyui_downloads import whole_picture
from tools.backends.outage import Outage
from tools.backends.request_pace import RequestPace

BARRED_SECONDS = 600.0
"""A server that refuses us (a wrong token, no credits, no such endpoint) is not tried again earlier."""

T = TypeVar("T")


class FollowedJob(Protocol):
    """A job of ours that has not ended: the server's name for it, and since when nothing has changed."""

    @property
    def job_id(self) -> str: ...

    since: float


J = TypeVar("J", bound=FollowedJob)


class PolledRoutes(Protocol):
    """What can be asked of the server."""

    @property
    def url(self) -> str: ...
    def close(self) -> None: ...


class PolledServer(ListsNothing, ABC, Generic[J]):
    """A server that we queue jobs on and follow by asking. `submit`, `wait`, `cancel` belong to one thread; the rest to any."""

    pauses_questions: ClassVar[bool]
    """Whether a server that asks for a slower pace means every question, or only that it takes no more jobs."""
    busy_words: ClassVar[str]
    """What a person is told then, with `pause` in seconds."""

    def __init__(self, routes: PolledRoutes, options: BackendOptions, pace: RequestPace, *, takes_models: bool = False) -> None:
        self._routes, self._options, self._pace = routes, options, pace
        self.url = routes.url
        self.outage_seconds = options.outage_seconds
        self.on_outage: Callable[[UnavailableError | None], None] = lambda error: None
        self.on_note: Callable[[str], None] = lambda text: None
        self.offers = Offers(lists_models=False, lists_nodes=False, shares_memory=False, takes_models=takes_models, takes_pictures=True)
        self.progress: dict[str, tuple[int, int]] = {}
        self._closing = threading.Event()
        self._outage = Outage(self.url, options.outage_seconds, self._closing)
        self._open: dict[str, J] = {}  # by our ids, the one that is to be asked first at the front
        self._cancels: dict[str, J] = {}  # until it has ended, or the server took its cancelling
        self._ended: list[PromptEnd] = []
        self._poll_due = 0.0
        self._told_busy = False
        self._barred: tuple[float, UnavailableError] | None = None

    # What a kind adds

    @abstractmethod
    def info(self) -> ServerInfo: ...

    @abstractmethod
    def _enqueue(self, prompt_id: str, graph: dict[str, Any], ask_first: bool, handle: str | None) -> J:
        """Queue a job once, or find it. What fails on the way is settled by `_asked`."""

    @abstractmethod
    def _look(self, prompt_id: str, followed: J) -> None:
        """Ask for a job once, and tell its `_end` where there is one."""

    @abstractmethod
    def _stop(self, followed: J) -> None:
        """Have the server cancel a job."""

    @abstractmethod
    def _stop_left(self, job_id: str) -> None:
        """The same of one of an earlier run."""

    @abstractmethod
    def _fetch(self, ref: PictureRef) -> Reply:
        """A picture, perhaps incomplete."""

    @abstractmethod
    def _usual_depth(self, ahead: int) -> int: ...

    @abstractmethod
    def _round_seconds(self, jobs: int) -> float:
        """From one round of questions for so many jobs to the next."""

    @abstractmethod
    def _reach(self) -> ServerInfo:
        """What is asked when it is connected, `_barring` where that is final."""

    def _look_around(self) -> None:
        """What is asked after each round of questions."""

    # The life of a server

    def connect(self) -> ServerInfo:
        """Reach it; also learns whether it takes our token. Raises UnavailableError with what to do."""
        if self._barred is not None and time.monotonic() < self._barred[0]:
            raise self._barred[1]
        self._barred = None
        info = self._reach()
        self._outage.forget()
        return info

    def close(self) -> None:
        self._closing.set()
        self._routes.close()

    def depth(self, ahead: int) -> int:
        """No more than it holds while it takes none."""
        wanted = self._usual_depth(ahead)
        wanted = min(wanted, self._options.most_at_once or wanted)
        return min(wanted, len(self._open)) if self._pace.left else wanted

    # The life of a job

    def submit(self, prompt_id: str, graph: dict[str, Any], *, ask_first: bool = False, handle: str | None = None) -> str:
        self._pace.wait(self._closing.wait)
        with self._barring():
            followed = self._enqueue(prompt_id, graph, ask_first, handle)
        self._open[prompt_id] = self._cancels[prompt_id] = followed
        self._poll_due = min(self._poll_due, time.monotonic() + self._options.poll_seconds)
        return followed.job_id

    def _asked(self, ask: Callable[[], T], on_loss: Callable[[UnavailableError], None] = lambda error: None) -> T:
        """An answer, as soon as an outage lets one through; `on_loss` is told each that was lost. Raises what the server refuses."""
        while True:
            try:
                answer = ask()
            except RefusedReplyError:
                raise
            except BusyError as error:
                self._slow_down(error)
                raise
            except UnavailableError as error:
                on_loss(error)
                self._outage.bear(error, self.on_outage)
            else:
                self._answered()
                return answer

    def _slow_down(self, error: BusyError) -> None:
        pause = self._pace.slow(error.retry_after, has_work=bool(self._open) and not self.pauses_questions)
        if not self._told_busy:
            self._told_busy = True
            self.on_note(self.busy_words.format(pause=f"{pause:g}"))

    def _answered(self) -> None:
        if self._outage.is_over():
            for followed in self._open.values():
                followed.since = time.monotonic()
            self.on_outage(None)

    def wait(self, timeout: float) -> list[PromptEnd]:
        """The ends of our prompts. Raises UnavailableError when the server has been gone for too long, or nothing goes on there."""
        until = time.monotonic() + timeout
        while True:
            with self._outage.borne(lambda: bool(self._ended), (StalledError, RefusedReplyError), self.on_outage), self._barring():
                self._ask_what_is_due()
            now = time.monotonic()
            if self._ended or now >= until or self._closing.is_set():
                ended, self._ended = self._ended, []
                return ended
            due = max(self._poll_due, now + self._question_pause) if self._open else until
            self._closing.wait(max(0.0, min(due, until) - now))

    @property
    def _question_pause(self) -> float:
        return self._pace.left if self.pauses_questions else 0.0

    def _ask_what_is_due(self) -> None:
        now = time.monotonic()
        if not self._open or now < self._poll_due or self._question_pause:
            return
        self._poll_due = now + self._round_seconds(len(self._open))
        try:
            for prompt_id, followed in list(self._open.items()):
                self._look(prompt_id, followed)
            self._look_around()
        except BusyError as error:
            self._slow_down(error)

    def _end(self, end: PromptEnd) -> None:
        for by_id in (self._open, self._cancels, self.progress):
            by_id.pop(end.prompt_id, None)
        self._ended.append(end)

    def cancel(self, prompt_ids: Iterable[str], handles: Mapping[str, str] | None = None) -> None:
        mine = list(dict.fromkeys(prompt_ids))
        for prompt_id in mine:
            self._open.pop(prompt_id, None)
            self.progress.pop(prompt_id, None)
        self._ended = [end for end in self._ended if end.prompt_id not in mine]
        for prompt_id in mine:
            if prompt_id in self._cancels:
                self._stop(self._cancels[prompt_id])
                del self._cancels[prompt_id]
            elif handles and prompt_id in handles:
                self._stop_left(handles[prompt_id])

    def download(self, ref: PictureRef) -> bytes:
        return whole_picture(f"{self.url}: {ref.filename}", lambda: self._fetch(ref), self._closing.wait)

    @contextlib.contextmanager
    def _barring(self) -> Iterator[None]:
        """A refusal that no other try changes keeps the server away for a while."""
        try:
            yield
        except RefusedReplyError as error:
            self._barred = (time.monotonic() + BARRED_SECONDS, error)
            raise

    # Its memory is not ours

    def free_memory(self) -> None:
        """Nothing."""
