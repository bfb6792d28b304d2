"""sd-scripts as a trainer of the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lifeos.errors import InputError, UnavailableError
from lifeos.findings import Finding
from tools.families.families import DEFAULT_FAMILY, Family
from tools.trainers import kohya_header
from tools.trainers.components import find_component
from tools.trainers.kohya_output import KohyaOutput
from tools.trainers.packages import NeededPackage
from tools.trainers.run_comment import training_comment
from tools.trainers.safetensors_header import read_safetensors_header
from tools.trainers.sd_scripts import command, conflicts, needs, parser_check, states
from tools.trainers.sd_scripts.metadata import correct_metadata
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
        *("resume", "skip_until_initial_step", "initial_step", "max_train_steps", "training_comment"),
        *("dataset_config", "output_dir", "logging_dir", "log_with", "log_prefix", "console_log_simple", "console_log_level"),
        *("save_every_n_steps", "save_state", "save_last_n_steps_state", "max_data_loader_n_workers", "persistent_data_loader_workers"),
        *("metadata_title", "metadata_trigger_phrase", "cache_latents", "cache_latents_to_disk", "vae_batch_size", "sdpa", "xformers"),
        *("sample_prompts", "sample_every_n_steps", "sample_every_n_epochs", "sample_at_first", "sample_sampler", "tokenizer_cache_dir"),
    )
)
"""What does not change what is learnt. With another value of anything else the saved state does not fit, or it would be another run."""

ABOUT_OLD_CACHES = ("--cache_latents_to_disk", "--cache_text_encoder_outputs_to_disk")
"""Wrong where pictures lie beside the caches of other pictures. What we stage is new for each part of a run, and holds no cache."""


class SdScripts:
    """kohya's sd-scripts (observed on v0.10.1): one process, a dataset TOML beside it."""

    name = conflicts.NAME
    dialect: HeaderDialect = kohya_header

    def find(self, folder: Path, python: str | None, family: Family) -> TrainerCheckout:
        script = family.training_with(self.name).script
        if not (folder / script).is_file():
            why = f"no {script} there" if folder.is_dir() else "no such directory"
            raise UnavailableError(folder, why, "give --sd-scripts-dir a checkout of kohya-ss/sd-scripts")
        return locate(folder, python)

    def plan(self, job: TrainingJob) -> TrainingPlan:
        settings, subsets = job.settings, job.subsets
        if job.resume:
            subsets = command.repeat_for_one_epoch(subsets, settings.max_train_steps * settings.train_batch_size)
        config = command.build_dataset_config(settings, job.family, subsets)
        header = command.TOML_HEADER if job.family.id == DEFAULT_FAMILY else command.OTHERS_HEADER
        file = PlannedFile(settings.dataset_config, command.render_toml(config, header), command.TOML_SIGNATURE, config)
        how = job.family.training_with(self.name)
        comment = training_comment(job.identity)
        args = command.build_trainer_args(settings, how, comment=comment, resume=job.resume)
        argv = command.build_command(job.checkout.python, how.script, args, settings.mixed_precision)
        return TrainingPlan((file,), (TrainerProcess("training", tuple(argv), job.checkout.folder),))

    def find_conflicts(self, job: TrainingJob, plan: TrainingPlan) -> list[Finding]:
        found = conflicts.find_conflicts(plan.training.argv, _config(plan))
        return [each for each in found if each.rule not in ABOUT_OLD_CACHES] + list(_find_scaled(job))

    def needed_packages(self, plan: TrainingPlan) -> tuple[NeededPackage, ...]:
        return needs.needed_packages(conflicts.read_options(plan.training.argv))

    def ask_parser(self, checkout: TrainerCheckout, plan: TrainingPlan) -> ParserVerdict:
        argv = plan.training.argv
        script = next(index for index, item in enumerate(argv) if item.endswith(".py"))
        return parser_check.ask_parser(checkout, argv[script], argv[script + 1 :], _config(plan))

    def open_output(self, process: TrainerProcess, *, first_step: int, max_steps: int) -> OutputReader:
        return KohyaOutput(max_steps)

    def find_states(self, output_dir: Path, output_name: str) -> list[SavedState]:
        return states.find_states(output_dir, output_name)

    def read_state(self, folder: Path) -> SavedState:
        return states.read_state(folder)

    def is_state(self, file_name: str, output_name: str) -> bool:
        return states.is_state(file_name, output_name)

    def find_changes(self, recorded_argv: Sequence[str], plan: TrainingPlan) -> list[OptionChange]:
        before, after = (conflicts.read_options(argv).values for argv in (recorded_argv, plan.training.argv))
        changed = [name for name in sorted({*before, *after} - MAY_DIFFER) if before.get(name) != after.get(name)]
        return [OptionChange(f"--{name}", _shown(before, name), _shown(after, name)) for name in changed]

    def correct_metadata(self, metadata: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
        return correct_metadata(metadata, earlier)

    def checkpoint_name(self, output_name: str) -> str:
        return f"{output_name}.safetensors"

    def settled_name(self, file_name: str, output_name: str) -> str:
        return file_name

    def read_checkpoint_name(self, file_name: str, output_name: str) -> CheckpointName | None:
        return states.read_checkpoint_name(file_name, output_name)


TRAINER: Trainer = SdScripts()


def _find_scaled(job: TrainingJob) -> Iterator[Finding]:
    """Files of scaled fp8: the trainer loads their weights with `strict=False`, leaves the scales out, and trains on noise."""
    flags = {"--base-model": job.settings.base_model}
    flags |= {find_component(name).flag: path for name, path in job.settings.components.items()}
    for flag, path in flags.items():
        with contextlib.suppress(InputError):  # told as a wrong file already
            if Path(path).is_file() and read_safetensors_header(Path(path)).has_scales:
                why = f"{path} is scaled fp8: sd-scripts reads its weights without their scales, and would train on noise"
                yield Finding(flag, why, "give the file in fp16, bf16 or plain fp8")


def _config(plan: TrainingPlan) -> Mapping[str, Any]:
    return plan.files[0].document


def _shown(options: Mapping[str, tuple[str, ...]], name: str) -> str:
    return " ".join(options[name]) if name in options else "not given"
