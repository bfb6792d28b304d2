"""The files that a training wants besides the base model (text encoders, VAE), and whether a file is the right one, by its header.

Trainers load them with missing weights left at random, or fail after minutes; the names and shapes of the weights tell in a millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lifeos.errors import InputError, LifeosError, UnavailableError
from tools.families.families import Family, TrainedBy
from tools.trainers.safetensors_header import SafetensorsHeader, read_safetensors_header

PICKLES = (b"\x80\x02", b"PK\x03\x04")
SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
"""One part of a model in several files: it need not hold all that tells the model."""


@dataclass(frozen=True, slots=True)
class WeightMark:
    """Weights that tell a component: the pattern of their names, and the length of one side of their shape (None: any)."""

    name: str
    axis: int = 0
    length: int | None = None

    def fits(self, header: SafetensorsHeader) -> bool | None:
        """Whether the weights of that name have that length; None if there is none of that name."""
        found = [weight.shape for name, weight in header.weights.items() if re.search(self.name, name)]
        if not found:
            return None
        return self.length is None or any(len(shape) > self.axis and shape[self.axis] == self.length for shape in found)


@dataclass(frozen=True, slots=True)
class Component:
    """One kind of file. `flag` may be that of several kinds, of which a family has one. `inside`: how the names of its weights begin in a
    base model that holds it. `may_be_pickle`: its publisher hands it out as a .pth file, which is not looked into."""

    id: str
    flag: str
    title: str
    marks: tuple[WeightMark, ...]
    inside: tuple[str, ...] = ()
    may_be_pickle: bool = False


def _clip(width: int) -> tuple[WeightMark, ...]:
    return (WeightMark(r"text_model\.encoder\.layers\.0\."), WeightMark(r"text_model\.embeddings\.token_embedding\.weight$", 1, width))


def _t5(words: int) -> tuple[WeightMark, ...]:
    return (WeightMark(r"(?:^|\.)(?:shared|encoder\.embed_tokens|token_embedding)\.weight$", 0, words),)


def _language_model(width: int, *more: WeightMark) -> tuple[WeightMark, ...]:
    return (WeightMark(r"(?:^|\.)layers\.\d+\.self_attn\.q_proj\.weight$", 1, width), *more)


def _vae(channels: int, *more: WeightMark) -> tuple[WeightMark, ...]:
    return (WeightMark(r"^(?:vae\.)?decoder\.conv_in\.weight$", 1, channels), *more)


COMPONENTS: tuple[Component, ...] = (
    Component("clip_l", "--clip-l", "the text encoder CLIP-L", _clip(768), ("text_encoders.clip_l.",)),
    Component("clip_g", "--clip-g", "the text encoder CLIP-G", _clip(1280), ("text_encoders.clip_g.",)),
    Component(
        "t5xxl", "--t5xxl", "the text encoder T5-XXL", (*_t5(32128), WeightMark(r"SelfAttention\.q\.weight$")), ("text_encoders.t5xxl.",)
    ),
    Component("umt5", "--t5", "the text encoder UMT5-XXL", _t5(256384), may_be_pickle=True),
    Component("qwen_vl", "--text-encoder", "the text encoder Qwen2.5-VL 7B", _language_model(3584)),
    Component(
        "qwen3_4b", "--text-encoder", "the text encoder Qwen3 4B", _language_model(2560, WeightMark(r"\.self_attn\.q_norm\.weight$"))
    ),
    Component(
        "qwen3_8b", "--text-encoder", "the text encoder Qwen3 8B", _language_model(4096, WeightMark(r"\.self_attn\.q_norm\.weight$"))
    ),
    Component("mistral", "--text-encoder", "the text encoder Mistral Small 3", _language_model(5120)),
    Component(
        "ae", "--vae", "the VAE of Flux.1 (ae.safetensors)", _vae(16, WeightMark(r"^decoder\.mid\.block_1\.")), ("first_stage_model.",)
    ),
    Component("flux2_ae", "--vae", "the VAE of Flux.2", _vae(32)),
    Component(
        "qwen_image_vae",
        "--vae",
        "the VAE of Qwen-Image and Wan 2.1",
        (WeightMark(r"^decoder\.(?:conv_in|conv1)\.weight$", 1, 16), WeightMark(r"^decoder\.(?:conv_in|conv1)\.weight$", 4, 3)),
        may_be_pickle=True,
    ),
)
"""The first that fits names a file that is another than the one wanted."""


def find_component(component_id: str) -> Component:
    return next(row for row in COMPONENTS if row.id == component_id)


def component_flags() -> Mapping[str, tuple[str, ...]]:
    """Flag -> the titles of what it is for, in the order of the table."""
    found: dict[str, tuple[str, ...]] = {}
    for row in COMPONENTS:
        found[row.flag] = (*found.get(row.flag, ()), row.title)
    return found


def assign_components(given: Mapping[str, str], family: Family, how: TrainedBy) -> dict[str, str]:
    """Files by their flags -> by the ids that the family's row names. Raises InputError for a flag that is for nothing there."""
    wanted = {find_component(each).flag: each for each in (*how.components, *how.optional)}
    for flag in given:
        if flag not in wanted:
            takes = f"it takes {', '.join(wanted)}" if wanted else "it takes no further file"
            raise InputError(flag, f"{how.trainer} reads no such file for {family.title}", f"leave it out: {takes}")
    return {wanted[flag]: path for flag, path in given.items()}


def find_component_faults(given: Mapping[str, str], base_model: str, family: Family, how: TrainedBy) -> list[LifeosError]:
    """What is missing among the components, or is not what it must be. `base_model`: may hold some of them itself."""
    found: list[LifeosError] = []
    for component_id in (*how.components, *how.optional):
        row = find_component(component_id)
        if component_id in given:
            if fault := find_component_fault(given[component_id], row):
                found.append(fault)
        elif component_id in how.components and not _is_inside(row, base_model):
            why = f"is not given: {how.trainer} needs {row.title} for {family.title}"
            found.append(UnavailableError(row.flag, why, f"give {row.flag} its file"))
    return found


def find_component_fault(path: str, row: Component) -> LifeosError | None:
    """Why a file cannot be that component; None if nothing speaks against it."""
    place, fix = Path(path), f"give {row.flag} {row.title}"
    if not place.exists():
        return UnavailableError(path, "no such file", fix)
    try:
        if row.may_be_pickle and place.is_file() and _begins_as_pickle(place):
            return None
        header = read_safetensors_header(place, fix)
    except InputError as error:
        return error
    except OSError as error:
        return UnavailableError(path, f"cannot be read: {error.strerror}", fix)
    if header.missing_bytes:
        why = f"is cut off: {header.missing_bytes:,} of {header.declared_size:,} bytes are missing"
        return InputError(place, why, "download it again")
    if _fits(row, header):
        return None
    other = next((each.title for each in COMPONENTS if each is not row and _fits(each, header)), None)
    return InputError(place, f"is {other}, not {row.title}" if other else f"is not {row.title}: no weights of its names and shapes", fix)


def _fits(row: Component, header: SafetensorsHeader) -> bool:
    found = [mark.fits(header) for mark in row.marks]
    if SHARD.search(header.path.name):
        return False not in found and True in found
    return all(found)


def _begins_as_pickle(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4).startswith(PICKLES)


def _is_inside(row: Component, base_model: str) -> bool:
    if not row.inside or not Path(base_model).is_file():
        return False
    try:
        names = read_safetensors_header(Path(base_model)).weights
    except InputError:
        return False
    return any(name.startswith(row.inside) for name in names)
