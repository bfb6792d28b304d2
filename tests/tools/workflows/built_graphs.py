"""Graphs as people build them, to be changed by tests, and what filling one changed in it."""

from __future__ import annotations

from typing import Any

import pytest

from lifeos import foreign
from lifeos.errors import InputError
from tools.workflows.declarations import DeclaredNode, read_declaration
from tools.workflows.graph import Graph, is_link, read_graph
from tools.workflows.signatures import Signatures, stored_signatures
from tools.workflows.workflow import NodeOverrides, Placed, Settings, Workflow

NEW = "amiranoor_v3.safetensors"  # the LoRA that takes the place of an older one of the same character


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def sampling(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node of any class that samples, with plain values."""
    plain = {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return node(class_type, **{**plain, **inputs})


def sampler(**inputs: Any) -> dict[str, Any]:
    """That of the default workflow."""
    return sampling("KSampler", **{"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], **inputs})


def simple(**changes: dict[str, Any] | None) -> Graph:
    """The default workflow of ComfyUI, with nodes replaced, added, or (None) taken away. Keys: `n3` is node 3."""
    graph: Graph = {
        "3": sampler(),
        "4": node("CheckpointLoaderSimple", ckpt_name="base.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=512, batch_size=4),
        "6": node("CLIPTextEncode", text="good", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="bad", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="mine", images=["8", 0]),
    }
    for name, change in changes.items():
        graph[name.removeprefix("n")] = change if change is not None else {}
        if change is None:
            del graph[name.removeprefix("n")]
    return graph


CUSTOM_ADVANCED = simple(
    n3=node("SamplerCustomAdvanced", noise=["20", 0], guider=["21", 0], sampler=["22", 0], sigmas=["23", 0], latent_image=["5", 0]),
    n20=node("RandomNoise", noise_seed=1),
    n21=node("CFGGuider", model=["4", 0], positive=["6", 0], negative=["7", 0], cfg=7.0),
    n22=node("KSamplerSelect", sampler_name="euler"),
    n23=node("BasicScheduler", model=["4", 0], scheduler="normal", steps=20, denoise=1.0),
)

FLUX = simple(
    n3=node("SamplerCustomAdvanced", noise=["20", 0], guider=["21", 0], sampler=["22", 0], sigmas=["23", 0], latent_image=["5", 0]),
    n4=node("UNETLoader", unet_name="flux.safetensors", weight_dtype="default"),
    n5=node("EmptySD3LatentImage", width=512, height=512, batch_size=1),
    n6=node("CLIPTextEncode", text="good", clip=["24", 0]),
    n7=None,
    n8=node("VAEDecode", samples=["3", 0], vae=["25", 0]),
    n20=node("RandomNoise", noise_seed=1),
    n21=node("BasicGuider", model=["4", 0], conditioning=["26", 0]),
    n22=node("KSamplerSelect", sampler_name="euler"),
    n23=node("BasicScheduler", model=["4", 0], scheduler="normal", steps=20, denoise=1.0),
    n24=node("DualCLIPLoader", clip_name1="t5.safetensors", clip_name2="l.safetensors", type="flux"),
    n25=node("VAELoader", vae_name="ae.safetensors"),
    n26=node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
)

HIRES = simple(
    n20=node("LatentUpscale", samples=["3", 0], width=1024, height=1024, upscale_method="nearest-exact", crop="disabled"),
    n21=sampler(seed=5, steps=12, denoise=0.5, latent_image=["20", 0]),
    n8=node("VAEDecode", samples=["21", 0], vae=["4", 2]),
)


def concatenated(title_a: str, title_b: str) -> Graph:
    graph = simple(
        n6=node("CLIPTextEncode", text=["40", 0], clip=["4", 1]),
        n40=node("StringConcatenate", string_a=["41", 0], string_b=["42", 0], delimiter=", "),
        n41=node("PrimitiveStringMultiline", value="film, 35mm"),
        n42=node("PrimitiveStringMultiline", value="a woman in a cafe"),
    )
    for node_id, title in (("41", title_a), ("42", title_b)):
        graph[node_id]["_meta"] = {"title": title}
    return graph


def two_models(**changes: Any) -> Graph:
    first = {"add_noise": "enable", "noise_seed": 1, "start_at_step": 0, "end_at_step": 10, "return_with_leftover_noise": "enable"}
    plain = {key: value for key, value in sampler()["inputs"].items() if key not in ("seed", "denoise")}
    graph = simple(
        n3=node("KSamplerAdvanced", **{**plain, **first, "model": ["50", 0]}),
        n20=node(
            "KSamplerAdvanced",
            **{**plain, **first, "start_at_step": 10, "end_at_step": 10000, "model": ["51", 0], "latent_image": ["3", 0]},
        ),
        n50=node("UNETLoader", unet_name="high.safetensors", weight_dtype="default"),
        n51=node("UNETLoader", unet_name="low.safetensors", weight_dtype="default"),
        n8=node("VAEDecode", samples=["20", 0], vae=["4", 2]),
    )
    return graph | {name.removeprefix("n"): change for name, change in changes.items()}


def loader(name: str, model: str = "4", clip: str = "4", at: float = 1.0) -> dict[str, Any]:
    return node("LoraLoader", lora_name=name, strength_model=at, strength_clip=at, model=[model, 0], clip=[clip, 1])


def chain(*names: str) -> Graph:
    """Loaders one after the other, from node 50 on."""
    nodes, above = {}, "4"
    for number, name in enumerate(names, 50):
        nodes[f"n{number}"] = loader(name, above, above)
        above = str(number)
    return simple(n3=sampler(model=[above, 0]), **nodes)


def power(**rows: Any) -> Graph:
    return simple(n3=sampler(model=["50", 0]), n50=node("Power Lora Loader (rgthree)", model=["4", 0], clip=["4", 1], **rows))


def row(name: str, on: bool = True, **more: Any) -> dict[str, Any]:
    return {"on": on, "lora": name, "strength": 1.0, **more}


def declare(inputs: str, outputs: list[str], names: list[str] | None = None) -> dict[str, Any]:
    """A signature: `name:TYPE`, `name:TEXT` a text box, `name:SEED` a seed."""
    required: dict[str, Any] = {}
    for each in inputs.split():
        name, _, kind = each.partition(":")
        options = {"TEXT": {"multiline": True}, "SEED": {"control_after_generate": True}}.get(kind, {})
        required[name] = [{"TEXT": "STRING", "SEED": "INT"}.get(kind, kind), options]
    return {"input": {"required": required}, "output": outputs, "output_name": names or outputs}


def fill(graph: Graph, classes: dict[str, Any] | None = None, overrides: NodeOverrides | None = None, /, **settings: Any) -> Placed:
    """`classes`: signatures beside the stored ones, as `declare` writes them."""
    declared = {name: read_declaration(foreign.convert(each, DeclaredNode, name)) for name, each in (classes or {}).items()}
    known = Signatures(lambda name: declared.get(name) or stored_signatures().of(name))
    return Workflow(read_graph(graph, "mine.json"), "mine.json", overrides, signatures=known).fill(Settings(**settings))


def changed(
    graph: Graph, classes: dict[str, Any] | None = None, overrides: NodeOverrides | None = None, /, **settings: Any
) -> dict[str, Any]:
    """`node.input` -> new value. Links to new nodes and the batch size of the plain graph are left out."""
    placed = fill(graph, classes, overrides, **settings).graph
    found = {
        f"{node_id}.{key}": value
        for node_id, each in placed.items()
        if node_id in graph
        for key, value in each["inputs"].items()
        if graph[node_id]["inputs"].get(key) != value and not (is_link(value) and value[0] not in graph)
    }
    found.pop("5.batch_size", None)
    return found


def refusal(graph: Graph, classes: dict[str, Any] | None = None, overrides: NodeOverrides | None = None, /, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        fill(graph, classes, overrides, **settings)
    return str(caught.value)


def new_loaders(graph: Graph, /, *args: Any, **settings: Any) -> list[dict[str, Any]]:
    placed = fill(graph, *args, **settings).graph
    return [placed[node_id]["inputs"] for node_id in placed if node_id not in graph]
