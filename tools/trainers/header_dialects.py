"""How trainers describe their LoRA files in the metadata of the header: one row for each dialect.

A new dialect is a row of `DIALECTS`. Most are a table of names (`KeyedDialect`); one that needs more is a module with the functions of
`HeaderDialect`, such as `kohya_header`. A trainer that LifeOS drives brings its dialect with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.trainers import kohya_header, trainer
from tools.trainers.kohya_header import read_json, read_value
from tools.trainers.trainer import HeaderDialect


@dataclass(frozen=True, slots=True)
class KeyedDialect:
    """A dialect that is a table. A path is a key of the metadata, and behind `/` keys inside its JSON: `software/name`.

    `marks`: path -> the text that stands there, in small letters; "" for any. One of them is enough to recognise the dialect.
    `parameters`: our name -> the paths where it may stand, the first that holds a value counts. `comments`: keys whose text may be our
    training comment, with the run id.
    """

    marks: Mapping[str, str]
    parameters: Mapping[str, Sequence[str]]
    comments: Sequence[str] = ()
    never_numbers: frozenset[str] = kohya_header.TEXT

    def recognises(self, metadata: Mapping[str, str]) -> bool:
        return any((text := look_up(metadata, path)) is not None and wanted in text.lower() for path, wanted in self.marks.items())

    def read_parameters(self, metadata: Mapping[str, str]) -> dict[str, Any]:
        found = {}
        for name, paths in self.parameters.items():
            values = (read_value(look_up(metadata, path), as_text=name in self.never_numbers) for path in paths)
            found[name] = next((value for value in values if value is not None), None)
        params = {name: value for name, value in found.items() if value is not None}
        for key in self.comments:
            params |= kohya_header.read_comment(metadata.get(key))
        return params

    def read_run_id(self, metadata: Mapping[str, str]) -> str | None:
        found = (kohya_header.run_id_of(metadata.get(key)) for key in self.comments)
        return next((run_id for run_id in found if run_id is not None), None)


class Musubi:
    """musubi-tuner writes kohya's names, and counts items instead of pictures."""

    def recognises(self, metadata: Mapping[str, str]) -> bool:
        return "ss_num_train_items" in metadata

    def read_parameters(self, metadata: Mapping[str, str]) -> dict[str, Any]:
        return kohya_header.read_parameters(metadata)

    def read_run_id(self, metadata: Mapping[str, str]) -> str | None:
        return kohya_header.read_run_id(metadata)


def look_up(metadata: Mapping[str, str], path: str) -> str | None:
    """The text at a path; None if nothing stands there. What is no text in the JSON is given as JSON."""
    key, *inner = path.split("/")
    value: Any = metadata.get(key)
    for name in inner:
        if isinstance(value, str):
            value = read_json(value, dict)
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class DialectRow:
    """A dialect of the registry. `title`: whose it is. `told`: path in the metadata -> the parameter of ours that says the same, so that a
    comparison does not say it twice."""

    title: str
    dialect: HeaderDialect
    told: Mapping[str, str] = field(default_factory=dict)


def _keyed(title: str, dialect: KeyedDialect) -> DialectRow:
    return DialectRow(title, dialect, {path: name for name, paths in dialect.parameters.items() for path in paths})


AI_TOOLKIT = KeyedDialect(
    marks={"software/name": "ai-toolkit", "software": "ai-toolkit", "training_info/step": ""},
    parameters={
        "steps": ("training_info/step",),
        "epoch": ("training_info/epoch",),
        "base_model": ("ss_base_model_version", "base_model"),
        "output_name": ("ss_output_name", "name"),
        "weights_sha256": ("sshs_model_hash",),
        "trigger_phrase": ("trigger_word", "modelspec.trigger_phrase"),
        "trainer_version": ("software/version",),
        "network_dim": ("ss_network_dim",),
        "network_alpha": ("ss_network_alpha",),
    },
    comments=("run_id", "ss_training_comment", "training_comment", "comment"),
    never_numbers=kohya_header.TEXT | {"trainer_version"},
)

ONE_TRAINER = KeyedDialect(
    marks={"ot_branch": "", "ot_revision": "", "ot_config": ""},
    parameters={
        "network_dim": ("ot_config/lora_rank",),
        "network_alpha": ("ot_config/lora_alpha",),
        "network_dropout": ("ot_config/dropout_probability",),
        "network_type": ("ot_config/peft_type",),
        "optimizer": ("ot_config/optimizer/optimizer", "ot_config/optimizer"),
        "learning_rate": ("ot_config/learning_rate",),
        "unet_lr": ("ot_config/unet/learning_rate", "ot_config/transformer/learning_rate", "ot_config/prior/learning_rate"),
        "text_encoder_lr": ("ot_config/text_encoder/learning_rate",),
        "lr_scheduler": ("ot_config/learning_rate_scheduler",),
        "lr_warmup_steps": ("ot_config/learning_rate_warmup_steps",),
        "num_epochs": ("ot_config/epochs",),
        "batch_size": ("ot_config/batch_size",),
        "gradient_accumulation_steps": ("ot_config/gradient_accumulation_steps",),
        "resolution": ("ot_config/resolution", "modelspec.resolution"),
        "mixed_precision": ("ot_config/train_dtype",),
        "noise_offset": ("ot_config/offset_noise_weight",),
        "seed": ("ot_config/seed",),
        "base_model": ("ot_config/base_model_name", "modelspec.architecture"),
        "output_name": ("modelspec.title",),
        "masked_training": ("ot_config/masked_training",),
        "trigger_phrase": ("modelspec.trigger_phrase",),
        "trainer_version": ("ot_revision",),
    },
    comments=("modelspec.description",),
    never_numbers=kohya_header.TEXT | {"trainer_version"},
)

SIMPLE_TUNER = KeyedDialect(
    marks={
        "modelspec.comment": "",
        "modelspec.author": "simpletuner",
        "modelspec.implementation": "simpletuner",
        "modelspec.description": "simpletuner",
        "software": "simpletuner",
        "simpletuner_version": "",
    },
    parameters={
        "network_dim": ("lora_adapter_metadata/r", "lora_adapter_metadata/transformer.r", "lora_adapter_metadata/unet.r"),
        "network_alpha": (
            "lora_adapter_metadata/lora_alpha",
            *(f"lora_adapter_metadata/{part}.lora_alpha" for part in ("transformer", "unet")),
        ),
        "base_model": ("modelspec.architecture",),
        "output_name": ("modelspec.title",),
        "resolution": ("modelspec.resolution",),
        "trigger_phrase": ("modelspec.trigger_phrase",),
    },
    comments=("modelspec.comment",),
)

DIFFUSERS = KeyedDialect(
    marks={"lora_adapter_metadata": ""},
    parameters={
        "network_dim": tuple(f"lora_adapter_metadata/{part}r" for part in ("", "transformer.", "unet.", "text_encoder.")),
        "network_alpha": tuple(f"lora_adapter_metadata/{part}lora_alpha" for part in ("", "transformer.", "unet.", "text_encoder.")),
        "network_dropout": tuple(f"lora_adapter_metadata/{part}lora_dropout" for part in ("", "transformer.", "unet.")),
        "network_type": tuple(f"lora_adapter_metadata/{part}peft_type" for part in ("", "transformer.", "unet.")),
    },
)

MUSUBI = Musubi()

KOHYA_TOLD = {key: name for name, key in kohya_header.PARAMETERS.items()} | kohya_header.INNER_PARAMETERS

DIALECTS: tuple[DialectRow, ...] = (
    _keyed("ai-toolkit", AI_TOOLKIT),
    _keyed("OneTrainer", ONE_TRAINER),
    _keyed("SimpleTuner", SIMPLE_TUNER),
    DialectRow("musubi-tuner", MUSUBI, KOHYA_TOLD),
    DialectRow("kohya", kohya_header, KOHYA_TOLD),
    _keyed("peft or diffusers", DIFFUSERS),
)
"""In this order: what a later one would also recognise stands first, since many borrow kohya's names."""


def all_dialects() -> tuple[DialectRow, ...]:
    """The table, and the dialects of trainers that are not in it: those count first, since a trainer of ours knows its own files."""
    known = [row.dialect for row in DIALECTS]
    loaded = ((row.name, row.load().dialect) for row in trainer.TRAINERS)
    return (*(DialectRow(name, dialect) for name, dialect in loaded if dialect not in known), *DIALECTS)


def find_dialect(metadata: Mapping[str, str]) -> DialectRow | None:
    """Whose metadata they are; None if nobody's that is known."""
    return next((row for row in all_dialects() if row.dialect.recognises(metadata)), None)
