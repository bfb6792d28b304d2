"""Publish while a batch runs: a thread of its own makes the copies of pictures as they are approved, beside the work of the GPU.

What it does not come to, refuses, or what is no longer approved at the end is left to the pass that follows the batch (`publishing_run`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from lifeos.errors import LifeosError
from tools.production.batch_state import BatchState
from tools.production.filing import APPROVED, BatchFolder
from tools.production.plan import Plan
from tools.production.settling import settle_decisions
from tools.production.stopping import Note
from tools.publishing.publisher import Original, Publisher
from tools.publishing.publishing_run import PublisherMaker, PublishingResult, bring_up_to_date, find_held_back
from tools.publishing.publishing_settings import settings_of


@dataclass(frozen=True, slots=True)
class PublishingPlan:
    """How a batch is published as its pictures are approved."""

    maker: PublisherMaker

    def lane(self, plan: Plan, folder: BatchFolder) -> PublishingLane:
        return PublishingLane(self.maker.make(plan, folder), folder)

    def finish(self, plan: Plan, folder: BatchFolder, state: BatchState) -> PublishingResult:
        """What the lane did not come to; and what is no longer approved is taken out. The caller holds the directory's lock."""
        settled = settle_decisions(folder, state, on_warning=lambda text: None)  # whoever came here has told
        held_back = find_held_back(plan, folder, state, settled, self.maker.policy, lambda text: None)
        return bring_up_to_date(folder, self.maker.make(plan, folder), state, settled, held_back)


def plan_publishing(policy: Mapping[str, Any], root: Path, note: Note) -> PublishingPlan | None:
    """None unless the policy has the pipeline publish. Certificates, keys and packages are tried here, before anything is paid for.

    Raises UnavailableError or InputError for what would keep every copy from being signed.
    """
    if not policy["publishing"]["on_approval"]:
        return None
    plan = PublishingPlan(PublisherMaker(policy, settings_of(policy, root), root, note))
    plan.maker.open()
    return plan


class PublishingLane:
    """Use it as a context: at its end the thread stops behind the copy that it is making."""

    def __init__(self, publisher: Publisher, folder: BatchFolder) -> None:
        self._publisher, self._folder = publisher, folder
        self._queue: SimpleQueue[Original | None] = SimpleQueue()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, name="publishing", daemon=True)

    def approved(self, name: str, index: int, sha256: str) -> None:
        """A picture was approved and lies in approved/."""
        self._queue.put(Original(name, self._folder.root / APPROVED / name, sha256, index))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ends.set()
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (original := self._queue.get()) is not None and not self._ends.is_set():
            with contextlib.suppress(LifeosError, OSError):  # the pass at the end meets it again, and names it
                if self._publisher.find_current(original) is None:
                    self._publisher.publish(original)
