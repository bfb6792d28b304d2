"""What a batch directory holds about one picture, read without changing anything: plan, journal, decisions, files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lifeos import foreign
from lifeos.errors import LifeosError
from lifeos.files import sha256_file
from tools.production.batch_state import BatchState
from tools.production.decisions import Decision, StandingVerdicts, read_standing
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.plan import PLAN_FILE, Plan, read_plan
from tools.production.rejudging import plan_in_force
from tools.production.results import ScoredRecord, read_scores
from tools.production.whereabouts import find_pictures_of

LEVELS = 4
"""How many folders above a picture may be its batch: `published/` and what people make inside it."""


@dataclass(frozen=True, slots=True)
class StoredGraph:
    """A workflow in batch.json with the digest that was written beside it."""

    sha256: str = ""


@dataclass(frozen=True, slots=True)
class StoredGraphs:
    """Of batch.json only the digests of its workflows."""

    workflows: tuple[StoredGraph, ...] = ()
    repair: StoredGraph | None = None


@dataclass(slots=True)
class BatchEvidence:
    """A batch as far as it can be read. `fault`: why its plan or journal cannot be, empty where they can or where there is none."""

    folder: BatchFolder
    plan: Plan | None = None
    state: BatchState = field(default_factory=BatchState)
    digests: tuple[str, ...] = ()
    repair_digest: str = ""
    """That which stands beside the graph of repairs."""
    standing: StandingVerdicts = field(default_factory=lambda: StandingVerdicts({}))
    fault: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def is_there(self) -> bool:
        return self.plan is not None

    def name_of(self, sha256: str) -> str | None:
        """The batch's name for the picture of these bytes, as it was scored."""
        return next((name for name, scored in self.state.scored.items() if scored.sha256 == sha256), None)

    def decision_on(self, name: str) -> Decision | None:
        """The person's verdict that wins over the gates; None where nobody decided."""
        return self.standing.in_force.get(name)

    def item_of(self, name: str) -> int | None:
        """The number in the plan of the prompt that made a picture."""
        return next((index for index, item in self.state.items.items() if name in item.files), None)

    def score_of(self, name: str) -> ScoredRecord | None:
        return read_scores(self.folder.root / JOURNAL_FILE, {name}, self.remarks.append).get(name)

    def file_of(self, name: str) -> Path | None:
        """Where the picture itself lies now; None where it is gone."""
        path = find_pictures_of(self.folder, self.state).paths.get(name)
        return self.folder.root / path if path is not None else None


def find_batch_above(picture: Path) -> Path | None:
    """The batch directory that a file lies in, if it lies in one."""
    above = list(picture.resolve().parents)[:LEVELS]
    return next((folder for folder in above if (folder / PLAN_FILE).is_file()), None)


def read_evidence(root: Path) -> BatchEvidence:
    """What a directory holds; a damaged plan or journal is a fault of the evidence, no error."""
    evidence = BatchEvidence(BatchFolder(root))
    try:
        plan = read_plan(root)
        if plan is None:
            return evidence
        stored = foreign.read_file(root / PLAN_FILE, StoredGraphs, surrogates="keep")
        evidence.digests = tuple(each.sha256 for each in stored.workflows)
        evidence.repair_digest = stored.repair.sha256 if stored.repair is not None else ""
        evidence.state = read_state(root / JOURNAL_FILE, evidence.remarks.append)
        evidence.standing = read_standing(root, evidence.state, evidence.remarks.append)
        evidence.plan = plan_in_force(plan, evidence.state)
    except (LifeosError, OSError) as error:
        evidence.fault = str(error)
    return evidence


def digest_of(path: Path) -> str:
    """The SHA-256 of a file; empty where it cannot be read."""
    try:
        return sha256_file(path)
    except OSError:
        return ""
