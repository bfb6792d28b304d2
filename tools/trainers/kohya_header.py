"""What kohya's trainers write into a LoRA's header: sd-scripts, kohya_ss, and musubi-tuner after them.

All values are text, "None" for unset. It is enough to recognise a run, not to repeat it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from lifeos import foreign
from lifeos.caption_style import describe_parts
from lifeos.errors import InputError

PARAMETERS = {
    "network_dim": "ss_network_dim",
    "network_alpha": "ss_network_alpha",
    "optimizer": "ss_optimizer",
    "learning_rate": "ss_learning_rate",
    "unet_lr": "ss_unet_lr",
    "text_encoder_lr": "ss_text_encoder_lr",
    "lr_scheduler": "ss_lr_scheduler",
    "lr_warmup_steps": "ss_lr_warmup_steps",
    "steps": "ss_steps",
    "max_train_steps": "ss_max_train_steps",
    "epoch": "ss_epoch",
    "num_epochs": "ss_num_epochs",
    "train_images": "ss_num_train_images",
    "reg_images": "ss_num_reg_images",
    "resolution": "modelspec.resolution",
    "seed": "ss_seed",
    "mixed_precision": "ss_mixed_precision",
    "min_snr_gamma": "ss_min_snr_gamma",
    "noise_offset": "ss_noise_offset",
    "prior_loss_weight": "ss_prior_loss_weight",
    "network_dropout": "ss_network_dropout",
    "trigger_phrase": "modelspec.trigger_phrase",
    "base_model": "ss_sd_model_name",
    "base_model_sha256": "ss_new_sd_model_hash",
    "weights_sha256": "sshs_model_hash",
    "output_name": "ss_output_name",
    "started": "ss_training_started_at",
    "finished": "ss_training_finished_at",
}
"""The parameters that tell one run from another, and the header's keys for them."""

NETWORK_ARGS = {
    "network_type": "algo",
    "conv_dim": "conv_dim",
    "conv_alpha": "conv_alpha",
    "network_dropout": "dropout",
    "rank_dropout": "rank_dropout",
    "module_dropout": "module_dropout",
}
"""Of `ss_network_args`, a JSON object whose values are text."""

INNER_PARAMETERS = {
    **{f"ss_network_args/{key}": name for name, key in NETWORK_ARGS.items()},
    "ss_datasets/batch_size_per_device": "batch_size",
    "ss_datasets/batch_size": "batch_size",
    "ss_datasets/subsets/num_repeats": "repeats",
    "ss_datasets/num_repeats": "repeats",
    "ss_datasets/subsets/class_tokens": "class_tokens",
    "ss_num_train_items": "train_images",
    "ss_training_comment": "comment",
    "ss_training_comment/dataset_id": "dataset_id",
    "ss_training_comment/dataset_manifest_hash": "dataset_manifest_hash",
}
"""The parameters that stand inside a value, by where they stand."""

TEXT = frozenset({"output_name", "base_model", "base_model_sha256", "weights_sha256", "trigger_phrase", "resolution"})
"""Never read as numbers: a hash of digits and an e would become one."""

MOST_DIGITS = 40
MOST_PICTURES = 10**9


def recognises(metadata: Mapping[str, str]) -> bool:
    return any(key.startswith(("ss_", "sshs_", "modelspec.")) for key in metadata)


def read_parameters(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The parameters that were set; those that are plain numbers as numbers."""
    found = {name: read_value(metadata.get(key), as_text=name in TEXT) for name, key in PARAMETERS.items()}
    if found["train_images"] is None:
        found["train_images"] = read_value(metadata.get("ss_num_train_items"))
    arguments = read_json(metadata.get("ss_network_args"), dict) or {}
    for name, key in NETWORK_ARGS.items():
        if found.get(name) is None and (plain := _plain(arguments.get(key))) is not None:
            found[name] = read_value(str(plain))
    params = {name: value for name, value in found.items() if value is not None}
    captions = _describe_captions(metadata)
    said = {"caption_kind": captions} if captions else {}
    return {**params, **_read_datasets(metadata), **said, **read_comment(metadata.get("ss_training_comment"))}


def _describe_captions(metadata: Mapping[str, str]) -> str:
    """What kind of captions the trained pictures had, from how often each part of them was seen."""
    frequency = read_json(metadata.get("ss_tag_frequency"), dict) or {}
    regularised = {str(item.get("image_dir")) for item in _subsets(metadata) if item.get("is_reg")}
    counts: Counter[str] = Counter()
    for folder, parts in frequency.items():
        if folder not in regularised and isinstance(parts, dict):
            counts.update({str(part): count for part, count in parts.items() if isinstance(count, int) and 0 < count <= MOST_PICTURES})
    return describe_parts(counts)


def read_run_id(metadata: Mapping[str, str]) -> str | None:
    """The run, from the training comment that we give our trainings."""
    return run_id_of(metadata.get("ss_training_comment"))


def run_id_of(comment: str | None) -> str | None:
    """The run that a training comment of ours names."""
    found = read_json(comment, dict)
    run_id = found.get("run_id") if found else None
    return run_id if isinstance(run_id, str) else None


def read_value(text: str | None, *, as_text: bool = False) -> str | int | float | None:
    """A metadata value as a number where it is a plain one; None for absent and for "None"."""
    if text is None or text in ("None", ""):
        return None
    if as_text or len(text) > MOST_DIGITS:
        return text
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if foreign.MIN_NUMBER <= value <= foreign.MAX_NUMBER else text  # NaN and infinity stay text: JSON has neither
    return text


def _read_datasets(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Batch size, repeats and class tokens, from the JSON that the trainer keeps of its datasets."""
    datasets = read_json(metadata.get("ss_datasets"), list)
    first = datasets[0] if datasets and isinstance(datasets[0], dict) else {}
    trained = [item for item in _subsets(metadata) if not item.get("is_reg")] if isinstance(first.get("subsets"), list) else [first]
    found = {
        "batch_size": next((size for key in ("batch_size_per_device", "batch_size") if (size := _plain(first.get(key))) is not None), None),
        "repeats": next((_plain(item.get("num_repeats")) for item in trained), None),
        "class_tokens": next((_plain(item["class_tokens"]) for item in trained if item.get("class_tokens")), None),
    }
    return {name: value for name, value in found.items() if value is not None}


def _subsets(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """The folders of all datasets."""
    datasets = read_json(metadata.get("ss_datasets"), list) or []
    lists = [dataset.get("subsets") for dataset in datasets if isinstance(dataset, dict)]
    return [item for subsets in lists if isinstance(subsets, list) for item in subsets if isinstance(item, dict)]


def _plain(value: Any) -> str | int | float | None:
    """Text or a number; None for whatever else stands there."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def read_comment(comment: str | None) -> dict[str, Any]:
    """A training comment: the dataset's id and the manifest's hash where it is our JSON, else its text."""
    if comment in (None, "", "None"):
        return {}
    data = read_json(comment, dict)
    if data is None:
        return {"comment": comment}
    return {name: data[name] for name in ("dataset_id", "dataset_manifest_hash") if isinstance(data.get(name), str)}


def read_json(text: str | None, kind: type[Any]) -> Any:
    """A value that is JSON in itself; None where it is not, or is not of that kind."""
    try:
        return foreign.decode(text, kind, "metadata") if text else None
    except InputError:
        return None
