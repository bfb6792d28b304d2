"""Everything about a run that can be known before it begins. Nothing here changes a file."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.errors import InputError, UnavailableError
from tools.dataset.build import BuildRequest, BuiltManifest, build_dataset_manifest
from tools.dataset.manifest import hash_document, keep_created, now_utc
from tools.dataset.notices import Notice
from tools.trainers.sd_scripts_command import (
    Resume,
    Subset,
    build_command,
    build_dataset_config,
    build_trainer_args,
    render_toml,
    training_comment,
)
from tools.trainers.sd_scripts_conflicts import Conflict, find_conflicts
from tools.trainers.sd_scripts_install import find_python
from tools.training.resume import check_same_run, find_resume
from tools.training.settings import TrainingSettings, looks_like_path
from tools.training.staging import STAGE_FOLDER, StagePlan, plan_stage
from tools.training.training_record import is_of_run, read_record

REFUSED = frozenset({"trigger_word_missing"})
"""Only a warning about a set as such, but fatal to a run: the character would be learnt under no name."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A run, ready to start. `missing`: what is not on this machine; `built` and `plan` are None where the dataset is not."""

    settings: TrainingSettings
    run_id: str
    command: list[str]
    dataset_config: dict[str, Any]
    dataset_toml: str
    conflicts: list[Conflict]
    missing: list[UnavailableError | InputError]
    built: BuiltManifest | None
    plan: StagePlan | None
    manifest_hash: str | None
    resume: Resume | None

    @property
    def dataset_id(self) -> str | None:
        return self.built.document["dataset_id"] if self.built else None

    @property
    def trainer_args(self) -> list[str]:
        """What follows the training script."""
        return self.command[next(index for index, item in enumerate(self.command) if item.endswith(".py")) + 1 :]

    @property
    def faults(self) -> list[Notice]:
        """What is wrong with the dataset so that it must not be trained on."""
        notices = self.built.notices if self.built else []
        return [notice for notice in notices if notice.level == "error" or notice.check in REFUSED]


def prepare(settings: TrainingSettings, policy: Mapping[str, Any], *, resume: str | None = None, decode: bool = True) -> Preparation:
    """Read the dataset, look for the trainer and the base model, and write the command.

    `decode`: decode every picture, to find damaged ones. Raises InputError for a dataset that cannot be read and a resume that
    cannot be; what is only missing here is listed, so that a dry run works on any machine.
    """
    missing = _find_missing(settings)
    built = None
    if settings.train_data_dir.is_dir() and (settings.reg_data_dir is None or settings.reg_data_dir.is_dir()):
        built = _read_dataset(settings, policy, decode)
        keep_created(built.document, settings.manifest_out)
    record = read_record(settings.output_dir)
    going_on = find_resume(resume, settings.output_dir, settings.output_name, settings.max_train_steps) if resume else None
    run_id = record["run_id"] if going_on and record else f"{now_utc().replace(':', '').replace('-', '')}-{uuid.uuid4().hex[:8]}"
    plan = plan_stage(settings, built.document) if built and built.records else None
    if plan and going_on:
        plan = plan.with_one_epoch_of(settings.max_train_steps * settings.train_batch_size)
    config = build_dataset_config(settings, plan.subsets if plan else _assumed_subsets(settings))
    # the hash of exactly the bytes that will be written beside the LoRA
    manifest_hash = hash_document(built.document) if built and not settings.skip_manifest else None
    dataset_id = built.document["dataset_id"] if built and not settings.skip_manifest else None
    comment = training_comment(dataset_id, manifest_hash, run_id)
    trainer_args = build_trainer_args(settings, comment=comment, resume=going_on)
    command = build_command(find_python(settings.sd_scripts_dir, settings.trainer_python), trainer_args)
    if going_on:
        check_same_run(record, command, dataset_id)
    conflicts = find_conflicts(command, config)
    toml = render_toml(config)
    return Preparation(settings, run_id, command, config, toml, conflicts, missing, built, plan, manifest_hash, going_on)


def _read_dataset(settings: TrainingSettings, policy: Mapping[str, Any], decode: bool) -> BuiltManifest:
    request = BuildRequest.from_policy(
        policy,
        dataset_dir=settings.train_data_dir,
        regularisation_dir=settings.reg_data_dir,
        caption_extension=settings.caption_extension,
        trigger_word=settings.trigger_word,
        resolution=settings.resolution,
        use_cache=False,  # a run is prepared once, and must not rest on what was true earlier
        decode=decode,
    )
    return build_dataset_manifest(request, created=now_utc(), started_ns=time.time_ns())


def _assumed_subsets(settings: TrainingSettings) -> list[Subset]:
    """What the TOML would name if the folders were here and flat."""
    stage, tokens = settings.output_dir / STAGE_FOLDER, f"{settings.trigger_word} {settings.class_tokens}".strip()
    subsets = [Subset(stage / f"{settings.train_repeats}_{tokens}", settings.train_repeats, tokens)]
    if settings.reg_data_dir:
        subsets.append(
            Subset(stage / f"{settings.reg_repeats}_{settings.class_tokens}_reg", settings.reg_repeats, settings.class_tokens, True)
        )
    return subsets


def _find_missing(settings: TrainingSettings) -> list[UnavailableError | InputError]:
    found: list[UnavailableError | InputError] = []
    for flag, folder in (("--train-data-dir", settings.train_data_dir), ("--reg-data-dir", settings.reg_data_dir)):
        if folder is not None and not folder.is_dir():
            why = "is a file, not a directory" if folder.exists() else "no such directory"
            found.append(InputError(folder, why, f"give {flag} a folder of pictures"))
    script = settings.sd_scripts_dir / "sdxl_train_network.py"
    if not script.is_file():
        found.append(UnavailableError(script, "no such file", "give --sd-scripts-dir a checkout of kohya-ss/sd-scripts"))
    if looks_like_path(settings.base_model) and not Path(settings.base_model).exists():
        found.append(UnavailableError(settings.base_model, "no such file", "give --base-model an SDXL checkpoint"))
    return found


def existing_outputs(settings: TrainingSettings) -> list[Path]:
    """LoRA files of this name that a new run would overwrite."""
    return sorted(path for path in settings.output_dir.glob("*.safetensors") if is_of_run(path.name, settings.output_name))
