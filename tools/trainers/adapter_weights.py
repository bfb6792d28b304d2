"""What the names and shapes of weights tell of a file, without any metadata: a LoRA, another adapter or a whole model; rank; trained parts.

Names are those of kohya (`lora_unet_…lora_down`), peft and diffusers (`…lora_A`), LyCORIS (`hada_`, `lokr_`, `oft_`) and ComfyUI.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError
from tools.families import families
from tools.trainers.safetensors_header import SafetensorsHeader, Weight

LORA, CHECKPOINT, UNKNOWN = "LoRA", "checkpoint", "unknown"


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """A way of adapting a model, told by what the weights' names end with. `ends`: groups `module` (what is adapted) and `side`."""

    title: str
    ends: re.Pattern[str]


def _kind(title: str, sides: str, modules: str = r".*") -> AdapterKind:
    return AdapterKind(title, re.compile(rf"(?P<module>{modules})\.(?P<side>{sides})", re.DOTALL))


ADAPTERS = (
    _kind("LoHa", r"hada_[wt]\d(?:_[ab])?"),
    _kind("LoKr", r"lokr_[wt]\d(?:_[ab])?"),
    _kind("OFT", r"oft_(?:blocks|diag|R)(?:\.weight)?|boft_R"),
    _kind("DyLoRA", r"(?:up|down)_list\.\d+(?:\.weight)?|lora_[AB]\.\d+"),
    _kind("GLoRA", r"[ab][12]\.weight"),
    _kind("IA3", r"on_input|ia3_l"),
    _kind("VeRA", r"vera_lambda_[bd]"),
    _kind("DoRA", r"dora_scale|lora_magnitude_vector(?:\.\w+)*"),
    _kind(LORA, r"lora_(?:down|up|mid)\.weight|lora_(?:embedding_)?[AB](?:\.\w+)*|lora(?:_linear_layer)?\.(?:down|up)\.weight"),
    _kind(LORA, r"(?:down|up)\.weight", r".*_lora"),
    _kind("full difference", r"diff(?:_b)?|w_norm|b_norm"),
)
"""The first that a name fits counts. DoRA is a LoRA with one weight more, so it is told by that one."""

SPECIALS = ("LoHa", "LoKr", "OFT", "DyLoRA", "GLoRA", "IA3", "VeRA", "DoRA")
"""Where some modules are of such a kind, the file is called so; plain LoRA modules may stand beside."""

NETWORK_MODULES = (("dylora", "DyLoRA"), ("loha", "LoHa"), ("lokr", "LoKr"), ("boft", "OFT"), ("oft", "OFT"), ("lora_fa", LORA))
"""What `ss_network_module` or LyCORIS's `algo` holds, for kinds whose weights have a LoRA's names (DyLoRA)."""

NO_ADAPTERS = (
    (CHECKPOINT, re.compile(r"(?:model\.)?diffusion_model\..*|(?:first|cond)_stage_model\..*|conditioner\.embedders\..*")),
    ("ControlNet", re.compile(r"control_model\..*|controlnet_.*|input_hint_block\..*")),
    ("text encoder", re.compile(r"(?:text_model\.)?(?:encoder\.layers|embeddings)\..*|(?:encoder\.block|shared)\..*|model\.layers\..*")),
    (
        "VAE",
        re.compile(
            r"(?:encoder|decoder)\.(?:conv_in|conv_out|down|up|mid|down_blocks|up_blocks|mid_block|middle)\b.*|(?:post_)?quant_conv\..*"
        ),
    ),
    ("embedding", re.compile(r"emb_params|clip_[lg]|t5xxl|string_to_param.*|bundle_emb\..*")),
    (
        CHECKPOINT,
        re.compile(
            r"(?:unet\.|transformer\.)?(?:double_blocks|single_blocks|joint_blocks|transformer_blocks|single_transformer_blocks|down_blocks|"
            r"up_blocks|mid_block|input_blocks|middle_block|output_blocks|blocks|layers|img_in|txt_in|x_embedder|final_layer|conv_in|"
            r"patch_embedding)\b.*\.(?:weight|bias|scale)"
        ),
    ),
)
"""What a file is that adapts nothing, by the beginnings of its names; checked in this order, only if no name is an adapter's."""

PARTS = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder_1",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "lora_transformer_": "transformer",
    "lora_prior_unet_": "prior",
    "lora_prior_te_": "text_encoder",
    "unet.": "unet",
    "transformer.": "transformer",
    "transformer_2.": "transformer_2",
    "diffusion_model.": "transformer",
    "model.diffusion_model.": "transformer",
    "base_model.model.": "transformer",
    "base_model.model.text_model.": "text_encoder",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
    "text_encoder_4.": "text_encoder_4",
    "text_encoders.": "text_encoder",
    "te1.": "text_encoder_1",
    "te2.": "text_encoder_2",
    "te3.": "text_encoder_3",
    "clip_l.": "text_encoder_1",
    "clip_g.": "text_encoder_2",
    "t5xxl.": "text_encoder_3",
    "text_model.": "text_encoder",
    "lycoris_text_model_": "text_encoder",
    "lycoris_": "transformer",
}
"""How names begin -> the part of the model. The longest that fits counts; a family's own `lora_parts` win."""

INWARD = re.compile(r"(?:hada|lokr)_w\d_b|(?:.*[._])?down\.weight|lora_(?:embedding_)?A(?:\.\w+)*")
OUTWARD = re.compile(r"(?:hada|lokr)_w\d_a|(?:.*[._])?up\.weight|lora_(?:embedding_)?B(?:\.\w+)*")
"""The two matrices of a pair: the rank is the first side of the one that reads, and the second side of the one that writes."""

MOST_RANKS = 8
"""More different ranks than this come from resizing a LoRA; they are told as a range."""


@dataclass(frozen=True, slots=True)
class AdapterSummary:
    """What the weights tell. `kind`: LoRA, LoHa, …, checkpoint, VAE …, or unknown. `modules`: how many are adapted.

    `ranks`, `conv_ranks`: rank -> how many modules (of the latter those with a kernel larger than 1 x 1); empty where the kind has none.
    `alpha`, `conv_alpha`: of the first module that has one. `dtypes`: the types of the weights, the most frequent first. `numbers`: how
    many numbers all weights hold.
    """

    kind: str
    modules: int
    parts: tuple[str, ...]
    ranks: Mapping[int, int]
    conv_ranks: Mapping[int, int]
    alpha: float | None
    conv_alpha: float | None
    dtypes: tuple[str, ...]
    numbers: int
    weights: int

    @property
    def is_adapter(self) -> bool:
        return any(self.kind == row.title for row in ADAPTERS)

    @property
    def trains_text_encoder(self) -> bool:
        return any(part.startswith("text_encoder") for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "modules": self.modules,
            "parts": list(self.parts),
            "rank": render_ranks(self.ranks) or None,
            "conv_rank": render_ranks(self.conv_ranks) or None,
            "alpha": self.alpha,
            "conv_alpha": self.conv_alpha,
            "dtype": "+".join(self.dtypes) or None,
            "numbers": self.numbers,
            "weights": self.weights,
        }


def summarise_weights(header: SafetensorsHeader) -> AdapterSummary:
    """What a file's weights are. Opens the file once or twice more, to read an alpha."""
    found = [(name, row, match) for name in header.weights for row, match in [_adapter_of(name)] if match]
    kind = _kind_of(header, Counter(row.title for _, row, _ in found if row is not None))
    modules: dict[str, dict[str, Weight]] = {}
    for name, _, match in found:
        assert match is not None
        modules.setdefault(match["module"], {})[match["side"]] = header.weights[name]
    ranks, conv_ranks = Counter[int](), Counter[int]()
    alphas: dict[bool, float | None] = {}
    for module, sides in modules.items():
        is_conv = any(len(weight.shape) > 2 and max(weight.shape[2:]) > 1 for weight in sides.values())
        if (rank := _rank(sides)) is not None:
            (conv_ranks if is_conv else ranks)[rank] += 1
        if is_conv not in alphas and f"{module}.alpha" in header.weights:
            alphas[is_conv] = header.read_number(f"{module}.alpha")
    sizes = Counter[str]()
    for weight in header.weights.values():
        sizes[weight.dtype] += weight.size
    return AdapterSummary(
        kind,
        len(modules),
        find_parts(header.weights),
        dict(sorted(ranks.items())),
        dict(sorted(conv_ranks.items())),
        alphas.get(False),
        alphas.get(True),
        tuple(name for name, count in sizes.most_common() if count * 100 >= sizes.total()),
        sizes.total(),
        len(header.weights),
    )


def find_parts(names: Iterable[str]) -> tuple[str, ...]:
    """The parts of the model that the weights belong to (`unet`, `transformer`, `text_encoder`, `text_encoder_1` …), in a fixed order."""
    table = dict(PARTS)
    for row in families.FAMILIES:
        table |= row.lora_parts
    begins = re.compile("|".join(map(re.escape, sorted(table, key=len, reverse=True)))).match  # the longest that fits counts
    there = {table[match[0]] for match in map(begins, names) if match}
    return tuple(part for part in dict.fromkeys(table.values()) if part in there)


def _adapter_of(name: str) -> tuple[AdapterKind | None, re.Match[str] | None]:
    for row in ADAPTERS:
        if match := row.ends.fullmatch(name):
            return row, match
    return None, None


def _kind_of(header: SafetensorsHeader, counts: Counter[str]) -> str:
    if not counts:
        for title, pattern in NO_ADAPTERS:
            if any(pattern.fullmatch(name) for name in header.weights):
                return title
        return UNKNOWN
    for title in SPECIALS:
        if counts[title]:
            return title
    if counts[LORA]:
        return _named_kind(header.metadata) or LORA
    return counts.most_common(1)[0][0]


def _named_kind(metadata: Mapping[str, str]) -> str | None:
    """The kind that the metadata name where the weights look like a LoRA's."""
    try:
        arguments = foreign.decode(metadata.get("ss_network_args", ""), dict, "ss_network_args")
    except InputError:
        arguments = {}
    module, algorithm = metadata.get("ss_network_module", "").lower(), str(arguments.get("algo", "")).lower()
    for word, title in NETWORK_MODULES:
        if algorithm == word or module.endswith(f".{word}"):
            return title
    return None


def _rank(sides: Mapping[str, Weight]) -> int | None:
    """The rank of one module: the side that its pair of matrices shares; None where it has none, such as a LoKr of full matrices."""
    if parts := sum(re.match(r"down_list\.|lora_A\.\d+$", side) is not None for side in sides):  # DyLoRA: a row for each rank
        return parts
    found = set()
    for side, weight in sides.items():
        if len(weight.shape) >= 2 and (INWARD.fullmatch(side) or OUTWARD.fullmatch(side)):
            found.add(weight.shape[0 if INWARD.fullmatch(side) else 1])
    return min(found, default=None)


def render_ranks(ranks: Mapping[int, int]) -> str:
    """`16`, `16 and 32`, or `4 to 64`."""
    values = sorted(ranks)
    if len(values) > MOST_RANKS:
        return f"{values[0]} to {values[-1]}"
    return " and ".join(map(str, values))
