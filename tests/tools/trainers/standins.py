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
    flags of the command, which make a training short. `saves_last_step`: whether the last step has a checkpoint besides the final file."""

    trainer: str
    family: str
    checkout: Path
    base: Mapping[str, list[int]]
    components: Mapping[str, Mapping[str, list[int]]] = field(default_factory=dict)
    more: tuple[object, ...] = ()
    saves_last_step: bool = True

    def arguments(self, folder: Path) -> list[object]:
        """The flags that name trainer, family and model files, which are made in a folder."""
        fixed: list[object] = ["--trainer", self.trainer, "--family", self.family, "--trainer-dir", self.checkout]
        fixed += ["--trainer-python", sys.executable, "--base-model", write_safetensors(folder / "base.safetensors", self.base)]
        for flag, weights in self.components.items():
            fixed += [flag, write_safetensors(folder / f"{flag.strip('-')}.safetensors", weights)]
        return [*fixed, *self.more]


Z_IMAGE_WEIGHTS = {"layers.0.attention.qkv.weight": [2, 2]}
QWEN3_WEIGHTS = {"model.layers.0.self_attn.q_proj.weight": [1, 2560], "model.layers.0.self_attn.q_norm.weight": [1]}
FLUX_VAE_WEIGHTS = {"decoder.conv_in.weight": [1, 16, 1, 1], "decoder.mid.block_1.conv1.weight": [1, 1, 1, 1]}

STANDINS: tuple[Standin, ...] = (
    Standin("sd-scripts", "sdxl", TESTS / "trainer_standin", SDXL_WEIGHTS, more=("--train-batch-size", 1)),
    Standin(
        "musubi-tuner",
        "z-image",
        TESTS / "musubi_standin",
        Z_IMAGE_WEIGHTS,
        {"--text-encoder": QWEN3_WEIGHTS, "--vae": FLUX_VAE_WEIGHTS},
        ("--train-batch-size", 1, "--optimizer", "AdamW"),
    ),
    Standin(
        "ai-toolkit",
        "z-image",
        TESTS / "toolkit_standin",
        Z_IMAGE_WEIGHTS,
        more=("--train-batch-size", 1, "--optimizer", "AdamW"),
        saves_last_step=False,
    ),
)
"""One for each row of the registry."""


def standin_of(trainer: str) -> Standin:
    return next(standin for standin in STANDINS if standin.trainer == trainer)
