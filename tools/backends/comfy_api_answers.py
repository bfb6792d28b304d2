"""What a server of Comfy API v2 says, as typed records, and what it means: the ends of jobs, refusals, where an output is fetched."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from tools.backends.backend import PictureRef, PromptEnd, RejectedPrompt, check_job
from tools.backends.comfyui_answers import NodeFaults, PromptAnswer, PromptFault, read_failure, read_rejection, without_picture
from tools.backends.credentials import is_private

OPEN_STATUSES = frozenset({"queued", "running", "canceling"})
ENDED_STATUSES = frozenset({"succeeded", "canceled", "failed", "expired"})
API = "/api/v2/"


@dataclass(frozen=True, slots=True)
class JobOutput:
    """`type` is `image`, `video`, `audio`, …"""

    name: str
    node_id: str | int | None = None
    type: str | None = None
    id: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    code: str | None = None
    message: str | None = None
    node_id: str | int | None = None
    class_type: str | None = None


@dataclass(frozen=True, slots=True)
class JobProgress:
    value: float | None = None
    nodes_done: int | None = None
    step: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class JobUrls:
    cancel: str | None = None


@dataclass(frozen=True, slots=True)
class ApiJob:
    """A job. Times are RFC 3339; a proxy tells neither start nor end."""

    id: str
    status: str
    metadata: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    queue_position: int | None = None
    progress: JobProgress | None = None
    outputs: list[JobOutput] | None = None
    outputs_reused: bool | None = None
    error: JobError | None = None
    urls: JobUrls | None = None

    def __post_init__(self) -> None:
        check_job(self.id, self.status, OPEN_STATUSES | ENDED_STATUSES)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def signs(self) -> tuple[object, ...]:
        """What changes while something goes on."""
        return self.status, self.queue_position, self.progress


@dataclass(frozen=True, slots=True)
class JobList:
    jobs: list[ApiJob] = field(default_factory=list)
    truncated: bool | None = None


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    node_errors: dict[str, NodeFaults] | list[Any] | None = None


@dataclass(frozen=True, slots=True)
class ApiError:
    code: str = ""
    message: str = ""
    details: ErrorDetails | None = None


@dataclass(frozen=True, slots=True)
class ApiErrorAnswer:
    error: ApiError = field(default_factory=ApiError)


@dataclass(frozen=True, slots=True)
class Health:
    """`upstream` is told by a proxy: the ComfyUI behind it."""

    status: str
    upstream: str | None = None


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the server took. `file_path` is its folder and name there."""

    file_path: str
    size_bytes: int
    id: str | None = None


def read_refusal(url: str, error: ApiError) -> RejectedPrompt:
    """The 422 of a job."""
    faults = error.details.node_errors if error.details is not None else None
    return read_rejection(url, PromptAnswer(PromptFault(message=error.message or error.code or None), faults))


def read_job_end(prompt_id: str, job: ApiJob, previews: frozenset[str], credits: float | None) -> PromptEnd:
    """How a job ended. `previews` are the nodes of its graph that only show pictures."""
    seconds = None if job.outputs_reused else _seconds(job)  # a picture from the cache tells nothing of what one takes
    if job.status == "expired":
        return PromptEnd(prompt_id, "lost", message="its results have expired there", credits=credits)
    if job.status == "canceled":
        return PromptEnd(prompt_id, "interrupted", message="cancelled at the server", can_heal=True, seconds=seconds, credits=credits)
    if job.status == "failed":
        error = job.error or JobError()
        where = f"{error.node_id} ({error.class_type or ''})" if error.node_id is not None else ""
        kind = error.code if error.code and error.code != "node_execution_error" else ""
        return _charged(read_failure(prompt_id, where, kind, error.message or "", seconds), credits)
    pictures = _pictures(job, previews)
    if not pictures:
        return _charged(without_picture(prompt_id, seconds, from_cache=bool(job.outputs_reused)), credits)
    return PromptEnd(prompt_id, "done", pictures, seconds=seconds, credits=credits)


def _charged(end: PromptEnd, credits: float | None) -> PromptEnd:
    return replace(end, credits=credits)


def _pictures(job: ApiJob, previews: frozenset[str]) -> tuple[PictureRef, ...]:
    """Saved pictures; those that are only shown where nothing was saved."""
    found = [
        PictureRef(output.name, node=str(output.node_id) if output.node_id is not None else "", handle=f"{job.id}/{place}")
        for place, output in enumerate(job.outputs or [])
        if output.type == "image"
    ]
    saved = tuple(ref for ref in found if ref.node not in previews)
    return saved or tuple(found)


def _seconds(job: ApiJob) -> float | None:
    """From start to end by the server's clock; None where that was set back meanwhile."""
    try:
        started, ended = (datetime.fromisoformat(text) for text in (job.started_at or "", job.completed_at or ""))
        seconds = (ended - started).total_seconds()
        return seconds if seconds >= 0 else None
    except (ValueError, TypeError):  # not told, or one with a time zone and one without
        return None


def own_path(base: str, url: str) -> str | None:
    """The path of an address that is the server's own, to be asked where we know the server: it may see itself under another scheme, or
    behind its reverse proxy under a private name. None for an address elsewhere. Raises ValueError for what is no address."""
    here, there = urlsplit(base), urlsplit(urljoin(f"{base}/", url))
    is_same = (there.scheme, there.hostname, there.port) == (here.scheme, here.hostname, here.port)
    is_private_name = is_private(f"http://{there.netloc.rpartition('@')[2]}")
    if there.scheme not in ("http", "https"):
        return None
    if not is_same and not (API in there.path and (there.hostname == here.hostname or is_private_name)):
        return None
    path = there.path.removeprefix(here.path) or "/"
    return path + (f"?{there.query}" if there.query else "")
