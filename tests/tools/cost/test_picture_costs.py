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
from tools.cost.picture_costs import BatchCost, read_batches, read_trainings

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
