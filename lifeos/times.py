"""Moments, as files and records hold them."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["FORMAT", "UTC", "now", "stamp"]

FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""UTC, to the second: `2026-11-01T12:00:00Z`."""


def now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """A moment (default: now) as text, to the second: `2026-11-01T12:00:00Z`."""
    return (moment or now()).astimezone(UTC).strftime(FORMAT)
