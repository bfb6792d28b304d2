"""A trainer as unlike sd-scripts as the seam allows: two processes, JSON instead of TOML, another counter, other names, other states."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import UnavailableError
from lifeos.findings import Finding
from tools.families.families import Family
from tools.trainers.packages import NeededPackage
from tools.trainers.trainer import (
    CheckpointName,
    HeaderDialect,
    OptionChange,
    OutputReader,
    ParserVerdict,
    PlannedFile,
    SavedFile,
    SavedState,
    StepReport,
    Stream,
    Trainer,
    TrainerProcess,
    TrainingJob,
    TrainingPlan,
)
from tools.trainers.trainer_checkout import TrainerCheckout, locate

SIGNATURE = '{\n  "by": "a toy'
STEP = re.compile(r"step (\d{1,9}) of \d{1,9}, loss ([\d.]{1,30})")


class ToyDialect:
    def recognises(self, metadata: Mapping[str, str]) -> bool:
        return "toy_run" in metadata

    def read_parameters(self, metadata: Mapping[str, str]) -> dict[str, Any]:
        return {"steps": int(metadata["toy_steps"])}

    def read_run_id(self, metadata: Mapping[str, str]) -> str | None:
        return metadata.get("toy_run")


class ToyOutput:
    def __init__(self, first_step: int, *, trains: bool) -> None:
        self._first_step, self._trains, self._last = first_step, trains, ""

    def read(self, line: str, stream: Stream) -> StepReport | SavedFile | None:
        if line.startswith("saved "):
            return SavedFile(line.removeprefix("saved "))
        found = STEP.fullmatch(line)
        if found and self._trains:
            return StepReport(self._first_step + int(found[1]), None, float(found[2]))
        self._last = line
        return None

    def cause(self) -> str:
        return self._last


class ToyTrainer:
    name = "toy"
    dialect: HeaderDialect = ToyDialect()

    def find(self, folder: Path, python: str | None, family: Family) -> TrainerCheckout:
        if not (folder / "toy_train.py").is_file():
            raise UnavailableError(folder, "no toy there", "give --toy-dir a toy")
        return locate(folder, python)

    def plan(self, job: TrainingJob) -> TrainingPlan:
        settings = job.settings
        config = {
            "by": "a toy", "output_dir": str(settings.output_dir), "steps": settings.max_train_steps,
            "name": settings.output_name + (f"-from{job.resume.step}" if job.resume else ""),
            "save_every": settings.save_every_n_steps, "run": job.identity.run_id, "optimizer": settings.optimizer,
            "state": str(job.resume.folder) if job.resume else None, "folders": [str(subset.image_dir) for subset in job.subsets],
        }  # fmt: skip
        file = PlannedFile(settings.output_dir / "toy.json", json.dumps(config, indent=2) + "\n", SIGNATURE, config)
        processes = (("caching pictures", "toy_cache.py"), ("training", "toy_train.py"))
        python, folder = job.checkout.python, job.checkout.folder
        arguments = (str(file.path), f"--optimizer={settings.optimizer}")
        return TrainingPlan((file,), tuple(TrainerProcess(name, (python, script, *arguments), folder) for name, script in processes))

    def find_conflicts(self, job: TrainingJob, plan: TrainingPlan) -> list[Finding]:
        optimizer = plan.files[0].document["optimizer"]
        found = [Finding("--optimizer", "a toy has no Lion", "give another")] if optimizer == "Lion" else []
        if any(subset.is_reg for subset in job.subsets):
            found.append(Finding("--reg-data-dir", "a toy knows no regularisation", "leave it out"))
        return found

    def needed_packages(self, plan: TrainingPlan) -> tuple[NeededPackage, ...]:
        return ()

    def ask_parser(self, checkout: TrainerCheckout, plan: TrainingPlan) -> ParserVerdict:
        return ParserVerdict(("arguments",), "")

    def open_output(self, process: TrainerProcess, *, first_step: int, max_steps: int) -> OutputReader:
        return ToyOutput(first_step, trains=process.name == "training")

    def find_states(self, output_dir: Path, output_name: str) -> list[SavedState]:
        found = [self.read_state(path) for path in output_dir.iterdir() if self.is_state(path.name, output_name)]
        return sorted(found, key=lambda state: state.step)

    def read_state(self, folder: Path) -> SavedState:
        document = foreign.read_file(folder, dict)
        return SavedState(folder, document["step"], document["run"])

    def is_state(self, file_name: str, output_name: str) -> bool:
        return re.fullmatch(re.escape(output_name) + r"(?:-from\d+)?\.\d+\.state", file_name) is not None

    def find_changes(self, recorded_argv: Sequence[str], plan: TrainingPlan) -> list[OptionChange]:
        was, now = recorded_argv[-1], plan.training.argv[-1]
        return [] if was == now else [OptionChange("--optimizer", was, now)]

    def correct_metadata(self, metadata: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
        first = int(metadata.get("toy_first", 0))
        return {"toy_steps": str(first + int(metadata["toy_steps"])), "toy_first": "0"} if first else {}

    def checkpoint_name(self, output_name: str) -> str:
        return f"{output_name}.last.safetensors"

    def settled_name(self, file_name: str, output_name: str) -> str:
        named = self.read_checkpoint_name(file_name, output_name)
        if named is None:
            return file_name
        return self.checkpoint_name(output_name) if named.is_final else f"{output_name}.{named.step}.safetensors"

    def read_checkpoint_name(self, file_name: str, output_name: str) -> CheckpointName | None:
        found = re.fullmatch(re.escape(output_name) + r"(?:-from(\d{1,9}))?\.(\d{1,9}|last)\.safetensors", file_name)
        if not found:
            return None
        return CheckpointName(None if found[2] == "last" else int(found[1] or 0) + int(found[2]), is_final=found[2] == "last")


TRAINER: Trainer = ToyTrainer()
