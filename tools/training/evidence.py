"""What explains a LoRA, on the disk before the first step: staged pictures, manifest, the trainer's files, command, environment, record."""

from __future__ import annotations

from pathlib import Path

from lifeos import files, times
from lifeos.errors import InputError
from tools.dataset.manifest import write_manifest
from tools.trainers.lora_header import read_lora_header
from tools.trainers.trainer_checkout import TrainerCheckout, read_commit, read_environment
from tools.training.loss_curve import CSV_FILE, PNG_FILE
from tools.training.preparation import Preparation, existing_outputs
from tools.training.staging import make_stage
from tools.training.training_choices import DATASET_CONFIG, MANIFEST, PREVIOUS_RUNS
from tools.training.training_record import RECORD_FILE, Price, RecordedRun, TrainingRecord

LOG_FILE, COMMAND_FILE, ENVIRONMENT_FILE = "training_log.txt", "training_command.json", "training_environment.json"
UNRECORDED = "unrecorded"
"""Where in `previous_runs` the states go that no record explains."""


def refuse_overwriting(preparation: Preparation, overwrite: bool) -> None:
    """Raises InputError if the run would replace LoRA files without having been told to, or a file that is not ours."""
    existing = existing_outputs(preparation.settings, preparation.trainer)
    if existing and not preparation.resume and not overwrite:
        fix = "choose another --output-name or --output-dir, continue with --resume, or give --overwrite"
        raise InputError(existing[-1], f"{len(existing)} LoRA file(s) of this name are there already", fix)
    for file in preparation.plan.files:
        if file.path.exists() and not file.path.read_bytes().startswith(file.signature.encode()):
            fix = "give --dataset-config another name"
            raise InputError(file.path, "was not written by this program, and would be overwritten", fix)


def set_aside(preparation: Preparation, before: RecordedRun | None) -> None:
    """Move the evidence of an earlier run, and its states, into a folder of its own: its LoRAs may still be there and are explained by it,
    and no state of it can be taken for one of the run that begins."""
    output_dir, run_id = preparation.settings.output_dir, before.run_id if before else None
    output_names = {preparation.settings.output_name, (before.output_name if before else None) or preparation.settings.output_name}
    own = [file.path.name for file in preparation.plan.files if file.path.parent == output_dir]
    # the record last: as long as it is there, the move is taken up again
    names = [LOG_FILE, COMMAND_FILE, ENVIRONMENT_FILE, CSV_FILE, PNG_FILE, *own, DATASET_CONFIG, MANIFEST, RECORD_FILE]
    trainer = preparation.trainer
    states = {path.name for path in output_dir.iterdir() if any(trainer.is_state(path.name, each) for each in output_names)}
    for each in output_names:  # LoRA files too where the trainer goes on from them, asked or not
        found = trainer.find_states(output_dir, each)
        states |= {path.name for state in found for path in (state.folder, *state.beside)}
    _move([output_dir / name for name in [*sorted(states), *(names if run_id else [])]], place_aside(output_dir, run_id))


def set_later_aside(preparation: Preparation) -> None:
    """Before a run goes on: move away its states and LoRA files from after the step that it goes on from, half-written ones too. The
    trainer would write into them, and a kill then leaves a mixture of two; and a final LoRA that is old is no success of the new part."""
    settings, trainer, resume = preparation.settings, preparation.trainer, preparation.resume
    assert resume is not None
    whole = {state.folder: state.step for state in trainer.find_states(settings.output_dir, settings.output_name)}
    kept, later = {resume.folder, *resume.beside}, []
    for path in sorted(settings.output_dir.iterdir()):
        named = trainer.read_checkpoint_name(path.name, settings.output_name)
        if trainer.is_state(path.name, settings.output_name):
            is_later = path not in kept and (path not in whole or whole[path] > resume.step)
        else:
            is_later = named is not None and (named.is_final or (named.step or 0) > resume.step) and not _is_of_another(preparation, path)
        if is_later:
            later.append(path)
    _move(later, place_aside(settings.output_dir, preparation.identity.run_id))


def _is_of_another(preparation: Preparation, path: Path) -> bool:
    """Whether a LoRA file says that another run wrote it: it is explained by that run's evidence, and replaced in its time."""
    try:
        run_id = preparation.trainer.dialect.read_run_id(read_lora_header(path).metadata)
    except InputError:
        return False
    return run_id is not None and run_id != preparation.identity.run_id


def place_aside(output_dir: Path, run_id: str | None) -> Path:
    return output_dir / PREVIOUS_RUNS / "".join(char if char.isalnum() or char == "-" else "_" for char in run_id or UNRECORDED)


def _move(paths: list[Path], target: Path) -> None:
    for path in paths:
        if path.exists():
            target.mkdir(parents=True, exist_ok=True)
            path.replace(_unused(target / path.name))


def _unused(place: Path) -> Path:
    number, found = 1, place
    while found.is_dir():  # a file is replaced, as by a move that is taken up again; a folder cannot be
        number += 1
        found = place.with_name(f"{place.name}_{number}")
    return found


def write_evidence(preparation: Preparation, checkout: TrainerCheckout, price: Price, before: RecordedRun | None = None) -> TrainingRecord:
    """Stage the pictures and write manifest, the trainer's files, command, environment and record, in that order. `before`: the record
    of a run that is continued."""
    settings, plan, built, stage = preparation.settings, preparation.plan, preparation.built, preparation.stage
    assert stage is not None and built is not None
    make_stage(stage)
    if not settings.skip_manifest:
        write_manifest(settings.manifest_out, built.document)
    for file in plan.files:
        files.write_text(file.path, file.text)
    commit = read_commit(checkout.folder)
    processes = [{"name": each.name, "argv": list(each.argv), "cwd": str(each.cwd)} for each in plan.processes]
    script = next((item for item in plan.training.argv if item.endswith(".py")), None)
    command = {**processes[-1], "script": script, "trainer": preparation.trainer.name, "trainer_commit": commit, "processes": processes}
    files.write_json(settings.output_dir / COMMAND_FILE, command)
    files.write_json(settings.output_dir / ENVIRONMENT_FILE, read_environment(checkout))
    resume, identity = preparation.resume, preparation.identity
    record = TrainingRecord(
        run_id=identity.run_id,
        state="prepared",
        started=(before.started if before else None) or times.stamp(),
        output_name=settings.output_name,
        output_dir=str(settings.output_dir),
        trainer=preparation.trainer.name,
        family=preparation.family.id,
        dataset_id=identity.dataset_id,
        dataset_manifest=None if settings.skip_manifest else str(settings.manifest_out),
        dataset_manifest_hash=identity.manifest_hash,
        max_train_steps=settings.max_train_steps,
        rate_per_hr=price.rate_per_hr,
        gpu=price.gpu,
        argv=list(plan.training.argv),
        trainer_commit=commit,
        resumed_from=str(resume.folder) if resume else None,
        first_step=preparation.first_step,
        steps=preparation.first_step,
        staged_sha256=stage.sha256,
        base_fingerprint=preparation.base_fingerprint,
        parts=before.all_parts() if before else [],
        states=[state for state in before.states if state.step <= preparation.first_step] if before else [],
    )
    record.account(0.0)
    record.write()
    return record
