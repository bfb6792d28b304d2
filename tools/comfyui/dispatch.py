"""Many jobs over one or several ComfyUI servers, each kept busy: two prompts wait behind the one that runs.

    with Dispatcher(servers, ahead=2) as dispatcher:
        for finished in dispatcher.run(jobs):
            ...

or, where what comes next depends on what came out, `put` as many as `wanted` says and `wait`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tools.comfyui.client import ComfyServer
from tools.comfyui.outcomes import ImageRef, Outcome


@dataclass(frozen=True, slots=True)
class Job:
    """A graph to run. `key` is the caller's name for it, unique in the run.

    Resuming after a crash: `sent_as` and `sent_to` are the prompt id and server URL under which it may be on a server
    already (from `on_submit` of the earlier run): then that server is asked before anything is queued again.
    """

    key: str
    graph: dict[str, Any]
    workflow_ui: dict[str, Any] | None = None
    sent_as: str | None = None
    sent_to: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a job: its last outcome, the pictures as downloaded, and how often it was tried.

    `outcome.kind` is `done` if and only if `pictures` holds every picture. A rejected prompt is a `failed` outcome.
    """

    job: Job
    outcome: Outcome
    pictures: tuple[tuple[ImageRef, bytes], ...]
    server: str
    attempts: int


class Dispatcher:
    """Feeds jobs to servers in the order they were put, so that jobs that share models run together.

    A dead server's jobs move to the others, and it is tried again now and then; a job that a restarted server lost is
    submitted once more; failures that can heal are tried `retries` times more, after `POST /free` where memory ran out.
    Every attempt has a prompt id of its own, told to `on_submit(job, prompt_id, server_url)` just before it is posted
    (from a server's thread). `on_note(text)` gets one line for a person whenever something of this happens.
    """

    def __init__(
        self,
        servers: Sequence[ComfyServer],
        *,
        ahead: int = 2,
        retries: int = 2,
        on_submit: Callable[[Job, str, str], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def wanted(self) -> int:
        """How many more jobs the servers could take now."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether any job that was put has not been handed out by `wait`."""
        raise NotImplementedError

    def put(self, job: Job) -> None:
        """Add a job behind those that wait."""
        raise NotImplementedError

    def wait(self, timeout: float) -> list[Finished]:
        """The jobs that ended since the last call, as soon as there is one; empty after `timeout` seconds.

        Raises UnavailableError when no server is left, after handing out everything that ended before.
        """
        raise NotImplementedError

    def run(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        """Every job, in the order in which they end. `jobs` is read only as far as the servers want more."""
        raise NotImplementedError

    def close(self) -> None:
        """Cancel what has not ended (only ours), and stop."""
        raise NotImplementedError

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
