"""The flags of a sweep over the checkpoints of a training."""

from __future__ import annotations

import argparse
from pathlib import Path

from lifeos import cli
from lifeos.errors import InputError

NEEDS_CHECKPOINTS = ("watch", "stop_training", "comfy_lora_dir", "trainer_samples", "training_run", "watch_idle_min", "promote")
NOT_WITH_CHECKPOINTS = {"lora": "--lora", "max_images": "--max-images", "baseline": "--baseline"}
IDLE_MINUTES = 60.0


def add_checkpoint_flags(parser: cli.Parser) -> None:
    group = parser.add_argument_group("which checkpoint of a training, in place of --lora")
    text = "the output folder of a training: every LoRA of its run is tried, at each of --strengths"
    group.add_argument("--checkpoints", type=Path, metavar="DIR", help=text)
    text = "wait for new checkpoints while the training goes on, and judge each as it appears; the same command continues"
    group.add_argument("--watch", action="store_true", help=text)
    text = "stop the training, like Ctrl-C, once the advice is to stop (it gains no more) or that it is overtrained (default: only say so)"
    group.add_argument("--stop-training", action="store_true", help=text)
    text = "the folder that ComfyUI loads LoRAs from: each checkpoint is copied there under a name with its hash, and taken away afterwards"
    group.add_argument("--comfy-lora-dir", type=Path, metavar="DIR", help=text)
    group.add_argument("--training-run", metavar="ID", help="the run whose checkpoints are meant, where the folder holds those of two")
    text = "the trainer's own sample pictures: they are scored too, and the report says how much of the difference is the graph"
    group.add_argument("--trainer-samples", type=Path, metavar="DIR", help=text)
    text = "the manifest of what was trained, to see whether a reference was trained on (default: the one in the folder of --checkpoints)"
    group.add_argument("--dataset-manifest", type=Path, metavar="FILE", help=text)
    text = "refuse references that were trained on, or may have been (default: make no claim on identity across steps)"
    group.add_argument("--strict-references", action="store_true", help=text)
    text = "with --watch, where no record tells whether the training goes on: end after so many without a checkpoint (default: %(default)g)"
    group.add_argument("--watch-idle-min", type=cli.positive, default=IDLE_MINUTES, metavar="N", help=text)
    text = "make the chosen checkpoint champion, if it passes every promotion check of compare_versions; otherwise exit with 1"
    group.add_argument("--promote", action="store_true", help=text)


def check_checkpoint_flags(args: argparse.Namespace) -> None:
    """Refuse what would otherwise be ignored. Raises InputError."""
    if args.checkpoints is None:
        given = [name for name in NEEDS_CHECKPOINTS if getattr(args, name) not in (None, False, IDLE_MINUTES)]
        if given:
            raise InputError(f"--{given[0].replace('_', '-')}", "given without --checkpoints", "name the output folder of the training")
        if args.strict_references and args.dataset_manifest is None:
            raise InputError("--strict-references", "needs to know what was trained", "give --dataset-manifest FILE, or --checkpoints DIR")
        return
    for name, flag in NOT_WITH_CHECKPOINTS.items():
        if getattr(args, name):
            raise InputError(flag, "has no use with --checkpoints, which tries every LoRA of a folder", "leave one of the two out")
    for name, flag in (("cfgs", "--cfgs"), ("samplers", "--samplers")):
        if len(getattr(args, name) or []) > 1:
            raise InputError(
                flag, "takes one value with --checkpoints: steps and strengths are what is varied", "sweep the others afterwards"
            )
    if args.stop_training and not args.watch:
        raise InputError("--stop-training", "given without --watch", "add --watch: only a training that is watched can be stopped")
