"""Watching a pod: what really runs (training, generation, or nothing), and advice when it is nothing for too long.

A sample is taken at a low rate from `nvidia-smi`, ComfyUI's queue and the process list. `Watcher.look` decides, `watch` acts.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifeos.errors import EXIT_INTERRUPTED, EXIT_OK, InputError, LifeosError
from lifeos.signals import deaf_to_signals, signals_wait, stop_signals
from tools.backends.address import Address
from tools.cost.comfy_queue import look_at_queue
from tools.cost.meter import Meter, is_ours
from tools.cost.movement import Movement, ToldProgress
from tools.cost.processes import EVALUATION, TRAINING, TRANSFER, Running, find_activity, list_processes

GENERATION, IDLE = "generation", "idle"
TIMEOUT_SECONDS = 5
BUSY_GPU_PERCENT = 10
"""Above this the GPU works for somebody, known or not: never called idle."""

STEADY_SAMPLES = 2
"""An activity counts from its second sample on: one prompt between two checks must not open and close sessions."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the pod. `gpu_percent` is None where nvidia-smi does not answer, `queued` where ComfyUI does not, `made` (the last prompt
    that it ended) where it holds none, or does not tell."""

    gpu_percent: float | None
    queued: int | None
    processes: tuple[Running, ...] = ()
    made: str | None = None

    @property
    def is_gpu_busy(self) -> bool:
        return self.gpu_percent is not None and self.gpu_percent >= BUSY_GPU_PERCENT


def classify(sample: Sample) -> str:
    """What the pod does: a trainer, then ComfyUI's queue, then an evaluation or a transfer; a busy GPU is never idle."""
    running = find_activity(sample.processes)
    if TRAINING in running:
        return TRAINING
    if sample.queued:
        return GENERATION
    for activity in (EVALUATION, TRANSFER):
        if activity in running:
            return activity
    if sample.is_gpu_busy:
        return GENERATION if sample.queued is None else EVALUATION
    return IDLE


@dataclass(frozen=True, slots=True)
class WatchStep:
    """What one sample leads to: another activity (or None), and whether to advise now that the pod is idle."""

    activity: str | None = None
    advise: bool = False


class Watcher:
    """The decisions over a row of samples. `seconds` is any clock that only runs forward."""

    def __init__(self, idle_seconds: float) -> None:
        self.idle_seconds = idle_seconds
        self.activity: str | None = None
        self._candidate: str | None = None
        self._count = 0
        self._idle_since: float | None = None
        self._advised = False

    def look(self, sample: Sample, seconds: float) -> WatchStep:
        seen = classify(sample)
        self._count = self._count + 1 if seen == self._candidate else 1
        self._candidate = seen
        if seen != IDLE:
            self._idle_since, self._advised = None, False
        elif self._idle_since is None:
            self._idle_since = seconds
        changed = seen != self.activity and (self.activity is None or self._count >= STEADY_SAMPLES)
        if changed:
            self.activity = seen
        advise = self._idle_since is not None and not self._advised and seconds - self._idle_since >= self.idle_seconds
        self._advised = self._advised or advise
        return WatchStep(seen if changed else None, advise)

    def forget(self) -> None:
        """The last change could not be recorded: the next look tells it again."""
        self.activity = None


def take_sample(comfy: Address) -> Sample:
    """Look at this machine once. What does not answer is None, never a reason to stop."""
    from lifeos import web  # not for every start of the tracker

    queued, made = look_at_queue(comfy, web.get)
    return Sample(_gpu_percent(), queued, list_processes(), made)


def _gpu_percent() -> float | None:
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
        return max(float(line) for line in done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How to watch. `on_idle` is a command line of the user's own, run by the shell once per idle spell."""

    interval_seconds: float
    idle_minutes: float
    on_idle: str | None
    max_samples: int | None = None


class _OwnSession:
    """The session that the watch has open, if any."""

    def __init__(
        self, meter: Meter, open_session: Callable[[str], str], say: Callable[[str], None], ended: Callable[[dict[str, Any]], None]
    ) -> None:
        self.meter, self.open_session, self.say, self.ended = meter, open_session, say, ended
        self.id = ""
        self.told = ToldProgress(lambda: [one for one in meter.open_sessions() if is_ours(one)])

    def switch(self, activity: str) -> None:
        """Close ours and open the next. One that cannot be closed just now (no room on the disk) stays ours."""
        self.close()
        self.say(f"now: {activity}")
        self.id = self.open_session(activity)

    def close(self) -> None:
        if not self.id:
            return
        try:
            row = self.meter.stop(self.id)
        except InputError as error:  # someone stopped it by hand
            self.say(str(error))
        else:
            self.ended(row)
            with contextlib.suppress(OSError):  # the terminal is closed: the row is written all the same
                self.say(f"{row['activity']}: {row['duration_min']} min, ${row['cost_usd']:.2f}")
        self.id = ""

    def beat(self, moved: bool) -> None:
        with contextlib.suppress(LifeosError, OSError):  # stopped by hand (the next change opens another), or no room on the disk just now
            self.told.said(self.meter.heartbeat(self.id, progress=moved))

    def hear(self) -> bool:
        """Whether another program has said meanwhile that its work moves on."""
        with contextlib.suppress(LifeosError, OSError):
            return self.told.has_come(self.id)
        return False


def watch(
    meter: Meter,
    open_session: Callable[[str], str],
    sample: Callable[[], Sample],
    settings: WatchSettings,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    seconds: Callable[[], float] = time.monotonic,
    ended: Callable[[dict[str, Any]], None] = lambda row: None,
    looked: Callable[[str, bool], None] = lambda activity, moved: None,
) -> int:
    """Watch until interrupted, by Ctrl-C, SIGTERM or a closed terminal. Each change of activity closes our session and opens the next;
    each look is a heartbeat, which also tells whether what runs moves on.

    `open_session(activity)` opens one and returns its id; `ended` is told the row of each that was closed, `looked` what each look saw, and
    whether that had moved on since the look before.
    """
    watcher, movement = Watcher(settings.idle_minutes * 60), Movement()
    own = _OwnSession(meter, open_session, say, ended)
    taken, trouble = 0, ""
    try:
        with stop_signals():
            while settings.max_samples is None or taken < settings.max_samples:
                seen, now = sample(), seconds()
                step = watcher.look(seen, now)
                moved = movement.look(seen.processes, seen.queued, seen.made, now, told=own.hear(), is_gpu_busy=seen.is_gpu_busy)
                taken += 1
                looked(classify(seen), moved)
                if step.activity is not None:
                    try:
                        with signals_wait():  # an open session whose id nobody knows would never be closed
                            own.switch(step.activity)
                        trouble = ""
                    except (LifeosError, OSError) as error:
                        if taken == 1:
                            raise
                        watcher.forget()
                        if str(error) != trouble:
                            say(f"warning: {error}; watching goes on")
                        trouble = str(error)
                else:
                    own.beat(moved)
                if step.advise:
                    _advise(settings, say)
                if settings.max_samples is None or taken < settings.max_samples:
                    sleep(settings.interval_seconds)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        with deaf_to_signals():
            own.close()
    return EXIT_OK


def _advise(settings: WatchSettings, say: Callable[[str], None]) -> None:
    say(f"nothing has run for {settings.idle_minutes:g} minutes: stop the pod to stop paying for it")
    if settings.on_idle:
        done = subprocess.run(settings.on_idle, shell=True, check=False)  # the user's own command line, as typed
        say(f"--on-idle ended with {done.returncode}")
