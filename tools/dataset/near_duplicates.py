"""Pictures of a training set that are nearly the same (`evals.likeness.grey_looks`), as a finding of its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evals.likeness.grey_looks import GreyLook, Pair, find_pairs, make_look
from lifeos.file_names import system_name
from lifeos.findings import Finding
from lifeos.images import ImageError
from lifeos.progress import Progress
from tools.dataset.hashing import default_jobs, run_threads
from tools.dataset.notices import noticed
from tools.dataset.training_set import PictureRecord

MAX_WORKERS = 4
"""Each holds a decoded picture."""
PAIRS_SHOWN = 8
MOST_PICTURES = 300
"""More are looked at only if that is asked for: decoding takes some 10 ms for a JPEG and 50 for a PNG."""


def find_near_duplicates(folder: Path, records: Sequence[PictureRecord], *, jobs: int | None = None) -> list[Pair]:
    """Pairs of pictures that are nearly the same. Decodes every picture that can be decoded."""
    readable = [record for record in records if not {"unreadable", "truncated", "animated"} & set(record.header.faults)]
    return find_pairs(take_looks(folder, readable, jobs=jobs))


def check_near_duplicates(pairs: Sequence[Pair], records: Sequence[PictureRecord]) -> list[Finding]:
    """The finding about those of `records` that are nearly the same; none if there are none."""
    trained = {record.name for record in records}
    pairs = [pair for pair in pairs if {pair.first, pair.second} <= trained]
    if not pairs:
        return []
    shown = "; ".join(pair.text for pair in pairs[:PAIRS_SHOWN]) + (
        f"; and {len(pairs) - PAIRS_SHOWN} more" if len(pairs) > PAIRS_SHOWN else ""
    )
    names = sorted({name for pair in pairs for name in (pair.first, pair.second)})
    fix = "keep one of each, or keep a close-up on purpose: what is shown twice is learnt twice, and a mirrored face is another face"
    return [noticed("near_duplicate", "warning", f"nearly the same picture more than once: {shown}", names, fix)]


def can_look() -> bool:
    """Whether what decodes pictures is installed. The manifest itself needs none of it."""
    try:
        import cv2  # noqa: F401
        import numpy  # noqa: F401
        import PIL.Image  # noqa: F401
    except ImportError:
        return False
    return True


def take_looks(folder: Path, records: Sequence[PictureRecord], *, jobs: int | None = None) -> list[GreyLook]:
    """Decode each picture. One that cannot be decoded, or shows nothing but one tone, is left out."""

    def take(record: PictureRecord, _: bytearray) -> GreyLook | None:
        try:
            return make_look(record.name, record.sha256, (folder / system_name(record.name)).read_bytes())
        except (ImageError, OSError):
            return None

    with Progress(len(records), "looking for near-duplicates", unit="file") as bar:
        found = list(run_threads(take, records, min(jobs or default_jobs(), MAX_WORKERS), bar))
    return [look for look in found if look is not None]
