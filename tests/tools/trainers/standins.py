"""The stand-ins of the registered trainers: programs that print, write and fail as the real ones do, without a model.

A stand-in is a folder that `Trainer.find` takes for a checkout. It heeds these variables, in steps counted from the beginning of the run
or of its last part, as its trainer counts: STANDIN_FAIL_AT (end with an error that says "out of memory" in that step), STANDIN_HANG_AT
(wait there until it is stopped), STANDIN_NAN_WEIGHTS_AT (from there on it saves NaN and goes on), STANDIN_NO_LORA (end with return code 0
and without the final file).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools.trainers.checkpoints import SDXL_WEIGHTS
from tests.tools.trainers.safetensors_files import write_safetensors

TESTS = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Standin:
    """One stand-in. `base`, `components`: names and shapes that headers of the files must hold; components by their flags. `more`: further
    flags of the command, which make a training short."""

    trainer: str
    family: str
    checkout: Path
    base: Mapping[str, list[int]]
    components: Mapping[str, Mapping[str, list[int]]] = field(default_factory=dict)
    more: tuple[object, ...] = ()

    def arguments(self, folder: Path) -> list[object]:
        """The flags that name trainer, family and model files, which are made in a folder."""
        fixed: list[object] = ["--trainer", self.trainer, "--family", self.family, "--trainer-dir", self.checkout]
        fixed += ["--trainer-python", sys.executable, "--base-model", write_safetensors(folder / "base.safetensors", self.base)]
        for flag, weights in self.components.items():
            fixed += [flag, write_safetensors(folder / f"{flag.strip('-')}.safetensors", weights)]
        return [*fixed, *self.more]


STANDINS: tuple[Standin, ...] = (Standin("sd-scripts", "sdxl", TESTS / "trainer_standin", SDXL_WEIGHTS, more=("--train-batch-size", 1)),)
"""One for each row of the registry."""
