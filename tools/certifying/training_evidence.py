"""What is left of a training: its record and its manifest, of the run that is there and of earlier ones that were moved aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lifeos import foreign
from lifeos.errors import LifeosError
from lifeos.file_names import system_path
from tools.training.training_choices import MANIFEST, PREVIOUS_RUNS
from tools.training.training_record import RECORD_FILE


@dataclass(frozen=True, slots=True)
class RecordedLora:
    """A LoRA file of a training record."""

    file: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class TrainingWords:
    """A training record, as far as it is read here. Version 3.0.0 wrote no trainer."""

    run_id: str
    state: str = ""
    started: str | None = None
    ended: str | None = None
    steps: int = 0
    trainer: str | None = None
    trainer_commit: str | None = None
    output_name: str | None = None
    dataset_id: str | None = None
    dataset_manifest: str | None = None
    dataset_manifest_hash: str | None = None
    base_fingerprint: str | None = None
    lora_files: list[RecordedLora] = field(default_factory=list)

    def lists(self, sha256: str) -> bool:
        return any(each.sha256 == sha256 for each in self.lora_files)


@dataclass(frozen=True, slots=True)
class FoundTraining:
    """A record and the folder that it lies in."""

    folder: Path
    words: TrainingWords

    def manifests(self) -> Iterator[Path]:
        """Where its manifest may lie, the likeliest first."""
        yield self.folder / MANIFEST
        if self.words.dataset_manifest:
            yield system_path(self.words.dataset_manifest)


def find_trainings(folders: Iterable[Path]) -> tuple[list[FoundTraining], list[str]]:
    """The records in these folders and in what earlier runs left there; and why one cannot be read."""
    found, faults = [], []
    for path in dict.fromkeys(_records(folders)):
        try:
            found.append(FoundTraining(path.parent, foreign.read_file(path, TrainingWords)))
        except LifeosError as error:
            faults.append(str(error))
    return found, faults


def _records(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        candidates = [folder / RECORD_FILE, *sorted(folder.glob(f"{PREVIOUS_RUNS}/*/{RECORD_FILE}"))]
        yield from (path.resolve() for path in candidates if path.is_file())
