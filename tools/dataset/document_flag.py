"""The flag for a dataset document, alike in all commands that read a training set."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_document_flag(parser: argparse.ArgumentParser, folder_flag: str) -> None:
    """`folder_flag`: the command's flag for the folder that the names in the document are relative to."""
    text = (
        "the trainer's own file that names pictures and captions: .jsonl (image_path, caption), .json (sd-scripts' meta_cap.json), .toml "
        f"(sd-scripts, musubi-tuner), .yaml (ai-toolkit). Only what it names counts; {folder_flag} is the folder that its names are "
        "relative to (default: the document's own, or the one that holds its folders)"
    )
    parser.add_argument("--dataset-document", "--jsonl", type=Path, metavar="FILE", help=text)
