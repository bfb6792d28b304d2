"""What a RunPod serverless endpoint says, as typed records, and what it means: its workers, and how jobs of worker-comfyui end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from lifeos import foreign
from lifeos.counting import counted, verb
from lifeos.errors import InputError
from tools.backends.backend import PictureRef, PromptEnd, check_job
from tools.backends.comfyui_answers import read_failure, without_picture
from tools.backends.serverless_refusals import read_worker_refusal

QUEUED = "IN_QUEUE"
OPEN_STATUSES = frozenset({QUEUED, "IN_PROGRESS"})
ENDED_STATUSES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})

OTHER_INPUT = ("missing 'workflow' parameter", "invalid json format in input")
"""What a worker says that wants another input than a graph."""

TOO_LARGE = ("failed to return job results", "payload too large", "exceeds the maximum", "request entity too large")
PASSING_FAILURES = ("not reachable", "websocket", "http communication error", "timed out", "worker exited", "worker crashed")
"""Failures of a worker's machine, which another try gets over."""

LEFT_OUT = ("workflow execution error", "failed to fetch", "error uploading", "error encoding")
"""Of the `errors` beside pictures: some picture is missing. Others are remarks."""

EXECUTION_ERROR = re.compile(r"Workflow execution error: Node Type: (.*?), Node ID: (.*?), Message: (.*)", re.DOTALL)
MESSAGE_LIMIT = 400

STORE_FIX = "give the endpoint a store for its pictures: BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY (S3)"
WORKER_FIX = "an endpoint that runs worker-comfyui, version 5 or later, is wanted"
TIME_FIX = "raise the execution timeout of the endpoint"


@dataclass(frozen=True, slots=True)
class WorkerPicture:
    """`type` is `base64` (`data`: the file) or `s3_url` (`data`: its address, for 7 days)."""

    filename: str | None = None
    type: str | None = None
    data: str | None = None

    @property
    def is_usable(self) -> bool:
        return self.type in ("base64", "s3_url") and bool(self.data)


@dataclass(frozen=True, slots=True)
class WorkerOutput:
    """What worker-comfyui puts out. Where a job failed, the reasons may stand in `details` alone."""

    images: list[WorkerPicture] | None = None
    status: str | None = None
    errors: list[Any] | None = None
    details: list[Any] | str | None = None


@dataclass(frozen=True, slots=True)
class EndpointJob:
    """A job. `executionTime` and `delayTime` are milliseconds; `output` is whatever the worker put out."""

    id: str
    status: str
    executionTime: float | None = None
    delayTime: float | None = None
    output: Any = None
    error: Any = None

    def __post_init__(self) -> None:
        check_job(self.id, self.status, OPEN_STATUSES | ENDED_STATUSES)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def seconds(self) -> float | None:
        """What a worker worked on it, which is what is charged."""
        return max(0.0, self.executionTime) / 1000 if self.executionTime is not None else None


@dataclass(frozen=True, slots=True)
class Workers:
    """`idle` and `running` are always told, the others by newer endpoints."""

    idle: int = 0
    running: int = 0
    initializing: int = 0
    throttled: int = 0

    @property
    def count(self) -> int:
        return self.idle + self.running + self.initializing + self.throttled


@dataclass(frozen=True, slots=True)
class JobCounts:
    inQueue: int = 0
    inProgress: int = 0


@dataclass(frozen=True, slots=True)
class ServerlessHealth:
    """`notice` is told by a stand-in, which makes no real pictures."""

    workers: Workers
    jobs: JobCounts = field(default_factory=JobCounts)
    notice: str | None = None

    def describe(self) -> str:
        """`2 workers starting, 1 throttled`."""
        told = ((self.workers.running, "at work"), (self.workers.idle, "ready"), (self.workers.initializing, "starting"))
        parts = [f"{counted(count, 'worker')} {state}" for count, state in (*told, (self.workers.throttled, "throttled")) if count]
        return ", ".join(parts) or "no worker yet"

    def told(self) -> str:
        """The same for somebody who has queued nothing: `cold start, 2 workers starting; 3 jobs wait`."""
        cold = "" if self.workers.running or self.workers.idle else "cold start, "
        waiting = self.jobs.inQueue
        return f"{cold}{self.describe()}" + (f"; {counted(waiting, 'job')} {verb(waiting, 'waits', 'wait')}" if waiting else "")


def pictures_of(job: EndpointJob) -> list[WorkerPicture]:
    """What a job made, in the order in which it is told."""
    output = _output(job)
    return [picture for picture in (output.images if output is not None else None) or [] if picture.is_usable]


def marks_of(graph: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """By what a picture is recognised: its seed and the beginning of its name."""
    for wanted, title in (("seed", "seed"), ("noise_seed", "seed"), ("filename_prefix", "name")):
        values = (node.get("inputs", {}).get(wanted) for node in graph.values())
        value = next((value for value in values if isinstance(value, int | str)), None)
        if value is not None:
            yield title, value


def read_job_end(prompt_id: str, job: EndpointJob) -> PromptEnd:
    """How a job ended."""
    seconds = job.seconds
    if job.status == "CANCELLED":
        return PromptEnd(prompt_id, "interrupted", message="cancelled at the endpoint", can_heal=True, seconds=seconds)
    if job.status == "TIMED_OUT":
        why = "the endpoint stopped it: it took longer than the execution timeout allows, or waited too long"
        return PromptEnd(prompt_id, "failed", message=why, can_heal=True, seconds=seconds, fix=TIME_FIX)
    if job.status == "FAILED":
        return _failure(prompt_id, job)
    if job.output is None:
        why = "not delivered: it completed without an output, so that its pictures are larger than RunPod passes on"
        return _of_endpoint(prompt_id, why, STORE_FIX, seconds)
    output = _output(job)
    if output is None or output.images is None:
        why = "not delivered: the worker is another one, whose answer has no `images` as worker-comfyui gives them"
        return _of_endpoint(prompt_id, why, WORKER_FIX, seconds)
    remarks = [str(each) for each in output.errors or []]
    if any(remark.lower().startswith(LEFT_OUT) for remark in remarks):
        return _failure(prompt_id, job)
    if not output.images:
        return without_picture(prompt_id, seconds, from_cache=False)
    if len(pictures_of(job)) < len(output.images):
        why = "not delivered: the worker gives pictures in a way that is not known, neither base64 nor s3_url"
        return _of_endpoint(prompt_id, why, WORKER_FIX, seconds)
    refs = tuple(
        PictureRef(picture.filename or f"picture_{place + 1}.png", handle=f"{job.id}/{place}")
        for place, picture in enumerate(output.images)
    )
    return PromptEnd(prompt_id, "done", refs, message=_cut("; ".join(remarks)), seconds=seconds)


def _output(job: EndpointJob) -> WorkerOutput | None:
    """The output as worker-comfyui writes it; None for what another worker writes."""
    if not isinstance(job.output, dict):
        return None
    try:
        output: WorkerOutput = foreign.convert(job.output, WorkerOutput, "output", too_large="null")
    except InputError:
        return None
    return output


def _of_endpoint(prompt_id: str, why: str, fix: str, seconds: float | None) -> PromptEnd:
    """What every job of the workflow would come to on this endpoint. Another server may make the picture."""
    return PromptEnd(prompt_id, "failed", message=why, seconds=seconds, is_set_up=True, fix=fix, is_rejection=True)


def _failure(prompt_id: str, job: EndpointJob) -> PromptEnd:
    texts = [text for text in _texts(job) if text]
    said = "; ".join(texts)
    lower = said.lower()
    if any(words in lower for words in TOO_LARGE):
        why = f"not delivered: its pictures are larger than RunPod passes on: {_cut(said)}"
        return _of_endpoint(prompt_id, why, STORE_FIX, job.seconds)
    if any(words in lower for words in OTHER_INPUT):
        return _of_endpoint(prompt_id, f"not run: the worker is another one: {_cut(said)}", WORKER_FIX, job.seconds)
    refusal = next((refused for text in texts if (refused := read_worker_refusal("", text)) is not None), None)
    if refusal is not None:
        why = refusal.message + (f" ({refusal.fix})" if refusal.fix else "")
        end = _of_endpoint(prompt_id, f"rejected: {_cut(why)}", "mend the workflow, or put the missing file on the endpoint", job.seconds)
        return replace(end, node=refusal.node)
    found = next((match for text in texts if (match := EXECUTION_ERROR.search(text))), None)
    if found is not None:
        return read_failure(prompt_id, f"{found[2]} ({found[1]})", "", found[3], job.seconds)
    end = read_failure(prompt_id, "", "", said, job.seconds)
    return replace(end, can_heal=end.can_heal or any(words in lower for words in PASSING_FAILURES))


def _texts(job: EndpointJob) -> Iterator[str]:
    """All that a failed job says, the most particular last. An error that a worker did not catch is a document in a string."""
    error = job.error
    if isinstance(error, str) and error.lstrip().startswith("{"):
        try:
            error = foreign.decode(error.encode(), dict[str, Any], "error", max_bytes=len(error.encode()), too_large="null")
        except InputError:
            error = job.error
    if isinstance(error, dict):
        error = ": ".join(str(error[key]) for key in ("error_type", "error_message", "message") if error.get(key))
    yield str(error or "")
    output = _output(job)
    if output is not None:
        yield from (str(each) for each in output.errors or [])
        yield from [output.details] if isinstance(output.details, str) else (str(each) for each in output.details or [])


def _cut(text: str) -> str:
    return text[:MESSAGE_LIMIT]
