"""Between the journal of a batch and its dispatcher: where an item's prompts may be, and what became of those that were sent.

What servers tell comes from their own threads. Before a prompt is posted its record is on the disk; what is only counted or charged
waits for `write_down` or `failed_tries`, which the thread that runs the batch calls.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from lifeos.counting import counted, verb
from lifeos.errors import UnavailableError
from tools.backends.backend import PromptEnd
from tools.backends.dispatch import Job
from tools.production.batch_state import BatchState
from tools.production.charging import Charging
from tools.production.equipment import Equipment
from tools.production.journal import Journal
from tools.production.plan import Item
from tools.production.repair_numbers import number_of
from tools.production.stopping import Note

T = TypeVar("T")


class Sending:
    """The prompts of a run: `begin`, then a `job` for each picture."""

    def __init__(self, journal: Journal, state: BatchState, charging: Charging, equipment: Equipment) -> None:
        self._journal, self._state, self._charging, self._equipment = journal, state, charging, equipment
        self._there = {server.url: server for server in equipment.servers if server.url not in equipment.left_out}
        self._failed: SimpleQueue[tuple[PromptEnd, str]] = SimpleQueue()
        self._refused: SimpleQueue[tuple[PromptEnd, str]] = SimpleQueue()
        self._dropped: SimpleQueue[tuple[Job, PromptEnd, str]] = SimpleQueue()

    def job(self, item: Item, graph: dict[str, Any]) -> Job:
        """The job of an item; one whose prompts may be on servers that take part is looked for there before it is sent."""
        state = self._state.items.get(item.index)
        sent = state.sent if state is not None and state.failure is None else ()
        can_run = self._equipment.can_repair if item.repairs else self._equipment.can_run(graph)
        job = Job(item.key, graph, prepare=self._equipment.prepare, can_run=can_run)
        if not sent:
            return job
        first, *others = sent
        beside = others[0] if others else None
        return replace(job, sent_as=first.prompt_id, sent_to=first.server, sent_handle=first.handle, beside=beside)

    def begin(self, note: Note) -> None:
        """Settle what earlier runs left on servers: prompts that nobody needs are cancelled, those that nobody can ask for are told."""
        self._stop_leftovers()
        open_items = (item for item in self._state.items.values() if not item.is_made and item.failure is None)
        last = [item.sent for item in open_items if item.sent and not any(each.server in self._there for each in item.sent)]
        for server, count in Counter(sent[0].server for sent in last).items():
            queued = f"{counted(count, 'picture')} of an earlier run {verb(count, 'was', 'were')} queued on {server}"
            note(f"{queued}, which does not take part now: {verb(count, 'it is', 'they are')} made on the others")

    def _stop_leftovers(self) -> None:
        """Cancel what a run that was killed left on servers, of pictures that another server had made already."""
        left = {number: item for number, item in self._state.items.items() if item.is_made and item.beside is not None}
        for server in self._there.values() if left else ():
            there = [(each, number) for number, item in left.items() for each in item.sent if each.server == server.url]
            with contextlib.suppress(UnavailableError):  # it ends there, and nobody takes its pictures
                numbers = {each.prompt_id: number for each, number in there}
                server.cancel(numbers, {each.prompt_id: each.handle for each, _ in there if each.handle})
                for prompt_id, number in numbers.items():
                    self._state.item(number).dropped(prompt_id)
                    self._journal.append("dropped", item=number, prompt_id=prompt_id, server=server.url)

    # What a dispatcher tells

    def submitted(self, job: Job, prompt_id: str, url: str) -> None:
        self._charging.budget.sent(job.key, url)
        self._journal.append("submitted", item=number_of(job.key), prompt_id=prompt_id, server=url, durable=True)

    def second(self, job: Job, prompt_id: str, url: str) -> None:
        """The same is under way on another server, which is not forgotten."""
        self._charging.budget.sent(f"{job.key} once more", url)
        self._journal.append("submitted", item=number_of(job.key), prompt_id=prompt_id, server=url, second=True, durable=True)

    def accepted(self, job: Job, prompt_id: str, handle: str) -> None:
        """The server has a name of its own for a prompt, without which it would not be found again."""
        self._journal.append("accepted", item=number_of(job.key), prompt_id=prompt_id, handle=handle, durable=True)

    def failed_try(self, outcome: PromptEnd, url: str) -> None:
        self._failed.put((outcome, url))

    def refused(self, outcome: PromptEnd, url: str) -> None:
        self._refused.put((outcome, url))

    def dropped(self, job: Job, outcome: PromptEnd, url: str) -> None:
        self._dropped.put((job, outcome, url))

    # What is written of it

    def write_down(self) -> None:
        """Charge and count what was refused, and what one of two servers did for nothing."""
        for outcome, server in _taken(self._refused):
            self._journal.append("refused", server=server, prompt_id=outcome.prompt_id, reason=outcome.message)
            if outcome.seconds or outcome.credits:
                self._charging.charge(outcome, server)
        for job, outcome, server in _taken(self._dropped):
            self._charging.budget.ended(f"{job.key} once more")
            item, is_work = number_of(job.key), bool(outcome.seconds or outcome.credits or outcome.kind == "done")
            usd = self._charging.charge(outcome, server, item, is_dropped=True) if is_work else None
            worked: dict[str, Any] = {"seconds": outcome.seconds, "usd": usd} if is_work else {}
            self._journal.append("dropped", item=item, prompt_id=outcome.prompt_id, server=server, reason=outcome.message, **worked)

    def failed_tries(self) -> Iterator[tuple[PromptEnd, str]]:
        """The failures that are tried again, each charged: they cost time and money as well."""
        for outcome, server in _taken(self._failed):
            self._charging.charge(outcome, server)
            yield outcome, server


def _taken(queue: SimpleQueue[T]) -> Iterator[T]:
    with contextlib.suppress(Empty):
        while True:
            yield queue.get_nowait()
