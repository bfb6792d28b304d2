"""Compare two versions: the head's plain numbers, and the evidence under them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.comparison import verdicts
from evals.comparison.inference import Estimate, estimate_means, estimate_unpaired, estimate_versions, share_interval, sum_by_prompt
from evals.comparison.pairing import MEASURES, Pairs, PassMark, pair_runs
from evals.comparison.runs import Run
from evals.comparison.verdicts import INCONCLUSIVE, NO_VERDICT, Settle
from lifeos.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METRICS = (
    ("face", "Face Similarity", "face_similarity_mean"),
    ("skin", "Skin Realism", "skin_realism_mean"),
    ("overall", "Overall Score", "overall_score"),
)
RESAMPLING_SEED = 20260211
"""Fixed, so that the same rows give the same report."""
SHOWN_DIFFERENCES = 8
NOT_OF_THE_ENGINE = frozenset(
    {"engine", "model_pack", "aggregation", "subject", "face_metric", "skin_metric", "reference_set_id", "references"}
)


class ProtocolMismatch(InputError):
    """Two runs whose scores cannot be compared: they were measured in different ways."""


@dataclass(frozen=True, slots=True)
class Side:
    """One version as the head shows it: `name` heads its column, `version` is the LoRA's."""

    name: str
    version: str
    runs: tuple[Run, ...]
    scores: dict[str, float | None]
    grade: str | None
    best_config: str | None
    images: int | None
    faceless: int | None
    spans: dict[str, tuple[float, float] | None]
    """The intervals of its shares: approved, has_face."""


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of the two versions. `estimate` is None where no picture is known; `doubt` says why nothing can be concluded."""

    key: str
    title: str
    first: float | None
    second: float | None
    delta: float | None
    verdict: str
    estimate: Estimate | None = None
    settle: Settle | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """The paired differences of a part of the pictures: one shot type, one configuration."""

    name: str
    pairs: int
    face: Estimate
    skin: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Everything that is known of two versions, ready to be rendered or judged further."""

    first: Side
    second: Side
    metrics: dict[str, MetricResult]
    grade_levels: int | None
    grade_verdict: str
    pairs: Pairs | None
    by_shot: tuple[Slice, ...]
    by_config: tuple[Slice, ...]
    claims_versions: bool
    notes: tuple[str, ...]
    policy: dict[str, Any]

    @property
    def has_evidence(self) -> bool:
        return any(result.estimate is not None for result in self.metrics.values())

    @property
    def verdict(self) -> str:
        return self.metrics["overall"].verdict


def compare(first: Sequence[Run], second: Sequence[Run], policy: dict[str, Any], *, allow_protocol_mismatch: bool = False) -> Comparison:
    """Compare one or several runs of each version under `policy` (its `comparison` section and what scores need).

    Raises InputError for the same run on both sides, ProtocolMismatch for runs that were measured differently.
    """
    both = {run.run_id for run in first} & {run.run_id for run in second}
    if both:
        raise InputError("--v1 and --v2", f"{', '.join(sorted(both))} stands on both sides", "name two different runs; --list shows them")
    notes = check_protocols([*first, *second], allow=allow_protocol_mismatch)
    sides = [_side(runs, policy, notes) for runs in (first, second)]
    pairs = pair_runs(first, second, PassMark.of(policy)) if all(run.images for run in (*first, *second)) else None
    estimates, doubt = _estimate(pairs, first, second, policy) if pairs else ({}, "")
    metrics = {key: _metric(key, title, sides, estimates.get(key), doubt, policy) for key, title, _ in METRICS}
    rates = {"approved": "Approved", "has_face": "Face found"}
    metrics |= {key: _metric(key, title, sides, estimates.get(key), doubt, policy) for key, title in rates.items() if pairs}
    levels = _levels(sides, policy, notes)
    for run in (*first, *second):
        notes += [f"{run.run_id}: {problem}" for problem in run.problems]
    if pairs and pairs.matched_by == "file name":
        notes.append("The pictures carry no prompt and seed; they were paired by file name, each counted as a prompt of its own.")
    return Comparison(
        first=sides[0],
        second=sides[1],
        metrics=metrics,
        grade_levels=levels,
        grade_verdict=_grade_verdict(levels, metrics["overall"]),
        pairs=pairs,
        by_shot=_slices(pairs, "shot", policy),
        by_config=_slices(pairs, "config", policy),
        claims_versions=len(first) > 1 or len(second) > 1,
        notes=tuple(dict.fromkeys(notes)),
        policy=policy,
    )


def check_protocols(runs: Sequence[Run], *, allow: bool) -> list[str]:
    """Notes on protocols. Raises ProtocolMismatch with what differs when the runs were scored in different ways."""
    known = {run.protocol_id: run for run in runs if run.protocol_id}
    notes = [f"{run.run_id} does not say how it was scored (no protocol_id)" for run in runs if not run.protocol_id]
    if notes:
        notes.append("If the runs were scored with another engine or reference set, their difference means nothing.")
    if len(known) < 2:
        return notes
    one, other = list(known.values())[:2]
    what = describe_protocol_difference(one, other)
    if not allow:
        ids = f"{one.run_id} and {other.run_id}"
        again = f"python evals/compare_versions.py --v1 {one.run_id} --v2 {other.run_id} --rescore"
        raise ProtocolMismatch(ids, f"scored in different ways: {what}", f"score both again in one way: {again}")
    forced = f"FORCED: {one.run_id} and {other.run_id} were scored in different ways ({what}): differences may come from that alone."
    return [*notes, forced]


def describe_protocol_difference(one: Run, other: Run) -> str:
    """What differs, key by key where the rows hold their protocols, else the two ids."""
    mine, theirs = _flatten(one.protocol), _flatten(other.protocol)
    differing = [key for key in dict.fromkeys([*mine, *theirs]) if mine.get(key) != theirs.get(key)]
    if "engine" in differing:  # its models, detector and scale differ with it
        differing = [key for key in differing if key in NOT_OF_THE_ENGINE]
    parts = [f"{key} {_short(mine.get(key))} against {_short(theirs.get(key))}" for key in differing]
    if one.protocol and other.protocol and parts:
        return "; ".join(parts[:SHOWN_DIFFERENCES])
    return f"protocol {_short(one.protocol_id)} against {_short(other.protocol_id)}"


def _flatten(protocol: Mapping[str, Any]) -> dict[str, object]:
    """A protocol without its id, `scale: {pass: 0.3}` as `scale.pass`: so that a difference is said by what differs."""
    flat: dict[str, object] = {}
    for key, value in protocol.items():
        flat |= {f"{key}.{inner}": part for inner, part in value.items()} if isinstance(value, Mapping) else {key: value}
    flat.pop("id", None)
    return flat


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:16]}…"


def _side(runs: Sequence[Run], policy: dict[str, Any], notes: list[str]) -> Side:
    import numpy as np

    mark = PassMark.of(policy)
    scores: dict[str, float | None] = {}
    tables = [np.array([mark.measure(image) for image in run.images]) for run in runs]
    for index, (key, _, stored) in enumerate(METRICS):
        values = [_score(run, table, index, key, stored, policy, notes) for run, table in zip(runs, tables, strict=True)]
        there = [value for value in values if value is not None]
        scores[key] = sum(there) / len(there) if there else None
    spans: dict[str, tuple[float, float] | None] = {}
    prompts = [image.prompt_id or f"{run.run_id}/{image.file}" for run in runs for image in run.images]
    for index, key in ((3, "approved"), (4, "has_face")):
        rows = [table[:, index] for table in tables if len(table)]
        scores[key] = float(np.concatenate(rows).mean()) if rows else None
        spans[key] = share_interval(np.concatenate(rows), prompts, policy["comparison"]["confidence"]) if rows else None
    names = list(dict.fromkeys(run.run_id for run in runs))
    versions = list(dict.fromkeys(run.version for run in runs))
    return Side(
        name=names[0] if len(names) == 1 else (versions[0] if len(versions) == 1 else " + ".join(names)),
        version=versions[0] if len(versions) == 1 else " + ".join(versions),
        runs=tuple(runs),
        scores=scores,
        grade=_grade(runs, scores["overall"], policy, notes),
        best_config=next((run.best_config for run in sorted(runs, key=_overall, reverse=True) if run.best_config), None),
        images=_total([run.images_evaluated if run.images_evaluated is not None else (len(run.images) or None) for run in runs]),
        faceless=_total([_faceless(run) for run in runs]),
        spans=spans,
    )


def _score(run: Run, table: Floats, index: int, key: str, stored: str, policy: dict[str, Any], notes: list[str]) -> float | None:
    """The run's mean: as its row says, else from its pictures, else (overall) from the two means."""
    import numpy as np

    value = run.scores.get(stored)
    if value is not None:
        return value
    if len(table) and np.isfinite(table[:, index]).any():
        notes.append(f"{run.run_id}: {stored} is missing in the row; it was worked out from its pictures")
        return float(np.nanmean(table[:, index]))
    face, skin = run.scores.get("face_similarity_mean"), run.scores.get("skin_realism_mean")
    if key == "overall" and face is not None and skin is not None:
        weights = policy["scorecard"]["weights"]
        return float(weights["face_similarity"] * face + weights["skin_realism"] * skin)
    if key != "overall":
        notes.append(f"{run.run_id}: {stored} is missing: it is not compared")
    return None


def _grade(runs: Sequence[Run], overall: float | None, policy: dict[str, Any], notes: list[str]) -> str | None:
    if len(runs) == 1 and runs[0].grade:
        return runs[0].grade
    if overall is None:
        notes.append(f"{runs[0].run_id}: overall_grade is missing, and so are the scores it could be worked out from")
        return None
    if len(runs) == 1:
        notes.append(f"{runs[0].run_id}: overall_grade is missing in the row; it was worked out from the scores")
    return verdicts.grade_for(overall, policy["scorecard"]["grade_boundaries"])


def _levels(sides: list[Side], policy: dict[str, Any], notes: list[str]) -> int | None:
    boundaries = policy["scorecard"]["grade_boundaries"]
    for side in sides:
        if side.grade is not None and side.grade not in boundaries:
            known = ", ".join(verdicts.grades_best_first(boundaries))
            notes.append(f"{side.name}: the grade {side.grade} is not one of the policy's ({known}): grades are not compared")
    if any(side.grade not in boundaries for side in sides):
        return None
    return verdicts.level_delta(str(sides[0].grade), str(sides[1].grade), boundaries)


def _grade_verdict(levels: int | None, overall: MetricResult) -> str:
    """A grade that moved counts only as far as the score under it did."""
    if levels is None:
        return NO_VERDICT
    if levels == 0:
        return verdicts.UNCHANGED
    direction = verdicts.IMPROVED if levels > 0 else verdicts.REGRESSED
    if overall.estimate is None and not overall.doubt:
        return direction
    return direction if overall.verdict == direction else INCONCLUSIVE


def _overall(run: Run) -> float:
    return run.scores.get("overall_score") or 0.0


def _faceless(run: Run) -> int | None:
    if run.images_without_face is not None:
        return run.images_without_face
    return sum(image.face is None for image in run.images) if run.images else None


def _total(counts: Sequence[int | None]) -> int | None:
    there = [count for count in counts if count is not None]
    return sum(there) if there else None


def _estimate(pairs: Pairs, first: Sequence[Run], second: Sequence[Run], policy: dict[str, Any]) -> tuple[dict[str, Estimate], str]:
    """An estimate of each measure, or the reason why there is none."""
    section = policy["comparison"]
    confidence = section["confidence"]
    if pairs.matched_by == "nothing":
        if any(image.prompt_id for run in (*first, *second) for image in run.images):
            return {}, "the versions have no prompt in common, so a difference may come from the prompts alone"
        columns = zip(MEASURES, pairs.first.T, pairs.second.T, strict=True)
        return {key: estimate_unpaired(_there(one), _there(two), confidence=confidence) for key, one, two in columns}, ""
    if len(first) > 1 or len(second) > 1:
        return {key: _estimate_versions(pairs, index, confidence) for index, key in enumerate(MEASURES)}, ""
    difference = pairs.second - pairs.first
    scores, shares = sum_by_prompt(difference[:, :3], pairs.prompts), sum_by_prompt(difference[:, 3:], pairs.prompts)
    estimates = estimate_means(scores, confidence=confidence, resamples=section["resamples"], seed=RESAMPLING_SEED)
    # a share moves in a few prompts only, and resamples without any of them have no spread to divide by: Student's t
    estimates += estimate_means(shares, confidence=confidence, resamples=0)
    return dict(zip(MEASURES, estimates, strict=True)), ""


def _there(values: Floats) -> Floats:
    import numpy as np

    return values[np.isfinite(values)]


def _estimate_versions(pairs: Pairs, column: int, confidence: float) -> Estimate:
    """Runs as well as prompts vary: means per run and prompt, over the pictures that every run has a score for."""
    import numpy as np

    runs = np.array([run[:, column] for run in (*pairs.runs_first, *pairs.runs_second)]).T
    complete = np.isfinite(runs).all(axis=1)
    prompts = [prompt for prompt, there in zip(pairs.prompts, complete, strict=True) if there]
    if not prompts:
        return Estimate(float("nan"), None, None, None, None, 0, 0, 0, "none")
    sums = sum_by_prompt(runs[complete], prompts)
    means = (sums.sums / sums.counts).T
    split = len(pairs.runs_first)
    return estimate_versions(means[:split], means[split:], sums.counts[:, 0], confidence=confidence)


def _metric(key: str, title: str, sides: list[Side], estimate: Estimate | None, doubt: str, policy: dict[str, Any]) -> MetricResult:
    section = policy["comparison"]
    first, second = sides[0].scores.get(key), sides[1].scores.get(key)
    delta = None if first is None or second is None else second - first
    if delta is None:
        return MetricResult(key, title, first, second, None, NO_VERDICT, None, None, doubt)
    if doubt:
        return MetricResult(key, title, first, second, delta, INCONCLUSIVE, None, None, doubt)
    if estimate is None:
        return MetricResult(key, title, first, second, delta, verdicts.judge_delta(delta, section["minimum_effect"]))
    verdict = verdicts.judge_estimate(estimate, section["minimum_effect"])
    settled = verdicts.settle(estimate, section["minimum_effect"], section["confidence"]) if verdict == INCONCLUSIVE else None
    return MetricResult(key, title, first, second, delta, verdict, estimate, settled, _why_unknown(estimate))


def _why_unknown(estimate: Estimate) -> str:
    if estimate.low is not None:
        return ""
    if estimate.pairs == 0:
        return "no picture has a score in both versions"
    if estimate.pairs == 1:
        return "one picture cannot show how much pictures differ by chance"
    if estimate.prompts == 1:
        return "all pictures are of one prompt, which cannot show how prompts differ: at least two are needed"
    return f"every prompt differs by exactly {estimate.effect:+.4f}: nothing is known of the noise (are these copies?)"


def _slices(pairs: Pairs | None, attribute: str, policy: Mapping[str, Any]) -> tuple[Slice, ...]:
    """Paired differences of each shot type or configuration, where the pictures of both versions carry it."""
    import numpy as np

    if pairs is None or not pairs.keys:
        return ()
    groups: dict[str, list[int]] = {}
    for index, (one, two) in enumerate(zip(pairs.images_first, pairs.images_second, strict=True)):
        name = getattr(one, attribute)
        if name and (attribute == "shot" or name == getattr(two, attribute)):
            groups.setdefault(name, []).append(index)
    if len(groups) < 2:
        return ()
    difference = pairs.second - pairs.first
    slices = []
    for name, indices in sorted(groups.items()):
        rows: Floats = difference[np.array(indices)]
        prompts: list[Hashable] = [pairs.prompts[index] for index in indices]
        estimates = estimate_means(sum_by_prompt(rows[:, :2], prompts), confidence=policy["comparison"]["confidence"], resamples=0)
        slices.append(Slice(name, len(indices), estimates[0], estimates[1]))
    return tuple(slices)
