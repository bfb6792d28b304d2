"""The guard of rented pods: looks again and again from outside, and stops what only costs. `guard_rules` decides, this acts.

What it knows is written before it acts, and a stop is in its log before RunPod is asked: a guard that is killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from lifeos import times
from tools.cost.guard_clock import make_look, seconds_since
from tools.cost.guard_log import (
    GONE,
    REFUSED,
    STOPPED,
    WITHDRAWN,
    GuardLog,
    GuardState,
    find_unsettled,
    read_state,
    usd_per_hr,
    write_state,
)
from tools.cost.guard_rules import GuardRules, GuardVerdict, PodMemory, in_minutes, judge_pod
from tools.cost.pod_sight import PodSight
from tools.cost.pods_api import EXITED, TERMINATED, PodsApi, PodsApiError, RentedPod
from tools.cost.session import Instant, read_clock

LOOKS_AT_ONCE = 8
LONGEST_BACKOFF_SECONDS = 60.0
LONG_QUIET_SECONDS = 3600.0
"""A pod without a lease that beats and does nothing new for so long is named."""
DENIED_SECONDS = 600.0
"""So long a key that was taken once and is refused now is tried again: RunPod too has bad minutes."""


@dataclass(frozen=True, slots=True)
class WatchedPod:
    """One of our pods after a look, for the table and for programs."""

    pod: RentedPod
    state: str
    why: str
    idle_seconds: float
    quiet_seconds: float


class Guard:
    """One guard. `look_at(pod)` sees a pod, `clock` and `say` come from outside, `dry_run` only says what it would do."""

    def __init__(
        self,
        api: PodsApi,
        look_at: Callable[[RentedPod], PodSight],
        rules: GuardRules,
        log: GuardLog,
        state_file: Path,
        say: Callable[[str], None],
        *,
        clock: Callable[[], Instant] = read_clock,
        dry_run: bool = False,
    ) -> None:
        self.api, self.look_at, self.rules, self.log, self.state_file = api, look_at, rules, log, state_file
        self.say, self.clock, self.dry_run = say, clock, dry_run
        state = read_state(state_file)
        self.looked, self.memories = state.looked, dict(state.pods)
        for pod_id, stop_id in ({} if dry_run else find_unsettled(log.path)).items():  # asked for, and the state could not be written
            known = self.memories.get(pod_id, PodMemory())
            self.memories[pod_id] = known if known.stop_id else replace(known, stop_id=stop_id)
        self.watched: list[WatchedPod] = []
        self.odd: list[str] = []
        self.others = 0
        self._said: dict[str, str] = {}

    def look(self) -> None:
        """One look at all pods, and what follows from it. Raises PodsApiError where RunPod does not tell."""
        seen = self.api.list_pods()
        now = make_look(self.clock(), seen.date)
        elapsed = seconds_since(self.looked, now)
        self.looked = now
        ours = [pod for pod in seen.pods if self.rules.is_ours(pod)]
        self.others = len(seen.pods) - len(ours)
        self._tell_odd(seen.odd)
        before = dict(self.memories)
        verdicts = [
            judge_pod(before.get(pod.id, PodMemory()), pod, sight, elapsed, self.rules)
            for pod, sight in zip(ours, self._see(ours), strict=True)
        ]
        for pod, verdict in zip(ours, verdicts, strict=True):
            self.memories[pod.id] = self._keep_books(pod, verdict, elapsed)
        self._miss({pod.id for pod in seen.pods}, elapsed, bool(seen.odd))
        self._write()
        self.watched = []
        for pod, verdict in zip(ours, verdicts, strict=True):
            self._tell(pod, verdict)
            if verdict.stop:
                self._stop(pod, before.get(pod.id, PodMemory()), elapsed)
            memory = self.memories.get(pod.id, PodMemory())
            self.watched.append(WatchedPod(pod, verdict.state, verdict.why, memory.idle_seconds or 0.0, memory.quiet_seconds))

    def _see(self, pods: list[RentedPod]) -> list[PodSight | None]:
        """A look at each pod that runs and may be stopped, several at once: one that does not answer must not hold up the others."""

        def see(pod: RentedPod) -> PodSight | None:
            return None if pod.status in (EXITED, TERMINATED) or pod.locked or pod.cluster else self.look_at(pod)

        if min(len(pods), LOOKS_AT_ONCE) < 2:
            return [see(pod) for pod in pods]
        with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
            return list(pool.map(see, pods))

    def _keep_books(self, pod: RentedPod, verdict: GuardVerdict, elapsed: float) -> PodMemory:
        """Settle the stop that was asked for, or count on how long the pod stands stopped."""
        memory = verdict.memory
        if not memory.stop_id or self.dry_run:
            return memory
        stands = pod.status in (EXITED, TERMINATED)
        if stands and not memory.settled:
            return replace(memory, settled=self._settle(memory.stop_id, STOPPED), stopped_seconds=0.0)
        if stands:
            return replace(memory, stopped_seconds=memory.stopped_seconds + elapsed)
        if memory.settled:
            is_written = self._end(memory)
        elif verdict.state not in ("working", "locked", "cluster"):
            return memory  # on its way, or asked once more under the same record
        else:
            is_written = self._settle(memory.stop_id, WITHDRAWN, verdict.why)
        return replace(memory, stop_id="", settled=False, stopped_seconds=0.0) if is_written else memory

    def _miss(self, listed: set[str], elapsed: float, is_partial: bool) -> None:
        """Pods that are known and not in the list: gone, if RunPod says so when asked for them."""
        for pod_id, memory in list(self.memories.items()):
            if pod_id in listed:
                continue
            self.memories[pod_id] = replace(memory, blind_seconds=memory.blind_seconds + elapsed)
            if is_partial or self.dry_run:
                continue
            try:
                self.api.find_pod(pod_id)
            except PodsApiError as error:
                is_written = True
                if error.status == 404 and memory.stop_id:
                    is_written = self._end(memory) if memory.settled else self._settle(memory.stop_id, GONE)
                if error.status == 404 and is_written:
                    del self.memories[pod_id]

    def _stop(self, pod: RentedPod, before: PodMemory, elapsed: float) -> None:
        """Look once more, write it down, ask for it. What RunPod does not do now is asked again at the next look."""
        try:
            fresh = self.api.find_pod(pod.id)
            again = judge_pod(before, fresh, self.look_at(fresh), elapsed, self.rules)
        except PodsApiError as error:
            self.say(f"{pod.title}: not stopped yet, {error.why}")
            return
        if not again.stop or not self.rules.is_ours(fresh):
            self.memories[pod.id] = replace(again.memory, stop_id=self.memories[pod.id].stop_id)
            return
        price = usd_per_hr(fresh)
        costs = f"; it costs ${price:.2f} per hour" if price else ""
        if self.dry_run:
            self._say_once(f"dry {pod.id}", f"would stop {pod.title}: {again.why}{costs}")
            return
        memory = self.memories[pod.id]
        try:
            stop_id = memory.stop_id or self.log.ask(fresh, again.stop, again.why, self._now(), self.rules)
        except OSError as error:
            self._say_once(f"unwritten {pod.id}", f"{pod.title}: not stopped, {self.log.path} cannot be written ({error.strerror})")
            return
        self._said.pop(f"unwritten {pod.id}", None)
        self.memories[pod.id] = replace(memory, stop_id=stop_id, settled=False)
        self._write()
        self.say(f"stopping {pod.title}: {again.why}{costs}")
        self._ask_for_stop(pod, stop_id, was_asked=bool(memory.stop_id))
        self._write()

    def _ask_for_stop(self, pod: RentedPod, stop_id: str, *, was_asked: bool) -> None:
        try:
            self.api.stop(pod.id)
            if self.api.find_pod(pod.id).status == EXITED:
                is_settled = self._settle(stop_id, STOPPED)
                self.memories[pod.id] = replace(self.memories[pod.id], settled=is_settled, stopped_seconds=0.0)
                self.say(f"{pod.title} is stopped; its volume is kept, and costs on")
        except PodsApiError as error:
            if error.may_pass or (was_asked and error.status == 409):  # it may be on its way since it was asked first
                self.say(f"{pod.title}: {error.why}; asked again at the next look")
                return
            self.say(f"{pod.title}: not stopped, RunPod {error.why}" + (f" ({error.fix})" if error.fix else ""))
            self._settle(stop_id, GONE if error.status == 404 else REFUSED, error.why)
            self.memories[pod.id] = replace(self.memories[pod.id], stop_id="", refused_seconds=0.0)

    def _tell(self, pod: RentedPod, verdict: GuardVerdict) -> None:
        text = verdict.why if verdict.state in ("locked", "cluster") else verdict.state + (f", {verdict.why}" if verdict.why else "")
        if verdict.state == "idle":
            still = self.rules.idle_seconds - (verdict.memory.idle_seconds or 0.0)
            text = f"idle; it is stopped in {in_minutes(max(still, 0.0))} unless something works"
        if verdict.state != "idle":
            self._said.pop(f"dry {pod.id}", None)
        if self._said.get(pod.id) != verdict.state:
            self._said[pod.id] = verdict.state
            self.say(f"{pod.title}: {text}")
        self._tell_quiet(pod, verdict)

    def _tell_quiet(self, pod: RentedPod, verdict: GuardVerdict) -> None:
        """That a pod's lease will end, and, of one that has none, that it beats and does nothing new: nobody else would stop it."""
        lease, quiet = verdict.memory.lease_seconds or self.rules.lease_seconds, verdict.memory.quiet_seconds
        text = ""
        if lease and quiet >= 0.75 * lease and not verdict.stop and verdict.state not in ("stopped", "gone"):
            left = in_minutes(max(lease - quiet, 0.0))
            text = f"its lease ends in {left}; only something new renews it: a step, a picture, a file"
        elif not lease and verdict.state == "working" and verdict.lives and quiet >= LONG_QUIET_SECONDS:
            text = f"warning: {verdict.why}; without a lease it is left so (--lease 4h)"
        if text:
            self._say_once(f"quiet {pod.id}", f"{pod.title}: {text}")
        else:
            self._said.pop(f"quiet {pod.id}", None)

    def _tell_odd(self, odd: list[str]) -> None:
        self.odd = odd
        for text in odd:
            self._say_once(text, f"warning: left alone: {text}")

    def _say_once(self, key: str, text: str) -> None:
        if key not in self._said:
            self._said[key] = text
            self.say(text)

    def _now(self) -> str:
        return self.looked.server or times.stamp(self.clock().wall)

    def _settle(self, stop_id: str, outcome: str, detail: str = "") -> bool:
        return self._record(lambda: self.log.settle(stop_id, self._now(), outcome, detail))

    def _end(self, memory: PodMemory) -> bool:
        return self._record(lambda: self.log.end(memory.stop_id, self._now(), memory.stopped_seconds))

    def _record(self, write: Callable[[], None]) -> bool:
        """Whether it is written. What is not, for want of room say, is tried again at the next look."""
        try:
            write()
        except OSError as error:
            self._say_once("log", f"warning: {self.log.path} cannot be written ({error.strerror})")
            return False
        self._said.pop("log", None)
        return True

    def _write(self) -> None:
        if self.dry_run:
            return
        try:
            write_state(self.state_file, GuardState(self.looked, self.memories))
            self._said.pop("state", None)
        except OSError as error:
            why = "what it knows is lost when it ends"
            self._say_once("state", f"warning: {self.state_file} cannot be written ({error.strerror}); {why}")


class Patience:
    """How long to wait after a look that RunPod did not answer, and when to give up: a key that is refused."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._failures, self._denied = 0, 0.0
        self._was_taken, self._why = False, ""

    def after_success(self) -> float:
        self._failures, self._denied = 0, 0.0
        self._was_taken, self._why = True, ""
        return self.interval

    def after_failure(self, error: PodsApiError, say: Callable[[str], None]) -> float:
        """Seconds to wait. Raises the error where waiting makes no sense."""
        wait: float = max(min(self.interval * 2**self._failures, LONGEST_BACKOFF_SECONDS), error.wait_seconds)
        self._failures = min(self._failures + 1, 10)
        if error.is_denied:
            self._denied += wait
            if not self._was_taken or self._denied > DENIED_SECONDS:
                raise error
        if error.why != self._why:
            self._why = error.why
            say(f"RunPod: {error.why}; nothing is stopped meanwhile, asked again in {in_minutes(wait)}")
        return wait


def keep_guard(
    guard: Guard,
    interval: float,
    looks: int | None,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    after_look: Callable[[], None] = lambda: None,
) -> None:
    """Look until interrupted, or so many times. Raises PodsApiError for a key that RunPod refuses, and where the last look failed."""
    patience = Patience(interval)
    taken = 0
    while True:
        taken += 1
        is_last = looks is not None and taken >= looks
        try:
            guard.look()
            wait = patience.after_success()
            after_look()
        except PodsApiError as error:
            if is_last:
                raise
            wait = patience.after_failure(error, say)
        if is_last:
            return
        sleep(wait)
