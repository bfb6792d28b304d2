"""Train an SDXL LoRA of one character with kohya's sd-scripts; check everything before the GPU is paid for, and record what made the LoRA.

Reads the training set, stages a clean copy of it, and writes manifest, dataset TOML, command, environment and record into the
output folder before the trainer starts; then the trainer's LoRA files, its whole log and the loss curve.

    python tools/retrain_lora_v3.py --dry-run                          # the exact command and TOML; changes nothing
    python tools/retrain_lora_v3.py --train-data-dir /workspace/lora_dataset_v3 --output-dir /workspace/lora_output_v3
    python tools/retrain_lora_v3.py --resume                           # continue, or finish, what was killed

The default optimizer, Prodigy, finds its own learning rate; AdamW8bit with --unet-learning-rate 1e-4 takes 2 GB less.

Exit codes: 0 a new LoRA is there · 1 the training failed, or the dataset must not be trained on · 2 bad usage, or options that conflict
· 3 trainer, base model or disk room is missing · 4 a training is at work there · 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.load_thresholds import load_thresholds
from lifeos import cli, files
from lifeos.counting import counted
from lifeos.errors import EXIT_GATE, EXIT_OK, EXIT_USAGE, UnavailableError
from lifeos.shells import as_typed
from tools.cost.rates import find_rate
from tools.families.families import DEFAULT_FAMILY, find_family
from tools.trainers.trainer import DEFAULT_TRAINER, ParserVerdict, Trainer, find_row
from tools.trainers.training_settings import TrainingSettings
from tools.training.evidence import LOG_FILE
from tools.training.finishing import OpenEnd, find_open_end, finish_run
from tools.training.loss_curve import PNG_FILE
from tools.training.preparation import Preparation, prepare
from tools.training.refusals import Refusal, find_refusals
from tools.training.training_choices import (
    ATTENTION,
    ATTENTIONS,
    POLICY_FLAGS,
    PRECISION,
    PRECISIONS,
    allowed_conflicts,
    settings_from,
)
from tools.training.training_record import FINISHED, RECORD_FILE, Price, TrainingRecord, read_record

LEVEL_SCHEDULES = frozenset({"constant", "constant_with_warmup"})
"""Schedules of the learning rate that do not depend on how many steps there are."""

TRAINER, FAMILY = DEFAULT_TRAINER, DEFAULT_FAMILY

POLICY_HELP: dict[str, tuple[str, Any]] = {
    "base_model": ("the SDXL checkpoint to train on: a file, or owner/name on the hub", str),
    "train_data_dir": ("the training set: pictures and captions, kohya's 10_name folders too", str),
    "class_tokens": ("the class of the character, such as woman; also the caption of regularisation pictures without one", str),
    "output_dir": ("the folder for the LoRA and everything that explains it", str),
    "output_name": ("the LoRA's file name without .safetensors", str),
    "trigger_word": ("the trigger word: every caption must contain it", str),
    "resolution": ("side of the training area in pixels", cli.positive_int),
    "train_batch_size": ("pictures in one step", cli.positive_int),
    "train_repeats": ("repeats of folders without a number in their name", cli.positive_int),
    "reg_repeats": ("repeats of regularisation folders without a number in their name", cli.positive_int),
    "max_train_steps": ("steps in all", cli.positive_int),
    "save_every_n_steps": ("save a checkpoint this often", cli.positive_int),
    "network_dim": ("rank of the LoRA", cli.positive_int),
    "network_alpha": ("alpha of the LoRA", cli.positive),
    "optimizer": ("the trainer's --optimizer_type", str),
    "lr_scheduler": ("the trainer's --lr_scheduler", str),
    "lr_warmup_steps": ("steps of warm-up", cli.whole_number),
    "prior_loss_weight": ("weight of regularisation pictures", cli.non_negative),
    "min_snr_gamma": ("the trainer's --min_snr_gamma, 0 for none", cli.non_negative),
    "noise_offset": ("the trainer's --noise_offset, 0 for none", cli.non_negative),
    "seed": ("seed of the training", cli.whole_number),
}


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    for name in POLICY_FLAGS:
        text, kind = POLICY_HELP[name]
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X", help=cli.policy_help(text, f"training.{name}"))
    row = find_row(TRAINER)
    text = cli.policy_help(f"the checkout of {row.repository}", f"training.{row.folder_key}")
    parser.add_argument(f"--{row.folder_key.replace('_', '-')}", dest="trainer_dir", metavar="X", help=text)
    parser.add_argument(
        "--trainer-python", metavar="FILE", help="Python that runs the trainer (default: of a venv in its folder, else of PATH)"
    )
    parser.add_argument("--reg-data-dir", type=Path, metavar="DIR", help="regularisation pictures")
    parser.add_argument("--dataset-config", type=Path, metavar="FILE", help="write the dataset TOML there (default: in the output folder)")
    parser.add_argument("--logging-dir", type=Path, metavar="DIR", help="TensorBoard logs of the trainer (default: none)")
    text = "captions are files of the picture's name with this"
    parser.add_argument("--caption-extension", metavar=".EXT", help=cli.policy_help(text, "dataset.caption_extension"))
    text = "1.0 for optimizers that find their own rate, else 1e-4"
    parser.add_argument("--unet-learning-rate", type=cli.positive, metavar="X", help=f"rate of the U-Net (default: {text})")
    text = "as above, else 5e-5; used with --train-text-encoder"
    parser.add_argument("--text-encoder-learning-rate", type=cli.positive, metavar="X", help=f"rate of the text encoders (default: {text})")
    parser.add_argument(
        "--optimizer-arg",
        action="append",
        metavar="NAME=VALUE",
        help="argument of the optimizer, in place of the built-in ones; repeatable",
    )
    parser.add_argument("--max-token-length", type=int, choices=(75, 150, 225), help="CLIP tokens of a caption that are read (default: 75)")
    text = f"numbers that the trainer computes in (default: {PRECISION}; fp16 for cards before RTX 30xx, no for a CPU)"
    parser.add_argument("--mixed-precision", choices=PRECISIONS, help=text)
    parser.add_argument(
        "--attention", choices=ATTENTIONS, help=f"how the trainer computes attention (default: {ATTENTION}, part of PyTorch)"
    )
    parser.add_argument(
        "--allow-conflict",
        action="append",
        default=[],
        metavar="OPTION",
        help="run although this option of the trainer is refused as a conflict; repeatable: --allow-conflict xformers",
    )
    parser.add_argument("--train-text-encoder", action="store_true", help="train the text encoders too, not the U-Net alone")
    parser.add_argument(
        "--trainer-arg",
        action="append",
        default=[],
        metavar="ARG",
        help="an argument for the trainer, unchanged; repeatable: --trainer-arg=--flip_aug",
    )
    text = (
        "a manifest of the training set made before: the pictures that it holds out are not trained on (default: one inside the training "
    )
    text += "set, else the one beside the LoRA)"
    parser.add_argument("--dataset-manifest", type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "--dataset-manifest-out", type=Path, metavar="FILE", help="the manifest (default: dataset_manifest.json in the output folder)"
    )
    parser.add_argument(
        "--skip-dataset-manifest", action="store_true", help="write no manifest; the LoRA then cannot be traced to its data"
    )
    parser.add_argument("--allow-dataset-errors", action="store_true", help="train although the dataset has errors (for old sets)")
    parser.add_argument(
        "--no-save-state", action="store_true", help="save no training state: needs less disk, but the run cannot be resumed"
    )
    text = "continue the run of the output folder: from its latest sound state, or the state folder given; a run's id says which is meant. "
    text += "One that was killed after its last step is only brought to its end"
    parser.add_argument("--resume", nargs="?", const="auto", metavar="STATE", help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace LoRA files of the same name")
    parser.add_argument("--gpu", metavar="NAME", help=cli.policy_help("the GPU, for the cost", "cost.default_gpu"))
    parser.add_argument("--rate-per-hr", type=cli.non_negative, metavar="USD", help=cli.policy_help("its price", "cost.rates_per_hr"))
    parser.add_argument(
        "--dry-run", action="store_true", help="print the exact command and TOML, check them with the trainer's own parser, change nothing"
    )
    parser.add_skip_install()
    parser.add_json()
    return parser


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
    lines.append(
        f"estimate: {estimate['seconds'] / 60:.0f} min, ${estimate['usd']:.2f} on {estimate['gpu']} (from training.seconds_per_step)"
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
    from tools.training.training_run import run_training

    code = refuse(args, preparation, policy)
    if code is not None or preparation.stage is None:
        return code or EXIT_GATE
    settings, trainer = preparation.settings, preparation.trainer
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
            beat=lambda: beat(args.project_root),
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


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    policy = load_thresholds(args.project_root)
    row, family = find_row(TRAINER), find_family(FAMILY)
    settings = settings_from(args, policy, row, family)
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


def price_from(args: argparse.Namespace, policy: dict[str, Any]) -> Price:
    gpu = args.gpu or policy["cost"]["default_gpu"]
    rates = policy["cost"]["rates_per_hr"]
    return Price(gpu, rates[find_rate(rates, gpu)] if args.rate_per_hr is None else args.rate_per_hr)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
