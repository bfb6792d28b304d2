"""The flags of every benchmark that scores pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifeos.cli import Parser


def add_engine_flags(parser: Parser) -> None:
    """`--engine`, `--model-root` and `--model-pack`."""
    parser.add_argument("--engine", choices=("auto", "insightface", "dlib"), default="dlib", help="face engine")
    parser.add_argument("--model-root", type=Path, metavar="DIR", help="folder of model packs")
    parser.add_argument("--model-pack", metavar="NAME", help="InsightFace pack")
