"""What happened to each picture of a batch: an append-only log, and the state that it adds up to.

    submitted   a prompt id was chosen and is about to be posted (down to the disk before the post)
                `second`: beside the one that is under way on another server
    accepted    the server has a name of its own for that prompt (down to the disk)
    dropped     one of two prompts of a picture is not wanted any more: the other server was quicker, or this one failed
    refused     a server refused a prompt, and another got it
    charged     how a prompt ended on a server, its seconds there, and what is charged for it, in dollars; once for each prompt
    downloaded  its pictures lie whole in the incoming folder
    scored      a picture was assessed, with the assessment and the verdict
    filed       a picture has its place in approved/ or rejected/
    failed      an item ended without a picture
    repair      a rejected picture is repaired: the number of the repair, and the picture (down to the disk before it is uploaded). What
                follows of that number are the records above, and `downloaded` names the picture again: there is one try
    rejudged    all scored pictures were judged again: the policy, and the pictures that move (down to the disk before they do)
    duplicates  the pictures that are duplicates of others now, all of them, and those that move (down to the disk before they do)
    refiled     the pictures that were to move have moved; within a run of the program it is `moved`
    rescored    a scored picture was assessed again under another protocol: that counts once `protocol` says so
    protocol    from here on the batch's scores are the rescored ones: the protocol, its scales, and the pictures that move (down to the
                disk before they do)
    lost        a picture that was downloaded is gone or damaged: its item is made again
    placed      where pictures were seen that somebody had moved, or were put because somebody decided so
    copied      from here on this directory goes on beside the one from which it was copied (`batch_home`)
    begun_anew  another plan took the place of one of which nothing was scored
    started, ended, recorded    a run of the program began, ended; the scorecard is in the history

The files are the truth about pictures, the journal about submissions and scores. A record that a power loss tore off means
only that a step is done again: a score, say. What must not be done twice or otherwise is on the disk before the step is taken
(`durable`): without `submitted` and `accepted` a picture that a server is making would be made twice, and a picture that was moved
without a record would look as if a person had moved it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from lifeos import foreign
from lifeos.files import warn
from tools.production.batch_state import BatchState, JournalRecord

JOURNAL_FILE = "journal.jsonl"
T = TypeVar("T")


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """The log of one batch, open for appending from any thread. The batch's lock makes us its only writer."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        torn = path.exists() and not _ends_whole(path)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        if torn:  # the torn line stays as it is; the next record gets a line of its own
            self._file.write(b"\n")

    def append(self, event: str, *, durable: bool = False, **fields: Any) -> str:
        """Add a record: handed to the system when this returns, and with `durable` on the disk. Returns its time."""
        time = now_text()
        line = json.dumps({"time": time, "event": event, **fields}, ensure_ascii=False, allow_nan=False) + "\n"
        data = line.encode("utf-8", "backslashreplace")  # a file name that is not UTF-8 becomes a JSON escape
        with self._lock:
            view = memoryview(data)
            while view:  # an unbuffered write may take only a part
                view = view[self._file.write(view) :]
            if durable:
                os.fsync(self._file.fileno())
        return time

    def close(self) -> None:
        with self._lock:
            self._file.close()


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return True
        file.seek(size - 1)
        return file.read(1) == b"\n"


def read_state(path: Path, on_warning: Callable[[str], None] = warn) -> BatchState:
    """The state of a batch; empty where there is no journal yet. Torn and foreign lines are named and skipped."""
    state = BatchState()
    for number, record in read_journal(path, JournalRecord, on_warning):
        try:
            state.apply(record)
        except ValueError as error:
            on_warning(f"{path}:{number}: record skipped (not one of ours: {error})")
    return state


def read_journal(path: Path, kind: type[T], on_warning: Callable[[str], None] = warn) -> Iterator[tuple[int, T]]:
    """The records of a journal, of any kind of record, with their line numbers. Torn and foreign lines are named and skipped."""
    if not path.exists():
        return
    for line in foreign.read_lines(path, kind, surrogates="keep"):
        if isinstance(line, foreign.BadLine):
            on_warning(f"{path}:{line.number}: line skipped ({'torn by a crash?' if line.is_torn else line.error.why})")
        else:
            yield line.number, line.record
