"""musubi-tuner as a trainer of the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lifeos.errors import UnavailableError
from lifeos.findings import Finding
from tools.families.families import Family
from tools.trainers.header_dialects import MUSUBI
from tools.trainers.kohya_output import KohyaOutput
from tools.trainers.musubi_tuner import musubi_conflicts, musubi_names, musubi_parser_check, musubi_processes, musubi_states
from tools.trainers.musubi_tuner.musubi_metadata import correct_metadata
from tools.trainers.optimizers import PACKAGES
from tools.trainers.packages import NeededPackage
from tools.trainers.run_comment import training_comment
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

MAY_DIFFER = frozenset(
    (
        *("resume", "max_train_steps", "training_comment", "dataset_config", "output_dir", "output_name", "lr_scheduler_type"),
        *("lr_scheduler_args", "logging_dir", "log_with", "log_prefix", "log_config", "save_every_n_steps", "save_state"),
        *("save_last_n_steps_state", "max_data_loader_n_workers", "persistent_data_loader_workers", "metadata_title", "metadata_author"),
        *("metadata_description", "metadata_license", "metadata_tags", "metadata_reso", "sdpa", "xformers", "flash_attn", "split_attn"),
        *("blocks_to_swap", "sample_prompts", "sample_every_n_steps", "sample_every_n_epochs", "sample_at_first", "vae", "text_encoder"),
        *("t5", "vae_dtype", "gradient_checkpointing", "gradient_checkpointing_cpu_offload", "compile", "disable_numpy_memmap"),
    )
)
"""What does not change what is learnt. With another value of anything else the saved state does not fit, or it would be another run."""

ALWAYS = ("torch", "accelerate", "diffusers", "transformers", "voluptuous", "av")
LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb"}


class MusubiTuner:
    """kohya's musubi-tuner (read and run at v0.3.4): the pictures and captions are cached by two processes before a third trains."""

    name = "musubi-tuner"
    dialect: HeaderDialect = MUSUBI

    def find(self, folder: Path, python: str | None, family: Family) -> TrainerCheckout:
        for script in musubi_processes.needed_scripts(folder, family.training_with(self.name).script):
            if not script.is_file():
                why = f"no {script.relative_to(folder).as_posix()} there" if folder.is_dir() else "no such directory"
                raise UnavailableError(folder, why, "give --musubi-tuner-dir a checkout of kohya-ss/musubi-tuner")
        return locate(folder, python)

    def plan(self, job: TrainingJob) -> TrainingPlan:
        settings, how = job.settings, job.family.training_with(self.name)
        config = musubi_processes.build_dataset_config(settings, job.subsets)
        file = PlannedFile(settings.dataset_config, musubi_processes.render_toml(config), musubi_processes.TOML_HEADER, config)
        part = musubi_names.part_name(settings.output_name, job.resume.step if job.resume else 0)
        return TrainingPlan((file,), musubi_processes.plan_processes(job, how, part, training_comment(job.identity)))

    def find_conflicts(self, job: TrainingJob, plan: TrainingPlan) -> list[Finding]:
        return musubi_conflicts.find_conflicts(job, plan)

    def needed_packages(self, plan: TrainingPlan) -> tuple[NeededPackage, ...]:
        """What its modules import for a plan, at the top or on the way."""
        options = musubi_conflicts.read_options(plan)
        found = [NeededPackage(name, "the trainer", name) for name in ALWAYS]
        optimizer = options.get("optimizer_type", ("",))[0]
        module = "bitsandbytes" if optimizer.lower().endswith("8bit") else optimizer.partition(".")[0] if "." in optimizer else ""
        if module not in ("", "torch"):
            found.append(NeededPackage(module, f"--optimizer_type {optimizer}", PACKAGES.get(module, module)))
        attention = [name for name in ("xformers", "flash_attn") if name in options]
        found += [NeededPackage(name, f"--{name}", f"{name.replace('_', '-')}, in the version for its PyTorch") for name in attention]
        if "logging_dir" in options or "log_with" in options:
            logger = options.get("log_with", ("tensorboard",))[0]
            found += [NeededPackage(LOGGERS[name], f"--log_with {name}", name) for name in LOGGERS if logger in (name, "all")]
        return tuple(found)

    def ask_parser(self, checkout: TrainerCheckout, plan: TrainingPlan) -> ParserVerdict:
        return musubi_parser_check.ask_parser(checkout, plan)

    def open_output(self, process: TrainerProcess, *, first_step: int, max_steps: int) -> OutputReader:
        return KohyaOutput(max_steps)  # the counter's total is what was left: the steps before count

    def find_states(self, output_dir: Path, output_name: str) -> list[SavedState]:
        return musubi_states.find_states(output_dir, output_name)

    def read_state(self, folder: Path) -> SavedState:
        return musubi_states.read_state(folder)

    def is_state(self, file_name: str, output_name: str) -> bool:
        return musubi_states.is_state(file_name, output_name)

    def find_changes(self, recorded_argv: Sequence[str], plan: TrainingPlan) -> list[OptionChange]:
        before, after = (musubi_conflicts.read_training_options(tuple(argv)) for argv in (recorded_argv, plan.training.argv))
        changed = [name for name in sorted({*before, *after} - MAY_DIFFER) if before.get(name) != after.get(name)]
        return [OptionChange(f"--{name}", _shown(before, name), _shown(after, name)) for name in changed]

    def correct_metadata(self, metadata: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
        return correct_metadata(metadata, earlier)

    def checkpoint_name(self, output_name: str) -> str:
        return f"{output_name}.safetensors"

    def settled_name(self, file_name: str, output_name: str) -> str:
        return musubi_names.settled_name(file_name, output_name)

    def read_checkpoint_name(self, file_name: str, output_name: str) -> CheckpointName | None:
        return musubi_names.read_checkpoint_name(file_name, output_name)


TRAINER: Trainer = MusubiTuner()


def _shown(options: Mapping[str, tuple[str, ...]], name: str) -> str:
    return " ".join(options[name]) if name in options else "not given"
