"""What people decided about the pictures of a batch, for calibrating the gates: each reviewer's verdict with the picture's scores.

Reads a batch in any state and writes nothing: one that is being made is read as far as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.judging.gates import limits_of
from evals.taste.opinions import FREE, INFORMATIVE, MOVED, RANDOM, Choice, JudgedBatch, Opinion, SeenPicture
from lifeos import locks
from lifeos.errors import InputError
from lifeos.files import warn
from tools.production.batch_state import BatchState
from tools.production.decisions import MOVE, OWNER, DecidedPicture, Decision, SampleMark, read_decisions
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, now_text, read_state
from tools.production.plan import read_plan
from tools.production.rejudging import plan_in_force, policy_in_force
from tools.production.results import OTHER_PLACE, PictureResult, read_results
from tools.production.settling import Settled, moved_by_hand, read_settled


def read_reviewed(root: Path, policy: Mapping[str, Any], on_warning: Callable[[str], None] = warn) -> JudgedBatch:
    """A batch with each reviewer's newest verdicts. Raises InputError where there is no batch, or one that is not ours."""
    plan = read_plan(root)
    if plan is None:
        raise InputError(root, "there is no batch in this directory", "name the --output-dir of a batch")
    folder = BatchFolder(root)
    running = locks.is_held(folder.lock)
    state = read_state(root / JOURNAL_FILE, on_warning)
    plan = plan_in_force(plan, state)
    own = policy_in_force(policy, plan, state)
    settled = read_settled(folder, state, on_warning)
    results = read_results(plan, folder, state, settled, own, on_warning).pictures
    name = root.resolve().name
    seen = {picture.file: _seen(picture, name) for picture in results if picture.file in state.verdicts}
    told = _Told.of(root, state)
    newest = {file: {each.by: each for each in _of_each_person(verdicts)} for file, verdicts in settled.verdicts.items()}
    if not running:  # a picture that is being filed would look like a moved one
        for decision in _moved_since(state, settled):
            newest.setdefault(decision.picture.name, {})[OWNER] = decision
    opinions = [
        Opinion(seen[file], each.by, each.approved, *told.choice(each), each.reason, each.when, each.blind, name)
        for file, verdicts in newest.items()
        if file in seen
        for each in verdicts.values()
    ]
    return JudgedBatch(
        name, plan.protocol, tuple(seen.values()), tuple(opinions), limits_of(own), told.revised, running, plan.engine_notice or ""
    )


def _seen(picture: PictureResult, batch: str) -> SeenPicture:
    prompt = picture.prompt or (f"{batch}: {picture.file if picture.prompt_id is None else picture.prompt_id}")
    is_gone = picture.place == OTHER_PLACE
    return SeenPicture(picture.file, prompt, picture.assessment, picture.gates_approve, picture.copy is not None, is_gone)


def _of_each_person(verdicts: tuple[Decision, ...]) -> list[Decision]:
    """One verdict of each: an opinion that was asked for blind is worth more than a decision that was made knowing the scores."""
    chosen: dict[str, Decision] = {}
    for each in verdicts:
        if each.by not in chosen or each.blind or not chosen[each.by].blind:
            chosen[each.by] = each
    return list(chosen.values())


def _moved_since(state: BatchState, settled: Settled) -> list[Decision]:
    """What was moved by hand and is not written down yet."""
    moved = {file: bool(settled.found.is_approved(file)) for file in sorted(moved_by_hand(state, settled.found))}
    known = {file: decision.approved for file, decision in settled.decisions.items()}
    return [Decision(DecidedPicture(file), approved, when=now_text()) for file, approved in moved.items() if known.get(file) != approved]


@dataclass(frozen=True, slots=True)
class _Told:
    """What older lines of the decisions add to the newest: in which sample a picture was, and how many were changed later."""

    samples: Mapping[tuple[str, str], SampleMark]
    revised: int

    @classmethod
    def of(cls, root: Path, state: BatchState) -> _Told:
        samples: dict[tuple[str, str], SampleMark] = {}
        said: dict[tuple[str, str], set[bool]] = {}
        for each in read_decisions(root, lambda text: None):
            key = each.picture.name, each.by
            if each.picture.name not in state.scored:
                continue
            if each.sample is not None:
                samples.setdefault(key, each.sample)
            if each.undo or each.withdrawn:  # a slip of the hand is no change of mind
                said.pop(key, None)
            else:
                said.setdefault(key, set()).add(each.approved)
        return cls(samples, sum(len(verdicts) > 1 for verdicts in said.values()))

    def choice(self, decision: Decision) -> tuple[Choice, float | None]:
        """Why somebody judged a picture, and for how many it stands; one that was asked for stays so when its verdict is changed later."""
        sample = decision.sample or self.samples.get((decision.picture.name, decision.by))
        if sample is not None:
            return RANDOM if sample.random else INFORMATIVE, sample.weight
        return MOVED if decision.origin == MOVE else FREE, None
