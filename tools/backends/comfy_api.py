"""The back end of Comfy API v2: Comfy Cloud, Comfy's serverless deployments, and any ComfyUI behind `comfy-api-proxy`.

The server names jobs itself. Ours is in their metadata, by which a job is found again whose answer was lost. Keys of idempotency are
used once: a repeated one is refused, not answered again. `outputs_reused` only says that some node came from the cache, which is so for
every picture after the first with the same checkpoint: a job with pictures is done, and its time tells nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import (
    BackendOptions,
    BusyError,
    LostPicture,
    NodeDeclaration,
    Offers,
    PictureRef,
    PromptEnd,
    ServerInfo,
    StalledError,
    Tariff,
    Workload,
)
from tools.backends.bounded_connection import RefusedReplyError, Reply
from tools.backends.comfy_api_answers import ApiJob, read_job_end
from tools.backends.comfy_api_routes import ApiRoutes
from tools.backends.comfyui_answers import is_preview
from tools.backends.comfyui_downloads import GONE_STATUSES, whole_picture
from tools.backends.outage import Outage
from tools.backends.transport import NoReplyError

LABEL = "lifeos-"
"""What the metadata of our jobs begin with; our id of the prompt follows."""

COLD_SECONDS = 10.0
"""A first job that waits so long waits for a machine that starts."""

QUEUED_SILENCE_FACTOR = 6
"""A queue of other people's jobs tells little of its progress: it gets this much longer than a job that runs."""

BUSY_SECONDS, LONGEST_BUSY_SECONDS = 5.0, 60.0
"""How long a server with a full queue is left alone where it does not say, and at most."""

BUSY_SLICE_SECONDS = 2.0
"""Of that, waited at a time, so that the job can go elsewhere and an end is noticed."""

BARRED_SECONDS = 600.0
"""A server that refused our token, or has no credits for us, is not tried again earlier."""

SETTLE_SECONDS = 1.0
"""A request whose answer was lost may still be on its way when the jobs are listed first."""


@contextlib.contextmanager
def open_backend(url: str, options: BackendOptions) -> Iterator[ComfyApi]:
    """The server at an address `comfy+https://…`, not yet connected."""
    server = ComfyApi(url, options)
    try:
        yield server
    finally:
        server.close()


@dataclass(slots=True)
class Followed:
    """A job of ours that has not ended. `previews` are the nodes of its graph that only show."""

    job: ApiJob
    previews: frozenset[str]
    since: float
    credits: float | None = None
    is_missed: bool = False
    """It was not there at the last look. A proxy may miss one that moves from ComfyUI's queue to its history: the next look settles it."""


class ComfyApi:
    """A server that we queue jobs on and follow by asking. `submit`, `wait`, `cancel` belong to one thread; the rest to any."""

    def __init__(self, url: str, options: BackendOptions) -> None:
        self._api = ApiRoutes(url, timeout_seconds=options.timeout_seconds, credential=options.credential)
        self._options = options
        self.url = self._api.url
        self.outage_seconds = options.outage_seconds
        self.on_outage: Callable[[UnavailableError | None], None] = lambda error: None
        self.on_note: Callable[[str], None] = lambda text: None
        self.offers = Offers(lists_models=False, lists_nodes=False, shares_memory=False, takes_models=True)
        self.progress: dict[str, tuple[int, int]] = {}
        self._closing = threading.Event()
        self._outage = Outage(self.url, options.outage_seconds, self._closing)
        self._open: dict[str, Followed] = {}  # by our ids, oldest first
        self._cancels: dict[str, tuple[str, str | None]] = {}  # the server's id and address for it, until it took one
        self._outputs: dict[str, str] = {}  # the address of an output, by the handle of its picture
        self._ended: list[PromptEnd] = []
        self._poll_due = 0.0
        self._lists_jobs = True
        self._told_cold = self._told_busy = False
        self._first_at: float | None = None
        self._busy_until = self._busy_since = 0.0
        self._barred: tuple[float, UnavailableError] | None = None

    def connect(self) -> ServerInfo:
        """Reach the server; also learns whether it takes our token, where it can tell. Raises UnavailableError with what to do."""
        if self._barred is not None and time.monotonic() < self._barred[0]:
            raise self._barred[1]
        self._barred = None
        info = self.info()
        with self._barring():
            self._lists_jobs = self._api.jobs(count=1) is not None
        self._outage.forget()
        return info

    def close(self) -> None:
        self._closing.set()
        self._api.close()

    def info(self) -> ServerInfo:
        upstream = self._api.health().upstream
        return ServerInfo(self.url, "Comfy API v2", "a ComfyUI behind a proxy" if upstream is not None else "a cloud")

    def workload(self) -> Workload:
        """What the server lists; where it lists nothing, our own jobs."""
        listed = self._api.jobs("queued,running,canceling") if self._lists_jobs else None
        jobs = listed if listed is not None else [each.job for each in self._open.values()]
        running, waiting = (tuple(job.id for job in jobs if (job.status == "queued") is is_queued) for is_queued in (False, True))
        return Workload(running, waiting, frozenset(job.id for job in jobs if (job.metadata or "").startswith(LABEL)))

    def models(self, folder: str) -> list[str]:
        return []

    def model_folders(self) -> list[str]:
        return []

    def lora_metadata(self, name: str) -> dict[str, str] | None:
        return None

    def model_metadata(self, folder: str, name: str) -> dict[str, str] | None:
        return None

    def node(self, class_type: str) -> NodeDeclaration | None:
        return None

    def node_classes(self) -> list[str]:
        return []

    def depth(self, ahead: int) -> int:
        """One less than it refused, while its queue is full."""
        wanted = min(ahead + 1, self._options.most_at_once or ahead + 1)
        return min(wanted, len(self._open)) if time.monotonic() < self._busy_until else wanted

    def submit(self, prompt_id: str, graph: dict[str, Any], *, ask_first: bool = False, handle: str | None = None) -> str:
        self._wait_while_busy()
        self._first_at = self._first_at or time.monotonic()
        with self._barring():
            job, credits = self._settled(prompt_id, graph, ask_first, handle)
        previews = frozenset(node for node in graph if is_preview(graph, node))
        self._open[prompt_id] = Followed(job, previews, time.monotonic(), credits)
        self._cancels[prompt_id] = (job.id, job.urls.cancel if job.urls is not None else None)
        self._poll_due = min(self._poll_due, time.monotonic() + self._options.poll_seconds)
        return job.id

    def _settled(self, prompt_id: str, graph: dict[str, Any], unsure: bool, handle: str | None) -> tuple[ApiJob, float | None]:
        """The job of a prompt, made once: after a lost answer it is looked for before another is made."""
        label = f"{LABEL}{prompt_id}"
        while True:
            try:
                if unsure and (known := self._find(label, handle)) is not None:
                    return known
                made = self._api.create(label, graph)
            except RefusedReplyError:
                raise
            except BusyError as error:
                self._back_off(error)
            except UnavailableError as error:
                lost = not isinstance(error, NoReplyError) or error.may_have_arrived
                if lost and not unsure and not self._lists_jobs:
                    self.on_note(f"the answer to a job was lost, and it lists no jobs: a picture may be made twice ({error.why})")
                unsure = unsure or lost
                self._outage.bear(error, self.on_outage)
            else:
                self._answered()
                self._told_busy, self._busy_since = False, 0.0
                return made

    def _find(self, label: str, handle: str | None) -> tuple[ApiJob, float | None] | None:
        """A job that is there already: by the name that the server gave it, else by ours in its metadata."""
        if handle is not None:
            job, credits = self._api.job(handle)
            if job is not None and job.status not in ("expired", "canceled"):
                return job, credits
        for pause in (0.0, SETTLE_SECONDS) if self._lists_jobs else ():
            self._closing.wait(pause)
            for job in self._api.jobs() or []:
                if job.metadata == label and job.status not in ("expired", "canceled", "canceling"):
                    return job, None
        return None

    def _back_off(self, error: BusyError) -> None:
        now = time.monotonic()
        wanted = min(error.retry_after if error.retry_after is not None else BUSY_SECONDS, LONGEST_BUSY_SECONDS)
        self._busy_until, self._busy_since = now + wanted, self._busy_since or now
        if not self._told_busy:
            self._told_busy = True
            self.on_note(f"{error.why}: asked again in {wanted:g} s")
        if not self._open and now - self._busy_since > self._options.silence_seconds:
            raise StalledError(self.url, f"has taken no job for {now - self._busy_since:.0f} s: {error.why}", "look at the server")
        raise error

    def _wait_while_busy(self) -> None:
        left = self._busy_until - time.monotonic()
        if left > 0:
            self._closing.wait(min(left, BUSY_SLICE_SECONDS))
            if left > BUSY_SLICE_SECONDS:
                raise BusyError(self.url, left)

    def wait(self, timeout: float) -> list[PromptEnd]:
        """The ends of our prompts. Raises UnavailableError when the server has been gone for too long, or stands still."""
        until = time.monotonic() + timeout
        while True:
            try:
                with self._barring():
                    self._ask_what_is_due()
            except (StalledError, RefusedReplyError):
                if not self._ended:  # ends that were found on the way are handed out first
                    raise
            except UnavailableError as error:
                if not self._ended:
                    self._outage.bear(error, self.on_outage)
            now = time.monotonic()
            if self._ended or now >= until or self._closing.is_set():
                ended, self._ended = self._ended, []
                return ended
            self._closing.wait(max(0.0, min(self._poll_due if self._open else until, until) - now))

    def _ask_what_is_due(self) -> None:
        now = time.monotonic()
        if not self._open or now < self._poll_due:
            return
        self._poll_due = now + self._options.poll_seconds * max(1.0, len(self._open) / 2)  # two requests in that time, however many
        for prompt_id, followed in list(self._open.items()):
            job, credits = self._api.job(followed.job.id)
            self._answered()
            followed.credits = credits if credits is not None else followed.credits
            is_gone = job is None or job.status == "expired"
            if is_gone and not followed.is_missed:
                followed.is_missed = True
            elif job is None:
                self._end(
                    prompt_id, PromptEnd(prompt_id, "lost", message="the server does not know the job any more: restarted, or expired")
                )
            elif job.is_open:
                followed.is_missed = False
                self._watch(prompt_id, followed, job)
            else:
                places = enumerate(job.outputs or [])
                self._outputs |= {f"{job.id}/{place}": output.url for place, output in places if output.url}
                self._end(prompt_id, read_job_end(prompt_id, job, followed.previews, followed.credits))

    def _watch(self, prompt_id: str, followed: Followed, job: ApiJob) -> None:
        now = time.monotonic()
        if job.signs != followed.job.signs:
            followed.since = now
        followed.job = job
        if job.progress is not None and job.progress.steps:
            self.progress[prompt_id] = (job.progress.step or 0, job.progress.steps)
        if job.status == "running":
            self._told_cold = True
        elif not self._told_cold and self._first_at is not None and now - self._first_at > COLD_SECONDS:
            self._told_cold = True
            self.on_note(f"no job has begun for {now - self._first_at:.0f} s: a machine is starting, or others are before us")
        allowed = self._options.silence_seconds * (1 if job.status == "running" else QUEUED_SILENCE_FACTOR)
        if now - followed.since > allowed:
            why = f"no sign of progress for {now - followed.since:.0f} s on our job {job.id}, which is {job.status}"
            raise StalledError(self.url, why, "look at the server")

    def _end(self, prompt_id: str, end: PromptEnd) -> None:
        self._told_cold = True
        self._open.pop(prompt_id, None)
        self._cancels.pop(prompt_id, None)
        self.progress.pop(prompt_id, None)
        self._ended.append(end)

    def _answered(self) -> None:
        if self._outage.is_over():
            for followed in self._open.values():
                followed.since = time.monotonic()
            self.on_outage(None)

    @contextlib.contextmanager
    def _barring(self) -> Iterator[None]:
        """A refusal that no other try changes keeps the server away for a while."""
        try:
            yield
        except RefusedReplyError as error:
            self._barred = (time.monotonic() + BARRED_SECONDS, error)
            raise

    def cancel(self, prompt_ids: Iterable[str]) -> None:
        mine = list(dict.fromkeys(prompt_ids))
        for prompt_id in mine:
            self._open.pop(prompt_id, None)
            self.progress.pop(prompt_id, None)
        self._ended = [end for end in self._ended if end.prompt_id not in mine]
        for prompt_id in mine:
            if prompt_id in self._cancels:
                self._api.cancel(*self._cancels[prompt_id])
                del self._cancels[prompt_id]

    def download(self, ref: PictureRef) -> bytes:
        return whole_picture(f"{self.url}: {ref.filename}", lambda: self._fetch(ref), self._closing.wait)

    def _fetch(self, ref: PictureRef) -> Reply:
        """An output, at the address that the job told; if it is gone from there, at the one that the job tells now."""
        told = self._outputs.get(ref.handle)
        reply = self._api.fetch(told, self._options.max_picture_bytes) if told is not None else None
        if reply is not None and reply.status not in GONE_STATUSES | {401}:
            return reply
        job_id, _, place = ref.handle.rpartition("/")
        job, _ = self._api.job(job_id)
        outputs = (job.outputs or []) if job is not None else []
        url = outputs[int(place)].url if int(place) < len(outputs) else None
        if url is None:
            raise LostPicture(f"{self.url}: {ref.filename}", "its job has expired there", "it is generated again")
        self._outputs[ref.handle] = url
        reply = self._api.fetch(url, self._options.max_picture_bytes)
        if reply.status == 401:
            raise UnavailableError(self.url, "refuses our token for an output (status 401)", "check the token")
        return reply

    def free_memory(self) -> None:
        """Nothing: the memory there is not ours."""

    def upload_model(self, folder: str, file: Path) -> str:
        return self._api.upload_model(folder, file)

    def upload_picture(self, name: str, data: bytes) -> str:
        raise InputError(self.url, "does not tell under which name a graph finds a picture that it took", "use a plain ComfyUI for it")

    def tariff(self, usd_per_hour: float) -> Tariff:
        """What the file of --servers says; else a proxy before a rented machine costs its hour."""
        return self._options.tariff or Tariff(usd_per_hour=usd_per_hour)
