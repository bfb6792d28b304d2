"""When the guard stops a pod: the rules, on plain values. No clock is read here, only how many seconds passed between two looks.

A pod is idle where nothing that can be seen works, and enough is seen to say so: RunPod's figures of GPU and CPU, or the pod's own word.
Not seen is not idle. What lives (a heartbeat, a busy GPU, a queue) keeps a pod from being idle. Only what is new renews the lease: a step
of a training, a picture, a file; a pod that hangs beats and shows a busy GPU too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lifeos.escaping import escape_line
from tools.cost.pod_sight import PodSight
from tools.cost.pods_api import ERROR, EXITED, RUNNING, TERMINATED, RentedPod

LONGEST_BLIND_SECONDS = 300.0
"""Between two looks that saw a pod idle it counts as idle, unless nothing was seen for longer: then it may have worked, and ended."""

RETRY_SECONDS = 300.0
"""After RunPod refused a stop (locked, no right) it is asked again this much later."""

QUIET_SECONDS = 600.0
"""From here on it is told that a pod beats and does nothing new."""

LONGEST_NAME = 40

State = Literal["working", "idle", "not seen", "locked", "cluster", "stopped", "gone", "starting", "in error", "cannot be stopped"]
Reason = Literal["idle", "lease"]


@dataclass(frozen=True, slots=True)
class GuardRules:
    """The policy's `cost.guard` and the flags. `lease_seconds` 0: no lease."""

    idle_seconds: float
    lease_seconds: float = 0.0
    busy_gpu_percent: float = 10.0
    busy_cpu_percent: float = 5.0
    pods: frozenset[str] = frozenset()
    name_prefix: str = ""
    volume_usd_per_gb_month: float = 0.2

    def is_ours(self, pod: RentedPod) -> bool:
        """Whether the pod was named to this guard. Every other pod of the account is somebody else's."""
        return pod.id in self.pods or bool(self.name_prefix and (pod.name or "").startswith(self.name_prefix))


@dataclass(frozen=True, slots=True)
class PodMemory:
    """What the guard knows of a pod from its earlier looks: seconds and marks, no moments. Kept in its state file."""

    started: str = ""
    idle_seconds: float | None = None
    """How long it has been idle; None while it is not."""
    blind_seconds: float = 0.0
    """Since it was last seen idle."""
    quiet_seconds: float = 0.0
    """Since its work last moved on: what the lease is held against."""
    figures_mark: str = ""
    pulse_mark: str = ""
    work_mark: str = ""
    progress_mark: str = ""
    made_mark: str = ""
    lease_seconds: float = 0.0
    """What a session of the pod gave it, known on when its heartbeats are no longer seen."""
    refused_seconds: float | None = None
    """Since RunPod refused a stop."""
    stop_id: str = ""
    """The record of a stop that was asked for, until the pod runs again."""
    settled: bool = False
    stopped_seconds: float = 0.0
    state: str = ""


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """What one look comes to: the pod's state in words, what is known from now on, and why it is to be stopped, if it is."""

    state: State
    memory: PodMemory
    stop: Reason | None = None
    why: str = ""
    lives: bool = False
    """Whether something on it beats, also where that does nothing new."""


def judge_pod(memory: PodMemory, pod: RentedPod, sight: PodSight | None, elapsed: float, rules: GuardRules) -> GuardVerdict:
    """The rules. `elapsed`: seconds since the look before; `sight` is None for a pod that need not be looked at."""
    if pod.status in (EXITED, TERMINATED):
        known = replace(memory, idle_seconds=None, blind_seconds=0.0, quiet_seconds=0.0, refused_seconds=None)
        return GuardVerdict("stopped" if pod.status == EXITED else "gone", replace(known, state=pod.status))
    if pod.startedAt and memory.started and pod.startedAt != memory.started:
        memory = PodMemory(stop_id=memory.stop_id, settled=memory.settled, stopped_seconds=memory.stopped_seconds)
    refused = None if memory.refused_seconds is None else memory.refused_seconds + elapsed
    memory = replace(memory, started=pod.startedAt or memory.started, refused_seconds=refused, state=pod.status)
    if pod.locked or pod.cluster:
        kept = replace(memory, idle_seconds=None, quiet_seconds=0.0)
        return GuardVerdict("locked" if pod.locked else "cluster", kept, why="it is locked" if pod.locked else "it belongs to a cluster")
    return _judge_running(memory, pod, sight or PodSight(), elapsed, rules)


def _judge_running(memory: PodMemory, pod: RentedPod, sight: PodSight, elapsed: float, rules: GuardRules) -> GuardVerdict:
    pulse, pulse_mark = sight.pulse, sight.pulse.mark if sight.pulse else ""
    told_idle = pulse.is_idle if pulse and pulse_mark != memory.pulse_mark else None
    # RunPod's last word on a pod that hangs stands still
    figures_live = not sight.figures_mark or sight.figures_mark != memory.figures_mark
    moved, lives = _has_moved_on(memory, sight), _find_life(memory, sight, told_idle)
    busy = lives or ("a new picture" if moved else "") or _what_works(sight, rules)
    memory = replace(
        memory,
        figures_mark=sight.figures_mark or memory.figures_mark,
        pulse_mark=pulse_mark or memory.pulse_mark,
        work_mark=(pulse.work_mark if pulse else "") or memory.work_mark,
        progress_mark=(pulse.progress_mark if pulse else "") or memory.progress_mark,
        made_mark=sight.made_mark or memory.made_mark,
        lease_seconds=(pulse.lease_seconds if pulse else 0.0) or memory.lease_seconds,
        quiet_seconds=0.0 if moved else memory.quiet_seconds + elapsed,
    )
    figures_idle = figures_live and sight.gpu_percent is not None and sight.cpu_percent is not None
    state: State
    if busy:
        memory, state, why = replace(memory, idle_seconds=None, blind_seconds=0.0), "working", busy
    elif pod.status == RUNNING and (figures_idle or told_idle):
        memory, state, why = _idle_on(memory, elapsed), "idle", "nothing works"
    else:
        memory = replace(memory, blind_seconds=memory.blind_seconds + elapsed)
        state, why = ("in error" if pod.status == ERROR else "starting"), pod.status
        if pod.status == RUNNING:
            state, why = "not seen", "neither its figures nor its heartbeats can be read"
    if lives and memory.quiet_seconds >= QUIET_SECONDS:
        why = f"{lives}, but nothing new for {in_minutes(memory.quiet_seconds)}"
    lease = memory.lease_seconds or rules.lease_seconds
    reason: Reason | None = None
    if state == "idle" and (memory.idle_seconds or 0.0) >= rules.idle_seconds:
        reason, why = "idle", f"idle for {in_minutes(memory.idle_seconds or 0.0)}"
    elif lease and memory.quiet_seconds >= lease:
        silent, over = in_minutes(memory.quiet_seconds), f"its lease of {in_minutes(lease)} is over"
        reason, why = "lease", f"no sign of work for {silent}, {over}; {why}"
        if lives and pulse:
            reason, why = "lease", f"the {_shown(pulse.working_on)} beats, but has said nothing new for {silent}; {over}"
    if reason and not pod.may_stop:
        return GuardVerdict("cannot be stopped", memory, why=f"{why}, but RunPod offers no stop in its state")
    if reason and memory.refused_seconds is not None and memory.refused_seconds < RETRY_SECONDS:
        reason = None
    return GuardVerdict(state, memory, reason, why, bool(lives))


def _has_moved_on(memory: PodMemory, sight: PodSight) -> bool:
    """Whether there is something new since the look before, which renews the lease: the pod says so, or ComfyUI ended a prompt."""
    told = sight.pulse.progress_mark if sight.pulse else ""
    return bool(_new_words(told, memory.progress_mark)) or bool(sight.made_mark and sight.made_mark != memory.made_mark)


def _find_life(memory: PodMemory, sight: PodSight, told_idle: bool | None) -> str:
    """The heartbeat of something that works; empty without one."""
    pulse = sight.pulse
    if pulse and (_new_words(pulse.work_mark, memory.work_mark) or (pulse.activity and told_idle is False)):
        return f"a heartbeat: {_shown(pulse.working_on)}"
    return ""


def _new_words(now: str, before: str) -> set[str]:
    """A session that ended takes its word away, and adds none."""
    return set(now.split()) - set(before.split())


def _shown(name: str) -> str:
    return escape_line(name[:LONGEST_NAME])


def _what_works(sight: PodSight, rules: GuardRules) -> str:
    if sight.gpu_percent is not None and sight.gpu_percent >= rules.busy_gpu_percent:
        return f"its GPU works ({sight.gpu_percent:.0f}%)"
    if sight.queued:
        return f"ComfyUI has {sight.queued} to do"
    if sight.cpu_percent is not None and sight.cpu_percent >= rules.busy_cpu_percent:
        return f"its CPU works ({sight.cpu_percent:.0f}%)"
    return ""


def _idle_on(memory: PodMemory, elapsed: float) -> PodMemory:
    """One more look that saw it idle: the time since the one before counts, unless too long went by unseen."""
    since = memory.blind_seconds + elapsed
    goes_on = memory.idle_seconds is not None and since <= LONGEST_BLIND_SECONDS
    return replace(memory, idle_seconds=(memory.idle_seconds or 0.0) + since if goes_on else 0.0, blind_seconds=0.0)


def in_minutes(seconds: float) -> str:
    """`15 min`, `4 h`, `1 h 30 min`, `40 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds // 60), 60)
    return " ".join([*([f"{hours} h"] if hours else []), *([f"{minutes} min"] if minutes or not hours else [])])
