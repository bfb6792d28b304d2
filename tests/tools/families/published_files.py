"""All files that the families' workflows load, under the names by which they are published: folder -> names."""

from __future__ import annotations

from tools.families.families import FAMILIES


def published_files() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in FAMILIES:
        for each in row.files:
            found.setdefault(each.folder, []).append(each.file)
    return {folder: list(dict.fromkeys(names)) for folder, names in found.items()}
