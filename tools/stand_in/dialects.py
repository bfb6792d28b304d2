"""What differs between the versions of ComfyUI that the embedded server can behave like; each was compared with a real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version's habits: `0.33.0` (August 2026 and later), `0.8.0` (January 2026) or `0.3.64` (October 2025)."""

    version: str
    has_jobs: bool
    """`GET /api/jobs` and `/api/jobs/{id}`."""
    cancels_jobs: bool
    """`POST /api/jobs/{id}/cancel` and `/api/jobs/cancel`; a job that somebody stopped is `cancelled`, no failure."""
    wants_canonical_ids: bool
    """A prompt id must be a UUID as Python writes it; `null` is no id at all."""
    explains_refusals: bool
    """A missing node class has an error type of its own, and a loop of links is named."""
    savers_pass_pictures: bool
    """SaveImage and PreviewImage also put their pictures out."""
    tells_create_time: bool
    """The time of queueing, in the prompt's extra data."""
    keeps_anonymous_outputs: bool
    """Whether the history of a cached prompt sent without a client id names its old files; else it is empty."""
    features: dict[str, Any]


DIALECTS = {
    dialect.version: dialect
    for dialect in (
        Dialect(
            "0.33.0",
            has_jobs=True,
            cancels_jobs=True,
            wants_canonical_ids=True,
            explains_refusals=True,
            savers_pass_pictures=True,
            tells_create_time=True,
            keeps_anonymous_outputs=False,
            features={"supports_preview_metadata": True, "max_upload_size": 104857600, "extension": {"manager": {"supports_v4": True}}},
        ),
        Dialect(
            "0.8.0",
            has_jobs=True,
            cancels_jobs=False,
            wants_canonical_ids=False,
            explains_refusals=False,
            savers_pass_pictures=False,
            tells_create_time=True,
            keeps_anonymous_outputs=False,
            features={"supports_preview_metadata": True, "max_upload_size": 104857600, "extension": {"manager": {"supports_v4": True}}},
        ),
        Dialect(
            "0.3.64",
            has_jobs=False,
            cancels_jobs=False,
            wants_canonical_ids=False,
            explains_refusals=False,
            savers_pass_pictures=False,
            tells_create_time=False,
            keeps_anonymous_outputs=True,
            features={"supports_preview_metadata": True, "max_upload_size": 104857600},
        ),
    )
}
NEWEST = next(iter(DIALECTS))
