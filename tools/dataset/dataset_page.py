"""A training set as a page: each picture with its caption, what was found at it and how to mend it, the trainer's buckets, and what is
nearly the same side by side.

It shows what the manifest's command prints and records, and decides nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.likeness.grey_looks import Pair
from lifeos.counting import counted
from lifeos.escaping import escape_line
from lifeos.file_names import system_name
from lifeos.findings import Finding
from lifeos.pages.beside import MOST_IN_ONE_FILE, put_beside, relative_address
from lifeos.pages.page_templates import picture_address, write_page
from lifeos.pages.small_pictures import make_small
from tools.dataset.bucketing import BucketSettings, bucket_sizes, place_picture
from tools.dataset.build import BuiltManifest
from tools.dataset.notices import render_fitness
from tools.dataset.training_set import PictureRecord

TEMPLATE = "dataset.html.j2"
CAPTIONS_SHOWN = 40
"""Of the table of captions: each picture shows its own."""
LEVELS = {"error": "Error", "warning": "Warning", "notice": "Notice"}


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """What the page says beside the manifest. `command` wrote it; `strict` as its exit code was decided."""

    built: BuiltManifest
    dataset_dir: Path
    bucket: BucketSettings
    strict: bool
    command: str


def write_dataset_page(path: Path, page: DatasetPage) -> None:
    """Write the page; above `MOST_IN_ONE_FILE` pictures their small copies lie beside it, in `NAME_thumbs/`. Raises OSError."""
    document = page_document(page, path.resolve().parent)
    one_file = len(document["pictures"]) <= MOST_IN_ONE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)

    def thumbnail(picture: Mapping[str, Any]) -> str:
        small = _small_copy(page.dataset_dir / system_name(picture["file"]))
        if small is None:
            return ""
        return picture_address(small) if one_file else put_beside(small, path.parent, f"{path.stem}_thumbs/{picture['index']:05d}.webp")

    data = {name: document[name] for name in ("pictures", "pairs")}
    write_page(path, TEMPLATE, document, page_data=data, filters={"thumbnail": thumbnail})


def _small_copy(path: Path) -> bytes | None:
    try:
        return make_small(path.read_bytes())
    except OSError:
        return None


def page_document(page: DatasetPage, page_folder: Path) -> dict[str, Any]:
    """What the page shows, in plain values. `page_folder`: from where the pictures' addresses lead."""
    built, manifest = page.built, page.built.document
    records = [(record, False) for record in built.records] + [(record, True) for record in built.held_out]
    sizes = bucket_sizes(page.bucket)
    pictures = [_picture(index, record, held, page, page_folder, sizes) for index, (record, held) in enumerate(records, 1)]
    pairs = _pairs(built.pairs, {picture["file"]: picture["index"] for picture in pictures})
    findings = _mark(pictures, built.notices, pairs)
    trained = [picture for picture in pictures if not picture["held_out"]]
    return {
        "name": escape_line(page.dataset_dir.resolve().name),
        "dataset_dir": escape_line(manifest["dataset_dir"]),
        "dataset_id": manifest["dataset_id"],
        "created": manifest["created"],
        "command": page.command,
        "fitness": render_fitness(built.notices, pictures=len(built.records), strict=page.strict),
        "not_looked": built.not_looked,
        "captions": manifest["total_captions"],
        "unique_captions": manifest["summary"]["unique_captions"],
        "caption_counts": list(manifest["summary"]["caption_distribution"].items())[:CAPTIONS_SHOWN],
        "levels": [(key, name, sum(each["severity"] == key for each in findings)) for key, name in LEVELS.items()],
        "findings": findings,
        "pictures": pictures,
        "trained": len(trained),
        "held_out": len(pictures) - len(trained),
        "buckets": _buckets(trained),
        "sizes": _sizes(trained),
        "resolution": page.bucket.resolution,
        "pairs": pairs,
    }


def _mark(pictures: Sequence[dict[str, Any]], notices: Sequence[Finding], pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The findings; each picture gets its own as `notes`, those about its caption among them."""
    owners: dict[str, list[dict[str, Any]]] = {}
    for picture in pictures:
        for name in {picture["file"], picture["caption_file"]} - {None}:
            owners.setdefault(name, []).append(picture)
    findings = []
    for number, found in enumerate(notices):
        marked = {picture["index"]: picture for name in found.files for picture in owners.get(name, [])}
        told = {"number": number, "title": found.rule.replace("_", " "), "severity": found.severity, "fix": escape_line(found.fix)}
        for picture in marked.values():
            own = [pair["text"] for pair in pairs if picture["index"] in (pair["first"], pair["second"])]
            text = "; ".join(own) if found.rule == "near_duplicate" and own else escape_line(found.message)
            picture["notes"].append({**told, "text": text})
        others = [escape_line(name) for name in found.files if name not in owners]
        findings.append({**told, "message": escape_line(found.message), "pictures": len(marked), "other_files": others})
    return findings


def _picture(
    index: int, record: PictureRecord, held_out: bool, page: DatasetPage, page_folder: Path, sizes: list[tuple[int, int]]
) -> dict[str, Any]:
    width, height = record.header.width, record.header.height
    placed = place_picture(width, height, page.bucket, sizes) if width and height else None
    return {
        "index": index,
        "file": record.name,
        "name": escape_line(record.name),
        "url": relative_address((page.dataset_dir / system_name(record.name)).resolve(), page_folder) or "",
        "width": width,
        "height": height,
        "kilobytes": round(record.size / 1000),
        "caption": escape_line(record.caption.text) if record.caption is not None else None,
        "bucket": f"{placed.bucket[0]} × {placed.bucket[1]}" if placed is not None else "",
        "scale": round(placed.scale, 2) if placed is not None else None,
        "cropped": round(placed.cropped_away, 3) if placed is not None else None,
        "held_out": held_out,
        "caption_file": record.caption.name if record.caption is not None else None,
        "notes": [],
    }


def _buckets(pictures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The trainer's buckets, the fullest first; pictures without one last."""
    counts = Counter(picture["bucket"] for picture in pictures)
    rows = []
    for bucket, count in sorted(counts.items(), key=lambda item: (not item[0], -item[1], item[0])):
        inside = [picture for picture in pictures if picture["bucket"] == bucket]
        enlarged = sum(picture["scale"] is not None and picture["scale"] > 1 for picture in inside)
        most = max((picture["cropped"] or 0.0 for picture in inside), default=0.0)
        rows.append({"bucket": bucket, "pictures": count, "share": count / len(pictures), "enlarged": enlarged, "most_cropped": most})
    return rows


def _sizes(pictures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sizes of the files, the most frequent first."""
    counts = Counter((picture["width"], picture["height"]) for picture in pictures)
    return [
        {"size": f"{width} × {height}" if width and height else "not known", "pictures": count, "share": count / len(pictures)}
        for (width, height), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _pairs(pairs: Sequence[Pair], places: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {"first": places[pair.first], "second": places[pair.second], "text": escape_line(pair.text)}
        for pair in pairs
        if pair.first in places and pair.second in places
    ]


def say_written(path: Path, page: DatasetPage) -> str:
    return f"page of {counted(len(page.built.records) + len(page.built.held_out), 'picture')}: {path}"
