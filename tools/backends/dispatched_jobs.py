"""A graph that a dispatcher runs: as it was put, on its way, and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tools.backends.backend import PictureRef, PromptEnd


@dataclass(frozen=True, slots=True)
class Job:
    """A graph to run. `key` is the caller's name for it, unique in the run.

    Resuming after a crash: `sent_as` and `sent_to` are the prompt id and server URL under which it may be on a server already (from
    `on_submit` of the earlier run), `sent_handle` the server's own name for it (from `on_accepted`): then that server is asked before
    anything is queued again.
    """

    key: str
    graph: dict[str, Any]
    sent_as: str | None = None
    sent_to: str | None = None
    sent_handle: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a job: its last outcome, the pictures as downloaded, and how often it was tried.

    `outcome.kind` is `done` if and only if `pictures` holds every picture. A rejected prompt is a `failed` outcome.
    """

    job: Job
    outcome: PromptEnd
    pictures: tuple[tuple[PictureRef, bytes], ...]
    server: str
    attempts: int

    @property
    def failed_before(self) -> bool:
        """Whether a prompt that an earlier run sent has not ended well: stopped with that run, or failed unseen. It is to be made now."""
        return self.outcome.kind != "done" and self.outcome.prompt_id == self.job.sent_as


@dataclass(slots=True)
class Task:
    """A job on its way. A copy of its job may carry another graph than the caller's (a retry past the server's cache)."""

    job: Job
    graph: dict[str, Any]
    prompt_id: str = ""
    """That of its last try."""
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    memory_freed: bool = False
    refused_by: set[str] = field(default_factory=set)
