"""Where the model files that set-up brings lie on this machine. Their SHA-256 is what counts, whoever put them there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from lifeos import files
from lifeos.errors import UnavailableError
from lifeos.free_models import SFACE, YUNET_INT8, ModelFile
from lifeos.model_folders import model_folders

__all__ = ["SFACE", "YUNET_INT8", "ModelFile", "find", "require"]


def find(file: ModelFile, folders: Sequence[Path] | None = None) -> Path | None:
    """The file, where set-up put it (beside the packages of the running Python), else in the first folder that has it; None for none.

    `folders`: where models lie (default: the usual model folders). A file of that name with other bytes is passed over.
    """
    return next((path for path in _places(file, folders) if _sha256_of(path) == file.sha256), None)


ENGINE_FIX = "run: python -m lifeos setup; or, for the engine dlib: python -m lifeos setup --dlib"


def require(file: ModelFile, folders: Sequence[Path] | None = None, *, fix: str = ENGINE_FIX) -> Path:
    """The file that `find` finds. Raises UnavailableError where there is none, or only one with other bytes, with `fix` as the way out."""
    found = find(file, folders)
    if found is not None:
        return found
    wrong = next(_places(file, folders), None)
    if wrong is not None:
        why = f"damaged or another file: its SHA-256 is {_sha256_of(wrong)[:12]}…, {file.sha256[:12]}… is expected"
        raise UnavailableError(wrong, why, fix)
    raise UnavailableError(file.title, f"its model file {file.name} is not here", fix)


def _places(file: ModelFile, folders: Sequence[Path] | None) -> Iterator[Path]:
    packages = [entry / file.folder for entry in package_folders()]
    for folder in (*packages, *(model_folders() if folders is None else folders)):
        if (folder / file.name).is_file():
            yield folder / file.name


def package_folders() -> list[Path]:
    """Where Python looks for packages."""
    return [Path(entry) for entry in sys.path if entry]


def _sha256_of(path: Path) -> str:
    """Read once, and again when the file was changed; empty for one that cannot be read."""
    try:
        state = path.stat()
        return _read_sha256(path, state.st_size, state.st_mtime_ns)
    except OSError:
        return ""


@cache
def _read_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return files.sha256_file(path)
