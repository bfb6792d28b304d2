"""What a batch without gates has posted: a record beside its pictures, so that a killed one goes on and nothing is made twice.

planned     the base seed was chosen (a drawn one would be another next time, and so would every picture)
submitted   a prompt id was chosen and is about to be posted (down to the disk before the post), with the hash of its graph
accepted    the server's own name for it, where it does not take ours
ended       the picture is stored, or could not be made
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tools.backends.dispatch import Job
from tools.production.journal import Journal, read_journal
from tools.production.plan import sha256_of

RECORD_NAME = ".generate_batch.jsonl"


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """One line of the record; what an event does not hold is None."""

    event: str
    base_seed: int | None = None
    picture: str | None = None
    prompt_id: str | None = None
    server: str | None = None
    handle: str | None = None
    graph: str | None = None


@dataclass(slots=True)
class _Sent:
    prompt_id: str
    server: str
    graph: str
    handle: str | None = None


class Submissions:
    """The record of one folder. The folder's lock makes us its only writer."""

    def __init__(self, folder: Path) -> None:
        path = folder / RECORD_NAME
        self.base_seed: int | None = None
        self._sent: dict[str, _Sent] = {}
        for _, record in read_journal(path, SubmissionRecord):
            self._apply(record)
        self._journal = Journal(path)

    def __enter__(self) -> Submissions:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._journal.close()

    def _apply(self, record: SubmissionRecord) -> None:
        name = record.picture or ""
        if record.event == "planned":
            self.base_seed = record.base_seed
        elif record.event == "submitted" and record.prompt_id and record.server:
            self._sent[name] = _Sent(record.prompt_id, record.server, record.graph or "")
        elif record.event == "accepted" and name in self._sent and self._sent[name].prompt_id == record.prompt_id:
            self._sent[name].handle = record.handle
        elif record.event == "ended":
            self._sent.pop(name, None)

    def begin(self, base_seed: int) -> None:
        """The seeds are settled: the same command will use the same."""
        if base_seed != self.base_seed:
            self._journal.append("planned", durable=True, base_seed=base_seed)

    def job(self, picture: str, graph: dict[str, Any]) -> Job:
        """The job of a picture. One that an earlier run posted, with this very graph, is looked for on its server before it is posted."""
        sent = self._sent.get(picture)
        if sent is None or sent.graph != sha256_of(graph):
            return Job(picture, graph)
        return Job(picture, graph, sent_as=sent.prompt_id, sent_to=sent.server, sent_handle=sent.handle)

    def submitted(self, job: Job, prompt_id: str, server: str) -> None:
        self._journal.append("submitted", durable=True, picture=job.key, prompt_id=prompt_id, server=server, graph=sha256_of(job.graph))

    def accepted(self, job: Job, prompt_id: str, handle: str) -> None:
        self._journal.append("accepted", durable=True, picture=job.key, prompt_id=prompt_id, handle=handle)

    def ended(self, picture: str) -> None:
        self._journal.append("ended", picture=picture)
