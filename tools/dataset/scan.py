"""Which files of a folder are the training set: pictures, their captions, and what is left out and why.

Folders are walked in full (kohya's `10_name` folders, nested ones); hidden and system folders and left-overs of editors are
no pictures. A link that leaves the folder is never followed: what it points to can change without the set changing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lifeos.errors import InputError
from lifeos.images import SUFFIXES, SYSTEM_FOLDERS

JUNK_NAMES = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "ehthumbs.db", "icon\r"})
JUNK_SUFFIXES = frozenset({".bak", ".tmp", ".swp", ".swo", ".orig", ".part", ".crdownload"})
OTHER_PICTURES = frozenset({".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".psd", ".raw", ".cr2", ".nef", ".dng", ".jfif"})
"""Pictures to a person, nothing to the trainer."""

REPEATS_FOLDER = re.compile(r"(\d+)_(.+)", re.DOTALL)


class FoundFile(NamedTuple):  # a tuple: quicker to make and smaller than a class
    """A file as listed. `name` is relative to the set's folder, with `/` between folders, exactly as on the disk."""

    name: str
    size: int
    mtime_ns: int
    inode: int


class FoundPicture(NamedTuple):
    file: FoundFile
    caption: FoundFile | None


@dataclass(slots=True)
class Scan:
    """A listing of a training set. `skipped` maps a reason (`link_outside`, `link_broken`, `junk`, `other_format`, `latent_cache`,
    `special`) to names; `orphans` are captions without a picture."""

    root: Path
    caption_extension: str
    pictures: list[FoundPicture] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, name: str) -> None:
        self.skipped.setdefault(reason, []).append(name)


def scan_dataset(root: Path, caption_extension: str = ".txt", *, leave_out: frozenset[Path] = frozenset()) -> Scan:
    """List a training set. `leave_out`: files of ours (the manifest being written) that may lie inside.

    Raises InputError for a folder that is missing or cannot be listed.
    """
    if not root.is_dir():
        why = "is a file, not a directory" if root.exists() else "no such directory"
        raise InputError(root, why, "give a folder of pictures")
    if not re.fullmatch(r"\.[^./\\]+", caption_extension):
        raise InputError("--caption-extension", f"{caption_extension!r} is no extension", "give one such as .txt")
    scan = Scan(root, caption_extension)
    leave_out = frozenset(path.resolve() for path in leave_out)
    pending = [""]
    while pending:
        prefix = pending.pop()
        pictures, captions, folders = _list_folder(scan, prefix, leave_out)
        used = set()
        for file in pictures:
            caption = captions.get(file.name.rpartition(".")[0] + caption_extension)
            used.add(caption.name if caption else "")
            scan.pictures.append(FoundPicture(file, caption))
        scan.orphans += [name for name in captions if name not in used]
        pending += [f"{prefix}{name}/" for name in folders]
    scan.pictures.sort(key=lambda picture: picture.file.name)
    scan.orphans.sort()
    return scan


def _list_folder(scan: Scan, prefix: str, leave_out: frozenset[Path]) -> tuple[list[FoundFile], dict[str, FoundFile], list[str]]:
    """The pictures, captions and folders in one folder; everything else goes to `scan.skipped`."""
    pictures: list[FoundFile] = []
    captions: dict[str, FoundFile] = {}
    folders: list[str] = []
    kept_out = {path.name for path in leave_out}
    kinds: dict[str, str] = {}  # by suffix, of names that are like others
    with os.scandir(scan.root / prefix) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_symlink() and not _is_link_inside(scan, entry, name):
                continue
            if entry.is_dir():
                if not entry.name.startswith(".") and entry.name not in SYSTEM_FOLDERS and not entry.is_symlink():
                    folders.append(entry.name)
                continue
            kind = _kind_of(entry.name, scan.caption_extension, kinds)
            if kind == "other" or (entry.name in kept_out and Path(entry.path).resolve() in leave_out):
                continue
            info = entry.stat()
            if not stat.S_ISREG(info.st_mode):
                scan.skip("special", name)  # a pipe would block for ever
                continue
            file = FoundFile(name, info.st_size, info.st_mtime_ns, info.st_ino or os.stat(entry.path).st_ino)
            if kind == "picture":
                pictures.append(file)
            elif kind == "caption":
                captions[name] = file
            else:
                scan.skip(kind, name)
    return pictures, captions, folders


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
    if lower in SUFFIXES:
        return "picture"
    if suffix == caption_extension:
        return "caption"
    if lower in OTHER_PICTURES:
        return "other_format"
    return "latent_cache" if lower == ".npz" else "other"


def _is_link_inside(scan: Scan, entry: os.DirEntry[str], name: str) -> bool:
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):  # gone, or a loop
        scan.skip("link_broken", name)
        return False
    if target.is_relative_to(scan.root.resolve()):
        return True
    scan.skip("link_outside", name)
    return False


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of pictures as kohya reads it: `10_name` is repeated ten times with the class tokens `name`."""

    name: str
    repeats: int | None
    class_tokens: str | None
    pictures: int


def list_folders(names: Iterator[str]) -> list[Folder]:
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
