"""The flags about the model family: the same in every script that makes pictures."""

from __future__ import annotations

import argparse
from typing import Any

from tools.families.families import family_help, family_ids

NAMES = ("family", "components", "allow_family_mismatch")
"""What the flags are called in a request."""


def add_family_flags(group: argparse._ActionsContainer) -> None:
    group.add_argument("--family", choices=family_ids(), help=family_help())
    component = (
        "a file that the family's built-in workflow loads, by its name on the server, such as vae=ae.safetensors; repeat for several"
        " (default: the only one there that fits)"
    )
    group.add_argument("--component", dest="components", action="append", metavar="NAME=FILE", help=component)
    mismatch = "use a LoRA that is made for another family than the model: ComfyUI runs it, without an effect"
    group.add_argument("--allow-family-mismatch", action="store_true", help=mismatch)


def given_family(args: argparse.Namespace) -> dict[str, Any]:
    """The flags as given, by name; None where they were not."""
    return {
        "family": args.family,
        "components": tuple(args.components) if args.components else None,
        "allow_family_mismatch": args.allow_family_mismatch or None,
    }
