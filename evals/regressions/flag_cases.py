"""A trainer command without conflicts, and every conflict that sd-scripts is known to punish, as a change of it (research/trainer.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tools.families.families import SDXL

HOW = SDXL.training_with("sd-scripts")
COMMAND = (
    *("accelerate", "launch", "--num_cpu_threads_per_process", "2", HOW.script),
    *("--network_module", HOW.network_module, "--network_dim", "32", "--network_alpha", "16", "--resolution", "1024"),
    *("--max_train_steps", "2500", "--mixed_precision", "bf16", "--sdpa", "--cache_latents"),
    *("--optimizer_type", "Prodigy", "--optimizer_args", "decouple=True"),
    *("--learning_rate", "1.0", "--unet_lr", "1.0", "--text_encoder_lr", "1.0"),
    *("--max_data_loader_n_workers", "2", "--persistent_data_loader_workers"),
)
DATASET: dict[str, Any] = {
    "resolution": 1024,
    "enable_bucket": True,
    "min_bucket_reso": 512,
    "max_bucket_reso": 1536,
    "bucket_reso_steps": 64,
}
SUBSETS: tuple[dict[str, Any], ...] = (
    {"image_dir": "train", "num_repeats": 10, "caption_extension": ".txt"},
    {"image_dir": "reg", "num_repeats": 1, "caption_extension": ".txt", "is_reg": True},
)


@dataclass(frozen=True, slots=True)
class FlagCase:
    """One conflict: options added or replaced (None: left out), keys of the dataset and of its subsets, the flag that must be named."""

    name: str
    flag: str
    options: dict[str, str | None] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    regularisation: dict[str, Any] = field(default_factory=dict)
    subsets: bool = True

    def command(self) -> list[str]:
        argv = list(COMMAND)
        for name, value in self.options.items():
            if name in argv:
                at = argv.index(name)
                has_value = at + 1 < len(argv) and not argv[at + 1].startswith("--")
                del argv[at : at + 1 + has_value]
            if value is not None:
                argv += [name, value] if value else [name]
        return argv

    def config(self) -> dict[str, Any]:
        merged = [SUBSETS[0] | self.training, SUBSETS[1] | self.regularisation] if self.subsets else []
        subsets = [{key: value for key, value in subset.items() if value is not None} for subset in merged]
        return {"datasets": [DATASET | self.dataset | {"subsets": subsets}]}


CACHED_TEXT: dict[str, str | None] = {"--cache_text_encoder_outputs": "", "--network_train_unet_only": ""}
FLAG_CASES = (
    FlagCase("Prodigy with unequal rates", "--optimizer_type", {"--text_encoder_lr": "0.5"}),
    FlagCase("Prodigy with the U-Net's rate alone", "--optimizer_type", {"--learning_rate": None, "--text_encoder_lr": None}),
    FlagCase("Prodigy below 1", "--learning_rate", {"--learning_rate": "1e-4", "--unet_lr": "1e-4", "--text_encoder_lr": "1e-4"}),
    FlagCase("cached text with the text encoder trained", "--cache_text_encoder_outputs", {"--cache_text_encoder_outputs": ""}),
    FlagCase("cached text with shuffled captions", "--cache_text_encoder_outputs", CACHED_TEXT, training={"shuffle_caption": True}),
    FlagCase("cached text with dropout", "--cache_text_encoder_outputs", CACHED_TEXT, regularisation={"caption_dropout_rate": 0.1}),
    FlagCase("cached text with warm-up", "--cache_text_encoder_outputs", CACHED_TEXT, training={"token_warmup_step": 100}),
    FlagCase("an argument that is no Python literal", "--optimizer_args", {"--optimizer_args": "decouple=true"}),
    FlagCase("persistent workers without workers", "--persistent_data_loader_workers", {"--max_data_loader_n_workers": "0"}),
    FlagCase("xformers", "--xformers", {"--xformers": ""}),
    FlagCase("an unknown TOML key", "num_repeat", training={"num_repeat": 3}),
    FlagCase("prior loss weight in the TOML", "prior_loss_weight", dataset={"prior_loss_weight": 1.0}),
    FlagCase("buckets above the resolution", "min_bucket_reso", dataset={"min_bucket_reso": 1280}),
    FlagCase("buckets below the resolution", "max_bucket_reso", dataset={"max_bucket_reso": 768}),
    FlagCase("bucket steps of no multiple of 32", "bucket_reso_steps", dataset={"bucket_reso_steps": 48}),
    FlagCase("no training folder", "datasets", subsets=False),
    FlagCase("caches of latents on the disk", "--cache_latents_to_disk", {"--cache_latents_to_disk": ""}),
    FlagCase("the constant schedule with warm-up", "--lr_warmup_steps", {"--lr_warmup_steps": "100"}),
    FlagCase("resolution left to the trainer", "--resolution", {"--resolution": None}),
    FlagCase("network alpha left to the trainer", "--network_alpha", {"--network_alpha": None}),
    FlagCase("precision left to the trainer", "--mixed_precision", {"--mixed_precision": None}),
    FlagCase("captions left to the trainer", "--caption_extension", training={"caption_extension": None}),
    FlagCase("resuming from step 0", "--resume", {"--resume": "state"}),
)
