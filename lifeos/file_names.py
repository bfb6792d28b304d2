"""One text for a file name on every system: its bytes as UTF-8, whatever encoding the locale names.

Under LC_ALL=C without UTF-8 mode Python reads `é` as two stray bytes, and writes `é` not at all. What is stored, compared or hashed is the
stored form; what is opened is the form of the system. Where the file system's encoding is UTF-8 both are the same. A byte that is no
UTF-8 is kept as a lone surrogate (PEP 383).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_IS_UTF8 = sys.getfilesystemencoding().lower().replace("-", "") == "utf8"


def stored_name(name: str) -> str:
    """A name as the system gave it, for documents and hashes."""
    return name if _IS_UTF8 or name.isascii() else os.fsencode(name).decode("utf-8", "surrogateescape")


def system_name(name: str) -> str:
    """A stored name as the system wants it, to open the file."""
    return name if _IS_UTF8 or name.isascii() else os.fsdecode(name.encode("utf-8", "surrogateescape"))


def stored_path(path: Path) -> str:
    """A path for documents, with `/` between folders."""
    return stored_name(path.as_posix())


def system_path(stored: str) -> Path:
    """The path that a document names."""
    return Path(system_name(stored))


def name_bytes(name: str) -> bytes:
    """The bytes of a stored name: what names are sorted by, so that the order does not depend on the system's language."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # Windows allows half a surrogate pair
        return name.encode("utf-8", "surrogatepass")
