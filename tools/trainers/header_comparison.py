"""How two LoRAs differ: in all that both headers say, in what their weights are, and in the bytes of the weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lifeos.escaping import escape_line
from tools.trainers.kohya_header import read_json
from tools.trainers.lora_header import LoraHeader

IDENTITY = frozenset({"weights_sha256", "output_name", "started", "finished"})
"""Parameters that differ between any two files, so they are no difference of training."""

IDENTITY_KEYS = frozenset(
    {"ss_session_id", "ss_training_started_at", "ss_training_finished_at", "ss_output_name", "sshs_model_hash", "sshs_legacy_hash"}
    | {"modelspec.date", "modelspec.title", "modelspec.hash_sha256", "modelspec.thumbnail", "name", "hash_sha256", "run_id"}
)
"""The same among the metadata."""

MOST_ROWS = 6
"""Of the entries inside one value, such as hundreds of tags: more are counted."""

CHUNK_BYTES = 1 << 20
LONGEST_VALUE = 120

Pair = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class HeaderComparison:
    """Name -> (first, second), None where one does not say. `params`: by our names; `metadata`: the rest of what the headers say, by
    place (`ss_datasets[0].flip_aug`); `weights`: what the weights are. `same_bytes`: whether the weights are the same, byte for byte."""

    params: dict[str, Pair]
    metadata: dict[str, Pair]
    weights: dict[str, Pair]
    same_bytes: bool
    entries: int

    @property
    def differences(self) -> dict[str, Pair]:
        return {**self.params, **self.weights, **self.metadata}


def compare_headers(first: LoraHeader, second: LoraHeader) -> HeaderComparison:
    """Compare two LoRAs. Reads their weights only if names, types and shapes are the same."""
    params = _differing(first.training_params, second.training_params, IDENTITY)
    if params.keys() & {"dataset_manifest_hash"} and "dataset_id" not in params and first.training_params.get("dataset_id"):
        del params["dataset_manifest_hash"]  # the same pictures: the manifest's file was only written again
    told = {**(first.dialect.told if first.dialect else {}), **(second.dialect.told if second.dialect else {})}
    flat = [dict(_flatten(header.metadata)) for header in (first, second)]
    rest = _differing(flat[0], flat[1], frozenset())
    metadata = {place: pair for place, pair in rest.items() if _is_news(place, pair, told, params)}
    weights = {f"weights.{name}": pair for name, pair in _compare_weights(first, second).items()}
    weights = {name: pair for name, pair in weights.items() if _texts(pair) != _texts(params.get(TOLD_BY.get(name, ""), (None, None)))}
    return HeaderComparison(params, metadata, weights, _have_same_bytes(first, second), len(flat[0].keys() | flat[1].keys()))


TOLD_BY = {
    "weights.rank": "network_dim",
    "weights.conv_rank": "conv_dim",
    "weights.alpha": "network_alpha",
    "weights.conv_alpha": "conv_alpha",
    "weights.parts": "trained",
}


def _differing(first: Mapping[str, Any], second: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Pair]:
    names = dict.fromkeys([*first, *second])
    pairs = {name: (first.get(name), second.get(name)) for name in names if name not in left_out}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _is_news(place: str, pair: Pair, told: Mapping[str, str], params: Mapping[str, Pair]) -> bool:
    """Whether a difference of the metadata is one of training, and not yet among the parameters."""
    path = re.sub(r"\[\d+\]", "", place).replace(".", "/") if not place.startswith("modelspec.") else place
    if place.partition("[")[0].partition("/")[0] in IDENTITY_KEYS:
        return False
    name = told.get(path)
    if name is None:
        return not place.startswith("ss_training_comment")
    return name not in IDENTITY and _texts(pair) != _texts(params.get(name, pair))


def _texts(pair: Pair) -> tuple[str, str]:
    def text(value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)

    first, second = pair
    return text(first), text(second)


def _flatten(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(place, text) of every value that is set, also of those inside a value that is JSON."""
    for key, text in metadata.items():
        inner = read_json(text, Any) if text[:1] in "{[" else None
        yield from _leaves(key, inner if isinstance(inner, dict | list) and inner else text)


def _leaves(place: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{place}.{key}", item)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(f"{place}[{index}]", item)
    elif value not in (None, "None", "", {}, []):
        yield place, value if isinstance(value, str) else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _compare_weights(first: LoraHeader, second: LoraHeader) -> dict[str, Pair]:
    sides = []
    for header in (first, second):
        said = header.weights.to_json()
        shown = {name: said[name] for name in ("kind", "rank", "conv_rank", "alpha", "conv_alpha", "dtype", "modules")}
        sides.append({**shown, "parts": "+".join(header.trained_modules) or None, "made_for": header.architecture})
    found = _differing(sides[0], sides[1], frozenset())
    names = first.file.weights.keys(), second.file.weights.keys()
    if names[0] != names[1]:
        found["names only here"] = (len(names[0] - names[1]), len(names[1] - names[0]))
    return found


def _have_same_bytes(first: LoraHeader, second: LoraHeader) -> bool:
    """Whether all weights are the same: read only as long as they are, and not at all if their names, types or shapes differ."""
    if first.file.weights != second.file.weights or not (first.is_whole and second.is_whole):
        return False
    left = first.file.declared_size - first.file.data_start
    try:
        with open(first.path, "rb") as one, open(second.path, "rb") as other:
            one.seek(first.file.data_start)
            other.seek(second.file.data_start)
            while left > 0:
                piece = one.read(min(CHUNK_BYTES, left))
                if not piece or piece != other.read(len(piece)):
                    return False
                left -= len(piece)
    except OSError:
        return False
    return True


def render_header_comparison(first: LoraHeader, second: LoraHeader, found: HeaderComparison) -> str:
    """The comparison for people."""
    head = f"{escape_line(first.path.name)} -> {escape_line(second.path.name)}"
    same = "the same weights" if found.same_bytes else "different weights"
    hashes = [header.training_params.get("weights_sha256") for header in (first, second)]
    if found.same_bytes and all(hashes) and hashes[0] != hashes[1]:
        same += f", though their metadata name two hashes, {escape_line(hashes[0])[:12]} and {escape_line(hashes[1])[:12]}"
    rows = [*_rows(found.params), *_rows(found.weights), *_grouped_rows(found.metadata)]
    compared = (
        f"compared: {found.entries} metadata entries and {len(first.keys)} weights; names, times and hashes of the files are left out"
    )
    if not rows:
        return f"{head}: {same}, trained alike as far as they say\n{compared}"
    width = min(56, max(len(name) for name, _ in rows))
    return "\n".join([f"{head}: {same}", *(f"  {name:{width}}  {text}" for name, text in rows), compared])


def _rows(pairs: Mapping[str, Pair]) -> list[tuple[str, str]]:
    return [(escape_line(name), " -> ".join(map(_shown, pair))) for name, pair in pairs.items()]


def _grouped_rows(pairs: Mapping[str, Pair]) -> list[tuple[str, str]]:
    """The differences inside one value together, if they are many."""
    groups: dict[str, dict[str, Pair]] = {}
    for place, pair in pairs.items():
        key = place if place.startswith("modelspec.") else re.split(r"[.\[]", place, maxsplit=1)[0]
        groups.setdefault(key, {})[place] = pair
    rows = []
    for key, group in groups.items():
        if len(group) <= MOST_ROWS:
            rows += _rows(group)
            continue
        first = ", ".join(f"{name.removeprefix(key).lstrip('.')} {text}" for name, text in _rows(dict(list(group.items())[:3])))
        rows.append((escape_line(key), f"{len(group)} entries differ, such as {first} (all with --json)"))
    return rows


def _shown(value: Any) -> str:
    if value is None:
        return "not said"
    text = escape_line(f"{value:g}" if isinstance(value, float) else str(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
