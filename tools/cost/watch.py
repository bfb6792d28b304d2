"""Watching a pod: what really runs (training, generation, or nothing), and advice when it is nothing for too long.

A sample is taken at a low rate from `nvidia-smi`, ComfyUI's queue and the process list. `Watcher.look` decides, `watch` acts.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lifeos import foreign
from lifeos.errors import EXIT_INTERRUPTED, EXIT_OK, InputError, LifeosError
from lifeos.signals import deaf_to_signals, signals_wait
from tools.cost.meter import Meter
from tools.trainers.trainer import TRAINERS

TRAINING, GENERATION, EVALUATION, TRANSFER, IDLE = "training", "generation", "evaluation", "transfer", "idle"
TIMEOUT_SECONDS = 5
BUSY_GPU_PERCENT = 10
"""Above this the GPU works for somebody, known or not: never called idle."""

STEADY_SAMPLES = 2
"""An activity counts from its second sample on: one prompt between two checks must not open and close sessions."""

PROGRAMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (TRAINING, (*(mark for row in TRAINERS for mark in row.process_marks), "retrain_lora_v3")),
    (EVALUATION, ("scorecard.py", "face_similarity_eval.py", "skin_realism_eval.py", "production_pipeline.py", "parameter_sweep.py")),
    (TRANSFER, ("rsync ", "scp ", "rclone ", "runpodctl send", "runpodctl receive", "aws s3 ", "wget ", "curl ")),
)
"""What a command line holds when it is one of these at work, most telling first."""


OURSELVES = "runpod_cost_tracker"
"""Our own command line may hold the words of another program, in --on-idle."""


@dataclass(frozen=True, slots=True)
class QueueCount:
    queue_remaining: int


@dataclass(frozen=True, slots=True)
class QueueLength:
    """ComfyUI's answer to GET /prompt."""

    exec_info: QueueCount


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the pod. `gpu_percent` is None where nvidia-smi does not answer, `queued` where ComfyUI does not."""

    gpu_percent: float | None
    queued: int | None
    commands: tuple[str, ...] = ()


def classify(sample: Sample) -> str:
    """What the pod does: a trainer, then ComfyUI's queue, then an evaluation or a transfer; a busy GPU is never idle."""
    for activity, marks in PROGRAMS[:1]:
        if _runs(sample, marks):
            return activity
    if sample.queued:
        return GENERATION
    for activity, marks in PROGRAMS[1:]:
        if _runs(sample, marks):
            return activity
    if sample.gpu_percent is not None and sample.gpu_percent >= BUSY_GPU_PERCENT:
        return GENERATION if sample.queued is None else EVALUATION
    return IDLE


def _runs(sample: Sample, marks: tuple[str, ...]) -> bool:
    others = [f"{command} " for command in sample.commands if OURSELVES not in command]
    return any(mark in command for command in others for mark in marks)


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


def take_sample(comfy_url: str) -> Sample:
    """Look at this machine once. What does not answer is None, never a reason to stop."""
    return Sample(_gpu_percent(), _queued(comfy_url), _commands())


def _gpu_percent() -> float | None:
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
        return max(float(line) for line in done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _queued(comfy_url: str) -> int | None:
    """Prompts running or pending. `/prompt` counts them in a few bytes; `/queue` sends every workflow."""
    from lifeos import web  # not for every start of the tracker

    try:
        answer = web.get(f"{comfy_url.rstrip('/')}/prompt", comfy_url, seconds=TIMEOUT_SECONDS)
        return foreign.decode(answer, QueueLength, comfy_url).exec_info.queue_remaining
    except LifeosError:
        return None


def _commands() -> tuple[str, ...]:
    """The command lines of all processes: from /proc, else from `ps`."""
    processes = Path("/proc")
    if processes.is_dir():
        found = []
        for path in processes.glob("[0-9]*/cmdline"):
            try:
                found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip())
            except OSError:  # it ended meanwhile
                continue
        return tuple(found)
    try:
        done = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(done.stdout.splitlines())


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How to watch. `on_idle` is a command line of the user's own, run by the shell once per idle spell."""

    interval_seconds: float
    idle_minutes: float
    on_idle: str | None
    max_samples: int | None = None


def watch(
    meter: Meter,
    open_session: Callable[[str], str],
    sample: Callable[[], Sample],
    settings: WatchSettings,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    seconds: Callable[[], float] = time.monotonic,
) -> int:
    """Watch until interrupted. Each change of activity closes our session and opens the next; each look is a heartbeat.

    `open_session(activity)` opens one and returns its id.
    """
    watcher = Watcher(settings.idle_minutes * 60)
    session_id = ""
    taken = 0
    try:
        while settings.max_samples is None or taken < settings.max_samples:
            step = watcher.look(sample(), seconds())
            taken += 1
            if step.activity is not None:
                with signals_wait():  # an open session whose id nobody knows would never be closed
                    session_id = _switch(meter, session_id, step.activity, open_session, say)
            else:
                _beat(meter, session_id)
            if step.advise:
                _advise(settings, say)
            if settings.max_samples is None or taken < settings.max_samples:
                sleep(settings.interval_seconds)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        if session_id:
            with deaf_to_signals():
                _switch(meter, session_id, "", open_session, say)
    return EXIT_OK


def _switch(meter: Meter, session_id: str, activity: str, open_session: Callable[[str], str], say: Callable[[str], None]) -> str:
    if session_id:
        try:
            row = meter.stop(session_id)
            say(f"{row['activity']}: {row['duration_min']} min, ${row['cost_usd']:.2f}")
        except InputError as error:  # someone stopped it by hand
            say(str(error))
    if not activity:
        return ""
    say(f"now: {activity}")
    return open_session(activity)


def _beat(meter: Meter, session_id: str) -> None:
    with contextlib.suppress(LifeosError, OSError):  # stopped by hand (the next change opens another), or no room on the disk just now
        meter.heartbeat(session_id)


def _advise(settings: WatchSettings, say: Callable[[str], None]) -> None:
    say(f"nothing has run for {settings.idle_minutes:g} minutes: stop the pod to stop paying for it")
    if settings.on_idle:
        done = subprocess.run(settings.on_idle, shell=True, check=False)  # the user's own command line, as typed
        say(f"--on-idle ended with {done.returncode}")
