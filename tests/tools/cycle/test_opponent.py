"""The default opponent of a comparison: never a folder of holiday pictures, never the same LoRA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.cycle.opponent import find_opponent, read_past_runs

V1 = {"run_id": "v1_sweep", "lora_version": "v1"}
V2 = {"run_id": "v2_sweep", "lora_version": "v2"}
V3 = {"run_id": "v3_sweep", "lora_version": "v3"}
V3_AGAIN = {"run_id": "v3_batch", "lora_version": "v3"}
HOLIDAYS = {"run_id": "holidays", "lora_version": "none", "kind": "sorting"}
DEMO = {"run_id": "demo", "lora_version": "amiranoor_v3", "notes": "Rendered by the embedded demo server of LifeOS: variations"}
OTHER_DEMO = {"run_id": "demo_2", "lora_version": "amiranoor_v2", "kind": "demo"}


@pytest.mark.parametrize(
    ("rows", "champion", "opponent"),
    [
        pytest.param([V1, V2, V3], None, "v2_sweep", id="the newest of another version"),
        pytest.param([V1, V2, HOLIDAYS, V3], None, "v2_sweep", id="no sorted folder"),
        pytest.param([HOLIDAYS, V3], None, "", id="nothing but a sorted folder"),
        pytest.param([V2, V3_AGAIN, V3], None, "v2_sweep", id="not the same LoRA"),
        pytest.param([V1, V2, V3], "v1_sweep", "v1_sweep", id="the champion"),
        pytest.param([V1, V2, V3], "v3_sweep", "v2_sweep", id="which it is itself"),
        pytest.param([V1, V2, V3], "gone", "v2_sweep", id="whose row is lost"),
        pytest.param([V1, HOLIDAYS, V3], "holidays", "v1_sweep", id="that is a sorted folder"),
        pytest.param([V2, DEMO, V3], None, "v2_sweep", id="no demo pictures"),
        pytest.param([{"run_id": "v2"}, {"run_id": "v3_sweep"}], None, "v2", id="rows by hand"),
        pytest.param([V2, V1, V2, V3], None, "v2_sweep", id="scored again"),
        pytest.param([], None, "", id="no history"),
    ],
)
def test_opponent(tmp_path: Path, rows: list[dict[str, str]], champion: str | None, opponent: str) -> None:
    history, record = tmp_path / "history.jsonl", tmp_path / "champion.json"
    history.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"torn')
    if champion:
        record.write_text(json.dumps({"run_id": champion}))
    assert find_opponent(read_past_runs(history), "v3_sweep", None, record) == opponent


def test_a_run_that_is_not_scored_yet_is_known_by_its_version(tmp_path: Path) -> None:
    """The plan of a dry run: the scorecard comes later."""
    history = tmp_path / "history.jsonl"
    history.write_text("".join(f"{json.dumps(row)}\n" for row in (V2, V3)))
    assert find_opponent(read_past_runs(history), "v3_again", "v3", tmp_path / "none") == "v2_sweep"


def test_demo_pictures_are_compared_with_demo_pictures(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text("".join(f"{json.dumps(row)}\n" for row in (OTHER_DEMO, V2, DEMO)))
    assert find_opponent(read_past_runs(history), "demo", None, tmp_path / "none") == "demo_2"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"run_id": 7}'])
def test_a_damaged_champion_is_none(tmp_path: Path, text: str) -> None:
    history, record = tmp_path / "history.jsonl", tmp_path / "champion.json"
    history.write_text(f"{json.dumps(V2)}\n{json.dumps(V3)}\n")
    record.write_text(text)
    assert find_opponent(read_past_runs(history), "v3_sweep", None, record) == "v2_sweep"
