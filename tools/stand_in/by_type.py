"""What a node class does that nobody wrote down: it is told by the types of its outputs.

A model, a text or a schedule that goes in and comes out is handed on, with a note of who had it; a model that only comes out is loaded; a
text encoder reads its texts; sizes make an empty latent. What would change pictures or numbers is never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.stand_in.node_class import FileChoice, Run, Specs
from tools.stand_in.node_values import Conditioning, Inputs, Latent, LoadedModel, NodeResult, NodeRun, Sigmas

LATENT_SCALE = 8
"""One latent pixel is eight by eight of the picture: a width of 100 gives 96."""

LOADED = frozenset(
    {"MODEL", "CLIP", "VAE", "CONTROL_NET", "CLIP_VISION", "STYLE_MODEL", "UPSCALE_MODEL", "GLIGEN", "MODEL_PATCH", "AUDIO_ENCODER"}
)
HANDED_ON = LOADED | {"CONDITIONING", "SIGMAS", "SAMPLER", "GUIDER", "NOISE"}
"""Types whose change on the way shows in no picture of ours: a class that takes one and gives one hands it on."""

Maker = Callable[[NodeRun, Inputs], Any]


def do_by_type(name: str, required: Specs, optional: Specs, outputs: tuple[Any, ...], names: tuple[str, ...]) -> Run | None:
    """The function of a class, or None where the types do not tell what it does."""
    specs = {**required, **optional}
    loader = _loader(specs)
    makers: list[Maker] = []
    for index, (kind, output_name) in enumerate(zip(outputs, names, strict=True)):
        maker = _maker(name, specs, kind, output_name, outputs, index, loader)
        if maker is None:
            return None
        makers.append(maker)
    if not makers:
        return None

    def run(node_run: NodeRun, inputs: Inputs) -> NodeResult:
        made = {maker: maker(node_run, inputs) for maker in dict.fromkeys(makers)}  # a file of several outputs is loaded once
        return NodeResult(tuple(made[maker] for maker in makers))

    return run


def _maker(
    class_name: str, specs: Specs, kind: Any, output_name: str, outputs: tuple[Any, ...], index: int, loader: Maker | None
) -> Maker | None:
    if not isinstance(kind, str):
        return None
    by_type = {kind: [name for name, spec in specs.items() if spec.type == kind] for kind in {spec.type for spec in specs.values()}}
    sources = by_type.get(kind, [])
    if kind == "CONDITIONING" and sources:
        named = [name for name in sources if name.lower().startswith(output_name.lower())]
        return _join(named or sources)
    if kind == "SIGMAS" and sources and len(outputs) > 1:
        return None  # it splits them
    if kind in HANDED_ON and sources:
        named = [name for name in sources if name.lower() == output_name.lower()]
        return _hand_on(class_name, [*named, *sources[outputs[:index].count(kind) :], *sources])
    if kind in LOADED and loader is not None:
        return loader
    if kind == "CONDITIONING" and "CLIP" in by_type and "STRING" in by_type:
        return _encode(by_type["CLIP"][0], by_type["STRING"])
    if kind == "SAMPLER":
        return lambda run, inputs: inputs.get("sampler_name", class_name.removeprefix("Sampler"))
    if kind == "SIGMAS" and "steps" in specs:
        return _schedule(class_name)
    if kind == "LATENT" and {"width", "height"} <= specs.keys() and not {"LATENT", "IMAGE"} & by_type.keys():
        return empty_latent
    return None


def _hand_on(class_name: str, sources: list[str]) -> Maker:
    def hand_on(run: NodeRun, inputs: Inputs) -> Any:
        value = next((inputs[name] for name in sources if inputs.get(name) is not None), None)
        if isinstance(value, LoadedModel):
            return LoadedModel(value.file, value.loras, (*value.patches, class_name))
        return value

    return hand_on


def _join(sources: list[str]) -> Maker:
    """The texts of several conditionings as one; a guidance that the node sets wins."""

    def join(run: NodeRun, inputs: Inputs) -> Conditioning:
        parts: list[Conditioning] = [inputs[name] for name in sources if inputs.get(name) is not None]
        guidance = next((part.guidance for part in parts if part.guidance is not None), None)
        text = ", ".join(part.text for part in parts if part.text)
        return Conditioning(text, parts[0].loras, float(inputs["guidance"]) if inputs.get("guidance") is not None else guidance)

    return join


def _loader(specs: Specs) -> Maker | None:
    """What loads the files that the inputs name; None where none of them does."""
    files = [(name, spec.kind.folder) for name, spec in specs.items() if isinstance(spec.kind, FileChoice) and spec.kind.folder != "input"]

    def load(run: NodeRun, inputs: Inputs) -> LoadedModel:
        return LoadedModel([run.load(folder, inputs[name]) for name, folder in files if name in inputs][-1])

    return load if files else None


def _encode(clip: str, texts: list[str]) -> Maker:
    def encode(run: NodeRun, inputs: Inputs) -> Conditioning:
        """The texts of a class with several (`text_g` and `text_l`) count once where they are equal."""
        given = dict.fromkeys(str(inputs[name]) for name in texts if inputs.get(name))
        return Conditioning(", ".join(given), inputs[clip].loras, inputs.get("guidance"))

    return encode


def _schedule(class_name: str) -> Maker:
    def schedule(run: NodeRun, inputs: Inputs) -> Sigmas:
        size = (inputs["width"], inputs["height"]) if {"width", "height"} <= inputs.keys() else None
        return Sigmas(inputs.get("scheduler", class_name.removesuffix("Scheduler")), inputs["steps"], inputs.get("denoise", 1.0), size)

    return schedule


def empty_latent(run: NodeRun, inputs: Inputs) -> Latent:
    """A latent of the given size; `length` makes it a film."""
    width, height = (inputs[side] // LATENT_SCALE * LATENT_SCALE for side in ("width", "height"))
    return Latent(width, height, inputs.get("batch_size", 1), frames=inputs.get("length", 1))
