"""Files that survive a crash: written whole or not at all, and logs that only grow."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from lifeos.errors import InputError
from lifeos.leftovers import sweep_once, temporary_name
from lifeos.printing import note

CHUNK_BYTES = 1 << 20
HELD_SECONDS, RETRY_SECONDS = 2.0, 0.05
HELD_OPEN = (5, 32, 33)
"""Windows' ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION: another program has the file open."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the body succeeds, and is gone when it fails.

    The bytes are on the disk (fsync) before the name changes, so a power loss leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(path.parent)
    temporary = path.with_name(temporary_name(path.name))  # tempfile takes five milliseconds to import
    with open(temporary, "xb"):
        pass
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if os.name == "posix" and path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        replace(temporary, path)
        _sync_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None  # nobody knows the temporary name; a full disk gives none at all
        raise


def replace(source: Path, target: Path) -> None:
    """Give a file another's name, which it replaces. One that a program holds open for a moment is tried again for HELD_SECONDS.

    That is Windows: antivirus, an indexer, an editor. Raises OSError.
    """
    until = time.monotonic() + HELD_SECONDS
    while True:
        try:
            source.replace(target)
            return
        except OSError as error:
            if getattr(error, "winerror", None) not in HELD_OPEN or time.monotonic() > until:
                raise
        time.sleep(RETRY_SECONDS)


def move(source: Path, target: Path) -> None:
    """Give a file, whose bytes are on the disk, a name in another folder of its volume, and bring that to the disk as well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    replace(source, target)
    _sync_directory(target.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file with `\\n` line ends, or leave the old one as it was.

    A byte of a file name that was not UTF-8 is written as its escape, which JSON reads back as that byte.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, document: object) -> None:
    """As `write_text`. The text of a large document is never in memory as a whole."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
        out.writelines(json.JSONEncoder(indent=2, ensure_ascii=False, allow_nan=False).iterencode(document))
        out.write("\n")


def read_text(path: Path) -> str:
    """A text file, UTF-8 with or without a byte order mark, any line ends. Raises InputError with the reason."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}", f"not UTF-8 (byte 0x{error.object[error.start]:02x})", "save it as UTF-8") from None
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except IsADirectoryError:
        raise InputError(path, "is a directory, not a file") from None


def read_json(path: Path) -> Any:
    """A JSON document. Raises InputError with the line."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}", f"not JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(path, "not usable JSON: nested too deep") from None
    except ValueError:  # Python's own limit, 4,300 digits
        raise InputError(path, "not usable JSON: it holds a number of thousands of digits") from None


def sha256_file(path: Path) -> str:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append one line to a JSON Lines log, under its lock and down to the disk.

    A torn last line (power loss) is left as it is: the new record starts on a line of its own. A record that could not be brought to the
    disk is taken back, so that whoever repeats the command does not write it twice. Raises OSError, which names the file.
    """
    from lifeos.locks import exclusive

    line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+", buffering=0) as file, exclusive(file):  # without a buffer, which closing would write once more
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                line = b"\n" + line
        try:
            _write_all(file, line)
            os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                file.truncate(end)
            error.filename = error.filename or str(path)
            raise


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a JSON Lines log."""

    line: int
    data: dict[str, Any]


def warn(message: str) -> None:
    note(f"warning: {message}")


def read_records(path: Path, on_warning: Callable[[str], None] = warn) -> Iterator[Record]:
    """The records of a JSON Lines log, oldest first. Lines that are no JSON object are named and skipped, never an error."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; a missing file must be reported before the first record
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    with file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                data = json.loads(raw.decode("utf-8-sig"))
            except (ValueError, RecursionError):
                torn = "torn by a crash?" if not raw.endswith(b"\n") else "not JSON"
                on_warning(f"{path}:{number}: line skipped ({torn})")
                continue
            if isinstance(data, dict):
                yield Record(number, data)
            else:
                on_warning(f"{path}:{number}: line skipped (not a JSON object)")


def _sync_directory(folder: Path) -> None:
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # some network volumes refuse: the rename itself is done
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
