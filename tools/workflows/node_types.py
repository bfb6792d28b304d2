"""What types cannot settle: the words by which inputs, outputs and a few node classes say what they are for."""

from __future__ import annotations

import re

SEED_KEYS = ("seed", "noise_seed")
TEXT_KEYS = ("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "prompt", "user_prompt", "positive", "positive_prompt")
"""Text inputs of encoders, where several are there or the class is not known."""
HELD_TEXT_KEYS = (*TEXT_KEYS, "value", "string", "text_a", "text_b", "string_a", "string_b", "text1", "text2", "string1", "string2")
"""Where nodes of an unknown class keep a text that they pass on or put together."""
SAME_TEXT_KEYS = (
    frozenset({"text_g", "text_l"}),
    frozenset({"clip_l", "clip_g", "t5xxl", "llama", "qwen25_7b"}),
    frozenset({"bert", "mt5xl"}),
    frozenset({"wildcard_text", "populated_text"}),
)
"""Text inputs of one encoder that all take the same prompt."""
PLAIN_TEXT_KEYS = ("text", "prompt", "user_prompt")
"""The one text that is the prompt where others stand beside it."""
OTHER_TEXT = re.compile(
    r"system|instruct|template|delimiter|separator|^find$|regex|pattern|filename|prefix|suffix|trigger|language|lora|wildcard$|_name$|expression"
    r"|embedding|style|format|^path$|^mode$",
    re.IGNORECASE,
)
"""Text inputs, and titles of nodes that hold a text, that do not take the prompt."""
PROMPT_WORD = re.compile(r"\bprompt\b", re.IGNORECASE)

MODEL_KEYS = ("ckpt_name", "unet_name", "gguf_name", "model_path", "model_name", "model")
MODEL_FOLDERS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "control_net_name": "controlnet",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "clip_name4": "text_encoders",
    "upscale_model": "upscale_models",
}
"""An input that names a model file -> the server's folder of such files."""

FORGETTING_NODES = frozenset({"ConditioningZeroOut"})
"""Nodes after which nothing of a text is left."""

CONTINUING_KEYS = ("start_at_step", "end_at_step", "step", "split_step", "refiner_step")
"""Where a pass begins or ends, or schedules are parted: a place in the steps, which goes with them."""
BATCH_KEYS = ("batch_size", "amount", "repeats", "multiply_by")
"""How many pictures are made at once, in nodes on the way of the latent."""
GUIDANCE_KEYS = ("guidance",)
CFG_KEYS = ("cfg", "cfg_conds", "guidance_scale")
TILE = re.compile(r"tile|crop|seam|mask|pad|max_|min_")
"""Sides that are not those of the picture."""
SIZE_CHOICE = re.compile(r"aspect|resolution|preset|dimension|ratio|orientation|swap", re.IGNORECASE)
FREE_SIZE = re.compile(r"custom|manual|none|off|false|disabled", re.IGNORECASE)
"""Values of such a choice under which the sides themselves decide."""

FIRST_LINKED = re.compile(r"^(?:Any|Context) Switch")
"""Nodes that pass on the first of their inputs that is there."""
FIRST_IS_TRUE = re.compile(r"^(?:Text|Image|Model|Conditioning|Latent|CLIP|VAE|Number) Input Switch$")
"""Switches that pass on input `_a` where their switch is true."""
TRUE_WORD, FALSE_WORD = re.compile(r"(?:^|_)(?:true|tt|yes)(?:_|$)", re.I), re.compile(r"(?:^|_)(?:false|ff|no|else)(?:_|$)", re.I)
SELECTORS = frozenset({"input", "select", "index", "selection", "choice", "switch", "boolean", "condition", "cond", "bool"})

PIPE = re.compile(r"PIPE|CONTEXT|CTX|^BUS$|_BUS")
"""Types that carry several things at once, each under its name."""
VALUE_TYPES = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})
ANY_TYPES = frozenset({"*", "COMFY_MATCHTYPE_V3", ""})

_ALIASES = {
    "pos": "positive", "neg": "negative", "uncond": "negative", "uncond_prompt": "negative", "negative_cond": "negative",
    "positive_cond": "positive", "conditioning+": "positive", "conditioning-": "negative", "samples": "latent", "latent_image": "latent",
    "images": "image", "sampler_name": "sampler", "noise_seed": "seed", "cond": "positive", "cond1": "positive",
}  # fmt: skip
_NEGATIVE, _POSITIVE = (
    re.compile(r"(?:^|[^a-z])(?:neg(?:ative)?|uncond(?:itional|itioning)?)(?:[^a-z]|$)"),
    re.compile(r"(?:^|[^a-z])pos(?:itive)?(?:[^a-z]|$)"),
)


def alias(name: str) -> str:
    """The one word for what inputs and outputs call differently."""
    lower = name.lower()
    return _ALIASES.get(lower, lower)


def role_of(name: str) -> str:
    """`positive` or `negative`, as the name of an input or output tells; else an empty string."""
    lower = name.lower()
    if alias(lower) in ("positive", "negative"):
        return alias(lower)
    if _NEGATIVE.search(lower):
        return "negative"
    return "positive" if _POSITIVE.search(lower) else ""
