"""Packages that a trainer needs for what it is asked to do, looked for in its own Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from lifeos import foreign
from lifeos.errors import LifeosError, UnavailableError
from tools.trainers.trainer_checkout import QUICK_SECONDS, TrainerCheckout, last_line, run_python

FIND_PROGRAM = """
import importlib.util, json, sys
def is_there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:
        return False
print("ANSWER" + json.dumps({name: is_there(name) for name in json.load(sys.stdin)}))
"""
"""Looks for packages without importing them, so that it takes a moment only."""


@dataclass(frozen=True, slots=True)
class NeededPackage:
    """A package by the name that is imported, what needs it, and the name that it is installed by."""

    module: str
    needed_by: str
    install: str


def find_missing_packages(checkout: TrainerCheckout, needed: Sequence[NeededPackage]) -> list[LifeosError]:
    """Those that the trainer's Python does not have, each as an error that says how to install it."""
    try:
        result = run_python(checkout, ["-c", FIND_PROGRAM], QUICK_SECONDS, json.dumps(sorted({each.module for each in needed})))
    except UnavailableError as error:
        return [error]
    answers = [line for line in result.stdout.splitlines() if line.startswith("ANSWER")]
    if not answers:
        why = f"cannot be started: {last_line(result.stderr) or f'return code {result.returncode}'}"
        return [UnavailableError(checkout.python, why, "name the trainer's Python with --trainer-python")]
    there = foreign.decode(answers[-1].removeprefix("ANSWER"), dict[str, bool], checkout.python, error=UnavailableError)
    return [
        UnavailableError(each.needed_by, f"needs the package {each.module}, which {checkout.python} does not have", _how(checkout, each))
        for each in needed
        if not there.get(each.module)
    ]


def _how(checkout: TrainerCheckout, package: NeededPackage) -> str:
    return f"run: {checkout.python} -m pip install {package.install}"
