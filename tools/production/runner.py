"""Run a batch: keep the servers busy, and score and file what they made while they make the next.

`run_batch` may be killed at any moment and called again with the same plan: it finds prompts that a server still has by
their prompt ids, scores what was downloaded, files what was scored, and makes only what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.counting import counted, verb
from lifeos.errors import LifeosError
from lifeos.locks import Held
from lifeos.progress import Progress
from tools.backends.dispatch import Dispatcher, Finished
from tools.production.batch_progress import BatchProgress
from tools.production.batch_state import BatchState
from tools.production.brakes import Brakes
from tools.production.budget import MAX_PENDING, Limits, most_pending
from tools.production.charging import Charging
from tools.production.equipment import Equipment
from tools.production.filing import RESERVE_BYTES, BatchFolder, disk_is_full
from tools.production.healing import give_up_lost
from tools.production.intake import Intake, SetUpError, describe_node, find_stored
from tools.production.item_state import ItemState
from tools.production.joining import JoiningServers
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.plan import Item, Plan
from tools.production.rejudging import finish_moves
from tools.production.repair_numbers import number_of
from tools.production.repairing import Repairs
from tools.production.resemblance import find_rejected
from tools.production.results import COMPLETE, ending_of
from tools.production.sending import Sending
from tools.production.settling import ReviewsMeanwhile, Settled, settle_decisions
from tools.production.signs_of_life import SignsOfLife
from tools.production.stopping import Note, StopSignal
from tools.production.tally import Tally
from tools.production.weeding import UNSETTLED, weed_out

__all__ = ["BatchEnd", "Equipment", "run_batch"]

PASS_SECONDS = 0.25
"""How soon a stop is noticed while nothing else happens."""


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """How a run of a batch ended. `why`: `complete`, `incomplete`, `target`, `max_images`, `max_cost`, `interrupted` or `error`."""

    why: str
    state: BatchState
    error: Exception | None = None
    because: str = ""  # which budget ended it


def run_batch(
    plan: Plan,
    folder: BatchFolder,
    equipment: Equipment,
    limits: Limits,
    *,
    held: Held | None = None,
    stop: StopSignal | None = None,
    note: Note = lambda text: None,
) -> BatchEnd:
    """Bring a batch as far as it goes. The caller holds the directory's lock and has written the plan.

    Everything that ended this run early, but for an interrupt from the keyboard's second Ctrl-C, is in the result: what was
    done until then is filed.
    """
    folder.prepare()
    state = read_state(folder.root / JOURNAL_FILE, note)
    journal = Journal(folder.root / JOURNAL_FILE)
    try:
        finish_moves(folder, state)
        give_up_lost(folder, state, journal, note)
        settled = settle_decisions(folder, state, note)
        run = _Run(plan, folder, equipment, limits, state, settled, journal, held, stop or StopSignal(), note)
        end = run.run()
        run.charging.end(journal.append("ended", why=end.why, reason=end.because, durable=True))
        return end
    except OSError as error:  # even the journal may have found no room
        return BatchEnd("error", state, error)
    finally:
        journal.close()


class _Run:
    def __init__(
        self,
        plan: Plan,
        folder: BatchFolder,
        equipment: Equipment,
        limits: Limits,
        state: BatchState,
        settled: Settled,
        journal: Journal,
        held: Held | None,
        stop: StopSignal,
        note: Note,
    ) -> None:
        self.plan, self.folder, self.equipment, self.limits = plan, folder, equipment, limits
        self.state, self.settled, self.journal, self.stop, self.note = state, settled, journal, stop, note
        self.intake = Intake(plan, folder, journal, state, equipment.scorer, equipment.policy, equipment.on_approved)
        self.repairs = Repairs(plan, folder, state, journal, equipment.with_picture, note)
        self.intake.on_rejected = self.repairs.found
        self.reviews = ReviewsMeanwhile(folder)
        self.may_hold_duplicates = state.ending in UNSETTLED
        self.tally = Tally(state)
        self.pending: dict[Future[None], Item] = {}
        self.brakes = Brakes()
        self.charging = Charging(equipment, limits, state, journal)
        self.budget = self.charging.budget
        self.life = SignsOfLife(held, self.charging, equipment)
        self.because = ""
        self.joining = JoiningServers(equipment, self.charging, lambda text: self.bar.note(text))
        self.sending = Sending(journal, state, self.charging, equipment)

    def run(self) -> BatchEnd:
        self.charging.begin(self.plan)
        why = "complete"
        error: Exception | None = None
        with (
            ThreadPoolExecutor(self.equipment.workers, thread_name_prefix="intake") as self.pool,
            Progress(self.limits.most(self.plan), "pictures", unit="picture", initial=self.tally.made, estimates=False) as self.bar,
        ):
            self.progress = BatchProgress(self.plan, self.limits.most(self.plan), self.budget, self.bar, self.note)
            self.stop.graceful = True
            try:
                self._recover()
                why = self._generate() if self.plan.generates else self._copy()
            except (LifeosError, OSError) as caught:
                why, error = "error", caught
            finally:
                self.stop.graceful = False
            error = self._settle() or error
        if error is not None:
            why = "error"
        return BatchEnd(why, self.state, error, self.because if why == "max_cost" else "")

    # What is left to do

    def _approved(self) -> int:
        with self.intake.lock:
            return self.tally.approved(self.settled)

    def _unmade(self) -> Iterator[Item]:
        """The items without a picture, in the order of the plan. Failed ones of earlier runs are tried again."""
        last = self.limits.most(self.plan)
        done = {index for index, item in self.state.items.items() if item.is_made}
        return (self.plan.item(index) for index in range(1, last + 1) if index not in done)

    def _recover(self) -> None:
        """Finish what a killed run left between two steps."""
        open_items = [self.plan.item(index) for index, item in sorted(self.state.items.items()) if self._is_open(item)]
        unrecorded = [self.plan.item(index) for index, item in sorted(self.state.items.items()) if not item.is_made]
        if not self.plan.generates:
            unrecorded = list(self._unmade())
        stored = find_stored(self.plan, self.folder, unrecorded)
        for item in open_items:
            self._work(item, self.intake.finish, item)
        for item, names in stored:
            self._work(item, self.intake.adopt, item, names)
        if open_items or stored:
            left = len(open_items) + len(stored)
            self.note(f"continuing: {counted(left, 'picture')} of the run before {verb(left, 'is', 'are')} scored and filed")
        self._collect_all()
        self._weed()

    def _is_open(self, item: ItemState) -> bool:
        return any(not self.state.is_settled(name) and name not in item.lost and self.folder.place_of(name) for name in item.files)

    # Generate

    def _generate(self) -> str:
        self.sending.begin(self.note)
        try:
            return self._dispatch()
        finally:
            self.sending.write_down()

    def _dispatch(self) -> str:
        make_graph = self.equipment.make_graph
        assert make_graph is not None
        unmade, left = self._unmade(), self.tally.left(self.limits.most(self.plan))
        following = next(unmade, None)
        self.repairs.begin(self.settled, self.equipment.policy)
        if (following is None and not self.repairs.are_waiting) or self._has_target():  # without duplicates: `_recover` found them
            return self._why_no_more()
        production = self.equipment.policy["production"]
        with Dispatcher(
            self.equipment.servers,
            ahead=production["queue_ahead"],
            retries=production["retries"],
            on_submit=self.sending.submitted,
            on_accepted=self.sending.accepted,
            on_failed_try=self.sending.failed_try,
            on_note=self.bar.note,
            on_second=self.sending.second,
            on_dropped=self.sending.dropped,
            on_refused=self.sending.refused,
            second_answers=production["second_answers"],
            left_out=self.equipment.left_out,
            admit=self.joining.admit,
        ) as dispatcher:
            underway = 0
            blocked = ""
            while True:
                most = most_pending(self.plan, self._approved())
                while not blocked and dispatcher.wanted and len(self.pending) < most:
                    repair = self.repairs.next(self.settled, missing=self._missing(), is_last=following is None)
                    item = repair or following
                    if item is None:
                        break
                    blocked = self._why_stop(underway)
                    if not blocked:
                        job = self.sending.job(item, make_graph(item))
                        dispatcher.put(self.repairs.job(job) if item.repairs else job)
                        underway += 1
                        left -= not repair
                        following = following if repair else next(unmade, None)
                dispatcher.expect(self._expected(left, blocked), may_pay=self.budget.allows(time.monotonic(), underway))
                if self.stop.requested:
                    return "interrupted"
                if self._keeps_target():
                    return "target"
                if not underway and not self.pending and (blocked or (following is None and not self.repairs.are_waiting)):
                    return blocked or self._why_no_more()
                for finished in dispatcher.wait(0.0 if self.pending and not underway else PASS_SECONDS):
                    if finished.failed_before:
                        self.charging.charge(finished.outcome, finished.server)
                        dispatcher.put(finished.job.begun_anew())
                        continue
                    underway -= 1
                    self._take(finished, dispatcher.holding)
                for outcome, server in self.sending.failed_tries():  # many in a row, and no picture, stop the batch
                    self.brakes.failed_to_try(server, f"{outcome.kind}: {outcome.message}", dispatcher.holding)
                self.sending.write_down()
                self._collect(block=not underway)
                self.life.tell()

    def _expected(self, left: int, blocked: str) -> int | None:
        """How many more pictures will be sent, None where that depends on what comes out."""
        if blocked or not (left or self.repairs.are_waiting):
            return 0
        return None if self.plan.target_approved is not None or self.repairs.are_waiting else left

    def _missing(self) -> int | None:
        """How many approved pictures a target lacks."""
        return None if self.plan.target_approved is None else self.plan.target_approved - self._approved()

    def _has_target(self) -> bool:
        if self.plan.target_approved is None:
            return False
        with self.intake.lock:
            self.settled = self.reviews.hear(self.state, self.settled)
        return self._approved() >= self.plan.target_approved

    def _keeps_target(self) -> bool:
        """Whether the target is reached also without the duplicates among what was approved."""
        if not self._has_target():
            return False
        self._collect_all()
        self._weed()
        return self._has_target()

    def _why_no_more(self) -> str:
        if self.plan.target_approved is not None:
            return "target" if self._keeps_target() else "max_images"
        with self.intake.lock:
            return ending_of(COMPLETE, self.plan, self.state) if self.limits.most(self.plan) >= self.plan.planned else "max_images"

    def _why_stop(self, underway: int) -> str:
        if because := self.charging.why_stop(underway):
            self.because = because
            return "max_cost"
        self._check_room()
        return ""

    def _check_room(self) -> None:
        if self.folder.free_bytes() < RESERVE_BYTES:
            raise disk_is_full(self.folder.root)

    def _take(self, finished: Finished, working: Collection[str]) -> None:
        item = self.plan.item(number_of(finished.job.key))
        outcome = finished.outcome
        self.budget.ended(finished.job.key)
        self.charging.charge(outcome, finished.server, item.index)
        if outcome.kind == "done":
            self.life.moved_on()
            self.repairs.made() if item.repairs else self.brakes.made_one()
            data, nodes = [picture for _, picture in finished.pictures], [ref.node for ref, _ in finished.pictures]
            made: dict[str, Any] = {"seconds": outcome.seconds, "prompt_id": outcome.prompt_id, "nodes": nodes, "server": finished.server}
            self._work(item, self.intake.admit, item, data, **made)
            return
        where = f" at {describe_node(finished.job.graph, outcome.node)}" if outcome.node else ""
        reason = f"{outcome.kind}{where}: {outcome.message}"
        self._fail(item, reason, outcome.seconds, finished.server)
        if item.repairs:
            self.repairs.failed(is_set_up=outcome.is_set_up)
            return
        if outcome.is_set_up and not self.tally.made and not self.pending:
            raise SetUpError(describe_node(finished.job.graph, outcome.node), outcome.message, outcome.fix)
        self.brakes.failed_to_make(finished.server, reason, working)

    def _fail(self, item: Item, reason: str, seconds: float | None = None, server: str = "") -> None:
        self.journal.append("failed", item=item.index, reason=reason, seconds=seconds, server=server)
        with self.intake.lock:
            self.state.item(item.index).failure = reason
        self.bar.note(f"picture {item.key} was not made: {reason}")

    # Existing pictures

    def _copy(self) -> str:
        for item in self._unmade():
            if self.stop.requested:
                return "interrupted"
            self._check_room()
            self._work(item, self._admit_source, item)
            while len(self.pending) >= MAX_PENDING:
                self._collect(block=True)
                self.life.tell()
        while self.pending and not self.stop.requested:
            self._collect(block=True)
        if self.stop.requested and self.pending:
            return "interrupted"
        with self.intake.lock:
            return ending_of(COMPLETE, self.plan, self.state)

    def _admit_source(self, item: Item) -> None:
        try:
            data = (Path(self.plan.source_dir or "") / (item.source or "")).read_bytes()
        except OSError as error:
            self._fail(item, f"cannot be read: {error.strerror or error}")
            return
        self.intake.admit(item, [data])

    # Workers

    def _work(self, item: Item, task: Callable[..., None], *arguments: Any, **options: Any) -> None:
        self.may_hold_duplicates = True
        self.pending[self.pool.submit(task, *arguments, **options)] = item

    def _collect(self, *, block: bool) -> None:
        """Take note of the items that passed the gate; raises what went wrong there."""
        if not self.pending:
            return
        done, _ = wait(self.pending, timeout=PASS_SECONDS if block else 0, return_when=FIRST_COMPLETED)
        for future in done:
            item = self.pending.pop(future)
            future.result()
            self.life.moved_on()
            self.tally.passed(item.index, self.settled)
            self.progress.passed(made=self.tally.made, approved=self._approved(), is_made=self.state.item(item.index).is_made)

    def _collect_all(self) -> None:
        while self.pending:
            self._collect(block=True)

    def _weed(self) -> None:
        """Find duplicates where this run, or one that was cut short, took pictures in. A finished batch stays as it is."""
        if not self.may_hold_duplicates:
            return
        policy = self.equipment.policy
        found = find_rejected(self.plan, self.folder, self.state, self.settled, self.state.verdicts, policy)
        self.settled = weed_out(found, self.folder, self.state, self.journal, self.note) or self.settled

    def _settle(self) -> Exception | None:
        """Let the workers end, so that what was downloaded is filed, and find the duplicates."""
        error: Exception | None = None
        while self.pending:
            try:
                self._collect(block=True)
            except (LifeosError, OSError) as caught:
                error = error or caught
        try:
            self._weed()
        except OSError as caught:
            error = error or caught
        return error
