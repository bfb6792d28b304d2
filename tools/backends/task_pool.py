"""What the servers of a dispatcher share: the tasks that wait, the jobs that ended, and which server takes what."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Set
from dataclasses import replace

from tools.backends.backend import PromptEnd
from tools.backends.dispatched_jobs import Finished, Job, Task
from tools.backends.lane_state import FAILURES_IN_A_ROW, REFUSALS_IN_A_ROW, LaneState
from tools.backends.tail_choice import HeldPrompt, choose_prompt, last_end

LOOK_SECONDS, LOOK_SECONDS_PER_LANE = 0.2, 0.005
"""How often an idle server looks, at the end, whether it can relieve another."""

RECKONED_SECONDS_PER_LANE = 0.0005
"""How long the end of all that is left is believed."""

WITHDRAW_SECONDS = 2.0
"""A server that has not given back a prompt for so long does not answer."""


class TaskPool:
    """Gives tasks out in the order they were put, each to one server; at the end also to a second. May be used from any thread.

    A server's own thread alone takes tasks for it. Who waits is woken alone: for a task one idle server, for an end the caller.
    """

    def __init__(
        self, servers: Iterable[str], left_out: Collection[str] = (), *, spare: Set[str] = frozenset(), priced: Set[str] = frozenset()
    ) -> None:
        self.closing = False
        self._lock = threading.RLock()  # guards all of it
        self.lanes = {
            url: LaneState(url, self._lock, alive=url not in left_out, takes_seconds=url in spare, is_priced=url in priced)
            for url in servers
        }
        self.alive = {lane.url for lane in self.lanes.values() if lane.alive}
        """The URLs of the servers that are there."""
        self._ended = threading.Condition(self._lock)
        self._over = threading.Condition(self._lock)
        self._waiting: deque[Task] = deque()
        self._finished: deque[Finished] = deque()
        self._unfinished = 0
        self._more: int | None = None
        self._may_pay = True
        self._bars_some = False
        self._all_made = self._reckoned_until = 0.0
        self._failure: BaseException | None = None

    # The caller's side

    def waiting(self) -> list[Callable[[str], bool] | None]:
        """Of each task that no server has: which servers can run it, None where all can."""
        with self._lock:
            return [task.job.can_run for task in self._waiting]

    @property
    def busy(self) -> bool:
        """Whether any job that was put has not been handed out by `wait`."""
        with self._lock:
            return self._unfinished > 0

    @property
    def holding(self) -> set[str]:
        """The servers that hold prompts."""
        with self._lock:
            return {lane.url for lane in self.lanes.values() if lane.tasks}

    def put(self, job: Job) -> None:
        """Add a job behind those that wait; one that an earlier run had sent to two servers goes on on both."""
        with self._lock:
            self._unfinished += 1
            task, beside = Task(job, job.graph), job.beside
            self._waiting.append(task)
            if beside is not None and beside.server in self.alive:
                sent = replace(job, sent_as=beside.prompt_id, sent_to=beside.server, sent_handle=beside.handle)
                if job.sent_to in self.alive:
                    twin = task.second()
                    twin.job = sent
                    self._waiting.append(twin)
                    self._wake_one(twin)
                else:
                    task.job = sent
            self._wake_one(task)

    def expect(self, more: int | None, *, may_pay: bool = True) -> None:
        """How many more jobs will be put, None where that is not known. `may_pay`: a second answer may cost something."""
        with self._lock:
            is_news = (more == 0) != (self._more == 0)
            self._more, self._may_pay = more, may_pay
            if is_news:
                self._wake_all()

    def wait(self, timeout: float) -> list[Finished]:
        """The jobs that ended since the last call, as soon as there is one; empty after `timeout` seconds.

        Raises what `fail` was told, after handing out everything that ended before.
        """
        with self._lock:
            self._ended.wait_for(lambda: self._finished or self._failure, timeout)
            ended = list(self._finished)
            self._finished.clear()
            self._unfinished -= len(ended)
            if not ended and self._failure is not None:
                raise self._failure
            return ended

    def close(self) -> None:
        """Forget what waits; nothing is given out any more."""
        with self._lock:
            self.closing = True
            self._waiting.clear()
            self._wake_all()
            self._over.notify_all()

    # What a server takes

    def take(self, lane: LaneState, begin: Callable[[Task], None], *, wait: bool) -> Task | None:
        """The first waiting task that suits a server; with `wait`, as soon as there is one. None when closing.

        `begin` names it, so that it is on the server before it stops waiting, and nobody finds it in neither place.
        """
        with self._lock:
            while not self.closing:
                now = time.monotonic()
                task = self._next_for(lane, now)
                if task is not None:
                    begin(task)
                    lane.begin(task, now)
                    with contextlib.suppress(ValueError):  # a second answer has not waited
                        self._waiting.remove(task)
                    return task
                if not wait:
                    return None
                lane.is_idle = True
                lane.awake.wait(self._patience(lane, now))
                lane.is_idle = False
            return None

    def _patience(self, lane: LaneState, now: float) -> float | None:
        rest = lane.rest_left(now)
        if rest:
            return rest
        return max(LOOK_SECONDS, LOOK_SECONDS_PER_LANE * len(self.lanes)) if self._waiting or self._more == 0 else None

    def _next_for(self, lane: LaneState, now: float) -> Task | None:
        if lane.is_busy(now) or (lane.rests(now) and self._works_elsewhere(lane, now)):
            return None
        for task in self._waiting:
            if not self._suits(task, lane, now):
                continue
            if task.attempts == 0 and task.job.sent_to == lane.url:
                return task
            takers = self._takers(task)
            if self._is_needed(lane, (takers - task.failed_at or takers) if task.failed_at else takers, now):
                return task
        return self._relief_for(lane, now) if self._more == 0 and not lane.tasks and not self._waiting else None

    def _works_elsewhere(self, lane: LaneState, now: float) -> bool:
        return any(other is not lane and other.alive and not other.rests(now) for other in self.lanes.values())

    def _is_needed(self, lane: LaneState, takers: Set[str], now: float) -> bool:
        """Whether the others would not have made all that is left before this server has made one more."""
        if self._more is None or (lane.pace is None and not lane.tasks):
            return True
        return now + lane.load(now).next_end <= self._last_end(takers, now)

    def _last_end(self, takers: Set[str], now: float) -> float:
        """When all that is left will be made. Of all servers together it is reckoned anew after a moment only: a task that is taken does
        not change it."""
        if takers is self.alive and now < self._reckoned_until:
            return self._all_made
        able = [self.lanes[url] for url in takers]
        loads = [lane.load(now) for lane in able if not lane.is_busy(now) and not lane.rests(now)]
        found = now + last_end(loads, len(self._waiting) + (self._more or 0))
        if takers is self.alive:
            self._all_made, self._reckoned_until = found, now + RECKONED_SECONDS_PER_LANE * len(loads)
        return found

    def _suits(self, task: Task, lane: LaneState, now: float) -> bool:
        takers = self._takers(task)
        if takers and lane.url not in takers:
            return False
        if task.twin is not None:  # of an earlier run: each copy is looked for where it was
            return task.job.sent_to == lane.url
        if lane.url in task.failed_at and any(self.lanes[url].rest_left(now) == 0 for url in takers - task.failed_at):
            return False
        return task.attempts > 0 or task.job.sent_to == lane.url or task.job.sent_to not in takers

    def _takers(self, task: Task) -> Set[str]:
        """The servers that are there, can run a task and do not refuse it; where none that is there can run it, any of them."""
        can_run = task.job.can_run
        able = self.alive if can_run is None else {server for server in self.alive if can_run(server)} or self.alive
        refused = task.refused_by
        if self._bars_some:
            refused = refused | {lane.url for lane in self.lanes.values() if task.needs in lane.barred}
        return able - refused if refused else able

    def has_untried(self, task: Task) -> bool:
        """Whether a server is there on which a task has not failed."""
        with self._lock:
            return bool(self._takers(task) - task.failed_at)

    # The end of a batch

    def _relief_for(self, lane: LaneState, now: float) -> Task | None:
        """Nothing waits, and nothing comes: a prompt that waits on a slower server is asked back, one that it is at is made once more."""
        if lane.pace is None:
            return None
        held = {task.prompt_id: task for task in self._held() if task.twin is None and not task.is_settled}
        queued = [self._left(task, now) for task in held.values() if task.withdraw_at is None and self._is_queued(task)]
        chosen = self._choose(lane, held, queued, now, seconds=False)
        if chosen is not None:
            chosen.withdraw_at = now
            self.lanes[chosen.server].withdraws.append(chosen)
            return None
        if not self._may_have_seconds(lane):
            return None
        stuck = [task for task in held.values() if task.withdraw_at is None or task.is_running or now - task.withdraw_at > WITHDRAW_SECONDS]
        begun = [self._left(task, now) for task in stuck if task.withdraw_at is not None or not self._is_queued(task)]
        chosen = self._choose(lane, held, begun, now, seconds=True)
        return chosen.second() if chosen is not None else None

    def _held(self) -> list[Task]:
        return [task for lane in self.lanes.values() if lane.alive for task in lane.tasks.values()]

    def _is_queued(self, task: Task) -> bool:
        return not task.is_running and next(iter(self.lanes[task.server].tasks)) != task.prompt_id

    def _left(self, task: Task, now: float) -> HeldPrompt:
        lane = self.lanes[task.server]
        return HeldPrompt(task.prompt_id, task.server, lane.load(now).left(list(lane.tasks).index(task.prompt_id)))

    def _may_have_seconds(self, lane: LaneState) -> bool:
        return lane.takes_seconds and (self._may_pay or not lane.is_priced)

    def _choose(self, lane: LaneState, held: dict[str, Task], prompts: list[HeldPrompt], now: float, *, seconds: bool) -> Task | None:
        if not prompts:
            return None
        able = [each for each in self.lanes.values() if each.alive and not each.is_busy(now) and not each.rests(now)]
        loads = [each.load(now) for each in able if not seconds or self._may_have_seconds(each)]

        def suits(url: str, prompt_id: str) -> bool:
            return url in self._takers(held[prompt_id]) - held[prompt_id].failed_at

        chosen = choose_prompt(lane.load(now), loads, prompts, suits)
        return held[chosen.prompt_id] if chosen is not None else None

    def to_withdraw(self, lane: LaneState) -> list[Task]:
        """The prompts that a server was asked since the last call to give back, if they have not begun."""
        with self._lock:
            asked, lane.withdraws = lane.withdraws, []
            return [task for task in asked if task.prompt_id in lane.tasks and task.twin is None]

    def to_drop(self, lane: LaneState) -> list[tuple[Task, PromptEnd]]:
        """The prompts of a server that another was quicker with, taken from it, and how far they came."""
        with self._lock:
            asked, lane.drops = lane.drops, []
            there = [task for task in asked if task.prompt_id in lane.tasks]
            dropped = [(task, lane.broken_off(task, time.monotonic())) for task in there]
            for task in there:
                del lane.tasks[task.prompt_id]
            return dropped

    def part(self, task: Task) -> bool:
        """A task came to nothing: whether that is no matter, since another server has the same job, or has made it."""
        with self._lock:
            if task.twin is not None:
                task.twin.twin = None
                task.twin.failed_at.add(task.server)
                task.twin = None
                return True
            return task.is_settled

    # What became of a task

    def end(self, lane: LaneState, outcome: PromptEnd) -> Task | None:
        """A prompt of a server ended there. None for one that it does not hold any more."""
        with self._lock:
            return lane.end(outcome, time.monotonic())

    def take_off(self, lane: LaneState, task: Task) -> None:
        """A prompt is not on a server (any more), and the server has not worked on it."""
        with self._lock:
            lane.tasks.pop(task.prompt_id, None)

    def give_back(self, tasks: list[Task], *, to_others: bool = False) -> bool:
        """Put tasks before all that wait: their models are still loaded. False, and nothing done, where no server may take them."""
        with self._lock:
            if not (self._takers(tasks[0]) if to_others else self.alive):
                return False
            self._waiting.extendleft(reversed(tasks))
            for task in tasks:
                self._wake_one(task)
            return True

    def leave(self, lane: LaneState, tasks: list[Task]) -> bool:
        """A server is gone: its tasks go to the others. False where there is none."""
        with self._lock:
            lane.alive = False
            self.alive.discard(lane.url)
            lane.tasks.clear()
            for task in [task for task in self._waiting if task.twin is not None and task.job.sent_to == lane.url]:
                self.part(task)
                self._waiting.remove(task)
            self._wake_all()
            return self.give_back(tasks)

    def come_back(self, lane: LaneState) -> None:
        with self._lock:
            lane.alive = True
            self.alive.add(lane.url)

    def finish(self, task: Task, finished: Finished) -> bool:
        """A job ended. False where another server was quicker with it, or still works on what failed here."""
        with self._lock:
            if task.is_settled or (finished.outcome.kind != "done" and self.part(task)):
                return False
            twin, task.twin, task.is_settled = task.twin, None, True
            if twin is not None:
                twin.twin, twin.is_settled = None, True
                if twin in self._waiting:
                    self._waiting.remove(twin)
                elif twin.server in self.lanes:
                    self.lanes[twin.server].drops.append(twin)
            self._finished.append(finished)
            self._ended.notify_all()
            return True

    def fail(self, error: BaseException) -> None:
        """No server is left, or a thread met a fault: `wait` raises it."""
        with self._lock:
            self._failure = self._failure or error
            self._ended.notify_all()
            self._over.notify_all()

    # How a server fares

    def was_busy(self, lane: LaneState, retry_after: float | None) -> None:
        with self._lock:
            lane.was_busy(time.monotonic(), retry_after)

    def accepted(self, lane: LaneState, task: Task, handle: str) -> None:
        with self._lock:
            lane.accepted()
            task.handle = handle

    def worked(self, lane: LaneState) -> None:
        """It made a picture."""
        with self._lock:
            lane.worked()

    def failed(self, lane: LaneState) -> float | None:
        """A try failed. Returns for how many seconds the server rests, None where it goes on."""
        with self._lock:
            now = time.monotonic()
            lane.failed()
            others = (other for other in self.lanes.values() if other is not lane and other.alive and not other.rests(now))
            is_alone = not any(other.failures < FAILURES_IN_A_ROW for other in others)
            return None if is_alone or lane.failures < FAILURES_IN_A_ROW or lane.rests(now) else lane.rest(now)

    def refused(self, lane: LaneState, task: Task) -> int:
        """A server refused a task: how many such it has in a row. After `REFUSALS_IN_A_ROW` it gets no more of the kind."""
        with self._lock:
            task.refused_by.add(lane.url)
            count = lane.refused(task.needs)
            if count >= REFUSALS_IN_A_ROW and self._takers(task):
                lane.barred.add(task.needs)
                self._bars_some = True
            return count

    def rest(self, seconds: float) -> bool:
        """Wait, but not beyond the end. True when it is closing, or failed."""
        with self._lock:
            self._over.wait_for(lambda: self.closing or self._failure, seconds)
            return self.closing or self._failure is not None

    def _wake_one(self, task: Task) -> None:
        """The quickest of the idle servers that a task suits; those that are not idle look for themselves."""
        now = time.monotonic()
        idle = [lane for lane in self.lanes.values() if lane.is_idle and self._suits(task, lane, now)]
        if idle:
            quickest = min(idle, key=lambda lane: lane.pace or 0.0)
            quickest.is_idle = False
            quickest.awake.notify()

    def _wake_all(self) -> None:
        for lane in self.lanes.values():
            lane.awake.notify()
