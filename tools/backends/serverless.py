"""The back end of RunPod serverless: an endpoint whose workers run worker-comfyui. Address: `runpod://ENDPOINT_ID`; its key is read from
RUNPOD_API_KEY, unless another place is named.

The endpoint names jobs itself, and lists none: a job is found again by its name alone, which is recorded as soon as it is told. Where
the answer to a job is lost, the job is made again and it is said so. Results are kept for 30 minutes. What is charged is the time that
workers work, by the second; the queue is shared, so that it is never purged.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import tempfile
import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import BackendOptions, LostPicture, PictureRef, PromptEnd, ServerInfo, StalledError, Tariff, Workload
from tools.backends.bounded_connection import RefusedReplyError, Reply
from tools.backends.file_stores import fetch_elsewhere
from tools.backends.polled_server import PolledServer
from tools.backends.request_pace import RequestPace
from tools.backends.serverless_answers import QUEUED, EndpointJob, WorkerPicture, marks_of, pictures_of, read_job_end
from tools.backends.serverless_routes import ServerlessRoutes
from tools.backends.transport import PASSING_STATUSES, NoReplyError

COLD_SECONDS = 10.0
"""A first job that waits so long waits for a worker that starts."""

HEALTH_SECONDS = 15.0
"""How often workers are counted while there is work."""

QUESTION_SECONDS = 0.05
"""Between two questions for jobs, however many there are: a tenth of what RunPod lets through (2,000 in 10 s)."""

SILENCE_FACTOR = 6
"""An endpoint tells nothing of a job's progress and ends it itself after its execution timeout: it gets this much longer."""

KEPT_PICTURES = 32
"""Of those that were handed over for graphs to load, the newest: each is handed over anew for each graph."""

SECONDS_PER_HOUR = 3600


def open_backend(url: str, options: BackendOptions) -> AbstractContextManager[Serverless]:
    """The endpoint at an address `runpod://…`, not yet asked anything."""
    return contextlib.closing(Serverless(url, options))


@dataclass(slots=True)
class QueuedJob:
    """A job of ours that has not ended: its name there, its status since when."""

    job_id: str
    status: str
    since: float


class Serverless(PolledServer[QueuedJob]):
    """An endpoint at RunPod."""

    pauses_questions = True
    busy_words = "RunPod is asked too often (status 429): asked again in {pause} s, and more slowly"

    def __init__(self, url: str, options: BackendOptions) -> None:
        self._api = ServerlessRoutes(url, timeout_seconds=options.timeout_seconds, credential=options.credential)
        complaint = "has answered for {seconds:.0f} s only that it is asked too often (status 429)"
        pace = RequestPace(self._api.url, options.silence_seconds, complaint, "wait, or end other programs that use the same key")
        super().__init__(self._api, options, pace)
        self.offers = replace(self.offers, separator="/")  # its workers run on Linux
        self._made: dict[str, WorkerPicture] = {}  # by the handle of its picture, until it is downloaded
        self._inputs: dict[str, Path] = {}  # pictures that graphs load, by name: workers share no folder
        self._input_dir: tempfile.TemporaryDirectory[str] | None = None
        self._health_due = 0.0
        self._workers = 0
        self._alone_since: float | None = None  # since when jobs wait and there is no worker
        self._has_worked = False
        self._told_workers = ""

    def _reach(self) -> ServerInfo:
        with self._barring():
            info = self.info()
        self._alone_since = None
        return info

    def close(self) -> None:
        super().close()
        if self._input_dir is not None:
            self._input_dir.cleanup()

    def info(self) -> ServerInfo:
        health = self._api.health()
        self._workers = health.workers.count
        return ServerInfo(self.url, "RunPod serverless", health.told(), notice=health.notice)

    def workload(self) -> Workload:
        """Our own jobs: others' are not listed."""
        jobs = list(self._open.values())
        running, waiting = (tuple(job.job_id for job in jobs if (job.status == QUEUED) is is_queued) for is_queued in (False, True))
        return Workload(running, waiting, frozenset((*running, *waiting)))

    def _usual_depth(self, ahead: int) -> int:
        """One for each worker, and `ahead` that wait: by those RunPod decides how many workers it starts."""
        return max(1, self._workers) + ahead

    def _enqueue(self, prompt_id: str, graph: dict[str, Any], ask_first: bool, handle: str | None) -> QueuedJob:
        job = self._found(graph, handle) if ask_first else None
        job = job or self._queued(graph)
        return QueuedJob(job.id, job.status, time.monotonic())

    def _found(self, graph: dict[str, Any], handle: str | None) -> EndpointJob | None:
        """What became of a job of an earlier run; None where it is to be made (again)."""
        if handle is None:
            self._tell_twin(graph, "an earlier run ended before RunPod named its job")
            return None
        job = self._asked(lambda: self._api.job(handle))
        if job is None:
            self.on_note(f"job {handle} of an earlier run has expired there: its picture is made again")
        return job if job is not None and job.status != "CANCELLED" else None

    def _queued(self, graph: dict[str, Any]) -> EndpointJob:
        """A new job. An answer that is lost cannot be asked for: then it is said that there may be two."""
        body = {"input": {"workflow": graph} | self._loaded_pictures(graph)}
        told: list[str] = []  # once, however often it is lost

        def tell(error: UnavailableError) -> None:
            if not told and (not isinstance(error, NoReplyError) or error.may_have_arrived):
                told.append(error.why)
                self._tell_twin(graph, f"the answer to a job was lost ({error.why})")

        return self._asked(lambda: self._api.run(body), tell)

    def _tell_twin(self, graph: dict[str, Any], why: str) -> None:
        marks = [f"{name} {value}" for name, value in marks_of(graph)]
        known = f"; a second one has {' and '.join(marks)}" if marks else ""
        self.on_note(f"{why}, and RunPod lists no jobs: a picture may be made and charged twice, but is filed once{known}")

    def _loaded_pictures(self, graph: dict[str, Any]) -> dict[str, Any]:
        """The pictures that a graph loads, which go along with each job."""
        named = {value for node in graph.values() for value in node.get("inputs", {}).values() if isinstance(value, str)}
        found = [
            {"name": name, "image": base64.b64encode(file.read_bytes()).decode()} for name, file in self._inputs.items() if name in named
        ]
        return {"images": found} if found else {}

    def _round_seconds(self, jobs: int) -> float:
        return max(self._options.poll_seconds, QUESTION_SECONDS * jobs)

    def _look(self, prompt_id: str, followed: QueuedJob) -> None:
        job = self._api.job(followed.job_id)
        self._answered()
        if job is None:
            why = "the endpoint does not know the job any more: its result was kept for 30 minutes"
            self._end(PromptEnd(prompt_id, "lost", message=why, is_charged=True))
        elif job.is_open:
            del self._open[prompt_id]  # to the end, so that all have their turn where it slows us down in the middle
            self._open[prompt_id] = followed
            self._watch(followed, job)
        else:
            pictures = enumerate(pictures_of(job))
            self._made |= {f"{job.id}/{place}": picture for place, picture in pictures}
            end = read_job_end(prompt_id, job)
            if end.kind == "done" and end.message:
                self.on_note(f"the worker remarks: {end.message}")
            self._end(end)

    def _watch(self, followed: QueuedJob, job: EndpointJob) -> None:
        now = time.monotonic()
        if job.status != followed.status:
            followed.status, followed.since = job.status, now
        self._has_worked = self._has_worked or job.status != QUEUED
        waited = now - followed.since
        if waited > self._options.silence_seconds * SILENCE_FACTOR:
            why = f"no change for {waited:.0f} s of our job {job.id}, which is {job.status}"
            raise StalledError(self.url, why, "look at the endpoint's page")

    def _look_around(self) -> None:
        """How many workers there are, which is told while the first job waits. Raises StalledError where none has come for too long."""
        now = time.monotonic()
        if now < self._health_due:
            return
        health = self._api.health()
        self._health_due = now + HEALTH_SECONDS
        self._workers = health.workers.count
        if all(each.status == QUEUED for each in self._open.values()) and not self._workers:
            self._alone_since = now if self._alone_since is None else self._alone_since
            if now - self._alone_since > self._options.silence_seconds:
                why = f"has no worker, and none has started for {now - self._alone_since:.0f} s"
                raise StalledError(self.url, why, "set its Max workers above 0, or allow another kind of GPU on its page")
        else:
            self._alone_since = None
        waited = max((now - each.since for each in self._open.values()), default=0.0)
        if self._has_worked or waited < COLD_SECONDS:
            self._health_due = min(self._health_due, now + COLD_SECONDS) if not self._has_worked else self._health_due
        elif health.describe() != self._told_workers:
            self._told_workers = health.describe()
            self.on_note(f"cold start: {self._told_workers}; the first job has waited for {waited:.0f} s")

    def _end(self, end: PromptEnd) -> None:
        self._has_worked = self._has_worked or end.kind == "done"
        super()._end(end)

    def _answered(self) -> None:
        self._pace.ease()
        super()._answered()

    def _stop(self, followed: QueuedJob) -> None:
        self._api.cancel(followed.job_id)

    def _stop_left(self, job_id: str) -> None:
        self._api.cancel(job_id)

    def _fetch(self, ref: PictureRef) -> Reply:
        """A picture as the job told it; asked for anew where that was no good: an address may have run out, an answer been cut."""
        picture = self._made.pop(ref.handle, None) or self._told_anew(ref)
        limit = self._options.max_picture_bytes
        if picture.type == "base64":
            return Reply(200, _decoded(self.url, picture.data or "", limit), None)
        try:
            reply = fetch_elsewhere(self.url, self._api.base, picture.data or "", timeout_seconds=self._api.timeout_seconds, limit=limit)
        except ValueError:
            raise RefusedReplyError(self.url, "names a picture at what is no address", "look at the endpoint's store") from None
        if reply.status in PASSING_STATUSES:
            raise NoReplyError(self.url, f"its store gives status {reply.status} for a picture", may_have_arrived=True)
        return reply

    def _told_anew(self, ref: PictureRef) -> WorkerPicture:
        job_id, _, place = ref.handle.rpartition("/")
        job = self._api.job(job_id)
        pictures = pictures_of(job) if job is not None else []
        if int(place) >= len(pictures):
            raise LostPicture(f"{self.url}: {ref.filename}", "its result has expired there (30 minutes)", "it is generated again")
        return pictures[int(place)]

    def upload_model(self, folder: str, file: Path) -> str:
        place = f"models/{folder}/{file.name}"
        fix = f"put {file} on the endpoint's network volume as /runpod-volume/{place}; on a pod with that volume it is /workspace/{place}"
        raise InputError(self.url, "RunPod serverless takes no model files", fix)

    def upload_picture(self, name: str, data: bytes) -> str:
        """Kept here, on the disk, until a graph that loads it is queued."""
        if self._input_dir is None:
            self._input_dir = tempfile.TemporaryDirectory(prefix="lifeos-inputs-")
        file = self._inputs.pop(name, None) or Path(self._input_dir.name) / uuid.uuid4().hex
        file.write_bytes(data)
        self._inputs[name] = file
        while len(self._inputs) > KEPT_PICTURES:
            self._inputs.pop(next(iter(self._inputs))).unlink()
        return name

    def tariff(self, usd_per_hour: float) -> Tariff:
        """What the file of --servers says; else a worker costs what a rented machine does, while it works."""
        return self._options.tariff or Tariff(usd_per_work_second=usd_per_hour / SECONDS_PER_HOUR)


def _decoded(url: str, text: str, limit: int) -> bytes:
    """The bytes of a picture in base64; of one that was cut, what is there, which is found to be damaged."""
    whole = text.partition(",")[2] if text.startswith("data:") else text
    if len(whole) * 3 // 4 > limit + 2:
        raise RefusedReplyError(url, f"sends a picture of more than {limit:,} bytes", "have the workflow save smaller pictures")
    try:
        return base64.b64decode(whole[: len(whole) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return b""
