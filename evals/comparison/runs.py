"""A row of the evaluation history as a run: read as far as it goes, with a plain sentence for all that is missing or odd."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evals.judging import gates
from evals.judging.picture_verdict import approves
from evals.judging.records import Reading
from evals.judging.run_kinds import WHY_NO_EVIDENCE, kind_of_row
from evals.judging.variety import FEWEST, NOT_RECORDED, PoseFigures
from lifeos import foreign
from lifeos.counting import counted, verb
from lifeos.errors import InputError

SCHEMA_VERSION = 1
"""The newest schema of rows that this reads in full."""
MOST_PROBLEMS = 12
"""A row that is wrong in ten thousand pictures must not fill the report with it."""
MOST_COUNTED = 1e12
NO_EVAL_SCORES = "the row has no eval_scores"


@dataclass(frozen=True, slots=True)
class RowPicture:
    """One picture of a run. `scores` by gate key holds the gates that the row knows of: None means that there is no score, never zero."""

    file: str
    config: str | None
    prompt_id: str | None
    seed: int | None
    scores: Mapping[str, float | None]
    shot: str | None
    approved: bool | None
    duplicate_of: str | None = None
    """The picture of the run that is the same file, or by the policy nearly the same picture, and was kept."""
    sha256: str | None = None
    """Of the file that was scored: a folder may have been used again since."""
    reason: str | None = None
    """Why it has no face score. Rows of older versions do not say it: then a picture without one is one without a face."""
    says_why: bool = False
    """Whether the row tells the reason."""
    decided_by: str | None = None
    """The person whose verdict `approved` is; None where it is that of the gates."""
    gates_approved: bool | None = None
    """What the gates said of a picture about which a person decided."""

    def readings(self) -> dict[str, Reading]:
        """What each gate that the row knows of reads from the picture."""
        return {key: Reading(score, None if score is not None else self._reason(key)) for key, score in self.scores.items()}

    def _reason(self, key: str) -> str | None:
        if self.says_why:
            return self.reason
        return next(iter(gates.gate_of(key).zero_reasons), None)

    def is_approved(self, policy: Mapping[str, Any]) -> bool:
        """The verdict that the row holds, else the policy's on its scores."""
        return approves(self.readings(), policy) if self.approved is None else self.approved

    @property
    def has_face(self) -> bool:
        return self.scores.get("face") is not None

    @property
    def is_readable(self) -> bool:
        """Whether it is a picture at all, as far as the row tells."""
        return not self.says_why or self.reason in (None, "no_face")


@dataclass(frozen=True, slots=True)
class Run:
    """One scorecard. `problems` says what could not be read, in words for the report."""

    run_id: str
    timestamp: str
    lora_version: str
    training_params: dict[str, Any]
    protocol_id: str | None
    protocol: dict[str, Any]
    manifest_path: str | None
    manifest_hash: str | None
    means: Mapping[str, float | None]
    """By gate key, as the row holds them."""
    overall: float | None
    grade: str | None
    coverage: Mapping[str, float]
    """By gate key: the share of the pictures that have a score; empty in rows of older versions."""
    best_config: str | None
    worst_config: str | None
    images_evaluated: int | None
    images_without_face: int | None
    images: tuple[RowPicture, ...]
    notes: str
    kind: str = ""
    """Empty, or the kind of its pictures where they are none of a LoRA's (`evals/judging/run_kinds.py`)."""

    sameness: PoseFigures | None = None
    """Of all its pictures; None in rows that are older than these figures."""
    sameness_of: str = ""
    """Of which pictures else, in words."""
    extra: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def decided_line(self) -> str:
        """What people decided about its pictures, in a sentence; empty where they decided nothing."""
        decided = [picture for picture in self.images if picture.decided_by is not None]
        if not decided:
            return ""
        against = [picture for picture in decided if picture.approved is not picture.gates_approved]
        ups = sum(picture.approved is True for picture in against)
        told = f"{ups} of them approved and {len(against) - ups} rejected against the gates"
        return f"{counted(len(decided), 'picture')} {verb(len(decided), 'was', 'were')} decided by people: {told}"

    @property
    def why_no_evidence(self) -> str:
        """Why it says nothing about a LoRA; empty where it does."""
        return WHY_NO_EVIDENCE.get(self.kind, "")

    @property
    def version(self) -> str:
        return self.lora_version or self.run_id

    def pose_verdict(self, policy: Mapping[str, Any]) -> str:
        """`same`, `alike`, `varied` or `too_few`; empty where it is not recorded."""
        return "" if self.sameness is None else self.sameness.verdict(policy["production"]["same_pose_yaw_spread_deg"])

    def pose_line(self, policy: Mapping[str, Any]) -> str:
        """How varied its pictures are, in a line."""
        if self.sameness is None:
            return NOT_RECORDED
        line = self.sameness.line(policy["production"]["same_pose_yaw_spread_deg"])
        return f"{line} ({self.sameness_of})" if self.sameness_of else line

    @property
    def scene_verdict(self) -> str:
        """`same`, `alike` or `varied` clothes and places; empty where it is not recorded, or of too few pictures."""
        return "" if self.sameness is None else self.sameness.scene_verdict()

    @property
    def scene_line(self) -> str:
        """How varied clothes and places are, in a line."""
        line = (self.sameness or PoseFigures(0)).scene_line()
        return f"{line} ({self.sameness_of})" if self.sameness_of and self.scene_verdict else line


class _Reader:
    """Takes values out of a row and remembers what was wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def complain(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def take(self, value: object, kind: Any, name: str) -> Any:
        """The value as a `kind`, None where it is not there or is none."""
        if value is None:
            return None
        try:
            return foreign.convert(value, kind, name, not_finite="text", too_large="text")
        except InputError as error:
            self.complain(f"{error.what}: {error.why}: left out")
            return None

    def number(self, value: object, name: str, *, low: float, high: float) -> float | None:
        if type(value) is float and low <= value <= high:  # ten thousand of these in a row
            return value
        found: float | str | None = self.take(value, float | str, name)
        if found is None:
            return None
        if isinstance(found, str):
            try:
                number = float(found)
            except ValueError:
                self.complain(f'{name} is the text "{found[:40]}", not a number: left out')
                return None
            if low <= number <= high:
                self.complain(f"{name} is a number written as text: read as {number:g}")
        else:
            number = float(found)
        if not math.isfinite(number):
            self.complain(f"{name} is {number}: left out")
        elif not low <= number <= high:
            self.complain(f"{name} is {number:g}, which no score can be: left out")
        else:
            return number
        return None

    def score(self, value: object, name: str, gate: gates.Gate | None = None) -> float | None:
        """A score, or a mean of scores. Hands also wrote cosines, which may be below 0."""
        low, high = gate.span if gate is not None else (0.0, 1.0)
        return self.number(value, name, low=low - (high - low), high=high)

    def count(self, value: object, name: str) -> int | None:
        number = self.number(value, name, low=0, high=MOST_COUNTED)
        return None if number is None else int(number)

    def mapping(self, value: object, name: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self.take(value, dict[str, Any], name)
        return found or {}


def read_run(row: Mapping[str, Any]) -> Run:
    """A run from a history row of any age. Raises nothing for what a hand may have written."""
    reader = _Reader()
    version = row.get("schema_version")
    if version is None:
        reader.complain("the row has no schema_version: written by hand or by an older version, read as far as it goes")
    elif version != SCHEMA_VERSION:
        told = _text(version) or "of another kind"
        reader.complain(f"the row has schema_version {told}, this reads {SCHEMA_VERSION}: what it does not know is left out")
    scores = reader.mapping(row.get("eval_scores"), "eval_scores")
    means = {gate.key: reader.score(scores.get(gate.mean_name), f"eval_scores.{gate.mean_name}", gate) for gate in gates.GATES}
    coverage = reader.mapping(scores.get("coverage"), "eval_scores.coverage")
    covered = {
        gate.key: reader.number(coverage.get(gate.picture_name), f"eval_scores.coverage.{gate.picture_name}", low=0, high=1)
        for gate in gates.GATES
    }
    overall = reader.score(scores.get("overall_score"), "eval_scores.overall_score")
    if "eval_scores" not in row:
        reader.complain(NO_EVAL_SCORES)
    images = _read_pictures(row.get("images"), reader)
    return Run(
        run_id=_text(row.get("run_id")) or "",
        timestamp=_text(row.get("timestamp")) or "",
        lora_version=_text(row.get("lora_version")) or "",
        training_params=reader.mapping(row.get("training_params"), "training_params"),
        protocol_id=_text(row.get("protocol_id")),
        protocol=reader.mapping(row.get("protocol"), "protocol"),
        manifest_path=_text(row.get("dataset_manifest_path")),
        manifest_hash=_text(row.get("dataset_manifest_hash")),
        means=means,
        overall=overall,
        grade=_text(scores.get("overall_grade")),
        coverage={key: share for key, share in covered.items() if share is not None},
        best_config=_config_name(scores.get("best_config")),
        worst_config=_config_name(scores.get("worst_config")),
        images_evaluated=reader.count(scores.get("images_evaluated"), "eval_scores.images_evaluated"),
        images_without_face=reader.count(scores.get("images_without_face"), "eval_scores.images_without_face"),
        images=images,
        notes=_text(row.get("notes")) or "",
        kind=kind_of_row(row.get("kind"), _text(row.get("notes")) or ""),
        sameness=read_pose_figures(reader.mapping(row.get("sameness"), "sameness"), reader),
        extra={
            **{key: reader.mapping(row[key], key) for key in ("cost", "sameness") if key in row},
            **{key: text for key in ("generated_dir", "reference_dir", "dataset_id") if isinstance(text := row.get(key), str)},
        },
        problems=_first_of(reader.problems),
    )


def read_pose_figures(figures: Mapping[str, Any], reader: _Reader | None = None) -> PoseFigures | None:
    """The figures of variety of a row or a report; None where there are none."""
    reader = reader or _Reader()
    spans = {"yaw_spread_deg": 180.0, "same_pose_share": 1.0, "entropy_bits": 64.0, "landmark_distance": 2.0}
    faces = reader.count(figures.get("faces"), "sameness.faces")
    found = {name: reader.number(figures.get(name), f"sameness.{name}", low=0, high=high) for name, high in spans.items()}
    known = faces is not None or any(value is not None for value in found.values())
    scenes = reader.count(figures.get("scenes"), "sameness.scenes")
    share = reader.number(figures.get("same_scene_share"), "sameness.same_scene_share", low=0, high=1)
    if not known and scenes is None and share is None:
        return None
    if share is not None and scenes is None:
        scenes = FEWEST
    return PoseFigures(faces if faces is not None else FEWEST, **found, scenes=scenes, same_scene_share=share)


def _first_of(problems: list[str]) -> tuple[str, ...]:
    if len(problems) <= MOST_PROBLEMS:
        return tuple(problems)
    return (*problems[:MOST_PROBLEMS], f"and {len(problems) - MOST_PROBLEMS} more like these")


def _read_pictures(value: object, reader: _Reader) -> tuple[RowPicture, ...]:
    entries = reader.take(value, list[Any], "images") or []
    pictures = [_read_picture(item, reader) for item in entries if isinstance(item, Mapping)]
    if len(pictures) < len(entries):
        reader.complain(f"{len(entries) - len(pictures)} entries of images are no mappings: left out")
    return tuple(pictures)


def _read_picture(item: Mapping[str, Any], reader: _Reader) -> RowPicture:
    seed = item.get("seed")
    if isinstance(seed, str) and seed.isdecimal() and len(seed) < 20:
        seed = int(seed)
    approved = item.get("approved")
    return RowPicture(
        file=_text(item.get("file")) or "",
        config=_text(item.get("config")),
        prompt_id=_text(item.get("prompt_id")),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        scores={
            gate.key: reader.score(item[gate.picture_name], f"{gate.picture_name} of a picture", gate)
            for gate in gates.GATES
            if gate.picture_name in item
        },
        shot=_text(item.get("shot_type")) or _text(item.get("shot")),
        approved=approved if isinstance(approved, bool) else None,
        duplicate_of=_text(item.get("duplicate_of")),
        sha256=_text(item.get("sha256")),
        reason=_text(item.get("reason")),
        says_why="reason" in item,
        decided_by=_text(item.get("decided_by")),
        gates_approved=gated if isinstance(gated := item.get("gates_approved"), bool) else None,
    )


def _text(value: object) -> str | None:
    """Text on one line, or None. Numbers are taken as their digits: hands write `"run_id": 42`."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str) and not abs(value) < MOST_COUNTED * MOST_COUNTED:  # no id, and Python prints no 5,000 digits
        return None
    return " ".join(str(value).split()) or None


def _config_name(value: object) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("config") or value.get("name")
    return _text(value)
