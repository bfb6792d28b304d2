"""A LoRA's safetensors header, without loading its weights.

What the weights' names and shapes tell is in `adapter_weights` and `architectures`; what the metadata mean, the dialect of its trainer
knows (`header_dialects`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lifeos.errors import InputError
from tools.trainers import header_dialects
from tools.trainers.adapter_weights import LORA, UNKNOWN, AdapterSummary, summarise_weights
from tools.trainers.architectures import find_architecture
from tools.trainers.config_beside import read_beside
from tools.trainers.safetensors_header import SafetensorsHeader, read_safetensors_header

FIX = "give the LoRA's .safetensors file"


@dataclass(frozen=True)
class LoraHeader:
    """A LoRA's header; `file` is that header as it stands."""

    file: SafetensorsHeader

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def metadata(self) -> dict[str, str]:
        """The trainer's text as it stands."""
        return self.file.metadata

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the weights."""
        return tuple(self.file.weights)

    @property
    def is_whole(self) -> bool:
        """Whether all weights are in the file: False for one cut off while it was written."""
        return not self.file.missing_bytes

    @cached_property
    def weights(self) -> AdapterSummary:
        """What the weights alone tell."""
        return summarise_weights(self.file)

    @cached_property
    def architecture(self) -> str | None:
        """The title of the base model that it looks made for (`SDXL`, `Flux.1` …); None if nothing tells."""
        return find_architecture(self.file)

    @property
    def trained_modules(self) -> tuple[str, ...]:
        """`unet`, `transformer`, `text_encoder`, `text_encoder_1` …: what was trained, as the weights' names tell."""
        return self.weights.parts

    @cached_property
    def dialect(self) -> header_dialects.DialectRow | None:
        """Whose metadata they are; None if nobody's that is known."""
        return header_dialects.find_dialect(self.metadata)

    @cached_property
    def training_params(self) -> dict[str, Any]:
        """The parameters that were set, as numbers where they are numbers, for `training_params` of a scorecard. What the metadata do not
        say, a trainer's file beside it does, else the weights: rank, alpha, trained parts, and the kind if it is not a LoRA."""
        row = self.dialect
        told = row.dialect.read_parameters(self.metadata) if row else {}
        params = {**self._params_of_weights(), **read_beside(self.path, row.title if row else None), **told}
        return {**params, "trained": "+".join(self.trained_modules)} if self.trained_modules else params

    def _params_of_weights(self) -> dict[str, Any]:
        weights = self.weights
        values = {
            "network_type": weights.kind if weights.kind not in (LORA, UNKNOWN) else None,
            "network_dim": next(iter(weights.ranks)) if len(weights.ranks) == 1 else None,
            "network_alpha": _whole(weights.alpha),
            "conv_dim": next(iter(weights.conv_ranks)) if len(weights.conv_ranks) == 1 else None,
            "conv_alpha": _whole(weights.conv_alpha),
        }
        return {name: value for name, value in values.items() if value is not None}

    @property
    def run_id(self) -> str | None:
        """The run that wrote it; None where it does not say."""
        found = (row.dialect.read_run_id(self.metadata) for row in header_dialects.all_dialects())
        return next((run_id for run_id in found if run_id is not None), None)


def _whole(value: float | None) -> int | float | None:
    return int(value) if value is not None and value.is_integer() else value


def read_lora_header(path: Path) -> LoraHeader:
    """Read the header of a LoRA, or of another small adapter. Raises InputError that says what the file is instead, such as a whole
    checkpoint."""
    header = LoraHeader(read_safetensors_header(path, FIX))
    kind = header.weights.kind
    if kind != UNKNOWN and not header.weights.is_adapter:
        article = "an" if kind[0].lower() in "aeiou" else "a"
        made_for = f" ({header.architecture})" if header.architecture else ""
        raise InputError(path, f"is {article} {kind}{made_for}, not a LoRA", FIX)
    return header


def trains_text_encoder(header: LoraHeader) -> bool:
    """Whether a LoRA changes a text encoder too: then its loader needs the CLIP beside the model."""
    return header.weights.trains_text_encoder
