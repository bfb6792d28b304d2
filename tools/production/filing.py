"""The batch directory: where a picture lies at each moment, so that it is in exactly one place and never half there.

- `.work/incoming/`: downloaded, not yet filed
- `approved/`, `rejected/`: filed, by the verdict
- `.work/thumbnails/`: small copies for the report, made again where they are missing
- `.work/damaged/`: what was left of pictures that were made again
- `.work/lock`: held by the program that works on the batch; `.work/decisions.lock` by the one that writes a decision
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lifeos import files
from lifeos.errors import InputError, UnavailableError
from lifeos.picture_formats import format_of

APPROVED: Final = "approved"
REJECTED: Final = "rejected"
WORK = ".work"
GIGABYTE = 1_000_000_000
RESERVE_BYTES = 100_000_000
"""Kept free while a batch runs: what is downloaded, the journal and the reports must still find room."""

SUFFIX_OF_FORMAT = {
    "PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif", "AVIF": ".avif", "HEIF": ".heic",
    "JXL": ".jxl", "JPEG2000": ".jp2", "PSD": ".psd", "WEBM": ".webm", "MP4": ".mp4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """The directory of one batch."""

    root: Path

    @property
    def incoming(self) -> Path:
        return self.root / WORK / "incoming"

    @property
    def thumbnails(self) -> Path:
        return self.root / WORK / "thumbnails"

    @property
    def lock(self) -> Path:
        return self.root / WORK / "lock"

    def prepare(self) -> None:
        """Make the folders and remove what a killed run left half written."""
        for folder in (self.incoming, self.thumbnails, self.root / APPROVED, self.root / REJECTED):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.incoming, self.thumbnails, self.root, self.root / APPROVED, self.root / REJECTED):
            for half in folder.glob(".*.tmp"):
                with contextlib.suppress(FileNotFoundError):
                    half.unlink()

    def place_of(self, name: str) -> str | None:
        """`approved`, `rejected` or `incoming`: the one place of a picture, or None."""
        return next((place for place in (APPROVED, REJECTED, "incoming") if self.path(place, name).is_file()), None)

    def path(self, place: str, name: str) -> Path:
        return (self.incoming if place == "incoming" else self.root / place) / name

    def take_in(self, pictures: Iterable[tuple[str, bytes]]) -> None:
        """Store the pictures of one item, whole and on the disk. The first is written last: when it is there, all are."""
        for name, data in reversed(list(pictures)):
            files.write_bytes(self.incoming / name, data)

    def file(self, name: str, *, approved: bool) -> str:
        """Move a picture to its place, and return the folder's name. One that has been filed already stays where it is."""
        folder = APPROVED if approved else REJECTED
        source = self.incoming / name
        if source.is_file():
            files.replace(source, self.root / folder / name)
            return folder
        return self.place_of(name) or folder

    def refile(self, name: str, *, approved: bool) -> None:
        """Move a filed picture to the other place. One that lies there already, or that its owner took away, is left alone."""
        source, target = (self.root / place / name for place in ((REJECTED, APPROVED) if approved else (APPROVED, REJECTED)))
        if source.is_file() and not target.exists():
            files.replace(source, target)

    def refile_from(self, path: str, name: str, *, approved: bool) -> None:
        """Move a filed picture from where it lies, `path` in the directory, into approved/ or rejected/; nothing is overwritten."""
        source, target = self.root / path, self.root / (APPROVED if approved else REJECTED) / name
        if source.is_file() and not target.exists():
            files.replace(source, target)

    def set_aside(self, path: str, name: str) -> None:
        """Move what is left of a damaged picture, `path` in the directory, out of the way of the one that is made again."""
        aside = self.root / WORK / "damaged"
        aside.mkdir(parents=True, exist_ok=True)
        files.replace(self.root / path, aside / name)
        for ending in (".webp", ".jpg"):
            with contextlib.suppress(FileNotFoundError):
                (self.thumbnails / f"{name}{ending}").unlink()

    def remove_empty_work(self) -> None:
        """Tidy up after a finished batch; the lock and the thumbnails stay."""
        with contextlib.suppress(OSError):
            self.incoming.rmdir()

    def free_bytes(self) -> int:
        return shutil.disk_usage(nearest_existing(self.root)).free


def check_writable(root: Path) -> None:
    """Raises InputError where the output directory cannot be one: a file is in the way, or nothing may be written there."""
    place = nearest_existing(root)
    if not place.is_dir():
        raise InputError(root, f"{place} is a file, not a directory", "choose another --output-dir")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(root, f"{place} may not be written", "change its permissions, or choose another --output-dir")


def nearest_existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there, as far as we may look."""
    place = path.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place


def check_room(folder: BatchFolder, wanted_gb: float) -> None:
    """Raises UnavailableError where less than `wanted_gb` (10^9 bytes) is free."""
    free = folder.free_bytes()
    if free < wanted_gb * GIGABYTE:
        why = f"{free / GIGABYTE:.1f} GB free on the disk, {wanted_gb:g} GB wanted"
        raise UnavailableError(folder.root, why, "free some room, choose another --output-dir, or lower production.min_free_disk_gb")


def disk_is_full(root: Path) -> UnavailableError:
    return UnavailableError(root, "the disk is full", "free some room, then run the same command again")


def suffix_of(data: bytes) -> str:
    """The file name suffix of a picture, from its first bytes: the server's name for it is data, not to be trusted."""
    return SUFFIX_OF_FORMAT.get(format_of(data), ".png")
