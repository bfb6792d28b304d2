"""One rule for every number: the scorecard, the leaderboard, the comparison, the sweep and the batch report agree on the same pictures.

Each case is a set of assessed pictures of two configurations. They are handed to each tool as it is really used (the history row goes
through a file and the command line), and every number that two tools print must be the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evals import compare_versions, leaderboard
from evals.judging.picture_verdict import verdict
from evals.judging.records import Assessment, FaceScore, Geometry
from evals.load_thresholds import load_thresholds
from evals.scorecards.card import ConfigScore, Scorecard, build_scorecard
from evals.scorecards.card_report import render_report
from evals.skin.realism import SkinScore
from lifeos import cli
from tools.production.batch_state import BatchState
from tools.production.plan import Plan
from tools.production.report_document import build_document
from tools.production.request import Request
from tools.production.results import BatchResults, PictureResult
from tools.sweep import sweep_report
from tools.sweep.analysis import Shot, choose, survivors
from tools.sweep.design import Config, plan_rungs
from tools.sweep.running import Sweep, SweepEnd

FIRST, SECOND = "step1000_str0.60", "step2000_str0.80"
PICTURES = 20
POINTS = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.4, 0.6), (0.6, 0.6))
Scores = tuple[float | None, float | None] | str
"""Of one picture: face and skin, or the reason why it has neither: no_face, or that of a file that could not be read."""


def assess(config: str, number: int, scores: Scores) -> Assessment:
    file = f"{config}_{number:04d}_p{(number + 1) // 2:03d}_v01_seed{number}_x.png"
    digest = f"{number:063x}{config[4]}"
    if scores == "no_face":
        return Assessment(file, digest, 8, 8, None, FaceScore(None, "no_face"), SkinScore(None, "no_face"))
    if isinstance(scores, str):
        return Assessment(file, None, 0, 0, scores, FaceScore(None, scores), SkinScore(None, scores))
    face, skin = scores
    found = SkinScore(skin, None, skin, skin) if skin is not None else SkinScore(None, "grey")
    geometry = Geometry(0, 0, 0.1, 0.3, 0.5, 0.5, "medium close-up", POINTS)
    return Assessment(file, digest, 8, 8, None, FaceScore(face, None, face, 1, "r.png", "as_is"), found, geometry, f"{number:016x}")


def wobble(level: float, number: int, config: str) -> float:
    """A score near a level, another for each picture, the same at each call."""
    return round(level + 0.01 * ((number * (3 if config == FIRST else 7)) % 5 - 2), 6)


def both(face: float, skin: float) -> Callable[[int, str], Scores]:
    return lambda number, config: (wobble(face, number, config), wobble(skin, number, config))


def halves(first: Callable[[int, str], Scores], second: Callable[[int, str], Scores]) -> Callable[[int, str], Scores]:
    return lambda number, config: (first if number % 4 < 2 else second)(number, config)


def only_face(level: float) -> Callable[[int, str], Scores]:
    return lambda number, config: (wobble(level, number, config), None)


def said(reason: str) -> Callable[[int, str], Scores]:
    return lambda number, config: reason


def fixed(face: float, skin: float | None) -> Callable[[int, str], Scores]:
    return lambda number, config: (face, skin)


def first_half(first: Callable[[int, str], Scores], second: Callable[[int, str], Scores]) -> Callable[[int, str], Scores]:
    return lambda number, config: (first if number <= PICTURES // 2 else second)(number, config)


WEIGHTS = {"scorecard.weights": {"face_similarity": 1.0, "skin_realism": 0.0}}
CASES: dict[str, tuple[Callable[[int, str], Scores], Callable[[int, str], Scores], dict[str, Any]]] = {
    "all is scored": (both(0.7, 0.6), both(0.75, 0.65), {}),
    "faces without skin": (halves(both(0.8, 0.7), only_face(0.5)), both(0.7, 0.7), {}),
    "skin without weight": (halves(both(0.8, 0.7), only_face(0.5)), both(0.6, 0.9), WEIGHTS),
    "no skin at all, and no weight": (only_face(0.7), both(0.65, 0.8), WEIGHTS),
    "no skin at all": (only_face(0.9), both(0.65, 0.8), {}),
    "no face": (halves(both(0.9, 0.8), said("no_face")), both(0.7, 0.7), {}),
    "hardly a face": (lambda n, c: "no_face" if n > 3 else both(0.95, 0.9)(n, c), both(0.6, 0.7), {}),
    "no face anywhere": (said("no_face"), both(0.6, 0.7), {}),
    "unreadable": (halves(both(0.7, 0.8), said("truncated")), both(0.75, 0.7), {}),
    "grey": (only_face(0.8), only_face(0.7), {}),
    # the inputs that once showed 0.675 in one tool and 0.90 in another
    "weak distant shots": (first_half(fixed(0.9, 0.9), fixed(0.3, None)), fixed(0.75, 0.75), {}),
    "half faceless": (first_half(fixed(0.8, 0.8), said("no_face")), fixed(0.7, 0.7), {}),
    "half without skin": (first_half(fixed(0.9, 0.9), fixed(0.3, None)), fixed(0.61, 0.6), WEIGHTS),
    "a sweep that loses the skin": (only_face(0.81), both(0.80, 0.70), {}),
}


class World:
    """What the tools make of one case."""

    def __init__(self, name: str, zero: bool, folder: Path) -> None:
        first, second, changes = CASES[name]
        self.policy = load_thresholds(overrides={**changes, "face_similarity.no_face_counts_as_zero": zero})
        self.folder = folder
        project = folder / "project"
        (project / "evals").mkdir(parents=True)
        weights = self.policy["scorecard"]["weights"]
        (project / "evals" / "thresholds.yaml").write_text(
            f"face_similarity: {{no_face_counts_as_zero: {str(zero).lower()}}}\nscorecard: {{weights: {json.dumps(weights)}}}\n",
            encoding="utf-8",
        )
        self.project = project
        self.pictures = {
            config: [assess(config, number, scores(number, config)) for number in range(1, PICTURES + 1)]
            for config, scores in ((FIRST, first), (SECOND, second))
        }
        self.cards = {config: self.card(config, pictures, 10 + place) for place, (config, pictures) in enumerate(self.pictures.items())}
        self.whole = self.card("whole", [item for items in self.pictures.values() for item in items], 20)
        self.history = folder / "history.jsonl"
        rows = [self.cards[config].history_row() for config in (FIRST, SECOND)]
        self.history.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def card(self, run_id: str, pictures: list[Assessment], day: int) -> Scorecard:
        stamp = f"2026-11-{day}T00:00:00Z"
        return build_scorecard(pictures, self.policy, run_id=run_id, lora_version=run_id, timestamp=stamp, protocol={"id": "x"})

    def config(self, name: str) -> ConfigScore:
        return next(config for config in self.whole.configs if config.config == name)

    def run(self, script: Any, *flags: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
        places = ["--history", str(self.history), "--project-root", str(self.project), "--no-pictures", "--json"]
        code = cli.run(lambda: script.main([*places, *flags]))
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if code == 0 else {}, captured.err

    def ranking(self, capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], int]:
        code, document, _ = self.run(leaderboard, "--output", str(self.folder / "lb.md"), capsys=capsys)
        return (document["boards"][0]["ranking"], document["unranked"]) if code == 0 else ([], 2)

    def compared(self, first: str, second: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
        flags = ["--v1", first, "--v2", second, "--output", str(self.folder / "cmp.md"), "--champion", str(self.folder / "champion.json")]
        code, document, errors = self.run(compare_versions, *flags, capsys=capsys)
        assert code == 0, errors
        return document

    def shots(self) -> list[Shot]:
        return [
            Shot(config, (number + 1) // 2, number, item.file, item, verdict(item, self.policy).approved)
            for config, items in self.pictures.items()
            for number, item in enumerate(items, 1)
        ]

    def batch(self) -> dict[str, Any]:
        """The report of a batch in which both configurations were made."""
        results = BatchResults()
        for place, shot in enumerate(self.shots(), 1):
            judged = verdict(shot.assessment, self.policy)
            groups = tuple(ground.group for ground in judged.grounds)
            folder = "approved" if judged.approved else "rejected"
            results.pictures.append(
                PictureResult(
                    place, shot.file, folder, judged.approved, judged.reasons, groups, shot.assessment, shot.prompt_id, 1, shot.seed,
                    shot.config, "a prompt",
                )
            )  # fmt: skip
        plan = Plan("b", "whole", "v", "2026-11-20T00:00:00Z", protocol={"id": "x"})
        row = self.whole.history_row()
        return build_document(plan, results, BatchState(), self.policy, why="complete", scorecard=row, settings={})

    def swept(self) -> dict[str, Any]:
        configs = tuple(Config(name, None, float(name[-4:]), None, None) for name in (FIRST, SECOND))
        request = Request(output_dir=self.folder, prompts=("a",))
        sweep = Sweep(request, configs, tuple(plan_rungs(2, 10, 2, None)), ("a",) * 10, None, "s")
        end = SweepEnd("complete", self.shots(), list(configs), {"id": "x"}, None, 0.0)
        selection = choose(end.shots, configs, self.policy, None)
        text = sweep_report.render(selection, sweep, end, [], self.policy)
        document = sweep_report.to_document(selection, sweep, end, self.folder / "r.md", [], self.policy)
        return {**document, "text": text}


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    name, zero = request.param
    return World(name, zero, tmp_path)


def worlds() -> pytest.MarkDecorator:
    params = [pytest.param((name, zero), id=f"{name}{', no face is 0' if zero else ''}") for name in CASES for zero in (False, True)]
    return pytest.mark.parametrize("world", params, indirect=True)


def numbers_of_card(card: Scorecard) -> dict[str, Any]:
    """What every tool must print of a run."""
    scores = card.history_row()["eval_scores"]
    return {
        "face": scores["face_similarity_mean"],
        "skin": scores["skin_realism_mean"],
        "overall": scores["overall_score"],
        "grade": scores["overall_grade"],
        "approved": card.approved,
        "coverage": {key: scores["coverage"][key] for key in ("face", "skin")},
    }


def numbers_of_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a place of the leaderboard."""
    means = {key: None if entry[key] is None else entry[key]["mean"] for key in ("face", "skin", "overall")}
    coverage = {key: round(entry["coverage"][key], 4) for key in ("face", "skin")}
    return {**means, "grade": entry["grade"], "approved": entry["approved_pictures"], "coverage": coverage}


def numbers_of_side(side: Mapping[str, Any]) -> dict[str, Any]:
    """The same of one version of a comparison."""
    approved = round(side["scores"]["approved"] * side["images"])
    coverage = {key: round(side["coverage"][key], 4) for key in ("face", "skin")}
    return {
        **{key: side["scores"][key] for key in ("face", "skin", "overall")},
        "grade": side["grade"],
        "approved": approved,
        "coverage": coverage,
    }


@worlds()
def test_scorecard_and_leaderboard(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    ranking, unranked = world.ranking(capsys)
    ranked = [config for config in world.cards if world.cards[config].means.overall is not None]
    assert unranked == 2 - len(ranked)
    for entry in ranking:
        assert numbers_of_entry(entry) == numbers_of_card(world.cards[entry["run_id"]])
        assert entry["shortfall"] == (world.cards[entry["run_id"]].shortfall or None)
    order = [config.config for config in world.whole.configs if config.means.overall is not None]
    assert [entry["run_id"] for entry in ranking] == order


@worlds()
def test_scorecard_and_comparison(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    document = world.compared(FIRST, SECOND, capsys)
    for side, config in (("v1", FIRST), ("v2", SECOND)):
        assert numbers_of_side(document[side]) == numbers_of_card(world.cards[config])
    for metric in document["metrics"].values():
        estimate, delta = metric["estimate"], metric["delta"]
        if estimate is not None and delta is not None and estimate["difference"] is not None:
            # every picture has a partner here, so the pairs tell the difference that the table shows
            assert estimate["difference"] == pytest.approx(delta, abs=1e-6)
    assert_no_contradiction(document)
    assert_no_contradiction(world.compared(SECOND, FIRST, capsys))


def assert_no_contradiction(document: Mapping[str, Any]) -> None:
    overall, grade = document["metrics"]["overall"], document["grade"]
    opposite = {"IMPROVED": "REGRESSED", "REGRESSED": "IMPROVED"}
    assert grade["verdict"] != opposite.get(overall["verdict"])
    if grade["levels"] and overall["delta"] is not None:
        assert (grade["levels"] > 0) == (overall["delta"] > 0)
    for metric in document["metrics"].values():
        if metric["verdict"] in opposite and metric["delta"] is not None:
            assert (metric["verdict"] == "IMPROVED") == (metric["delta"] > 0)


@worlds()
def test_scorecard_and_sweep(world: World) -> None:
    swept = world.swept()
    assert [entry["config"] for entry in swept["ranking"]] == [config.config for config in world.whole.configs]
    for entry in swept["ranking"]:
        config = world.config(entry["config"])
        assert entry["score"] == (None if config.means.overall is None else pytest.approx(config.means.overall, abs=1e-9))
        assert (entry["approved"], entry["pictures"], entry["without_face"]) == (config.approved, config.images, config.faceless)
        assert entry["means"] == {gate: mean.value for gate, mean in config.means.by_gate.items()}
    ranked = [config for config in world.whole.configs if config.means.overall is not None]
    assert swept["chosen"] == (ranked[0].config if ranked else None)


@worlds()
def test_scorecard_and_batch_report(world: World) -> None:
    document = world.batch()
    scores, totals = world.whole.history_row()["eval_scores"], document["means"]["all"]
    named = {"face_similarity": "face_similarity_mean", "skin_realism": "skin_realism_mean", "overall": "overall_score"}
    assert {name: totals[name] for name in named} == {name: scores[key] for name, key in named.items()}
    assert {key: totals["scored"][key] / len(world.whole.pictures) for key in ("face_similarity", "skin_realism")} == {
        "face_similarity": pytest.approx(scores["coverage"]["face"], abs=1e-4),
        "skin_realism": pytest.approx(scores["coverage"]["skin"], abs=1e-4),
    }
    assert (document["counts"]["approved"], document["counts"]["without_face"]) == (world.whole.approved, world.whole.faceless)
    for row in document["per_config"]:
        config = world.config(row["config"])
        assert (row["generated"], row["approved"], row["overall"]) == (config.images, config.approved, config.means.overall)
        assert (row["face_similarity_mean"], row["skin_realism_mean"]) == (config.means.value("face"), config.means.value("skin"))
    overall = {picture.file: picture.overall for picture in world.whole.pictures}
    assert {row["file"]: row["overall"] for row in document["images"]} == overall
    approved = {picture.file for picture in world.whole.pictures if picture.verdict.approved}
    ranked = [file in approved for file in [*document["best"], *reversed(document["worst"])]]
    assert ranked == sorted(ranked, reverse=True)


@worlds()
def test_runs_and_configurations_are_one(world: World) -> None:
    for config, card in world.cards.items():
        assert world.config(config).means == card.means
        assert (world.config(config).grade, world.config(config).approved) == (card.grade, card.approved)


@worlds()
def test_what_cannot_be_measured_never_ranks_above_what_is_approved(world: World) -> None:
    report = render_report(world.whole)
    best = report.partition("## Best pictures")[2].partition("## Worst pictures")[0]
    rejected = [picture.file for picture in world.whole.pictures if not picture.verdict.approved]
    assert [name for name in rejected if name in best] == []
    configs = [Config(name, None, None, None, None) for name in (FIRST, SECOND)]
    (kept,) = survivors(world.shots(), configs, 1, world.policy, None)
    assert kept.name == world.whole.configs[0].config


def test_weak_distant_shots_are_grade_c_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World("weak distant shots", False, tmp_path)
    # face: (.9 + .3) / 2 = .6; skin .9 of the ten that have it; .75 * .6 + .25 * .9 = .675
    assert numbers_of_card(world.cards[FIRST])["overall"] == 0.675
    (best, other), _ = world.ranking(capsys)
    assert (best["run_id"], best["overall"]["mean"], best["grade"]) == (SECOND, 0.75, "B")
    assert (other["run_id"], other["overall"]["mean"], other["grade"]) == (FIRST, 0.675, "C")
    document = world.compared(FIRST, SECOND, capsys)
    assert (document["grade"]["levels"], document["metrics"]["overall"]["delta"]) == (1, 0.075)
    assert document["metrics"]["overall"]["estimate"]["difference"] == 0.075
    assert document["metrics"]["face"]["estimate"]["difference"] == pytest.approx(0.15)


def test_a_sweep_does_not_choose_what_the_gate_rejects(tmp_path: Path) -> None:
    world = World("a sweep that loses the skin", False, tmp_path)
    swept = world.swept()
    assert {entry["config"]: entry["approved"] for entry in swept["ranking"]} == {FIRST: 0, SECOND: 20}
    assert (swept["chosen"], swept["settings"]["lora_strength"]) == (SECOND, 0.8)


def test_two_pictures_are_no_first_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World("all is scored", False, tmp_path)
    lucky = world.card("lucky", [assess(FIRST, number, (0.99, 0.99)) for number in (1, 2)], 25)
    with world.history.open("a", encoding="utf-8") as file:
        file.write(json.dumps(lucky.history_row()) + "\n")
    ranking, _ = world.ranking(capsys)
    assert [entry["run_id"] for entry in ranking] == [SECOND, FIRST, "lucky"]
    assert ranking[-1]["shortfall"] == "2 pictures are too few: 3 are wanted"
    text = (tmp_path / "lb.md").read_text(encoding="utf-8")
    assert "lucky: 2 pictures are too few: 3 are wanted" in text


def test_most_pictures_without_a_face_are_no_first_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World("hardly a face", False, tmp_path)
    assert world.cards[FIRST].grade == "A"
    assert [entry["run_id"] for entry in world.ranking(capsys)[0]] == [SECOND, FIRST]
    document = world.compared(SECOND, FIRST, capsys)
    checks = {check["check"]: check["outcome"] for check in document["promotion"]["checks"]}
    assert (document["promotion"]["passed"], checks["Coverage"]) == (False, "NO")
    assert world.swept()["chosen"] == SECOND


@worlds()
def test_intervals_lie_within_what_is_possible(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for entry in world.ranking(capsys)[0]:
        for key in ("face", "skin", "overall"):
            if entry[key] is not None and entry[key]["low"] is not None:
                assert 0 <= entry[key]["low"] <= entry[key]["mean"] <= entry[key]["high"] <= 1
    for metric in world.compared(FIRST, SECOND, capsys)["metrics"].values():
        if metric["estimate"] is not None and metric["estimate"]["low"] is not None:
            assert -1 <= metric["estimate"]["low"] <= metric["estimate"]["high"] <= 1
