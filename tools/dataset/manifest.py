"""The manifest of a training set: which pictures and captions, exactly, and the id that stands for them.

`dataset_id` is the SHA-256 over the sorted content records, one JSON array a line: `["train", name, sha256, caption sha256]`.
A name is the path inside the set with `/` between folders, in Unicode normal form C (macOS stores form D), and without kohya's
repeats prefix (`10_name` counts as `name`). So the id does not depend on where the set lies, when it was listed, in which
order, on which system, or how often a folder is repeated; it changes with any byte of any picture or caption.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from lifeos import files, times
from lifeos.errors import InputError
from lifeos.file_names import stored_path
from lifeos.findings import Finding
from tools.dataset.notices import as_manifest_warning
from tools.dataset.scan import list_folders, split_repeats
from tools.dataset.training_set import PictureRecord, TrainingSet

MANIFEST_VERSION = 1
LONGEST_SIDE = 1 << 31
"""Of a picture, in pixels: more is no size."""

HELD_OUT, HELD_OUT_IMAGES = "held_out", "held_out_images"
"""Names of the pictures of the folder that are not trained on, and their records as those of `images`. `images`, its totals and
`dataset_id` are of what is trained."""

SOURCE = "dataset_document"
"""The file that named pictures and captions, its SHA-256, and the repeats of folders as it has them. The captions that it held are in
`images`, with the SHA-256 of the file that would hold each and without a `caption_file`."""

NEXT = ",\n"
SHA256 = re.compile(r"[0-9a-f]{64}")


def build_manifest(
    dataset_dir: Path,
    trained: TrainingSet,
    *,
    created: str,
    notices: Sequence[Finding] = (),
    regularisation_dir: Path | None = None,
    regularisation: TrainingSet | None = None,
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest document. `created` is the moment as ISO 8601 with `Z`. `source`: the dataset document that names the set."""
    document: dict[str, Any] = {"manifest_version": MANIFEST_VERSION, "created": created, "dataset_dir": stored_path(dataset_dir)}
    images = [_image(record) for record in trained.records]
    document |= {"total_images": len(images), "total_captions": len(trained.captions)}
    document |= {"images": images, "summary": _summary(trained), "caption_extension": trained.caption_extension}
    document["folders"] = [asdict(folder) for folder in list_folders(record.name for record in trained.records)]
    if source is not None:
        document[SOURCE] = dict(source)
    if regularisation_dir is not None and regularisation is not None:
        more = [_image(record) for record in regularisation.records]
        document["regularisation"] = {"dataset_dir": stored_path(regularisation_dir), "total_images": len(more), "images": more}
    if trained.held_out:
        document[HELD_OUT] = [record.name for record in trained.held_out]
        document[HELD_OUT_IMAGES] = [_image(record) for record in trained.held_out]
    document["dataset_id"] = dataset_id(document)
    document["warnings"] = [as_manifest_warning(notice) for notice in notices]
    return document


def _image(record: PictureRecord) -> dict[str, Any]:
    header, caption = record.header, record.caption
    return {
        "filename": record.name,
        "sha256": record.sha256,
        "size_bytes": record.size,
        "dimensions": [header.width, header.height] if header.width and header.height else None,
        "caption_file": caption.name if caption and caption.is_file else None,
        "caption_text": caption.text if caption else None,
        "caption_sha256": caption.sha256 if caption else None,
    }


def _summary(trained: TrainingSet) -> dict[str, Any]:
    counts = Counter(caption.text for caption in trained.captions)
    headers = [record.header for record in trained.records]
    sizes = sorted({(header.width, header.height) for header in headers if header.width and header.height})
    total = sum(record.size for record in trained.records)
    return {
        "unique_captions": len(counts),
        # the most frequent first, then by text
        "caption_distribution": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "mean_image_size_bytes": round(total / len(trained.records)) if trained.records else 0,
        "resolution_set": [f"{width}x{height}" for width, height in sizes],
    }


def dataset_id(document: dict[str, Any]) -> str:
    """The id of what a manifest lists; see the module's docstring."""
    digest = hashlib.sha256()
    for line in sorted(_content_records(document)):
        digest.update(line.encode("ascii"))
    return digest.hexdigest()


def _content_records(document: dict[str, Any]) -> Iterator[str]:
    for role, part in (("regularisation", document.get("regularisation") or {}), ("train", document)):
        for image in part.get("images", ()):
            yield _ENCODE_ASCII([role, canonical_name(image["filename"]), image["sha256"], image["caption_sha256"]]) + "\n"


def canonical_name(name: str) -> str:
    """A picture's name as it enters the id."""
    name = unicodedata.normalize("NFC", name)
    if "/" not in name:
        return name
    *folders, last = name.split("/")
    return "/".join([split_repeats(folder)[1] or folder for folder in folders] + [last])


def now_utc() -> str:
    """The moment for `created`; SOURCE_DATE_EPOCH (reproducible-builds.org) overrides the clock."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return times.stamp(datetime.fromtimestamp(int(epoch), times.UTC) if epoch else None)
    except (ValueError, OverflowError, OSError):
        raise InputError("SOURCE_DATE_EPOCH", f"{epoch!r} is not a number of seconds since 1970") from None


def manifest_lines(document: dict[str, Any]) -> Iterator[bytes]:
    """A manifest piece by piece: as specified, one image on each line, so that `diff` and `grep` show pictures.

    Never the whole text at once, which for 100,000 pictures would be the largest thing in memory.
    """
    yield b"{\n"
    for number, (key, value) in enumerate(document.items()):
        yield as_utf8(f"{NEXT if number else ''}  {_ENCODE(key)}: ")
        if key in ("images", "folders", "warnings", HELD_OUT, HELD_OUT_IMAGES):
            yield from _list_lines(value, "  ")
        elif key in ("summary", "regularisation"):
            yield from _table_lines(value)
        else:
            yield as_utf8(_ENCODE(value))
    yield b"\n}\n"


def _table_lines(table: dict[str, Any]) -> Iterator[bytes]:
    yield b"{\n"
    for number, (name, value) in enumerate(table.items()):
        yield as_utf8(f"{NEXT if number else ''}    {_ENCODE(name)}: ")
        if name == "images":
            yield from _list_lines(value, "    ")
        elif name == "caption_distribution":
            yield b"{"
            for place, (caption, count) in enumerate(value.items()):
                yield as_utf8(f"{',' if place else ''}\n      {_ENCODE(caption)}: {count}")
            yield b"\n    }" if len(value) else b"}"
        else:
            yield as_utf8(_ENCODE(value))
    yield b"\n  }"


def _list_lines(items: Sequence[Any], indent: str) -> Iterator[bytes]:
    if not len(items):
        yield b"[]"
        return
    yield b"["
    for number, item in enumerate(items):
        yield as_utf8(f"{',' if number else ''}\n{indent}  {_ENCODE(item)}")
    yield as_utf8(f"\n{indent}]")


# one encoder for all lines: json.dumps with options builds a new one for each, and with `indent` leaves the C code
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_ENCODE_ASCII = json.JSONEncoder().encode


def as_utf8(text: str) -> bytes:
    """A text as UTF-8. A file name that is not UTF-8 can only be said in JSON as escaped lone surrogates."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text).encode("utf-8")


def write_manifest(path: Path, document: dict[str, Any]) -> str:
    """Write a manifest and give its SHA-256. One that says the same but for `created` is left as it is, with its time."""
    if (kept := keep_created(document, path)) is not None:
        return kept
    digest = hashlib.sha256()
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        for line in manifest_lines(document):
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


def keep_created(document: dict[str, Any], path: Path) -> str | None:
    """Give the document the `created` of the manifest at `path` if that is all they differ in, and the hash of both; else None.

    So a manifest made again of the same set has the same bytes and the same hash.
    """
    try:
        with open(path, "rb") as file:
            created = _created_of(file.read(4096))
            if created is None:
                return None
            same = {**document, "created": created}
            file.seek(0)
            digest = hashlib.sha256()
            for line in manifest_lines(same):
                if file.read(len(line)) != line:
                    return None
                digest.update(line)
            if file.read(1):
                return None
    except OSError:
        return None
    document["created"] = created
    return digest.hexdigest()


def hash_document(document: dict[str, Any]) -> str:
    """The SHA-256 of the file that a document becomes: its `dataset_manifest_hash`."""
    digest = hashlib.sha256()
    for line in manifest_lines(document):
        digest.update(line)
    return digest.hexdigest()


def _created_of(data: bytes) -> str | None:
    match = re.search(rb'"created": "([^"\\]*)"', data)
    return match[1].decode("utf-8", "replace") if match else None


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest that can be relied on. Raises InputError: not JSON, another version, incomplete, unsafe names, edited by hand."""
    document = files.read_json(path)  # the guardrails verify manifests, where nothing but PyYAML is installed
    if not isinstance(document, dict) or "manifest_version" not in document:
        raise InputError(path, "is not a dataset manifest: it has no manifest_version", "make one with tools/dataset_manifest.py")
    version = document["manifest_version"]
    if version != MANIFEST_VERSION:
        shown = json.dumps(version)[:20] if isinstance(version, int | str) else "that is no number"
        raise InputError(path, f"is of manifest version {shown}; this program reads version {MANIFEST_VERSION}", "make it anew")
    _check_images(path, document.get("images"), "images")
    regularisation = document.get("regularisation")
    if regularisation is not None:
        _check_images(path, regularisation.get("images") if isinstance(regularisation, dict) else None, "regularisation.images")
    for part in (document, *([regularisation] if regularisation is not None else [])):
        if not (isinstance(part.get("dataset_dir"), str) and part["dataset_dir"]):
            raise InputError(path, "has no dataset_dir", "make it anew")
    if not isinstance(document.get("caption_extension"), str | None):
        raise InputError(path, "has no usable caption_extension", "make it anew")
    if document.get("total_images") != len(document["images"]):
        raise InputError(path, f"total_images is not the {len(document['images'])} that it lists", "it was edited: make a new one")
    _check_held_out(path, document)
    found = dataset_id(document)
    if document.setdefault("dataset_id", found) != found:
        raise InputError(path, "its dataset_id does not fit the pictures it lists", "it was edited: make a new one")
    return document


def _check_held_out(path: Path, document: dict[str, Any]) -> None:
    """Who trains by a manifest relies on it: a picture that was only written into `held_out` by hand would be trained on all the same."""
    if HELD_OUT not in document and HELD_OUT_IMAGES not in document:
        return
    names, fix = document.get(HELD_OUT), "make it anew: --hold-out N, --hold-out-file NAME"
    _check_images(path, document.get(HELD_OUT_IMAGES), HELD_OUT_IMAGES)
    records = [image["filename"] for image in document[HELD_OUT_IMAGES]]
    if not isinstance(names, list) or names != records:
        raise InputError(path, f"{HELD_OUT} does not name the pictures of {HELD_OUT_IMAGES}", fix)
    trained = {image["sha256"] for image in document["images"]} | {image["filename"] for image in document["images"]}
    both = next((image["filename"] for image in document[HELD_OUT_IMAGES] if trained & {image["filename"], image["sha256"]}), None)
    if both is not None:
        raise InputError(path, f"{both} is held out and trained on at once", fix)


def _check_images(path: Path, images: object, where: str) -> None:
    if not isinstance(images, list):
        raise InputError(path, f"has no list of {where}", "make it anew")
    seen = set()
    for number, image in enumerate(images):
        place = f"{where}[{number}]"
        if not isinstance(image, dict):
            raise InputError(path, f"{place} is no mapping", "make it anew")
        for key, is_optional in (("filename", False), ("sha256", False), ("caption_file", True), ("caption_sha256", True)):
            value = image.setdefault(key, None) if is_optional else image.get(key)
            if not isinstance(value, str) and not (is_optional and value is None):
                raise InputError(path, f"{place} has no usable {key}", "make it anew")
            if value is not None and key.endswith("sha256") and not SHA256.fullmatch(value):
                raise InputError(path, f"{place}.{key} is not a SHA-256", "make it anew")
            if value is not None and not key.endswith("sha256") and not is_inside(value):
                raise InputError(path, f"{place}.{key} {value} leaves the dataset folder", "names must be relative, without ..")
        if not _is_size(image.get("dimensions")) or not isinstance(image.get("caption_text"), str | None):
            raise InputError(path, f"{place} has no usable dimensions or caption_text", "make it anew")
        if image["filename"] in seen:
            raise InputError(path, f"{place}: {image['filename']} is listed twice", "make it anew")
        seen.add(image["filename"])


def _is_size(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) and 0 < side <= LONGEST_SIDE for side in value)


def is_inside(name: str) -> bool:
    """Whether a name from a file can only mean something below a folder, on any system."""
    windows = PureWindowsPath(name)
    if not name or "\0" in name or PurePosixPath(name).is_absolute() or windows.drive or windows.root:
        return False
    return ".." not in PurePosixPath(name).parts and (os.name != "nt" or ".." not in windows.parts)


def manifest_hash(path: Path) -> str:
    """`dataset_manifest_hash`: the SHA-256 of the manifest's file."""
    return files.sha256_file(path)
