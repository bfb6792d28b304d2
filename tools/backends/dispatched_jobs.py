"""A graph that a dispatcher runs: as it was put, on its way, and at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tools.backends.backend import Backend, PictureRef, PromptEnd

Prepare = Callable[[Backend, dict[str, Any]], dict[str, Any]]
"""From the back end that will run a graph, and the graph, to the graph as it is sent. Raises InputError where that cannot be made."""


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
    prepare: Prepare | None = None
    """Makes the graph ready for the server that will run it, just before it is posted there: uploads a picture, say."""
    can_run: Callable[[str], bool] | None = None
    """Whether the server at a URL has what the graph needs; None: every server of the dispatcher has. It goes to one that cannot only
    where none that can is there, and fails. Called from any thread."""

    def begun_anew(self) -> Job:
        """The same job, as if nobody had sent it."""
        return replace(self, sent_as=None, sent_to=None, sent_handle=None)


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
    failed_at: set[str] = field(default_factory=set)
    """The servers where a try failed: the next one is made on another, if there is one, since the fault may be the server's."""
