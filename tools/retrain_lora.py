"""Train a LoRA of one character, of any model family that a trainer here trains; check everything before the GPU is paid for.

`--family` says what is trained, `--trainer` who trains it: `--table` shows who trains what. Everything else is as in
tools/retrain_lora_v3.py, which is this for SDXL with sd-scripts: a clean copy of the training set is staged, and manifest, the
trainer's own configuration, command, environment and record are in the output folder before the trainer starts.

    python tools/retrain_lora.py --table
    python tools/retrain_lora.py --family sdxl --train-data-dir /workspace/lora_dataset_v3 --output-dir /workspace/lora_output_v4 --dry-run
    python tools/retrain_lora.py --family sdxl --output-dir /workspace/lora_output_v4 --resume

Exit codes: 0 a new LoRA is there · 1 the training failed, or the dataset must not be trained on · 2 bad usage, options that conflict,
or a family that the trainer does not train · 3 trainer, a model file or disk room is missing · 4 a training is at work there
· 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_OK
from tools.trainers.trainer_table import list_pairs, render_table
from tools.training.training_command import recognise_family, run_command
from tools.training.training_flags import build_training_parser


def build_parser() -> cli.Parser:
    parser = build_training_parser(__doc__, is_general=True)
    parser.add_argument("--table", action="store_true", help="show which trainer trains which family, and how far that was tried")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.table:
        if args.json:
            cli.print_json({"pairs": list_pairs()})
        cli.say(render_table(), as_json=args.json)
        return EXIT_OK
    return run_command(args, args.trainer, args.family or recognise_family(args.base_model))


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
