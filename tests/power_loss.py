"""A disk that remembers what would be left if the power went: for tests that must see an fsync, which no file's content shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Disk:
    """Watches a folder, and keeps what is certainly on the disk.

    Bytes are kept by the fsync of their file, which keeps a name that the file was made under too. A name that was given later,
    by a rename, is kept by the fsync of its folder (where folders cannot be synced, by the rename itself).
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._bytes: dict[int, bytes] = {}  # by the file's number
        self._names: dict[Path, int] = {}
        self._renamed: set[Path] = set()
        self.torn: list[str] = []
        """Names that were given to a file before its bytes were on the disk."""
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self._on_fsync)
        monkeypatch.setattr(os, "replace", self._on_replace)  # pathlib's replace calls it

    def after_power_loss(self) -> dict[str, bytes]:
        """Every file that would be found, by its path in the folder, with what would be in it."""
        return {path.relative_to(self._folder).as_posix(): self._bytes.get(number, b"") for path, number in self._names.items()}

    def _files(self) -> dict[Path, int]:
        return {path: path.stat().st_ino for path in self._folder.rglob("*") if path.is_file()}

    def _on_fsync(self, handle: int) -> None:
        self._fsync(handle)
        number = os.fstat(handle).st_ino
        for path, found in self._files().items():
            if found == number:
                self._bytes[number] = path.read_bytes()
                if path not in self._renamed:
                    self._names[path] = number
        for folder in {self._folder, *(path for path in self._folder.rglob("*") if path.is_dir())}:
            if folder.stat().st_ino == number:
                self._keep_names_of(folder)

    def _keep_names_of(self, folder: Path) -> None:
        self._names = {path: number for path, number in self._names.items() if path.parent != folder}
        self._names |= {path: number for path, number in self._files().items() if path.parent == folder}
        self._renamed = {path for path in self._renamed if path.parent != folder}

    def _on_replace(self, source: os.PathLike[str], target: os.PathLike[str]) -> None:
        source, target = Path(source), Path(target)
        if self._bytes.get(source.stat().st_ino) != source.read_bytes():
            self.torn.append(target.name)
        self._replace(source, target)
        self._renamed.add(target)
        if os.name != "posix":
            self._keep_names_of(target.parent)
