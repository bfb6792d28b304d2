"""What differs between the versions of ComfyUI that the embedded server can behave like; both were compared with a real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dialect:
    """`0.8.0` (January 2026) or `0.3.64` (October 2025)."""

    version: str
    has_jobs: bool
    """`/api/jobs` and `/api/jobs/{id}`."""
    tells_create_time: bool
    """The time of queueing, in the prompt's extra data."""
    keeps_anonymous_outputs: bool
    """Whether the history of a cached prompt sent without a client id names its old files; else it is empty."""
    features: dict[str, Any]


DIALECTS = {
    dialect.version: dialect
    for dialect in (
        Dialect(
            "0.8.0",
            has_jobs=True,
            tells_create_time=True,
            keeps_anonymous_outputs=False,
            features={"supports_preview_metadata": True, "max_upload_size": 104857600, "extension": {"manager": {"supports_v4": True}}},
        ),
        Dialect(
            "0.3.64",
            has_jobs=False,
            tells_create_time=False,
            keeps_anonymous_outputs=True,
            features={"supports_preview_metadata": True, "max_upload_size": 104857600},
        ),
    )
}
