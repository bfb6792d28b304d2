"""What the commands that train do: say everything that speaks against a run, show it, or train; `run_command` is the whole of them."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from evals.load_thresholds import load_thresholds
from lifeos import cli, files
from lifeos.counting import counted
from lifeos.errors import EXIT_GATE, EXIT_OK, EXIT_USAGE, InputError, UnavailableError
from lifeos.shells import as_typed
from tools.cost.rates import find_rate
from tools.cost.spending import SharedPurse
from tools.families.families import DEFAULT_FAMILY, find_family
from tools.families.family import fit_to_trainer
from tools.trainers.recognition import recognise
from tools.trainers.safetensors_header import read_safetensors_header
from tools.trainers.trainer import ParserVerdict, Trainer, find_row
from tools.trainers.trainer_table import training_of, usual_trainer
from tools.trainers.training_settings import TrainingSettings
from tools.training.evidence import LOG_FILE
from tools.training.finishing import OpenEnd, find_open_end, finish_run
from tools.training.loss_curve import PNG_FILE
from tools.training.preparation import Preparation, prepare
from tools.training.refusals import Refusal, find_refusals
from tools.training.training_choices import allowed_conflicts, settings_from
from tools.training.training_flags import read_components
from tools.training.training_record import FINISHED, RECORD_FILE, Price, TrainingRecord, read_record

LEVEL_SCHEDULES = frozenset({"constant", "constant_with_warmup"})
"""Schedules of the learning rate that do not depend on how many steps there are."""


def recognise_family(base_model: str | None) -> str:
    """The id of the family that the header of a base model tells; the default's where none is given, or nothing tells. Raises InputError
    where several fit."""
    path = Path(base_model).expanduser() if base_model else None
    if path is None or not path.is_file():
        return DEFAULT_FAMILY
    try:
        found = recognise(read_safetensors_header(path)).families
    except InputError:  # told as a wrong base model
        return DEFAULT_FAMILY
    if len(found) > 1:
        fits = ", ".join(row.id for row in found)
        raise InputError("--family", f"{path.name} may be of several families: {fits}", "say which")
    return found[0].id if found else DEFAULT_FAMILY


def run_command(args: argparse.Namespace, trainer_name: str | None, family_id: str) -> int:
    """Train, or show what would be trained, as the flags say. `trainer_name`: None for the usual one of the family.

    Raises InputError for a trainer that does not train that family.
    """
    policy = load_thresholds(args.project_root)
    stall_minutes(args, policy)
    family = find_family(family_id)
    row = find_row(trainer_name or usual_trainer(family))
    how = training_of(family, row.name)
    family = fit_to_trainer(family, how)
    settings = settings_from(args, policy, row, family, how, read_components(args))
    price, trainer = price_from(args, policy), row.load()
    if args.resume and (end := find_open_end(trainer, settings, family, read_record(settings.output_dir), args.resume)):
        return finish(args, settings, trainer, end, policy["training"]["finished_states"])
    can_decode = all(importlib.util.find_spec(name) for name in ("PIL", "numpy"))
    if not can_decode and not args.dry_run:
        import PIL  # noqa: F401 - the one message for a package that is not installed

    allow = allowed_conflicts(args)
    preparation = prepare(settings, policy, trainer, family, resume=args.resume, decode=can_decode, allow=allow)
    if args.dry_run:
        return dry_run(args, preparation, policy, price)
    return train(args, preparation, policy, price)


def describe(
    preparation: Preparation, verdict: ParserVerdict | None, refusals: list[Refusal], policy: dict[str, Any], price: Price
) -> dict[str, Any]:
    """What `--dry-run --json` prints."""
    built, stage, plan, settings = preparation.built, preparation.stage, preparation.plan, preparation.settings
    config = next((file for file in plan.files if file.path == settings.dataset_config), None)
    seconds = preparation.settings.max_train_steps * policy["training"]["seconds_per_step"]
    dataset = None
    if built:
        dataset = {key: built.document[key] for key in ("dataset_dir", "dataset_id", "total_images", "total_captions", "warnings")}
    return {
        "trainer": preparation.trainer.name,
        "family": preparation.family.id,
        "components": dict(settings.components),
        "files": {str(file.path): file.text for file in plan.files},
        "command": list(plan.training.argv),
        "cwd": str(plan.training.cwd),
        "processes": [{"name": each.name, "argv": list(each.argv), "cwd": str(each.cwd)} for each in plan.processes],
        "dataset_config": config.document if config else None,
        "dataset_config_toml": config.text if config else None,
        "dataset": dataset,
        "pictures_per_epoch": stage.pictures_per_epoch if stage else None,
        "conflicts": [{**item.to_json(), "flag": item.rule, "why": item.message} for item in preparation.conflicts],
        "allowed_conflicts": [item.rule for item in preparation.allowed],
        "missing": [str(item) for item in preparation.missing],
        "refused": [item.text for item in refusals],
        "trainer_check": {"checked": list(verdict.checked), "fault": verdict.fault} if verdict else None,
        "resume": {"state": str(preparation.resume.folder), "step": preparation.resume.step} if preparation.resume else None,
        "estimate": {"seconds": seconds, "usd": round(seconds / 3600 * price.rate_per_hr, 2), "gpu": price.gpu},
    }


def render_dry_run(preparation: Preparation, verdict: ParserVerdict | None, document: dict[str, Any]) -> str:
    plan = preparation.plan
    lines: list[str] = []
    for number, process in enumerate(plan.processes, 1):
        several = f" {number} of {len(plan.processes)}: {process.name}" if len(plan.processes) > 1 else ""
        lines += [f"# command{several}", as_typed(process.argv), ""]
    for file in plan.files:
        lines += [f"# {file.path}", file.text.rstrip(), ""]
    lines += [f"{'missing' if isinstance(item, UnavailableError) else 'wrong'}: {item}" for item in preparation.missing]
    lines += [f"allowed: {item.rule}: {item.message}" for item in preparation.allowed]
    lines += [f"conflict: {item.rule}: {item.text}" for item in preparation.conflicts]
    if preparation.built:
        lines.append(f"dataset: {counted(preparation.built.document['total_images'], 'picture')}, id {preparation.dataset_id}")
        lines += [notice.sentence for notice in preparation.built.notices]
    if verdict is None:
        lines.append("trainer: could not be asked")
    else:
        said = verdict.fault or "accepted"
        lines.append(f"trainer: its own parser looked at {' and '.join(verdict.checked) or 'nothing it accepts'}: {said}")
    estimate = document["estimate"]
    of = "" if preparation.family.id == DEFAULT_FAMILY else f", which is of {find_family().title} unless you changed it"
    lines.append(
        f"estimate: {estimate['seconds'] / 60:.0f} min, ${estimate['usd']:.2f} on {estimate['gpu']} (from training.seconds_per_step{of})"
    )
    refused = document["refused"]
    lines.append("a run would be refused:" if refused else "a run would start")
    return "\n".join([*lines, *(f"- {text}" for text in refused)])


def dry_run(args: argparse.Namespace, preparation: Preparation, policy: dict[str, Any], price: Price) -> int:
    settings, trainer = preparation.settings, preparation.trainer
    verdict = None
    refusals = refusals_of(args, preparation, policy)
    with contextlib.suppress(UnavailableError):  # told as missing already
        checkout = trainer.find(settings.trainer_dir, settings.trainer_python, preparation.family)
        try:
            verdict = trainer.ask_parser(checkout, preparation.plan)
        except UnavailableError as error:  # there, but it cannot be started: the command is shown all the same
            preparation.missing.append(error)
            refusals.append(Refusal(str(error), error.exit_code, error))
    if verdict and verdict.fault:
        refusals.insert(0, Refusal(f"the trainer's own parser: {verdict.fault}", EXIT_USAGE))
    document = describe(preparation, verdict, refusals, policy, price)
    if args.json:
        cli.print_json(document)
    cli.say(render_dry_run(preparation, verdict, document), as_json=args.json)
    return refusals[0].exit_code if refusals else EXIT_OK


def refusals_of(args: argparse.Namespace, preparation: Preparation, policy: dict[str, Any]) -> list[Refusal]:
    """What speaks against the run: the same for a dry run."""
    room = policy["training"]["min_free_disk_gb"]
    return find_refusals(preparation, overwrite=args.overwrite, allow_dataset_errors=args.allow_dataset_errors, min_free_gb=room)


def refuse(args: argparse.Namespace, preparation: Preparation, policy: dict[str, Any]) -> int | None:
    """Say everything that speaks against the run; the exit code if it must not start."""
    for notice in preparation.built.notices if preparation.built else ():
        cli.note(notice.sentence)
    for conflict in preparation.allowed:
        cli.note(f"warning: {conflict.rule}: {conflict.message} (allowed)")
    refusals = refusals_of(args, preparation, policy)
    if not refusals:
        return None
    first, *others = refusals
    for refusal in [*others] if first.error else refusals:
        cli.note(f"error: {refusal.text}")
    if first.error:
        raise first.error
    return first.exit_code


def train(args: argparse.Namespace, preparation: Preparation, policy: dict[str, Any], price: Price) -> int:
    from lifeos.signals import stop_signals
    from tools.cost.meter import beat
    from tools.training.console import ConsoleWatcher
    from tools.training.stalling import StallLimit
    from tools.training.training_run import run_training

    code = refuse(args, preparation, policy)
    if code is not None or preparation.stage is None:
        return code or EXIT_GATE
    settings, trainer = preparation.settings, preparation.trainer
    purse = SharedPurse.of_project(args.project_root, policy, args.max_cost_day, args.max_cost_month)
    steps = settings.max_train_steps - preparation.first_step
    purse.check(steps * policy["training"]["seconds_per_step"] / 3600 * price.rate_per_hr, "train less with --max-train-steps")
    checkout = trainer.find(settings.trainer_dir, settings.trainer_python, preparation.family)
    if preparation.extended_from is not None and settings.lr_scheduler not in LEVEL_SCHEDULES:
        longer = f"from {preparation.extended_from} to {settings.max_train_steps} steps"
        schedule = f"the schedule of the learning rate ({settings.lr_scheduler}) is that of {settings.max_train_steps} steps from here on"
        cli.note(f"warning: {longer}: {schedule}, as in no run that was planned so from its beginning")
    shown = ConsoleWatcher(settings.max_train_steps, preparation.first_step, price.rate_per_hr)
    with resume_hint(settings), stop_signals(), shown as watcher:
        record = run_training(
            preparation,
            checkout,
            price,
            watcher,
            overwrite=args.overwrite,
            finished_states=policy["training"]["finished_states"],
            beat=partial(beat, args.project_root),
            stall=StallLimit(stall_minutes(args, policy) * 60, stops=args.stop_stalled),
        )
    return report(args, record)


def report(args: argparse.Namespace, record: TrainingRecord) -> int:
    """Say how a run ended. Returns the exit code."""
    output_dir = Path(record.output_dir)
    if args.json:
        cli.print_json(files.read_json(output_dir / RECORD_FILE))
    if record.state != FINISHED:
        log = output_dir / LOG_FILE
        failure = record.failure or ""
        good = f"the last good checkpoint: {record.last_good}; " if record.last_good and record.last_good not in failure else ""
        how = "go on with --resume; " if record.states and not record.has_diverged else ""
        cli.note(f"error: training: {failure} ({good}{how}the whole log: {log})")
        return EXIT_GATE
    text = f"trained {record.output_name}: {counted(record.steps, 'step')} in {record.seconds / 60:.1f} min, ${record.cost_usd:.2f}"
    text += f" (in {len(record.parts) + 1} parts)" if record.parts else ""
    names, curve = ", ".join(item["file"] for item in record.lora_files), output_dir / PNG_FILE
    cli.say(f"{text}\n{output_dir}: {names}" + (f"\nloss curve: {curve}" if curve.is_file() else ""), as_json=args.json)
    return EXIT_OK


def finish(args: argparse.Namespace, settings: TrainingSettings, trainer: Trainer, end: OpenEnd, keep: str) -> int:
    """Nothing is left to train: do what the killed run had left to do."""
    from lifeos.signals import stop_signals
    from tools.training.one_at_a_time import refuse_second

    what = f"run {end.run_id} is trained to its last step, {end.step}"
    if args.dry_run:
        refuse_second(settings.output_dir)
        if args.json:
            cli.print_json({"finish": {"run_id": end.run_id, "lora": str(end.lora), "step": end.step}, "refused": []})
        cli.say(f"{what}, and {end.lora.name} is its LoRA: a run would only write down its end and clean up", as_json=args.json)
        return EXIT_OK
    with stop_signals():
        record = finish_run(trainer, settings, end, keep, cli.note)
    cli.note(f"{what}: only its end was left to be written down and cleaned up")
    return report(args, record)


@contextlib.contextmanager
def resume_hint(settings: TrainingSettings) -> Iterator[None]:
    """What a person who stops a run should know: the same command alone would be refused."""
    try:
        yield
    except KeyboardInterrupt:
        record = read_record(settings.output_dir)
        if record and record.state == FINISHED and record.max_train_steps == settings.max_train_steps:
            cli.note("the LoRA is there: the same command with --resume cleans up what is left")
        elif record and record.states:
            cli.note(f"the same command with --resume goes on from step {max(state.step for state in record.states)}")
        elif record:
            cli.note("no state was saved yet: the same command with --overwrite begins anew")
        raise


def stall_minutes(args: argparse.Namespace, policy: dict[str, Any]) -> float:
    """After how many minutes without anything new a trainer has stalled; 0: never. Raises InputError where it is to be stopped then."""
    minutes: float = policy["training"]["stall_minutes"] if args.stall_minutes is None else args.stall_minutes
    if args.stop_stalled and not minutes:
        raise InputError("--stop-stalled", "stops a run after --stall-minutes, which is 0", "give --stall-minutes 30")
    return minutes


def price_from(args: argparse.Namespace, policy: dict[str, Any]) -> Price:
    gpu = args.gpu or policy["cost"]["default_gpu"]
    rates = policy["cost"]["rates_per_hr"]
    return Price(gpu, rates[find_rate(rates, gpu)] if args.rate_per_hr is None else args.rate_per_hr)
