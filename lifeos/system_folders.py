"""Folders that systems and network drives keep among pictures, full of thumbnails and forks: never pictures themselves."""

from __future__ import annotations

SYSTEM_FOLDERS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN"})
