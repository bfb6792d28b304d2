"""Published copies in a training set: a LoRA would learn their watermark. Decodes every picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lifeos.file_names import system_name
from lifeos.findings import Finding
from lifeos.progress import Progress
from tools.dataset.hashing import default_jobs, run_threads
from tools.dataset.near_duplicates import MAX_WORKERS
from tools.dataset.notices import noticed
from tools.dataset.training_set import PictureRecord

RULE = "marked_picture"


def check_marked(folder: Path, records: Sequence[PictureRecord], *, allow: bool, jobs: int | None = None) -> list[Finding]:
    """The finding about pictures that carry our watermark; none if none does. `allow`: they are wanted, so it is no error."""
    from tools.publishing.marked_pictures import carries_mark

    readable = [record for record in records if not {"unreadable", "truncated", "animated"} & set(record.header.faults)]

    def look(record: PictureRecord, _: bytearray) -> bool:
        path = folder / system_name(record.name)
        try:
            return carries_mark(path.read_bytes(), path, unlabelled=True)
        except OSError:
            return False

    with Progress(len(readable), "looking for published copies", unit="file") as bar:
        marks = list(run_threads(look, readable, min(jobs or default_jobs(), MAX_WORKERS), bar))
    names = [record.name for record, is_marked in zip(readable, marks, strict=True) if is_marked]
    text = "a published copy, whose watermark the LoRA would learn"
    return [noticed(RULE, "notice" if allow else "error", text, names)] if names else []
