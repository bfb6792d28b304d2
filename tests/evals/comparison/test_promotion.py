"""Who is champion, when several promotions come at once, or the same one twice."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evals.comparison import promotion
from evals.comparison.comparing import compare
from evals.comparison.promotion import check_promotion, promote, read_champion
from evals.comparison.rendering import render
from evals.comparison.runs import read_run
from evals.judging.run_kinds import DEMO_WORDS
from evals.load_thresholds import load_thresholds
from lifeos.errors import InputError
from tests.evals.comparison.rows import DRESSED, POSED, TURNED, make_row, steady

POLICY = load_thresholds()


def promote_run(path: Path, name: str, now: str) -> dict[str, Any]:
    comparison = compare([read_run(make_row("base", steady(0.6)))], [read_run(make_row(name, steady(0.7)))], POLICY)
    record, _ = promote(path, comparison, check_promotion(comparison, None), now)
    assert record is not None
    return record


@pytest.mark.parametrize("side", [0, 1], ids=["the older", "the newer"])
@pytest.mark.parametrize("mark", [{"kind": "demo"}, {"kind": "sorting"}, {"notes": f"{DEMO_WORDS}: variations of a portrait"}])
def test_pictures_that_no_lora_made_are_no_evidence(side: int, mark: dict[str, str]) -> None:
    rows = [make_row("old", steady(0.6)), make_row("new", steady(0.7))]
    rows[side] |= mark
    comparison = compare([read_run(rows[0])], [read_run(rows[1])], POLICY)
    gate = check_promotion(comparison, None)
    assert [check.outcome for check in gate.checks if check.title == "Evidence"] == ["NO"]
    assert not gate.passed
    report = render(comparison, gate)
    assert "Recommend deploying" not in report
    assert ("> **Demo pictures.**" in report) is ("sorting" not in mark.values())
    with pytest.raises(ValueError):
        promote(Path("never written"), comparison, gate, "2026-11-20T10:00:00Z")


ONE_POSE = "one pose: yaw spread 2.4°, 99 % of pairs within 10°"


@pytest.mark.parametrize(
    ("figures", "policy", "outcome", "passes"),
    [
        (POSED, "warn", "warning", True),
        (POSED, "block", "NO", False),
        (TURNED, "warn", "yes", True),
        (TURNED, "block", "yes", True),
        (None, "warn", "not checked", True),
        (None, "block", "not known", False),
        ({"faces": 3}, "block", "not known", False),
    ],
)
def test_one_pose_is_a_warning_or_by_the_policy_a_no(figures: dict[str, float] | None, policy: str, outcome: str, passes: bool) -> None:
    rows = [make_row("old", steady(0.6)), make_row("new", steady(0.7), **({"sameness": figures} if figures else {}))]
    rules = load_thresholds(overrides={"scorecard.one_pose": policy})
    comparison = compare([read_run(rows[0])], [read_run(rows[1])], rules)
    gate = check_promotion(comparison, None)
    assert [(check.outcome, gate.passed) for check in gate.checks if check.title == "Variety"] == [(outcome, passes)]
    report = render(comparison, gate)
    assert (f"Recommend deploying new LoRA. The pictures of new show {ONE_POSE}." in report) is (outcome == "warning")
    assert (f"but: {ONE_POSE}. Recommend keeping old LoRA." in report) is (outcome == "NO")
    assert (f"| Variety of the pictures | not recorded | {ONE_POSE} |" in report) is (figures is POSED)


ONE_SCENE = "one scene: 97 % of pairs have the same clothes and place"


@pytest.mark.parametrize(
    ("figures", "policy", "outcome", "passes", "line"),
    [
        (DRESSED, "warn", "warning", True, ONE_SCENE),
        (DRESSED, "block", "NO", False, ONE_SCENE),
        ({"scenes": 36, "same_scene_share": 0.1}, "block", "yes", True, "varied scenes: 10 % of pairs have the same clothes and place"),
        (
            {"scenes": 3, "same_scene_share": 1.0},
            "block",
            "not known",
            False,
            "the variety of clothes and places is not known: 3 pictures are too few",
        ),
        ({}, "block", "not known", False, "clothes and places are not recorded"),
        ({}, "warn", "not checked", True, "clothes and places are not recorded"),
        ({**DRESSED, "same_scene_share": 7}, "warn", "not checked", True, "the variety of clothes and places is not known"),
    ],
)
def test_one_scene_is_a_warning_or_by_the_policy_a_no(
    figures: dict[str, float], policy: str, outcome: str, passes: bool, line: str
) -> None:
    rows = [make_row("old", steady(0.6)), make_row("new", steady(0.7), sameness={**TURNED, **figures})]
    comparison = compare(
        [read_run(row) for row in rows[:1]], [read_run(rows[1])], load_thresholds(overrides={"scorecard.one_scene": policy})
    )
    gate = check_promotion(comparison, None)
    check = next(check for check in gate.checks if check.title == "Clothes and places")
    assert (check.outcome, gate.passed) == (outcome, passes) and check.why.startswith(line)
    assert f"| Clothes and places | clothes and places are not recorded | {check.why} |" in render(comparison, gate)


@pytest.mark.parametrize(
    ("sameness", "line"),
    [
        (None, "not recorded"),
        ({}, "not recorded"),
        ("much", "not recorded"),
        ({"yaw_spread_deg": "2.4", "same_pose_share": 0.99, "entropy_bits": 0.36}, ONE_POSE),
        ({**POSED, "same_pose_share": 99}, "variety is not known"),
        ({**POSED, "yaw_spread_deg": None}, "variety is not known"),
        ({**POSED, "faces": 1}, "variety is not known: 1 face is too few"),
    ],
    ids=["an older row", "empty", "text", "a number as text", "no share", "one is missing", "one face"],
)
def test_rows_of_any_age_and_hand_are_read(sameness: Any, line: str) -> None:
    row = make_row("a", steady(0.6))
    assert read_run(row if sameness is None else {**row, "sameness": sameness}).pose_line(POLICY) == line


def test_the_gate_is_checked_again_while_nobody_else_can_promote(tmp_path: Path) -> None:
    """A much better one became champion after our check, and before our turn."""
    path = tmp_path / "champion.json"
    ours = compare([read_run(make_row("base", steady(0.6)))], [read_run(make_row("ours", steady(0.7)))], POLICY)
    gate = check_promotion(ours, read_champion(path))
    assert gate.passed
    better = compare([read_run(make_row("base", steady(0.6)))], [read_run(make_row("better", steady(0.95)))], POLICY)
    promote(path, better, check_promotion(better, None), "2026-11-20T10:00:00Z")
    before = path.read_bytes()
    champion, checked = promote(path, ours, gate, "2026-11-20T10:00:01Z")
    assert champion is not None and champion["run_id"] == "better"
    assert [check.title for check in checked.checks if check.outcome == "NO"] == ["Champion"]
    assert path.read_bytes() == before


def test_the_record_names_the_lora_where_it_is_known(tmp_path: Path) -> None:
    path, lora = tmp_path / "champion.json", {"file": "her-step00002000.safetensors", "strength": 0.8, "sha256": "a" * 64}
    ours = compare([read_run(make_row("base", steady(0.6)))], [read_run(make_row("ours", steady(0.7)))], POLICY)
    promote(path, ours, check_promotion(ours, None), "2026-11-20T10:00:00Z", lora=lora)
    champion = read_champion(path)
    assert champion is not None and (champion["run_id"], champion["lora"]) == ("ours", lora)


def test_promotions_at_once_lose_no_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, names = tmp_path / "champion.json", [f"v{number}" for number in range(6)]

    def read_slowly(file: Path) -> dict[str, Any] | None:
        found = read_champion(file)
        time.sleep(0.05)  # long enough for every other to read the same
        return found

    monkeypatch.setattr(promotion, "read_champion", read_slowly)
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: promote_run(path, name, "2026-11-20T10:00:00Z"), names))
    record = json.loads(path.read_text())
    assert sorted([record["run_id"], *(former["run_id"] for former in record["former"])]) == names


def test_the_champion_is_not_promoted_again(tmp_path: Path) -> None:
    path = tmp_path / "champion.json"
    promote_run(path, "v1", "2026-11-20T10:00:00Z")
    promote_run(path, "v2", "2026-11-21T10:00:00Z")
    before = path.read_bytes()
    assert promote_run(path, "v2", "2026-11-22T10:00:00Z") == json.loads(before)
    assert path.read_bytes() == before
    record = json.loads(before)
    assert (record["run_id"], record["since"]) == ("v2", "2026-11-21T10:00:00Z")
    assert [(former["run_id"], former["until"]) for former in record["former"]] == [("v1", "2026-11-21T10:00:00Z")]
    assert "former" not in record["former"][0]  # or the file would double with each


def test_a_version_that_does_not_pass_is_never_promoted(tmp_path: Path) -> None:
    comparison = compare([read_run(make_row("old", steady(0.8)))], [read_run(make_row("new", steady(0.7)))], POLICY)
    with pytest.raises(ValueError):
        promote(tmp_path / "champion.json", comparison, check_promotion(comparison, None), "2026-11-20T10:00:00Z")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["[]", "{}", '{"run_id": 7}', "{"], ids=["a list", "no run", "a number for a run", "torn"])
def test_a_damaged_record_is_never_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "champion.json"
    path.write_text(text)
    with pytest.raises(InputError):
        promote_run(path, "v1", "2026-11-20T10:00:00Z")
    assert path.read_text() == text
