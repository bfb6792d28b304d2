"""ai-toolkit as a trainer of the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lifeos.errors import UnavailableError
from lifeos.findings import Finding
from tools.families.families import Family
from tools.trainers.ai_toolkit import toolkit_config, toolkit_conflicts, toolkit_files, toolkit_loader_check
from tools.trainers.ai_toolkit.toolkit_output import ToolkitOutput
from tools.trainers.config_beside import read_yaml
from tools.trainers.header_dialects import AI_TOOLKIT
from tools.trainers.packages import NeededPackage
from tools.trainers.trainer import (
    CheckpointName,
    HeaderDialect,
    OptionChange,
    OutputReader,
    ParserVerdict,
    PlannedFile,
    SavedState,
    Trainer,
    TrainerProcess,
    TrainingJob,
    TrainingPlan,
)
from tools.trainers.trainer_checkout import TrainerCheckout, locate

MAY_DIFFER = (
    *("name", "training_folder", "log_dir", "save", "train.steps", "train.start_step", "train.disable_sampling", "train.skip_first_sample"),
    *("network.pretrained_lora_path", "model.low_vram", "model.vae_path", "sample", "logging", "performance_log_every"),
)
"""Places of the process that do not change what is learnt, with all below them. With another value of any other it is another run."""

ALWAYS = ("torch", "torchaudio", "torchao", "diffusers", "transformers", "accelerate", "oyaml", "dotenv")
INSTALLED_BY = {"dotenv": "python-dotenv"}
OPTIMIZER_PACKAGES = {
    "prodigy": ("prodigyopt", "prodigyopt"),
    "lion": ("lion_pytorch", "lion-pytorch"),
    **dict.fromkeys(("adam8bit", "adamw8bit", "ademamix8bit", "lion8bit"), ("bitsandbytes", "bitsandbytes")),
    **dict.fromkeys(("dadaptation", "dadaptationadam", "dadaptationlion"), ("dadaptation", "dadaptation")),
}


class AiToolkit:
    """Ostris' ai-toolkit (read and run at 0.12.26): one process, and one YAML that holds everything."""

    name = "ai-toolkit"
    dialect: HeaderDialect = AI_TOOLKIT

    def find(self, folder: Path, python: str | None, family: Family) -> TrainerCheckout:
        script, own = family.training_with(self.name).script, Path("toolkit") / "config_modules.py"
        for part in (Path(script), own):
            if not (folder / part).is_file():
                why = f"no {part.as_posix()} there" if folder.is_dir() else "no such directory"
                raise UnavailableError(folder, why, "give --ai-toolkit-dir a checkout of ostris/ai-toolkit")
        return locate(folder, python)

    def plan(self, job: TrainingJob) -> TrainingPlan:
        how, path = job.family.training_with(self.name), toolkit_config.config_path(job.settings)
        config = toolkit_config.build_config(job, how)
        file = PlannedFile(path, toolkit_config.render_yaml(config), toolkit_config.YAML_HEADER, config)
        folder = job.checkout.folder
        argv = (job.checkout.python, str(folder / how.script), str(path))
        return TrainingPlan((file,), (TrainerProcess("training", argv, folder),))

    def find_conflicts(self, job: TrainingJob, plan: TrainingPlan) -> list[Finding]:
        return toolkit_conflicts.find_conflicts(job, plan, job.family.training_with(self.name))

    def needed_packages(self, plan: TrainingPlan) -> tuple[NeededPackage, ...]:
        found = [NeededPackage(name, "the trainer", INSTALLED_BY.get(name, name)) for name in ALWAYS]
        process = _process_of(plan.files[0].document)
        optimizer = str(process["train"]["optimizer"])
        if optimizer in OPTIMIZER_PACKAGES:
            module, package = OPTIMIZER_PACKAGES[optimizer]
            found.append(NeededPackage(module, f"--optimizer {optimizer}", package))
        if "log_dir" in process:
            found.append(NeededPackage("tensorboard", "--logging-dir", "tensorboard"))
        return tuple(found)

    def ask_parser(self, checkout: TrainerCheckout, plan: TrainingPlan) -> ParserVerdict:
        return toolkit_loader_check.ask_loader(checkout, plan)

    def open_output(self, process: TrainerProcess, *, first_step: int, max_steps: int) -> OutputReader:
        return ToolkitOutput(max_steps, goes_on=first_step > 0)

    def find_states(self, output_dir: Path, output_name: str) -> list[SavedState]:
        return toolkit_files.find_states(output_dir, output_name)

    def read_state(self, folder: Path) -> SavedState:
        return toolkit_files.read_state(folder)

    def is_state(self, file_name: str, output_name: str) -> bool:
        return file_name == toolkit_files.OPTIMIZER

    def find_changes(self, recorded_argv: Sequence[str], plan: TrainingPlan) -> list[OptionChange]:
        """The command line names the YAML only; what the run began with stands in that, as it was written for its last part."""
        before, after = _read_process(Path(recorded_argv[-1])), _process_of(plan.files[0].document)
        if before is None:
            return [OptionChange("the configuration", "in a file that cannot be read any more", str(plan.files[0].path))]
        was, now = (toolkit_config.flatten(_comparable(process)) for process in (before, after))
        changed = [place for place in sorted({*was, *now}) if was.get(place) != now.get(place)]
        return [OptionChange(place, str(was.get(place, "not given")), str(now.get(place, "not given"))) for place in changed]

    def correct_metadata(self, metadata: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
        return {}  # it counts from the run's beginning, also in its files

    def checkpoint_name(self, output_name: str) -> str:
        return toolkit_files.checkpoint_name(output_name)

    def settled_name(self, file_name: str, output_name: str) -> str:
        return file_name

    def read_checkpoint_name(self, file_name: str, output_name: str) -> CheckpointName | None:
        return toolkit_files.read_checkpoint_name(file_name, output_name)


TRAINER: Trainer = AiToolkit()


def _process_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    process: Mapping[str, Any] = document["config"]["process"][0]
    return process


def _read_process(path: Path) -> Mapping[str, Any] | None:
    try:
        return _process_of(read_yaml(path))
    except (KeyError, IndexError, TypeError):
        return None


def _comparable(process: Mapping[str, Any]) -> dict[str, Any]:
    """Without what may differ, and without where the staged pictures lie."""
    flat = toolkit_config.flatten(process)
    kept = {place: value for place, value in flat.items() if not any(place == each or place.startswith(f"{each}.") for each in MAY_DIFFER)}
    datasets = kept.pop("datasets", None)
    for number, dataset in enumerate(datasets if isinstance(datasets, list) else ()):
        if isinstance(dataset, Mapping):
            kept[f"datasets[{number}]"] = {**dataset, "folder_path": Path(str(dataset.get("folder_path"))).name}
    return kept
