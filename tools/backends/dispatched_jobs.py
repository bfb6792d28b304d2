"""A graph that a dispatcher runs: as it was put, on its way, and at its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tools.backends.backend import Backend, PictureRef, PromptEnd

Prepare = Callable[[Backend, dict[str, Any]], dict[str, Any]]
"""From the back end that will run a graph, and the graph, to the graph as it is sent. Raises InputError where that cannot be made."""


Needs = frozenset[str]
"""What a graph wants of a server: node classes and files. A server that refuses one graph refuses the others that want the same."""

FILE_NAME = re.compile(r".+\.(safetensors|sft|ckpt|pth?|bin|gguf|onnx)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class SentPrompt:
    """Where a prompt may be already: its id, the URL of the server, and the server's own name for it, where that has one."""

    prompt_id: str
    server: str
    handle: str | None = None


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
    beside: SentPrompt | None = None
    """Resuming after a crash: where a second answer to the same job may be under way."""

    def begun_anew(self) -> Job:
        """The same job, as if nobody had sent it."""
        return replace(self, sent_as=None, sent_to=None, sent_handle=None, beside=None)


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


@dataclass(slots=True, eq=False)
class Task:
    """A job on its way. A copy of its job may carry another graph than the caller's (a retry past the server's cache)."""

    job: Job
    graph: dict[str, Any]
    prompt_id: str = ""
    """That of its last try."""
    handle: str = ""
    """What the server calls it, where it has a name of its own."""
    server: str = ""
    """The one that has or had it last."""
    sent_at: float = 0.0
    attempts: int = 0
    failures: int = 0
    losses: int = 0
    memory_freed: bool = False
    refused_by: set[str] = field(default_factory=set)
    failed_at: set[str] = field(default_factory=set)
    """The servers that it failed on."""
    twin: Task | None = None
    """The same job on its way to another server, while both are under way."""
    is_second: bool = False
    """Whether it was begun while the other was under way."""
    is_settled: bool = False
    """Whether the other was quicker."""
    is_running: bool = False
    """Whether its server says that it has begun."""
    withdraw_at: float | None = None
    """When it was asked back from its server."""
    _needs: Needs | None = None

    @property
    def needs(self) -> Needs:
        if self._needs is None:
            self._needs = needs_of(self.graph)
        return self._needs

    def second(self) -> Task:
        """The same job once more, for another server."""
        copy = Task(self.job, self.graph, attempts=self.attempts, failures=self.failures, twin=self, is_second=True)
        copy.refused_by, copy.failed_at = set(self.refused_by), set(self.failed_at)
        self.twin = copy
        return copy

    def begin(self) -> None:
        """A try of its own begins."""
        self.handle, self.is_running, self.withdraw_at = "", False, None
        self.attempts += 1


def needs_of(graph: dict[str, Any]) -> Needs:
    """Node classes and names of model files; seeds and prompts differ from picture to picture."""
    found: set[str] = set()
    for node in graph.values():
        inputs = node.get("inputs", {}) if isinstance(node, dict) else {}
        found.add(str(node.get("class_type")) if isinstance(node, dict) else "")
        found |= {value for value in inputs.values() if isinstance(value, str) and FILE_NAME.fullmatch(value)}
    return frozenset(found)
