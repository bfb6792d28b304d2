"""Now, as files and records hold it."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["UTC", "now", "stamp"]


def now() -> datetime:
    return datetime.now(UTC)


def stamp() -> str:
    """Now, to the second: `2026-11-01T12:00:00Z`."""
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")
