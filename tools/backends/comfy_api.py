"""The back end of Comfy API v2: Comfy Cloud, Comfy's serverless deployments, and any ComfyUI behind `comfy-api-proxy`.

The server names jobs itself. Ours is in their metadata, by which a job is found again whose answer was lost. Keys of idempotency are
used once: a repeated one is refused, not answered again. `outputs_reused` only says that some node came from the cache, which is so for
every picture after the first with the same checkpoint: a job with pictures is done, and its time tells nothing.

`comfy-api-proxy` asks ComfyUI first for the history of a job, then for the queue: one that ends in between is in neither, and is called
expired. It is in the history before that answer is given, so that a second look always finds it. Every look here is made twice: of 500
quick jobs on ComfyUI 0.33, 70 were missed once and none twice.
"""

from __future__ import annotations

import contextlib
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.errors import UnavailableError
from tools.backends.backend import BackendOptions, LostPicture, PictureRef, PromptEnd, ServerInfo, StalledError, Tariff, Workload
from tools.backends.bounded_connection import Reply
from tools.backends.comfy_api_answers import ApiJob, read_job_end
from tools.backends.comfy_api_routes import ApiRoutes, UpstreamSilentError
from tools.backends.comfyui_answers import is_preview
from tools.backends.comfyui_downloads import GONE_STATUSES
from tools.backends.polled_server import PolledServer
from tools.backends.request_pace import RequestPace
from tools.backends.transport import NoReplyError

LABEL = "lifeos-"
"""What the metadata of our jobs begin with; our id of the prompt follows."""

COLD_SECONDS = 10.0
"""A first job that waits so long waits for a machine that starts."""

QUEUED_SILENCE_FACTOR = 6
"""A queue of other people's jobs tells little of its progress: it gets this much longer than a job that runs."""

BUSY_SECONDS = 5.0
"""How long a server with a full queue is left alone at first, where it does not say."""

SETTLE_SECONDS = 1.0
"""A request whose answer was lost may still be on its way when the jobs are listed first."""

GONE = frozenset({"expired", "canceled", "canceling"})


def open_backend(url: str, options: BackendOptions) -> AbstractContextManager[ComfyApi]:
    """The server at an address `comfy+https://…`, not yet connected."""
    return contextlib.closing(ComfyApi(url, options))


@dataclass(slots=True)
class Followed:
    """A job of ours that has not ended. `previews` are the nodes of its graph that only show. `is_missed`: not there at the last look."""

    job: ApiJob
    previews: frozenset[str]
    since: float
    credits: float | None = None
    is_missed: bool = False

    @property
    def job_id(self) -> str:
        return self.job.id


class ComfyApi(PolledServer[Followed]):
    """A server of Comfy API v2."""

    pauses_questions = False
    busy_words = "its queue is full: asked again in {pause} s"

    def __init__(self, url: str, options: BackendOptions) -> None:
        self._api = ApiRoutes(url, timeout_seconds=options.timeout_seconds, credential=options.credential)
        complaint = "has taken no job for {seconds:.0f} s: its queue is full"
        pace = RequestPace(self._api.url, options.silence_seconds, complaint, "look at the server", first_pause=BUSY_SECONDS)
        super().__init__(self._api, options, pace, takes_models=True)
        self._outputs: dict[str, str] = {}  # the address of an output, by the handle of its picture
        self._inputs: dict[str, dict[str, Any]] = {}  # the reference to a picture that graphs load, by its name
        self._lists_jobs = True
        self._told_cold = False
        self._first_at: float | None = None

    def _reach(self) -> ServerInfo:
        info = self.info()
        with self._barring():
            self._lists_jobs = self._api.jobs(count=1) is not None
        return info

    def info(self) -> ServerInfo:
        upstream = self._api.health().upstream
        return ServerInfo(self.url, "Comfy API v2", "a ComfyUI behind a proxy" if upstream is not None else "a cloud")

    def workload(self) -> Workload:
        """What the server lists; where it lists nothing, our own jobs."""
        listed = self._api.jobs("queued,running,canceling") if self._lists_jobs else None
        jobs = listed if listed is not None else [each.job for each in list(self._open.values())]
        running, waiting = (tuple(job.id for job in jobs if (job.status == "queued") is is_queued) for is_queued in (False, True))
        return Workload(running, waiting, frozenset(job.id for job in jobs if (job.metadata or "").startswith(LABEL)))

    def _usual_depth(self, ahead: int) -> int:
        return ahead + 1

    def _enqueue(self, prompt_id: str, graph: dict[str, Any], ask_first: bool, handle: str | None) -> Followed:
        """A job made once: after a lost answer it is looked for before another is made."""
        self._first_at = self._first_at or time.monotonic()
        label, sent, unsure, unlisted = f"{LABEL}{prompt_id}", self._with_pictures(graph), ask_first, ""

        def ask() -> tuple[ApiJob, float | None]:
            nonlocal unlisted
            found = self._find(label, handle) if unsure else None
            if found is None and unlisted:
                self.on_note(f"the answer to a job was lost, and it lists no such job: a picture may be made twice ({unlisted})")
                unlisted = ""
            return found or self._api.create(label, sent)

        def lost(error: UnavailableError) -> None:
            nonlocal unsure, unlisted
            if not isinstance(error, NoReplyError) or error.may_have_arrived:
                unsure = True
                if not self._lists_jobs or isinstance(error, UpstreamSilentError):
                    unlisted = error.why

        job, credits = self._asked(ask, lost)
        self._pace.ease()
        self._told_busy = False
        previews = frozenset(node for node in graph if is_preview(graph, node))
        return Followed(job, previews, time.monotonic(), credits)

    def _find(self, label: str, handle: str | None) -> tuple[ApiJob, float | None] | None:
        """A job that is there already: by the name that the server gave it, else by ours in its metadata."""
        for _ in range(2) if handle is not None else ():
            job, credits = self._api.job(handle or "")
            if job is not None and job.status not in ("expired", "canceled") and job.metadata in (None, label):
                return job, credits
        for pause in (0.0, SETTLE_SECONDS) if self._lists_jobs else ():
            self._closing.wait(pause)
            for job in self._api.jobs() or []:
                if job.metadata == label and job.status not in GONE:
                    return job, None
        return None

    def _with_pictures(self, graph: dict[str, Any]) -> dict[str, Any]:
        """A graph that loads the pictures which were uploaded, by the references that the server resolves."""
        if not self._inputs:
            return graph
        known = self._inputs
        return {
            node: {**each, "inputs": {key: known.get(value, value) if isinstance(value, str) else value for key, value in inputs.items()}}
            for node, each in graph.items()
            for inputs in (each.get("inputs", {}),)
        }

    def _round_seconds(self, jobs: int) -> float:
        """Two requests in the time of one poll, however many jobs there are."""
        return self._options.poll_seconds * max(1.0, jobs / 2)

    def _look(self, prompt_id: str, followed: Followed) -> None:
        job, credits = self._api.job(followed.job_id)
        self._answered()
        followed.credits = credits if credits is not None else followed.credits
        is_gone = job is None or job.status == "expired"
        if is_gone and not followed.is_missed:
            followed.is_missed = True
        elif job is None:
            why = "the server does not know the job any more: restarted, or expired"
            self._end(PromptEnd(prompt_id, "lost", message=why))
        elif job.is_open:
            followed.is_missed = False
            self._watch(prompt_id, followed, job)
        else:
            places = enumerate(job.outputs or [])
            self._outputs |= {f"{job.id}/{place}": output.url for place, output in places if output.url}
            self._end(read_job_end(prompt_id, job, followed.previews, followed.credits))

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

    def _end(self, end: PromptEnd) -> None:
        self._told_cold = True
        super()._end(end)

    def _stop(self, followed: Followed) -> None:
        self._api.cancel(followed.job_id, followed.job.urls.cancel if followed.job.urls is not None else None)

    def _stop_left(self, job_id: str) -> None:
        self._api.cancel(job_id, None)

    def _fetch(self, ref: PictureRef) -> Reply:
        """An output, at the address that the job told; if it is gone from there, at the one that the job tells now."""
        told = self._outputs.pop(ref.handle, None)
        reply = self._api.fetch(told, self._options.max_picture_bytes) if told is not None else None
        if reply is not None and reply.status not in GONE_STATUSES | {401}:
            return reply
        job_id, _, place = ref.handle.rpartition("/")
        job, _ = self._api.job(job_id)
        outputs = (job.outputs or []) if job is not None else []
        url = outputs[int(place)].url if int(place) < len(outputs) else None
        if url is None:
            raise LostPicture(f"{self.url}: {ref.filename}", "its job has expired there", "it is generated again")
        reply = self._api.fetch(url, self._options.max_picture_bytes)
        if reply.status == 401:
            raise UnavailableError(self.url, "refuses our token for an output (status 401)", self._api.look_at_token)
        return reply

    def upload_model(self, folder: str, file: Path) -> str:
        return self._api.upload_model(folder, file)

    def upload_picture(self, name: str, data: bytes) -> str:
        """Put it there. What the server calls it is its own business: in `submit`, a reference takes the place of `name`."""
        self._inputs[name] = self._asked(lambda: self._api.upload_picture(name, data))
        return name

    def tariff(self, usd_per_hour: float) -> Tariff:
        """What the file of --servers says; else a proxy before a rented machine costs its hour."""
        return self._options.tariff or Tariff(usd_per_hour=usd_per_hour)
