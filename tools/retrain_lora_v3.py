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

import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from tools.families.families import DEFAULT_FAMILY
from tools.trainers.trainer import DEFAULT_TRAINER
from tools.training.training_command import run_command
from tools.training.training_flags import build_training_parser


def build_parser() -> cli.Parser:
    return build_training_parser(__doc__, is_general=False)


def main(argv: list[str] | None = None) -> int:
    return run_command(build_parser().parse_args(argv), DEFAULT_TRAINER, DEFAULT_FAMILY)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
