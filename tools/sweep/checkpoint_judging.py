"""Judge one checkpoint after another: bring it to the servers, make and score its pictures in a round of its own, take its copy away again.

What is begun is written down first (`watch_state`), so that a sweep that was killed goes on with the same command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lifeos import locks
from lifeos.errors import InputError, UnavailableError
from tools.backends.backend import Backend
from tools.backends.registry import ReachedServers
from tools.production.able_servers import AbleServers
from tools.production.filing import BatchFolder
from tools.production.pipeline import Circumstances, choose_servers, queued_before
from tools.production.planning import Generation, plan_generation
from tools.production.results import FINISHED, INCOMPLETE
from tools.production.stopping import StopSignal
from tools.sweep.analysis import Shot
from tools.sweep.checkpoint_curve import CurveCell, TrainingCurve, read_curve
from tools.sweep.lora_delivery import Delivery, remove_copy
from tools.sweep.round_batch import Round, RoundTools, read_begun, read_shots, settings_for, spent_on
from tools.sweep.unloaded_keys import describe_unloaded, find_unloaded
from tools.sweep.watch_order import JudgingGround, WatchOrder
from tools.sweep.watch_state import DELETED, WatchedCheckpoint, WatchState
from tools.trainers.lora_header import read_lora_header
from tools.workflows.seeds import round_seed

INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class JudgedEnd:
    """How judging a checkpoint ended: `why` as of a batch, or `deleted`, or `absent` where no server has it yet, and `reason` says what to
    do."""

    why: str
    error: Exception | None = None
    reason: str = ""


ABSENT = "absent"


@dataclass(slots=True)
class CheckpointJudge:
    """Judges the checkpoints of one sweep. `shots`: the scored pictures by checkpoint file; `protocol` and `likeness`: of the newest
    round."""

    order: WatchOrder
    state: WatchState
    ground: JudgingGround
    around: Circumstances
    stop: StopSignal
    held: locks.Held
    reached: ReachedServers
    shots: dict[str, list[Shot]] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    likeness: Mapping[str, Any] = field(default_factory=dict)
    _tools: RoundTools | None = None

    @property
    def servers(self) -> list[Backend]:
        return self.reached.servers

    @property
    def usd(self) -> float:
        return sum(spent_on(self._folder(item)) for item in self.state.checkpoints)

    def read_judged(self) -> None:
        """The pictures that an earlier command has judged. A round that was scored in another way is run again, which scores it anew."""
        places = tuple(range(len(self.state.design.prompts)))
        for item in self.state.judged:
            plan, _ = read_begun(self._folder(item))
            if plan is None or plan.protocol.get("id") != self.ground.assessor.protocol["id"]:
                item.ended = None
                continue
            self.shots[item.file] = read_shots(plan, self._folder(item), places, self.ground.policy)
            self.protocol, self.likeness = plan.protocol, plan.likeness

    def judge(self, item: WatchedCheckpoint) -> JudgedEnd:
        """Bring a checkpoint to the servers and make and score its pictures. Raises LifeosError for what stops the sweep."""
        path = self.order.folder / item.file
        try:
            name = self._bring(item, path)
        except (OSError, InputError, UnavailableError) as error:
            if not path.exists():
                return self._given_up(item)
            if isinstance(error, UnavailableError):
                return JudgedEnd(ABSENT, error, str(error))
            raise
        if name is None:
            return JudgedEnd(INTERRUPTED)
        if item.served_as != name:
            item.served_as = name
            self._write()
        self._tools = self._tools or self._open_tools(path, name)
        tools = self._tools.with_lora(name)
        tools = replace(tools, servers=self._able(tools.generation, tools.generation.workflow.place(self._first_settings(item, tools))))
        end = tools.run(self._round(item), self.held, self.usd - spent_on(self._folder(item)), rescores=True)
        self.shots[item.file], self.protocol, self.likeness = end.shots, end.protocol, end.likeness
        if end.why in FINISHED:
            item.ended = end.why
            self._write()
            self.take_copies_away(item)
        return JudgedEnd(end.why, end.error)

    def _bring(self, item: WatchedCheckpoint, path: Path) -> str | None:
        work = self.order.root / ".work" / "on_their_way"
        delivery = Delivery(self.servers, self.order.lora_dir, work, self.around.note, lambda: self.stop.requested)
        return delivery.bring(path, item.sha256, lambda target: self._note_copy(item, target))

    def _given_up(self, item: WatchedCheckpoint) -> JudgedEnd:
        self.around.note(f"{item.file} was deleted before it was judged: going on without it")
        item.ended = DELETED
        self._write()
        self.take_copies_away(item)
        return JudgedEnd(DELETED)

    def _open_tools(self, path: Path, name: str) -> RoundTools:
        """The graph, with the first checkpoint in it, and the servers that can run it."""
        prompts, request = self.state.design.prompts, self.ground.request
        whole = replace(request, prompts=prompts, prompts_file=None, lora=name, lora_file=path)
        generation = plan_generation(whole, self.ground.policy, self.servers)
        assert request.reference_dir is not None
        return RoundTools(
            request, self.ground.policy, self.around, self.stop, None, generation, request.reference_dir, self.ground.assessor,
            self.reached.notice, prompts,
        )  # fmt: skip

    def _able(self, generation: Generation, graph: dict[str, Any]) -> AbleServers:
        ours = queued_before(*self.order.root.glob("step_*"))
        return choose_servers(self.reached, generation, self.ground.policy, self.around, ours, [graph])

    def _first_settings(self, item: WatchedCheckpoint, tools: RoundTools) -> Any:
        settings = settings_for(item.configs(self.state.design)[0], tools.generation)
        return replace(settings, positive=self.state.design.prompts[0], seed=0)

    def _round(self, item: WatchedCheckpoint) -> Round:
        design = self.state.design
        seed = round_seed(self.state.base_seed, 1)  # the same for every checkpoint
        title, name = f"step {item.step} ({item.file})", f"{design.run_id}_{item.folder}"
        return Round(title, self._folder(item), name, item.configs(design), tuple(range(len(design.prompts))), design.seeds, seed)

    def _folder(self, item: WatchedCheckpoint) -> BatchFolder:
        return BatchFolder(self.order.root / item.folder)

    def _write(self) -> None:
        self.state.write(self.order.root)

    # copies of ours

    def _note_copy(self, item: WatchedCheckpoint, target: Path) -> None:
        if str(target) not in item.copies:
            item.copies.append(str(target))
            self._write()

    def take_copies_away(self, *items: WatchedCheckpoint) -> None:
        """Remove the copies of these checkpoints, also those that a killed sweep left."""
        for item in items:
            if item.copies:
                item.copies = [copy for copy in item.copies if not remove_copy(Path(copy))]
                self._write()

    # what it comes to

    def unloaded(self) -> str:
        """What the servers' logs say of keys of the newest checkpoint that were not loaded; empty if nothing."""
        newest = next((item for item in reversed(self.state.judged) if (self.order.folder / item.file).is_file()), None)
        if newest is None:
            return ""
        try:
            keys = read_lora_header(self.order.folder / newest.file).keys
        except InputError:
            return ""
        return describe_unloaded(find_unloaded(self.servers, keys), len(keys))

    def curve(self, planned: int | None) -> TrainingCurve | None:
        """The curve of what was scored; None as long as nothing was. `planned`: how many checkpoints the training will save."""
        design, items = self.state.design, [item for item in self.state.checkpoints if self.shots.get(item.file)]
        if not items:
            return None
        named = [(item, config) for item in items for config in item.configs(design)]
        return read_curve(
            self.all_shots(),
            [CurveCell(config.name, item.file, item.step, config.strength or 0.0) for item, config in named],
            self.ground.policy,
            wanted=design.wanted,
            finished={config.name for item, config in named if item.ended == INCOMPLETE},
            references_trained=self.ground.references.are_trained,
            planned=planned,
        )

    def all_shots(self) -> list[Shot]:
        """Every scored picture, earliest step first."""
        items = sorted(self.state.checkpoints, key=lambda item: item.step)
        return [shot for item in items for shot in self.shots.get(item.file, [])]
