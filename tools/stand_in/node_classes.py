"""The node classes that the embedded server knows: ComfyUI's own by their stored signatures, and some of others.

A class of ComfyUI's is here if one of the function tables says what it does, or if the types of its outputs do.
"""

from __future__ import annotations

import copy
from typing import Any

from tools.stand_in.by_type import do_by_type
from tools.stand_in.custom_classes import custom_classes
from tools.stand_in.node_class import FileChoice, InputSpec, NodeClass, Run, Specs, read_spec
from tools.stand_in.picture_functions import PICTURE_FUNCTIONS
from tools.stand_in.sampling_functions import SAMPLING_FUNCTIONS
from tools.stand_in.saver_functions import SAVER_FUNCTIONS
from tools.stand_in.text_functions import LAZY, TEXT_FUNCTIONS
from tools.stand_in.value_classes import value_classes
from tools.workflows.core_signatures import read_stored

FUNCTIONS: dict[str, Run] = {**SAMPLING_FUNCTIONS, **TEXT_FUNCTIONS, **PICTURE_FUNCTIONS, **SAVER_FUNCTIONS}

FOLDERS = {
    "ckpt_name": "checkpoints", "lora_name": "loras", "unet_name": "diffusion_models", "vae_name": "vae", "control_net_name": "controlnet",
    "clip_name": "text_encoders", "clip_name1": "text_encoders", "clip_name2": "text_encoders", "clip_name3": "text_encoders",
    "clip_name4": "text_encoders", "text_encoder": "text_encoders", "style_model_name": "style_models", "gligen_name": "gligen",
    "audio_encoder_name": "audio_encoders", "image": "input", "model_name": "upscale_models", "name": "model_patches",
}  # fmt: skip
"""An input that names a file -> the folder of such files. The stored signatures do not tell: what there is, only a server knows."""

FOLDERS_OF_CLASS = {("CLIPVisionLoader", "clip_name"): "clip_vision"}
WORDS = {"device": ["default", "cpu"]}
"""Choices of one machine that are no files."""

TOLD_AS_COMBO = frozenset({"QuadrupleCLIPLoader", "TripleCLIPLoader", "UpscaleModelLoader"})
"""Of the classes that choose files, those that are written in ComfyUI's newer way."""

LATER_FORMATS = {("SaveImageAdvanced", "format"): [{"key": "avif", "inputs": {"required": {}}}]}
"""Dynamic choices that came after the recorded version."""


def _core_classes() -> dict[str, NodeClass]:
    found = {name: _core_class(name, signature) for name, signature in read_stored().classes.items()}
    return {name: node for name, node in found.items() if node is not None}


def _core_class(name: str, signature: dict[str, Any]) -> NodeClass | None:
    """A class, or None where nobody says what it does."""
    required, optional = (_read_inputs(name, signature["input"].get(part, {})) for part in ("required", "optional"))
    if required is None or optional is None:
        return None
    outputs, names = tuple(signature["output"]), tuple(map(str, signature["output_name"]))
    is_output = bool(signature.get("output_node"))
    run = FUNCTIONS.get(name)
    if run is None and not is_output and not signature.get("is_input_list") and not signature.get("output_is_list"):
        run = do_by_type(name, required, optional, outputs, names)
    if run is None:
        return None
    extra = {key: signature[key] for key in ("output_matchtypes",) if key in signature}
    return NodeClass(name, required, optional, outputs, names, run, is_output, lazy=LAZY.get(name), extra=extra)


def _read_inputs(name: str, inputs: dict[str, Any]) -> Specs | None:
    specs: Specs = {}
    for key, kind in inputs.items():
        spec = read_spec(copy.deepcopy(kind))
        spec.options.get("options", []).extend(LATER_FORMATS.get((name, key), []))
        if spec.kind == []:  # a choice of what one machine has
            folder = FOLDERS_OF_CLASS.get((name, key), FOLDERS.get(key))
            if folder is None and key not in WORDS:
                return None
            choices = FileChoice(folder) if folder is not None else WORDS[key]
            spec = InputSpec(choices, spec.options, is_combo=name in TOLD_AS_COMBO)
        specs[key] = spec
    return specs


def _all_classes() -> dict[str, NodeClass]:
    core = _core_classes()
    samplers, schedulers = (core["KSampler"].required[key].kind for key in ("sampler_name", "scheduler"))
    assert isinstance(samplers, list)
    assert isinstance(schedulers, list)
    return core | {node.name: node for node in (*value_classes(), *custom_classes(samplers, schedulers))}


NODE_CLASSES: dict[str, NodeClass] = _all_classes()
