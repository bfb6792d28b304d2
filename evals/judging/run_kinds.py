"""Which runs say something about a LoRA. The pictures of the demo server do not, and neither does a folder that was only sorted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SORTING, DEMO = "sorting", "demo"
DEMO_WORDS = "Rendered by the embedded demo server of LifeOS"
"""How the notice begins that the demo server puts into its pictures and reports."""

WHY_NO_EVIDENCE = {
    SORTING: "its pictures are a sorted folder, which says nothing about one LoRA",
    DEMO: "its pictures are the demo server's, which say nothing about a LoRA",
}
"""By the kind of a row of the history. A kind that is not here, or none, is evidence."""

DEMO_NOTICE = f"{DEMO_WORDS}, without any image model: these pictures say nothing about a LoRA."


def kind_of_row(kind: object, notes: str) -> str:
    """The kind of a run, as its row says it; rows of version 3.0 say it in their notes."""
    if isinstance(kind, str) and kind:
        return kind
    return DEMO if notes.startswith(DEMO_WORDS) else ""


def are_demo_pictures(paths: Iterable[Path]) -> bool:
    """Whether one of the pictures says that the demo server made it."""
    return any(_says_demo(path) for path in paths)


def _says_demo(path: Path) -> bool:
    from PIL import Image

    if path.suffix.lower() != ".png":
        return False
    try:
        with Image.open(path) as picture:
            return str(picture.info.get("rendered_by", "")).startswith(DEMO_WORDS)
    except Exception:  # noqa: BLE001 - a decoder raises anything; whether the picture is readable is judged elsewhere
        return False
