"""Follow a training: judge each checkpoint as it appears, say after each what the curve tells, and stop the training if asked to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lifeos import locks
from lifeos.counting import counted, verb
from lifeos.errors import InputError
from tools.backends.registry import ReachedServers, connect_backends
from tools.production.filing import BatchFolder, check_room, check_writable
from tools.production.pipeline import Circumstances, backend_options
from tools.production.results import COMPLETE, FINISHED, INCOMPLETE
from tools.production.stopping import StopSignal
from tools.sweep.analysis import Shot
from tools.sweep.checkpoint_advice import OVERTRAINED, STOP
from tools.sweep.checkpoint_folder import CheckpointFolder, FoundCheckpoint, planned_checkpoints
from tools.sweep.checkpoint_judging import ABSENT, INTERRUPTED, CheckpointJudge
from tools.sweep.curve_report import CurveVerdict, judge_curve
from tools.sweep.reference_check import ReferenceVerdict
from tools.sweep.training_sight import TrainingSight, see_training
from tools.sweep.watch_order import LoadPolicy, WatchOrder, make_ready
from tools.sweep.watch_state import DELETED, WatchedCheckpoint, WatchState, check_same_design, read_state
from tools.training.stop_request import stop_training
from tools.workflows.seeds import choose_base_seed

LOOK_SECONDS = 1.0
"""How often to look for a new checkpoint."""


@dataclass(frozen=True, slots=True)
class WatchView:
    """How far a watch has come: what the curve says, and on what it rests. `ended`: as of a batch, None while it goes on."""

    state: WatchState
    verdict: CurveVerdict
    references: ReferenceVerdict
    sight: TrainingSight
    shots: list[Shot]
    policy: Mapping[str, Any]
    protocol: dict[str, Any]
    likeness: Mapping[str, Any]
    notice: str | None
    usd: float
    ended: str | None = None
    unloaded: str = ""
    """What a server's log says of LoRA keys that were not loaded; empty if nothing."""


@dataclass(frozen=True, slots=True)
class WatchEnd:
    """How a watch ended: `why` as of a batch, and the last view; None where no picture was scored. `judge`: what judged, None where nothing
    came to be judged."""

    why: str
    view: WatchView | None
    error: Exception | None = None
    judge: CheckpointJudge | None = None


def watch_checkpoints(
    order: WatchOrder, load_policy: LoadPolicy, around: Circumstances, stop: StopSignal, on_view: Callable[[WatchView], None]
) -> WatchEnd:
    """Judge what is there, with `watch` also what comes until the training ends. `on_view` is told after each checkpoint.

    Raises LifeosError for what stops it before it begins.
    """
    root, policy = order.root, load_policy({})
    check_writable(root)
    check_room(BatchFolder(root), policy["production"]["min_free_disk_gb"])
    if not order.watch and not order.folder.is_dir():
        raise InputError(order.folder, "no such directory", "give --checkpoints the output folder of a training")
    with locks.hold(root / ".work" / "lock", str(root)) as held:
        begun = read_state(root)
        if begun is not None and not begun.checkpoints:
            begun = None  # a command that was refused or stopped before its first checkpoint binds the next one to nothing
        if begun is not None:
            check_same_design(root, begun, order.design)
        seed = choose_base_seed(order.request.base_seed, begun.base_seed if begun is not None else None)
        state = begun or WatchState(order.design, seed)
        with connect_backends(order.request.servers, around.note, backend_options(policy, around)) as reached:
            return _Watch(order, state, around, stop, on_view, held).run(load_policy, reached)


@dataclass(slots=True)
class _Watch:
    order: WatchOrder
    state: WatchState
    around: Circumstances
    stop: StopSignal
    on_view: Callable[[WatchView], None]
    held: locks.Held
    view: WatchView | None = None
    _said: set[str] = field(default_factory=set)

    def run(self, load_policy: LoadPolicy, reached: ReachedServers) -> WatchEnd:
        if not self._wait_for_training():
            return WatchEnd(INTERRUPTED, None)
        ground = make_ready(self.order, self.state, load_policy, self.around)
        judge = CheckpointJudge(self.order, self.state, ground, self.around, self.stop, self.held, reached)
        checkpoints = CheckpointFolder(self.order.folder, self.around.note, self.order.training_run or self.state.training_run)
        judge.take_copies_away(*(item for item in self.state.checkpoints if item.ended is not None))
        why, error = self._judge_all(judge, checkpoints)
        if error is None:  # else prompts may be left on a server that need them: the same command goes on with them
            judge.take_copies_away(*self.state.checkpoints)
        if self.view is not None:
            self.view = replace(self.view, ended=why, unloaded=judge.unloaded())
        return WatchEnd(why, self.view, error, judge)

    def _wait_for_training(self) -> bool:
        """Until there is a record or a LoRA in the folder: then manifest and options are there too. False if a stop was asked for."""
        until = time.monotonic() + self.order.idle_seconds
        while not self.state.checkpoints:
            if see_training(self.order.folder).record is not None or any(self.order.folder.glob("*.safetensors")):
                break
            if not self.order.watch or time.monotonic() > until:
                raise InputError(self.order.folder, "holds no LoRA", "give --checkpoints the output folder of a training")
            self._say_once(f"waiting for a training in {self.order.folder}")
            if self._pause():
                return False
        return True

    def _judge_all(self, judge: CheckpointJudge, checkpoints: CheckpointFolder) -> tuple[str, Exception | None]:
        """Judge checkpoint after checkpoint until there is none left and none to come."""
        judge.read_judged()
        if self.state.judged:
            self._show(judge, see_training(self.order.folder))
        quiet_since = time.monotonic()
        while True:
            sight = see_training(self.order.folder)
            self._take_up(checkpoints, checkpoints.look(time.monotonic(), sight.record))
            absent, todo = 0, self._todo()
            if self.state.stopped is not None and self.order.stop_training:
                if todo:
                    newer = f"{counted(len(todo), 'checkpoint')} saved meanwhile {verb(len(todo), 'is', 'are')} left"
                    self.around.note(f"{newer}: the same command without --stop-training judges {verb(len(todo), 'it', 'them')}")
                return self._finished(), None
            for item in todo:
                end = judge.judge(item)
                absent += end.why == ABSENT
                if end.why == ABSENT and self.order.watch:
                    self._say_once(f"waiting: {end.reason}")
                    continue
                if end.error is not None or end.why not in (*FINISHED, DELETED):
                    self._show(judge, sight)
                    return end.why, end.error
                quiet_since = time.monotonic()
                self._show(judge, see_training(self.order.folder))
                break  # look again: an earlier step may have appeared, and the training may be over
            else:
                if self._is_over(sight, bool(checkpoints.pending or absent), time.monotonic() - quiet_since):
                    return self._finished(), None
                if self._pause():
                    return INTERRUPTED, None

    def _finished(self) -> str:
        return INCOMPLETE if any(each.ended == INCOMPLETE for each in self.state.checkpoints) else COMPLETE

    def _take_up(self, checkpoints: CheckpointFolder, found: Sequence[FoundCheckpoint]) -> None:
        """Write down what is new."""
        before = len(self.state.checkpoints), self.state.training_run
        self.state.training_run = self.state.training_run or checkpoints.run
        for each in found:
            known = self.state.find(each.file)
            twin = next((item for item in self.state.checkpoints if item.step == each.step and item.ended != DELETED), None)
            if known is not None:
                if known.sha256 != each.sha256:
                    self._say_once(f"{each.file} is another file than the one that was begun to be judged: left out")
            elif twin is not None:
                self._say_once(f"{each.file} is of step {each.step} too, as {twin.file}: judged once")
            else:
                self.state.checkpoints.append(WatchedCheckpoint(each.file, each.step, each.sha256))
        if before != (len(self.state.checkpoints), self.state.training_run):
            self.state.write(self.order.root)

    def _todo(self) -> list[WatchedCheckpoint]:
        return sorted((item for item in self.state.checkpoints if item.ended is None), key=lambda item: item.step)

    def _show(self, judge: CheckpointJudge, sight: TrainingSight) -> None:
        """Draw the curve of what is judged, tell it, and stop the training where that is advised and wanted."""
        curve = judge.curve(planned_checkpoints(sight.record))
        if curve is None:
            return
        ground = judge.ground
        self.view = WatchView(
            self.state,
            judge_curve(curve, ground.policy),
            ground.references,
            sight,
            judge.all_shots(),
            ground.policy,
            judge.protocol,
            judge.likeness,
            judge.reached.notice,
            judge.usd,
        )
        self.on_view(self.view)
        self._stop_training(self.view)

    def _stop_training(self, view: WatchView) -> None:
        advice, record = next(iter(view.verdict.advice[-1:]), None), view.sight.record
        if not self.order.stop_training or advice is None or advice.kind not in (STOP, OVERTRAINED):
            return
        if record is None or not view.sight.goes_on or self.state.training_run not in (None, record.run_id):
            return
        self.around.note(f"stopping the training {record.run_id}, as Ctrl-C would: {advice.sentence}")
        if failed := stop_training(self.order.folder, record.run_id, advice.sentence):
            self.around.note(f"warning: the training was not stopped: {failed}")
            return
        self.state.stopped = advice.sentence
        self.state.write(self.order.root)
        self.around.note("the training is stopped")

    def _is_over(self, sight: TrainingSight, waits: bool, quiet_seconds: float) -> bool:
        """Whether nothing more is to come."""
        if waits:
            return False
        if not self.order.watch or sight.goes_on is False:
            return True
        if sight.goes_on is None:
            minutes = self.order.idle_seconds / 60
            self._say_once(
                f"no record tells whether this training goes on: the watch ends after {minutes:g} minutes without a new checkpoint"
            )
            return quiet_seconds > self.order.idle_seconds
        if sight.stalled_since:
            self._say_once(f"warning: the training goes on, but has said and saved nothing new since {sight.stalled_since}")
        self._say_once(f"waiting for the next checkpoint ({counted(len(self.state.judged), 'checkpoint')} judged)")
        return False

    def _pause(self) -> bool:
        """Wait a moment. True if a stop was asked for."""
        until = time.monotonic() + LOOK_SECONDS
        was, self.stop.graceful = self.stop.graceful, True
        try:
            while time.monotonic() < until and not self.stop.requested:
                time.sleep(0.05)
        finally:
            self.stop.graceful = was
        self.held.refresh()
        return self.stop.requested

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.around.note(text)
