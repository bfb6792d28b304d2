"""musubi-tuner's files in the output folder, by their names.

It counts every part of a run from 0 (`_run_training_loop` has no first step), so a part that goes on at step 10 would write over the
files of the first ten steps. Such a part gets an output name of its own, `NAME-from00000010`; what it saves at its step 5 is of step 15.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tools.trainers.trainer import CheckpointName

REST = re.compile(r"(?:-from(?P<first>\d{8}))?(?:-step(?P<step>\d{8,12})|-(?P<epoch>\d{6}))?(?P<kind>\.safetensors|-state)", re.ASCII)


@dataclass(frozen=True, slots=True)
class MusubiName:
    """What a name says. `first`: the step that its part of the run went on from. `step`: counted from the run's beginning; None for what is
    saved at the end of an epoch, and at the end of a part (`is_last`)."""

    first: int
    step: int | None
    is_last: bool
    is_state: bool


def part_name(output_name: str, first_step: int) -> str:
    """The output name that the trainer is given for a part of a run."""
    return f"{output_name}-from{first_step:08d}" if first_step else output_name


def read_name(name: str, output_name: str) -> MusubiName | None:
    """None if it is no file or state of that output name."""
    found = REST.fullmatch(name.removeprefix(output_name)) if name.startswith(output_name) else None
    if found is None:
        return None
    first = int(found["first"] or 0)
    step = first + int(found["step"]) if found["step"] else None
    return MusubiName(first, step, step is None and not found["epoch"], found["kind"] == "-state")


def read_checkpoint_name(file_name: str, output_name: str) -> CheckpointName | None:
    named = read_name(file_name, output_name)
    return None if named is None or named.is_state else CheckpointName(named.step, named.is_last)


def settled_name(file_name: str, output_name: str) -> str:
    """`NAME-from00000010-step00000005.safetensors` is `NAME-step00000015.safetensors`."""
    named = read_name(file_name, output_name)
    if named is None or named.is_state or not named.first:
        return file_name
    if named.is_last:
        return f"{output_name}.safetensors"
    return file_name if named.step is None else f"{output_name}-step{named.step:08d}.safetensors"
