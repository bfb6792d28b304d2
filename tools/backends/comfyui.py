"""One followed ComfyUI server. HTTP is the truth, the WebSocket only makes it quick.

A prompt counts as finished only when GET /history/{id} returns it. WebSocket messages only trigger that request; without one a
slow poll asks anyway. A prompt is lost when it is in neither the queue nor, asked after that, the history: a prompt moves from the
one to the other, so the other order would miss one that ends in between.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import (
    MAX_PICTURE_BYTES,
    BackendOptions,
    Offers,
    PictureRef,
    PromptEnd,
    ServerInfo,
    StalledError,
    Tariff,
)
from tools.backends.bounded_connection import RefusedReplyError, RefusedTokenError
from tools.backends.comfyui_answers import PromptAnswer, SocketMessage, is_preview, read_end, read_rejection
from tools.backends.comfyui_downloads import download_picture
from tools.backends.comfyui_events import CONNECTED, DISCONNECTED, EventStream
from tools.backends.comfyui_routes import OUR_CLIENTS, ServerApi
from tools.backends.comfyui_uploads import upload_picture
from tools.backends.credentials import Credential
from tools.backends.outage import Outage
from tools.backends.transport import NoReplyError

POLL_SECONDS = 2.0
POLL_SECONDS_WITHOUT_SOCKET = 0.5
"""The default of `poll_seconds`: how often an end is asked for where no WebSocket tells of it."""

RECONCILE_SECONDS = 15.0
"""How often the whole queue is read unprompted: with 1,000 prompts it is 1.8 MB."""

SOON_SECONDS = 0.3
"""After a sign that something is wrong: long enough for a prompt on its way from the queue to the history."""

ENDING = frozenset({"execution_success", "execution_error", "execution_interrupted"})
ASK_AGAIN_SECONDS = 0.02
"""The success message is sent just before the history is written."""

FOREIGN_SILENCE_FACTOR = 6
"""Somebody else's prompt tells us nothing of its progress, so it gets this much longer than one of ours."""

SOCKET_FAILURES = 6
"""In a row, while the server answers over HTTP: then a person is told. They take nine seconds: no restart goes unnoticed so long."""

MESSAGE_SECONDS = 0.05
"""An end is announced before the history has it, but the message may still be on its way to our thread."""

TOO_LARGE = 413
"""Of `POST /prompt`, a graph that is refused for good. Other odd answers may be a proxy's while the server starts."""


@contextlib.contextmanager
def open_backend(url: str, options: BackendOptions) -> Iterator[ComfyServer]:
    """The ComfyUI at an address, not yet connected."""
    with ComfyServer.from_options(url, options) as server:
        yield server


class ComfyServer(ServerApi):
    """A ComfyUI that we queue prompts on and follow. Use as a context manager, or `close` it. `submit`, `wait`, `cancel` belong to one
    thread; the rest may be called from any.

    timeout_seconds: for one HTTP answer. silence_seconds: for a running prompt without any sign of progress.
    stalled_seconds: for a queue that holds prompts and runs none. outage_seconds: for a server that is gone, so that a
    restart is survived.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 30,
        silence_seconds: float = 600,
        stalled_seconds: float = 60,
        outage_seconds: float = 120,
        poll_seconds: float = POLL_SECONDS_WITHOUT_SOCKET,
        max_picture_bytes: int = MAX_PICTURE_BYTES,
        credential: Credential | None = None,
        tariff: Tariff | None = None,
        most_at_once: int | None = None,
    ) -> None:
        super().__init__(url, timeout_seconds=timeout_seconds, credential=credential)
        self._tariff, self._most_at_once = tariff, most_at_once
        self.client_id = f"{OUR_CLIENTS}{uuid.uuid4().hex}"
        self.progress: dict[str, tuple[int, int]] = {}
        """Steps done and wanted of our running prompts, by prompt id."""
        self.on_outage: Callable[[UnavailableError | None], None] = lambda error: None
        self.on_note: Callable[[str], None] = lambda text: None
        self.offers = Offers(takes_pictures=True)
        self._max_picture_bytes = max_picture_bytes
        self._stream: EventStream | None = None
        self._told_of_stream = False
        self.outage_seconds = outage_seconds
        self._poll_seconds_without_socket = poll_seconds
        self._silence_seconds, self._stalled_seconds = silence_seconds, stalled_seconds
        self._reconcile_seconds = min(RECONCILE_SECONDS, stalled_seconds / 4, silence_seconds / 4)
        self._open: dict[str, None] = {}  # ours that have not ended, oldest first
        self._announced: set[str] = set()  # of those, the ones whose end the socket told
        self._ended: list[PromptEnd] = []
        self._poll_due = self._reconcile_due = 0.0
        self._idle_since: float | None = None
        self._alive_at = time.monotonic()
        self._running: tuple[str, ...] = ()
        self._closing = threading.Event()
        self._connecting = threading.Lock()
        self._outage = Outage(self.url, outage_seconds, self._closing)

    @classmethod
    def from_options(cls, url: str, options: BackendOptions) -> Self:
        return cls(
            url,
            timeout_seconds=options.timeout_seconds,
            silence_seconds=options.silence_seconds,
            outage_seconds=options.outage_seconds,
            poll_seconds=options.poll_seconds,
            max_picture_bytes=options.max_picture_bytes,
            credential=options.credential,
            tariff=options.tariff,
            most_at_once=options.most_at_once,
        )

    def connect(self) -> ServerInfo:
        """Reach the server, for the first time or again, and follow it. Raises UnavailableError with what to do."""
        info = self.info()
        self._outage.forget()
        self._idle_since = None
        with self._connecting:  # a server that was slow to answer the first time may be asked again meanwhile
            if self._stream is None:
                self._stream = EventStream(self._transport.address, self.client_id)
                self._stream.start()
        return info

    def depth(self, ahead: int) -> int:
        return min(ahead + 1, self._most_at_once or ahead + 1)

    def tariff(self, usd_per_hour: float) -> Tariff:
        return self._tariff or Tariff(usd_per_hour=usd_per_hour)

    def upload_model(self, folder: str, file: Path) -> str:
        raise InputError(self.url, "ComfyUI takes no model files over HTTP", f"copy {file} into its models/{folder}")

    def upload_picture(self, name: str, data: bytes) -> str:
        told = self._outage.outlast(lambda: upload_picture(self._transport, name, data), self.on_outage)
        self._recovered()
        return told

    def submit(
        self,
        prompt_id: str,
        graph: dict[str, Any],
        *,
        ask_first: bool = False,
        handle: str | None = None,
    ) -> str:
        """Queue a prompt under our own id, and follow it. ComfyUI takes our id, so that no other is needed to find it again.

        A reply that is lost on the way is settled by asking the server before posting again. With `ask_first` (resuming
        after a crash) a prompt that the server has already is only followed. Raises RejectedPrompt, UnavailableError.
        """
        body: dict[str, Any] = {"prompt": graph, "client_id": self.client_id, "prompt_id": prompt_id}
        if not self._open:
            self._alive_at, self._idle_since = time.monotonic(), None
        self._open[prompt_id] = None  # before posting: messages may come before the answer
        try:
            self._post_prompt(prompt_id, body, ask_first)
        except BaseException:
            self._forget(prompt_id)
            raise
        self._poll_due = min(self._poll_due, time.monotonic() + self._poll_seconds())
        return prompt_id

    def _post_prompt(self, prompt_id: str, body: dict[str, Any], ask_first: bool) -> None:
        unsure = ask_first
        while True:
            try:
                if unsure and self._is_known(prompt_id):
                    return
                reply = self._transport.post_once("/prompt", body)
                if reply.status in (401, 403):
                    raise self._transport.refused(reply.status)
                if reply.status == TOO_LARGE:
                    raise RefusedReplyError(self.url, f"answers POST /prompt with status {reply.status}", "look at the server's log")
                if reply.status not in (200, 400):
                    raise UnavailableError(self.url, f"answers POST /prompt with status {reply.status}", "look at the server's log")
                answer = self._transport.record(reply, "/prompt", PromptAnswer)
            except RefusedReplyError:
                raise
            except UnavailableError as error:
                unsure = unsure or not isinstance(error, NoReplyError) or error.may_have_arrived
                self._outage.bear(error, self.on_outage)
                continue
            self._recovered()
            if reply.status == 400:
                raise read_rejection(self.url, answer)
            self._refuse_dropped_outputs(prompt_id, body["prompt"], answer)
            return

    def _refuse_dropped_outputs(self, prompt_id: str, graph: dict[str, Any], answer: PromptAnswer) -> None:
        """A 200 with `node_errors`: outputs that failed validation are dropped. Only a preview may be."""
        dropped = {str(node) for faults in answer.faults.values() for node in faults.dependent_outputs or []} or set(answer.faults)
        if any(not is_preview(graph, node) for node in dropped):
            self.cancel([prompt_id])
            raise read_rejection(self.url, answer)

    def _is_known(self, prompt_id: str) -> bool:
        """Whether the server has a prompt: ended, queued, or ended while we asked."""
        if self.history(prompt_id) is not None:
            return True
        there = self.workload()
        return prompt_id in (*there.running, *there.waiting) or self.history(prompt_id) is not None

    def wait(self, timeout: float) -> list[PromptEnd]:
        """The ends of our prompts since the last call, as soon as there is one; empty after `timeout` seconds.

        Raises UnavailableError when the server has been gone for too long, or accepts prompts and does not run them.
        """
        until = time.monotonic() + timeout
        while True:
            self._take_events()
            with self._outage.borne(lambda: bool(self._ended), (StalledError, RefusedTokenError), self.on_outage):
                self._ask_what_is_due()
            now = time.monotonic()
            if self._ended or now >= until or self._closing.is_set():
                ended, self._ended = self._ended, []
                return ended
            due = min(self._poll_due, self._reconcile_due) if self._open else until
            if self._announced:
                due = min(due, now + ASK_AGAIN_SECONDS)
            self._take_events(max(0.0, min(due, until) - now))

    def _poll_seconds(self) -> float:
        return POLL_SECONDS if self._stream is not None and self._stream.connected else self._poll_seconds_without_socket

    def _take_events(self, seconds: float = 0.0) -> None:
        """Everything that the socket has told; waits up to `seconds` for the first of it."""
        if self._stream is None:
            self._closing.wait(seconds)
            return
        try:
            message = self._stream.events.get(timeout=seconds) if seconds else self._stream.events.get_nowait()
            while True:
                self._take(message)
                message = self._stream.events.get_nowait()
        except queue.Empty:
            return

    def _take(self, message: SocketMessage) -> None:
        now = time.monotonic()
        if message is CONNECTED or message is DISCONNECTED:  # nothing is replayed: what was missed meanwhile must be asked for
            self._reconcile_due = min(self._reconcile_due, now + (0 if message is CONNECTED else SOON_SECONDS))
            self._poll_due = min(self._poll_due, now + self._poll_seconds_without_socket)
            return
        data = message.data
        if message.type == "status":
            info = data.status.exec_info if data.status is not None else None
            if info is not None and info.queue_remaining == 0 and self._open:  # ended, deleted, or lost
                self._reconcile_due = min(self._reconcile_due, now + SOON_SECONDS)
            return
        if data.prompt_id is None or data.prompt_id not in self._open:
            return
        self._alive_at, self._idle_since = now, None
        if message.type in ENDING or (message.type == "executing" and data.node is None):
            self._announced.add(data.prompt_id)
            self._reconcile_due = min(self._reconcile_due, now + 2 * SOON_SECONDS)
        elif message.type == "progress":
            self.progress[data.prompt_id] = (int(data.value or 0), int(data.max or 0))

    def _ask_what_is_due(self) -> None:
        for prompt_id in list(self._announced):
            self._ask_whether_ended(prompt_id)
        now = time.monotonic()
        if self._open and now >= self._poll_due:
            self._poll_due = now + self._poll_seconds()
            self._poll(next(iter(self._open)))
        if self._open and now >= self._reconcile_due:
            self._reconcile()
        elif not self._open:
            self._reconcile_due = now + self._reconcile_seconds

    def _poll(self, oldest: str) -> None:
        entry = self.history(oldest)
        self._recovered()
        if entry is None:
            return
        if self._stream is not None and self._stream.connected:
            self._take_events(MESSAGE_SECONDS)
            if oldest not in self._announced:
                self._stream.replace()  # it should have told: the server has lost this socket
        self._end(read_end(oldest, entry))

    def _ask_whether_ended(self, prompt_id: str) -> bool:
        entry = self.history(prompt_id)
        self._recovered()
        if entry is None:
            return False
        self._end(read_end(prompt_id, entry))
        return True

    def _end(self, outcome: PromptEnd) -> None:
        self._forget(outcome.prompt_id)
        self._alive_at, self._idle_since = time.monotonic(), None
        self._ended.append(outcome)

    def _forget(self, prompt_id: str) -> None:
        self._open.pop(prompt_id, None)
        self._announced.discard(prompt_id)
        self.progress.pop(prompt_id, None)

    def _reconcile(self) -> None:
        """Compare what we follow with what the server has."""
        self._reconcile_due = time.monotonic() + self._reconcile_seconds
        there = self.workload()
        queued = {*there.running, *there.waiting}
        for prompt_id in [mine for mine in self._open if mine not in queued]:
            if not self._ask_whether_ended(prompt_id):
                why = "the server has it neither queued nor in its history: restarted, or deleted there"
                self._end(PromptEnd(prompt_id, "lost", message=why))
        self._recovered()
        self._watch_for_silence(there.running)

    def _watch_for_silence(self, running: tuple[str, ...]) -> None:
        now = time.monotonic()
        if not self._open:
            return
        if not running:  # a healthy worker takes the next prompt within moments
            self._idle_since = self._idle_since or now
            self._reconcile_due = now + min(2.0, self._reconcile_seconds)
            if now - self._idle_since > self._stalled_seconds:
                why = f"accepts prompts, but has run none for {now - self._idle_since:.0f} s: its worker has died"
                raise StalledError(self.url, why, "restart ComfyUI, then run the same command again")
            return
        self._idle_since = None
        if running != self._running:
            self._running, self._alive_at = running, now
        ours = any(prompt_id in self._open for prompt_id in running)
        allowed = self._silence_seconds if ours else self._silence_seconds * FOREIGN_SILENCE_FACTOR
        if now - self._alive_at > allowed:
            whose = "our prompt" if ours else "somebody else's prompt"
            why = f"no sign of progress for {now - self._alive_at:.0f} s on {whose} {running[0]}"
            raise StalledError(self.url, why, "look at the server's log, or restart ComfyUI")

    def _recovered(self) -> None:
        """The server has answered."""
        if self._outage.is_over():
            if self._stream is not None:
                self._stream.failures = 0  # of the outage
            self._alive_at = time.monotonic()
            self._reconcile_due = 0.0
            self.on_outage(None)
        elif self._stream is not None and self._stream.failures >= SOCKET_FAILURES and not self._told_of_stream:
            self._told_of_stream = True
            how = f"it is asked every {self._poll_seconds_without_socket:g} s instead"
            self.on_note(f"its WebSocket fails ({self._stream.reason}): {how}")

    def download(self, ref: PictureRef) -> bytes:
        return download_picture(self._transport, ref, self._max_picture_bytes, self._closing.wait)

    def cancel(self, prompt_ids: Iterable[str], handles: Mapping[str, str] | None = None) -> None:
        """Take these prompts of ours off the queue and stop the one that runs. Nobody else's is touched.

        Their ends are not reported any more. A server that cancels jobs by id does both at once; older ones are asked for each.
        """
        mine = list(dict.fromkeys(prompt_ids))
        for prompt_id in mine:
            self._forget(prompt_id)
        self._ended = [outcome for outcome in self._ended if outcome.prompt_id not in mine]
        if not mine or self._transport.post_safely("/api/jobs/cancel", {"job_ids": mine}).status == 200:
            return
        self._transport.post_safely("/queue", {"delete": mine})
        for prompt_id in self.workload().running:
            if prompt_id in mine:  # older servers stop whatever runs, so only ask while it is ours
                self._transport.post_safely("/interrupt", {"prompt_id": prompt_id})

    def close(self) -> None:
        """Stop following. What is queued stays queued: `cancel` it first if it should not run."""
        self._closing.set()
        if self._stream is not None:
            self._stream.close()
        super().close()
