"""The flags of the commands that train: `tools/retrain_lora_v3.py`, which is SDXL with sd-scripts, and `tools/retrain_lora.py`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lifeos import cli
from lifeos.budget_flags import add_budget_flags
from tools.dataset.document_flag import add_document_flag
from tools.families.families import DEFAULT_FAMILY, family_ids
from tools.trainers import trainer as registry
from tools.trainers.components import component_flags
from tools.training.training_choices import ATTENTION, ATTENTIONS, POLICY_FLAGS, PRECISION, PRECISIONS

POLICY_HELP: dict[str, tuple[str, Any]] = {
    "base_model": ("the checkpoint to train on: a file, or owner/name on the hub", str),
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


def build_training_parser(doc: str | None, *, is_general: bool) -> cli.Parser:
    """`is_general`: with `--trainer`, `--family` and the files that some families want besides the base model."""
    parser = cli.Parser(doc)
    parser.add_project_root()
    if is_general:
        _add_choice(parser)
    else:
        row = registry.find_row()
        text = cli.policy_help(f"the checkout of {row.repository}", f"training.{row.folder_key}")
        parser.add_argument(_folder_flag(row.folder_key), dest="trainer_dir", metavar="X", help=text)
    _add_settings(parser)
    _add_options(parser)
    parser.add_skip_install()
    parser.add_json()
    return parser


def read_components(args: argparse.Namespace) -> dict[str, str]:
    """The files that are given besides the base model, by their flags."""
    given = {flag: getattr(args, _component_dest(flag), None) for flag in component_flags()}
    return {flag: str(path.expanduser().absolute()) for flag, path in given.items() if path is not None}


def _add_choice(parser: cli.Parser) -> None:
    text = "who trains (default: the first that trains the family)"
    parser.add_argument("--trainer", choices=[row.name for row in registry.TRAINERS], help=text)
    text = f"model family (default: as the header of --base-model says, else {DEFAULT_FAMILY})"
    parser.add_argument("--family", choices=family_ids(), help=text)
    folders = [_folder_flag(row.folder_key) for row in registry.TRAINERS]
    text = cli.policy_help("the trainer's checkout", *(f"training.{row.folder_key}" for row in registry.TRAINERS), note="by the trainer")
    parser.add_argument("--trainer-dir", *folders, dest="trainer_dir", metavar="X", help=text)
    for flag, titles in component_flags().items():
        what = " or ".join(dict.fromkeys(titles))
        text = f"{what}, where the trainer wants that of the family"
        parser.add_argument(flag, dest=_component_dest(flag), type=Path, metavar="FILE", help=text)


def _folder_flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _component_dest(flag: str) -> str:
    return f"component_{flag.strip('-').replace('-', '_')}"


def _add_settings(parser: cli.Parser) -> None:
    for name in POLICY_FLAGS:
        text, kind = POLICY_HELP[name]
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X", help=cli.policy_help(text, f"training.{name}"))
    parser.add_argument(
        "--trainer-python", metavar="FILE", help="Python that runs the trainer (default: of a venv in its folder, else of PATH)"
    )
    parser.add_argument("--reg-data-dir", type=Path, metavar="DIR", help="regularisation pictures")
    add_document_flag(parser, "--train-data-dir")
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


def _add_options(parser: cli.Parser) -> None:
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
    text = "warn when the trainer has said and saved nothing new for so many minutes; 0: never"
    parser.add_argument("--stall-minutes", type=cli.non_negative, metavar="X", help=cli.policy_help(text, "training.stall_minutes"))
    parser.add_argument("--stop-stalled", action="store_true", help="stop the run then, as failed: --resume goes on from its last state")
    parser.add_argument("--gpu", metavar="NAME", help=cli.policy_help("the GPU, for the cost", "cost.default_gpu"))
    parser.add_argument("--rate-per-hr", type=cli.non_negative, metavar="USD", help=cli.policy_help("its price", "cost.rates_per_hr"))
    add_budget_flags(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the exact command and TOML, check them with the trainer's own parser, change nothing"
    )
