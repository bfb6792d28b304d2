"""The checkout that holds this code: where it is, its version, and paths that a flag names."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lifeos.errors import InputError

PROJECT_ROOT = Path(__file__).resolve().parents[1]
"""The checkout that holds this file: the default of every `--project-root`."""


@cache
def project_version() -> str:
    """The version that `--version` shows, from `pyproject.toml`."""
    import tomllib

    document = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    return str(document["project"]["version"])


def require_directory(path: Path, flag: str) -> Path:
    """`path` if it is a directory, else an `InputError` that names the flag."""
    if not path.is_dir():
        why = "is a file, not a directory" if path.exists() else "no such directory"
        raise InputError(path, why, f"give {flag} an existing directory")
    return path


def require_file(path: Path, flag: str) -> Path:
    """`path` if it is a file, else an `InputError` that names the flag."""
    if not path.is_file():
        why = "is a directory, not a file" if path.is_dir() else "no such file"
        raise InputError(path, why, f"give {flag} an existing file")
    return path
