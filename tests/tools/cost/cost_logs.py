"""Cost logs made for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools import runpod_cost_tracker


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    plain = {
        "session_id": f"2026-02-11_{number:03d}",
        "start": "2026-02-11T15:00:00Z",
        "end": "2026-02-11T16:15:00Z",
        "duration_min": 75,
        "activity": "lora_v3_training",
        "cost_usd": 0.75,
        "gpu": "RTX 4090",
        "rate_per_hr": 0.60,
    }
    return {key: value for key, value in (plain | changes).items() if value is not ...}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in rows), encoding="utf-8")
    return path


def write_costs(folder: Path) -> Path:
    """A log of three days with two cards, a killed session and one that nobody stopped, two batches; and its page."""
    idle = {"activity": "idle", "duration_min": 120, "end": "2026-02-11T17:00:00Z", "cost_usd": 1.2}
    rows = [
        row(1),
        row(2, **idle),
        row(3, **idle, end_is="last_heartbeat"),
        row(4, start="2026-02-13T15:00:00Z", end="2026-02-13T16:15:00Z", gpu="H100", rate_per_hr=2.4, cost_usd=3.0, activity="generation"),
        row(5, start="2026-02-13T17:00:00Z", end="2026-02-13T17:30:00Z", duration_min=30, cost_usd=0.3, cost_up_to_usd=6.0),
        "{\n",
    ]
    write(folder / "log.jsonl", *rows)
    for name, counts, usd in (("a", {"generated": 30, "approved": 20}, 0.5), ("b", {"generated": 10, "approved": 0}, None)):
        (folder / "batches" / name).mkdir(parents=True)
        report = {
            "run_id": f"run_{name}",
            "batch_id": name,
            "started": "2026-02-12T15:00:00Z",
            "counts": counts,
            "cost": {"usd": usd},
        }
        (folder / "batches" / name / "batch_report.json").write_text(json.dumps(report))
    page = folder / "page" / "cost.html"
    places = ("--log-file", str(folder / "log.jsonl"), "--state-file", str(folder / "state.json"), "--pictures", str(folder / "batches"))
    runpod_cost_tracker.main(["--action", "report", *places, "--html", str(page)])
    return page
