"""Everything about a run that can be known before it begins. Nothing here changes a file."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos.errors import InputError, LifeosError, UnavailableError
from lifeos.findings import Finding
from tools.dataset.build import BuildRequest, BuiltManifest, build_dataset_manifest
from tools.dataset.hold_out import find_hold_out
from tools.dataset.manifest import hash_document, keep_created, now_utc
from tools.families.families import Family
from tools.trainers.base_model import find_base_fault
from tools.trainers.components import find_component_faults
from tools.trainers.packages import find_missing_packages
from tools.trainers.trainer import RunIdentity, SavedState, Subset, Trainer, TrainingJob, TrainingPlan
from tools.trainers.trainer_checkout import TrainerCheckout, locate
from tools.trainers.training_settings import TrainingSettings
from tools.training.resume import check_same_run, find_resume
from tools.training.saved_states import fingerprint
from tools.training.staging import STAGE_FOLDER, StagePlan, plan_stage
from tools.training.training_choices import find_without_effect, looks_like_path
from tools.training.training_record import read_record

REFUSED = frozenset({"trigger_word_missing"})
"""Only a warning about a set as such, but fatal to a run: the character would be learnt under no name."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A run, ready to start. `conflicts`: of its options; `allowed`: those that somebody accepts. `missing`: what is not on this machine,
    or is not what it must be; `built` and `stage` are None where the dataset is not."""

    settings: TrainingSettings
    family: Family
    trainer: Trainer
    checkout: TrainerCheckout
    identity: RunIdentity
    plan: TrainingPlan
    conflicts: list[Finding]
    allowed: list[Finding]
    missing: list[LifeosError]
    built: BuiltManifest | None
    stage: StagePlan | None
    resume: SavedState | None
    base_fingerprint: str | None = None
    extended_from: int | None = None
    """How many steps the continued run was to have before, if it has more now."""

    @property
    def dataset_id(self) -> str | None:
        return self.built.document["dataset_id"] if self.built else None

    @property
    def first_step(self) -> int:
        """The step that the run goes on from; 0 for one that begins."""
        return self.resume.step if self.resume else 0

    @property
    def faults(self) -> list[Finding]:
        """What is wrong with the dataset so that it must not be trained on."""
        notices = self.built.notices if self.built else []
        return [notice for notice in notices if notice.severity == "error" or notice.rule in REFUSED]


def prepare(
    settings: TrainingSettings,
    policy: Mapping[str, Any],
    trainer: Trainer,
    family: Family,
    *,
    resume: str | None = None,
    decode: bool = True,
    allow: Collection[str] = (),
) -> Preparation:
    """Read the dataset, look for the trainer and the base model, and plan the run.

    `decode`: decode every picture, to find damaged ones. `allow`: conflicts that are no reason to refuse, by their rule. Raises InputError
    for a dataset that cannot be read and a resume that cannot be; what is only missing here is listed, so that a dry run shows its command
    on any machine.
    """
    missing = _find_missing_folders(settings)
    checkout, is_there = locate(settings.trainer_dir, settings.trainer_python), True
    try:
        checkout = trainer.find(settings.trainer_dir, settings.trainer_python, family)
    except UnavailableError as error:
        missing.append(error)
        is_there = False
    if looks_like_path(settings.base_model) and (fault := find_base_fault(settings.base_model, family)):
        missing.append(fault)
    how = family.training_with(trainer.name)
    missing += find_component_faults(settings.components, settings.base_model, family, how)
    built = None
    if settings.train_data_dir.is_dir() and (settings.reg_data_dir is None or settings.reg_data_dir.is_dir()):
        built = _read_dataset(settings, policy, family, decode)
        keep_created(built.document, settings.manifest_out)
    record = read_record(settings.output_dir)
    going_on = find_resume(trainer, resume, settings, record) if resume else None
    run_id = record.run_id if going_on and record else f"{now_utc().replace(':', '').replace('-', '')}-{uuid.uuid4().hex[:8]}"
    is_claimed = built is not None and not settings.skip_manifest
    identity = RunIdentity(
        run_id,
        built.document["dataset_id"] if built and is_claimed else None,
        hash_document(built.document) if built and is_claimed else None,  # of exactly the bytes that will be written beside the LoRA
        tuple(dict.fromkeys([*(part["first_step"] for part in record.all_parts()[1:]), going_on.step])) if going_on and record else (),
    )
    stage = plan_stage(settings, built.document) if built and built.records else None
    subsets = stage.subsets if stage else assumed_subsets(settings)
    job = TrainingJob(settings, family, checkout, subsets, identity, going_on)
    plan = trainer.plan(job)
    base_fingerprint = _fingerprint_models(settings)
    if going_on and record:
        check_same_run(
            trainer,
            record,
            plan,
            max_train_steps=settings.max_train_steps,
            dataset_id=identity.dataset_id,
            staged_sha256=stage.sha256 if stage else None,
            base_fingerprint=base_fingerprint,
        )
    conflicts = find_without_effect(settings, family, how) + trainer.find_conflicts(job, plan)
    if is_there:
        missing += find_missing_packages(checkout, trainer.needed_packages(plan))
    refused = [item for item in conflicts if item.rule not in allow]
    allowed = [item for item in conflicts if item.rule in allow]
    before = record.max_train_steps if going_on and record else None
    longer = before if before is not None and before < settings.max_train_steps else None
    return Preparation(
        settings, family, trainer, checkout, identity, plan, refused, allowed, missing, built, stage, going_on, base_fingerprint, longer
    )


def _fingerprint_models(settings: TrainingSettings) -> str | None:
    """What the base model holds, and the files beside it; None where it is not here."""
    base = Path(settings.base_model)
    if not looks_like_path(settings.base_model) or not base.exists():
        return None
    found = [fingerprint(base), *(fingerprint(Path(path)) for _, path in sorted(settings.components.items()) if Path(path).exists())]
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def _read_dataset(settings: TrainingSettings, policy: Mapping[str, Any], family: Family, decode: bool) -> BuiltManifest:
    request = BuildRequest.from_policy(
        policy,
        dataset_dir=settings.train_data_dir,
        regularisation_dir=settings.reg_data_dir,
        caption_extension=settings.caption_extension,
        trigger_word=settings.trigger_word,
        resolution=settings.resolution,
        family=family,
        use_cache=False,  # a run is prepared once, and must not rest on what was true earlier
        decode=decode,
        document=settings.dataset_document,
        hold_out=find_hold_out(settings.train_data_dir, settings.held_out_by, [settings.manifest_out]),
    )
    return build_dataset_manifest(request, created=now_utc(), started_ns=time.time_ns())


def assumed_subsets(settings: TrainingSettings) -> tuple[Subset, ...]:
    """What would be trained on if the folders were here and flat."""
    stage, tokens = settings.output_dir / STAGE_FOLDER, f"{settings.trigger_word} {settings.class_tokens}".strip()
    trained = Subset(stage / f"{settings.train_repeats}_{tokens}", settings.train_repeats, tokens)
    if settings.reg_data_dir is None:
        return (trained,)
    untaught = stage / f"{settings.reg_repeats}_{settings.class_tokens}_reg"
    return (trained, Subset(untaught, settings.reg_repeats, settings.class_tokens, is_reg=True))


def _find_missing_folders(settings: TrainingSettings) -> list[LifeosError]:
    found: list[LifeosError] = []
    for flag, folder in (("--train-data-dir", settings.train_data_dir), ("--reg-data-dir", settings.reg_data_dir)):
        if folder is not None and not folder.is_dir():
            why = "is a file, not a directory" if folder.exists() else "no such directory"
            found.append(InputError(folder, why, f"give {flag} a folder of pictures"))
    return found


def existing_outputs(settings: TrainingSettings, trainer: Trainer) -> list[Path]:
    """LoRA files of this name that a new run would overwrite."""
    output_dir = settings.output_dir
    here = output_dir.iterdir() if output_dir.is_dir() else ()
    return sorted(path for path in here if trainer.read_checkpoint_name(path.name, settings.output_name))
