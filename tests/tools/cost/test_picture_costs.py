"""What pictures and trainings cost, from files that other versions and other people wrote."""

from __future__ import annotations

import json
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.examples import EXAMPLES
from tests.fuzzing import foreign_bytes
from tools.cost.picture_costs import BatchCost, add_kinds, read_batches, read_trainings

BATCH = {
    "run_id": "v3",
    "lora_version": "v3",
    "started": "2026-02-11T15:00:00Z",
    "counts": {"generated": 3, "approved": 2},
    "cost": {"usd": 0.9},
}
TRAINING = {"output_name": "v3", "started": "2026-02-11", "steps": 2500, "cost_usd": 0.45}


def test_a_report_that_cannot_be_read_is_named_and_the_others_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, document in {"good": BATCH, "bad": BATCH | {"counts": [1]}, "open": {"counts": None}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "batch_report.json").write_text(json.dumps(document))
    assert read_batches([tmp_path]) == [BatchCost("v3", "v3", "2026-02-11", 3, 2, Decimal("0.9"))]
    path = (tmp_path / "bad" / "batch_report.json").resolve()
    assert capsys.readouterr().err == f"warning: left out of the report: {path}: $.counts: an object or null is wanted, not a list\n"


def test_a_batch_and_its_copy_are_counted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"counts": {"generated": 5, "approved": 4}, "cost": {"usd": 1.5}}
    for name, change in {"a": {}, "copy": more, "other": {"batch_id": "2"}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "batch_report.json").write_text(json.dumps(BATCH | {"batch_id": "1"} | change))
    assert sorted(batch.generated for batch in read_batches([tmp_path])) == [3, 5]
    place = tmp_path.resolve()
    assert capsys.readouterr().err == f"warning: left out of the report: {place / 'a'} holds the same batch as {place / 'copy'}\n"


@settings(max_examples=EXAMPLES, deadline=None)
@given(foreign_bytes(BATCH, TRAINING))
def test_whatever_the_files_hold(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("batch_report.json", "training_record.json"):
            (Path(folder) / name).write_bytes(data)
        for batch in read_batches([Path(folder)]):
            assert batch.generated >= 0 and (batch.usd is None or 0 <= batch.usd <= 10**12)
        for training in read_trainings([Path(folder)]):
            assert training.steps >= 0 and (training.usd is None or 0 <= training.usd <= 10**12)


def test_kinds_of_servers_are_added_up_over_batches(tmp_path: Path) -> None:
    """A batch of before has none; a kind of which one batch does not know the cost has none."""
    rows = {
        "a": [("ComfyUI", 4, 2, 0.5), ("RunPod serverless", 3, 3, 0.6)],
        "b": [("ComfyUI", 6, 3, 0.25), ("Comfy API v2", 1, 1, None)],
    }
    for name, kinds in rows.items():
        (tmp_path / name).mkdir()
        section = [dict(zip(("kind", "pictures", "approved", "usd"), row, strict=True)) for row in kinds]
        (tmp_path / name / "batch_report.json").write_text(json.dumps(BATCH | {"servers": {"by_kind": section}}))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "batch_report.json").write_text(json.dumps(BATCH))
    assert [(kind.kind, kind.pictures, kind.approved, kind.usd, kind.each) for kind in add_kinds(read_batches([tmp_path]))] == [
        ("ComfyUI", 10, 5, Decimal("0.75"), Decimal("0.15")),
        ("RunPod serverless", 3, 3, Decimal("0.6"), Decimal("0.2")),
        ("Comfy API v2", 1, 1, None, None),
    ]
