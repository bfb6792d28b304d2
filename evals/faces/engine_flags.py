"""The flags that choose a face engine, declared once for every script that has them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.faces.engines import AUTO, engine_help, engine_names

ENGINE_FLAGS = ("engine", "model_root", "model_pack", "face_model", "prefer_cpu")
"""The attributes of the parsed arguments, which are also what `open_assessor` and `choose_engine` take."""
WHERE = "LIFEOS_MODELS, models/ in the checkout, ~/.lifeos/models, ~/.insightface"


KEPT = f"{AUTO}, built-in; what goes on keeps the engine it began with"


def add_engine_flags(parser: Any, *, default: str | None = AUTO, left_open: str = KEPT, only_with: str = "") -> None:
    """`default`: None where what was left open must be told from what was given; `left_open` says what it then is. `only_with`: the flag
    without which they have no use."""
    before = f"with {only_with}: " if only_with else ""
    ending = "" if default is not None else f" (default: {left_open})"
    parser.add_argument("--engine", choices=engine_names(), default=default, help=f"{before}{engine_help()}{ending}")
    folder = f"{before}folder of face models and model packs (default: {WHERE})"
    parser.add_argument("--model-root", type=Path, metavar="DIR", help=folder)
    pack = f"{before}InsightFace pack (default: buffalo_l, otherwise one that has a row in the policy)"
    parser.add_argument("--model-pack", metavar="NAME", help=pack)
    file = "another ONNX face model: any with --engine onnx, another file of SFace with --engine sface; it needs a row in the policy"
    parser.add_argument("--face-model", type=Path, metavar="FILE", help=f"{before}{file}")
    parser.add_argument("--prefer-cpu", action="store_true", help=f"{before}find and compare faces without a GPU")


def given_engine(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags say, by name: arguments for `open_assessor` and `choose_engine`."""
    return {name: getattr(args, name) for name in ENGINE_FLAGS}


def engine_words(values: Mapping[str, Any]) -> list[str]:
    """The same flags as a command line for another script; what was not given is left out."""
    given = {f"--{name.replace('_', '-')}": value for name in ENGINE_FLAGS if (value := values.get(name))}
    return [word for flag, value in given.items() for word in ((flag,) if value is True else (flag, str(value)))]
