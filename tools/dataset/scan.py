"""Which files of a folder are the training set: pictures, captions, and what is left out and why.

Folders are walked in full (kohya's `10_name` folders, nested ones); hidden and system folders and left-overs of editors are
no pictures. A link that leaves the folder is never followed: what it points to can change without the set changing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lifeos.errors import InputError
from lifeos.file_names import stored_name
from lifeos.picture_formats import HEIF_SUFFIXES, OTHER_SUFFIXES, SUFFIXES, hidden_format
from lifeos.system_folders import SYSTEM_FOLDERS

JUNK_NAMES = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "ehthumbs.db", "icon\r"})
JUNK_SUFFIXES = frozenset({".bak", ".tmp", ".swp", ".swo", ".orig", ".part", ".crdownload"})
TRAINED_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
"""The endings that the trainer reads."""
OTHER_PICTURES = (SUFFIXES | HEIF_SUFFIXES | OTHER_SUFFIXES) - TRAINED_SUFFIXES
"""Pictures to a person, nothing to the trainer."""

TEXTS = frozenset({".txt", ".caption", ".captions", ".cap", ".tags", ".tag", ".json", ".jsonl", ".csv"})
"""What may hold captions besides the files of the set's own extension."""

REPEATS_FOLDER = re.compile(r"(\d+)_(.+)", re.DOTALL)


class ListedFile(NamedTuple):  # a tuple: quicker to make and smaller than a class
    """A file as listed. `name` is relative to the set's folder, with `/` between folders, in its stored form (`lifeos.file_names`).

    `kind`: `picture`, `caption`, `text` (perhaps a caption under another ending or a metadata file: `layout` decides), or why it is none:
    `link_outside`, `link_broken`, `junk`, `other_format`, `hidden_format`, `latent_cache`, `special`.
    """

    kind: str
    name: str
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0


def scan_dataset(root: Path, caption_extension: str = ".txt", *, leave_out: frozenset[Path] = frozenset()) -> Iterator[ListedFile]:
    """List a training set, in no order. `leave_out`: files of ours (the manifest being written) that may lie inside.

    Raises InputError for a folder that is missing, OSError for one that cannot be listed.
    """
    if not root.is_dir():
        why = "is a file, not a directory" if root.exists() else "no such directory"
        raise InputError(root, why, "give a folder of pictures")
    if not re.fullmatch(r"\.[^./\\\0]+", caption_extension):
        raise InputError("--caption-extension", f"{caption_extension!r} is no extension", "give one such as .txt")
    return _scan(root, caption_extension, frozenset(path.resolve() for path in leave_out))


def _scan(root: Path, caption_extension: str, leave_out: frozenset[Path]) -> Iterator[ListedFile]:
    real_root = root.resolve()
    kinds: dict[str, str] = {}  # by suffix, of names that are like others
    left_out = {path.name for path in leave_out}
    for prefix, path, info in _walk(root):
        name = stored_name(prefix + path.name)
        if path.name in left_out and path.resolve() in leave_out:
            continue
        if stat.S_ISLNK(info.st_mode):
            if fault := _fault_of_link(path, real_root):
                yield ListedFile(fault, name)
                continue
            info = path.stat()
            if stat.S_ISDIR(info.st_mode):
                continue
        kind = _kind_of(path.name, caption_extension, kinds)
        if kind == "other":
            if not (stat.S_ISREG(info.st_mode) and hidden_format(path)):
                continue
            kind = "hidden_format"
        if not stat.S_ISREG(info.st_mode):
            kind = "special"  # a pipe would block for ever
        yield ListedFile(kind, name, info.st_size, info.st_mtime_ns, info.st_ino)


def _walk(root: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """(folder inside the root with its `/`, path, state) of everything below a folder but folders, as the system lists it.

    Hidden and system folders are not entered, nor are links to folders, which come as entries.
    """
    pending = [("", root)]
    while pending:
        prefix, folder = pending.pop()
        for path in folder.iterdir():
            info = path.lstat()
            if not stat.S_ISDIR(info.st_mode):
                yield prefix, path, info
            elif not path.name.startswith(".") and path.name not in SYSTEM_FOLDERS:
                pending.append((f"{prefix}{path.name}/", path))


def _kind_of(name: str, caption_extension: str, kinds: dict[str, str]) -> str:
    """What a file is by its name. `kinds` remembers what its suffix says."""
    if name.startswith((".", "~")) or name.endswith("~") or name.lower() in JUNK_NAMES:
        return "junk"
    _, dot, end = name.rpartition(".")
    suffix = dot + end if dot else ""
    kind = kinds.get(suffix)
    if kind is None:
        kind = kinds[suffix] = _kind_of_suffix(suffix, caption_extension)
    return kind


def _kind_of_suffix(suffix: str, caption_extension: str) -> str:
    lower = suffix.lower()
    if lower in JUNK_SUFFIXES:
        return "junk"
    if lower in TRAINED_SUFFIXES:
        return "picture"
    if suffix == caption_extension:
        return "caption"
    if lower in OTHER_PICTURES:
        return "other_format"
    if lower in TEXTS:
        return "text"
    return "latent_cache" if lower == ".npz" else "other"


def _fault_of_link(path: Path, real_root: Path) -> str:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # gone, or a loop
        return "link_broken"
    return "" if target.is_relative_to(real_root) else "link_outside"


def caption_name(picture: str, caption_extension: str) -> str:
    """What the caption of a picture is called."""
    return picture.rpartition(".")[0] + caption_extension


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of pictures as kohya reads it: `10_name` is repeated ten times with the class tokens `name`."""

    name: str
    repeats: int | None
    class_tokens: str | None
    pictures: int


def list_folders(names: Iterable[str]) -> list[Folder]:
    """The folders that hold pictures, from the pictures' names, in order of name."""
    counts: dict[str, int] = {}
    for name in names:
        folder = name.rpartition("/")[0]
        counts[folder] = counts.get(folder, 0) + 1
    return [Folder(name, *split_repeats(name.rpartition("/")[2]), count) for name, count in sorted(counts.items())]


def split_repeats(folder: str) -> tuple[int | None, str | None]:
    """`10_name` -> (10, "name"); anything else -> (None, None)."""
    match = REPEATS_FOLDER.fullmatch(folder)
    return (int(match[1]), match[2]) if match and len(match[1]) <= 6 else (None, None)
