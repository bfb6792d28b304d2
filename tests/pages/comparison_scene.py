"""Two versions with their pictures, for the page of a comparison: what got worse, better, lost its face, and what a person decided."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from PIL import Image

from evals.compare_versions import main
from evals.comparison.illustration import Illustration
from lifeos.files import sha256_file
from tests.evals.comparison.rows import Score, make_row, write_history

PROMPT = "<b>a walk</b> at noon"
OLD: Mapping[int, float | None] = {}
NEW: Mapping[int, float | None] = {1: 0.40, 2: 0.62, 3: 0.80, 4: None, 5: 0.65}
"""Faces of the second version by prompt; the first has .60 each, and skin .1 less than its face everywhere."""
OTHERS = 0.61


def faces(by_prompt: Mapping[int, float | None], else_: float) -> Score:
    return lambda prompt, _: by_prompt.get(prompt, else_)


def make_versions(folder: Path, *, prompts: int = 6, seeds: int = 1) -> Path:
    """The history, with pictures in the batches `old` and `new`; prompt 5 of the new one was rejected by anna against the gates."""
    rows = [
        make_row("old", faces(OLD, 0.60), prompts=prompts, seeds=seeds, generated_dir=str(folder / "old")),
        make_row("new", faces(NEW, OTHERS), prompts=prompts, seeds=seeds, generated_dir=str(folder / "new")),
    ]
    for row, red in zip(rows, (180, 40), strict=True):
        batch = folder / row["run_id"]
        (batch / "approved").mkdir(parents=True)
        for image in row["images"]:
            Image.new("RGB", (80, 120), (red, 10 * (image["prompt_id"] % 20), image["seed"])).save(batch / "approved" / image["file"])
            face = image["face"]
            image |= {"shot": "close-up" if image["prompt_id"] % 2 else "full body", "config": row["run_id"]}
            image |= {"approved": face is not None and face >= 0.6, "sha256": sha256_file(batch / "approved" / image["file"])}
        told: dict[str, Any] = {"run_id": row["run_id"], "per_prompt": [{"prompt_id": 5, "prompt": PROMPT}]}
        (batch / "batch_report.json").write_text(json.dumps(told), encoding="utf-8")
        (batch / "batch_report.html").write_text("the page of the batch", encoding="utf-8")
    decided = next(image for image in rows[1]["images"] if image["prompt_id"] == 5)
    decided |= {"approved": False, "decided_by": "anna", "gates_approved": True}
    write_history(folder / "h.jsonl", rows)
    return folder / "h.jsonl"


def compare_in(folder: Path, *flags: str) -> Path:
    """Run the command there, without the figures of its report; where its page is."""
    named = ["--history-file", str(folder / "h.jsonl"), "--champion", str(folder / "champion.json")]
    with patch("evals.comparison.illustration.draw_comparison", return_value=Illustration()):
        assert main([*named, "--v1", "old", "--v2", "new", "--output", str(folder / "out" / "r.md"), *flags]) == 0
    return folder / "out" / "r.html"


def make_comparison(folder: Path) -> Path:
    make_versions(folder)
    return compare_in(folder)
