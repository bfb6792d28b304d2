"""Cost logs made for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


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
