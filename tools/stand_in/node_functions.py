"""What each node class does when it runs: small values handed along the links, and a picture where ComfyUI would sample one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from tools.stand_in.picture_store import PictureStore, read_input_picture
from tools.stand_in.scene import LoraUse, Scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LATENT_SCALE = 8
"""One latent pixel is eight by eight of the picture: a width of 100 gives 96."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """MODEL, CLIP and VAE alike: the file, and the LoRAs applied to it in order."""

    file: str
    loras: tuple[LoraUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Latent:
    """Empty (`pictures` None) or sampled."""

    width: int
    height: int
    batch: int
    pictures: tuple[NDArray[np.uint8], ...] | None = None


@dataclass(frozen=True, slots=True)
class Guider:
    model: LoadedModel
    positive: str
    negative: str
    cfg: float


class NodeRun(Protocol):
    """What a node may ask of the run that it is part of."""

    store: PictureStore
    graph: dict[str, Any]
    extra_data: dict[str, Any]

    def load(self, folder: str, name: str) -> str: ...
    def sample(self, scenes: list[Scene], steps: int) -> tuple[NDArray[np.uint8], ...]: ...
    def check_disk(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeResult:
    outputs: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None


Inputs = dict[str, Any]


def _checkpoint(run: NodeRun, inputs: Inputs) -> NodeResult:
    model = LoadedModel(run.load("checkpoints", inputs["ckpt_name"]))
    return NodeResult((model, model, model))


def _single_file(folder: str, key: str) -> Callable[[NodeRun, Inputs], NodeResult]:
    return lambda run, inputs: NodeResult((LoadedModel(run.load(folder, inputs[key])),))


def _lora(run: NodeRun, inputs: Inputs) -> NodeResult:
    name = run.load("loras", inputs["lora_name"])
    model: LoadedModel = inputs["model"]
    with_model = replace(model, loras=(*model.loras, LoraUse(name, inputs["strength_model"])))
    if "clip" not in inputs:
        return NodeResult((with_model,))
    clip: LoadedModel = inputs["clip"]
    return NodeResult((with_model, replace(clip, loras=(*clip.loras, LoraUse(name, inputs["strength_clip"])))))


def _encode_sdxl(run: NodeRun, inputs: Inputs) -> NodeResult:
    texts = [inputs["text_g"], inputs["text_l"]]
    return NodeResult((texts[0] if texts[0] == texts[1] else ", ".join(text for text in texts if text),))


def _join(first: str, second: str) -> Callable[[NodeRun, Inputs], NodeResult]:
    return lambda run, inputs: NodeResult((", ".join(text for text in (inputs[first], inputs[second]) if text),))


def _passes(*keys: str) -> Callable[[NodeRun, Inputs], NodeResult]:
    return lambda run, inputs: NodeResult(tuple(inputs[key] for key in keys))


def _empty_latent(run: NodeRun, inputs: Inputs) -> NodeResult:
    width, height = (inputs[side] // LATENT_SCALE * LATENT_SCALE for side in ("width", "height"))
    return NodeResult((Latent(width, height, inputs["batch_size"]),))


def _sample(run: NodeRun, guider: Guider, seed: int, steps: int, sampler: str, scheduler: str, latent: Latent, denoise: float) -> Latent:
    scenes = [
        Scene(
            positive=guider.positive, negative=guider.negative, seed=seed, index=index, steps=steps, cfg=guider.cfg, sampler=sampler,
            scheduler=scheduler, width=latent.width, height=latent.height, loras=guider.model.loras, denoise=denoise,
        )
        for index in range(latent.batch)
    ]  # fmt: skip
    return replace(latent, pictures=run.sample(scenes, steps))


def _ksampler(run: NodeRun, inputs: Inputs) -> NodeResult:
    guider = Guider(inputs["model"], inputs["positive"], inputs["negative"], inputs["cfg"])
    seed = int(inputs["seed"] if "seed" in inputs else inputs["noise_seed"])
    denoise = float(inputs.get("denoise", 1.0))
    sampled = _sample(
        run, guider, seed, inputs["steps"], inputs["sampler_name"], inputs["scheduler"], inputs["latent_image"], denoise
    )  # fmt: skip
    return NodeResult((sampled,))


def _guider(run: NodeRun, inputs: Inputs) -> NodeResult:
    positive = inputs.get("positive", inputs.get("conditioning"))
    return NodeResult((Guider(inputs["model"], str(positive), inputs.get("negative", ""), inputs.get("cfg", 1.0)),))


def _custom_sample(run: NodeRun, inputs: Inputs) -> NodeResult:
    scheduler, steps, denoise = inputs["sigmas"]
    sampled = _sample(run, inputs["guider"], inputs["noise"], steps, inputs["sampler"], scheduler, inputs["latent_image"], denoise)
    return NodeResult((sampled, sampled))


def _decode(run: NodeRun, inputs: Inputs) -> NodeResult:
    import numpy as np

    latent: Latent = inputs["samples"]
    grey = np.full((latent.height, latent.width, 3), 127, np.uint8)
    return NodeResult((latent.pictures if latent.pictures is not None else (grey,) * latent.batch,))


def _encode(run: NodeRun, inputs: Inputs) -> NodeResult:
    pictures = inputs["pixels"]
    height, width = (side // LATENT_SCALE * LATENT_SCALE for side in pictures[0].shape[:2])
    return NodeResult((Latent(width, height, len(pictures), tuple(picture[:height, :width] for picture in pictures)),))


def _empty_image(run: NodeRun, inputs: Inputs) -> NodeResult:
    import numpy as np

    color = inputs["color"]
    rgb = np.array([color >> 16 & 255, color >> 8 & 255, color & 255], np.uint8)
    picture = np.broadcast_to(rgb, (inputs["height"], inputs["width"], 3)).copy()
    return NodeResult(((picture,) * inputs["batch_size"],))


def _load_image(run: NodeRun, inputs: Inputs) -> NodeResult:
    path = run.store.find(str(inputs["image"]), None, "input")
    if path is None:
        raise FileNotFoundError(f"no such picture in the input folder: {inputs['image']}")
    return NodeResult(((read_input_picture(path),), None))


def _scale(run: NodeRun, inputs: Inputs) -> NodeResult:
    import cv2

    width, height = inputs["width"], inputs["height"]
    pictures = []
    for picture in inputs["image"]:
        old_height, old_width = picture.shape[:2]
        size = (
            width or round(old_width * (height or old_height) / old_height),
            height or round(old_height * (width or old_width) / old_width),
        )
        pictures.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if size[0] < old_width else cv2.INTER_CUBIC))
    return NodeResult((tuple(pictures),))


def _save(folder: str) -> Callable[[NodeRun, Inputs], NodeResult]:
    def save(run: NodeRun, inputs: Inputs) -> NodeResult:
        run.check_disk()
        texts = {"prompt": run.graph, **(run.extra_data.get("extra_pnginfo") or {})}
        prefix = inputs.get("filename_prefix", "ComfyUI_temp_embedded")
        return NodeResult((inputs["images"],), ui={"images": run.store.save(list(inputs["images"]), prefix, texts, folder)})

    return save


NODE_FUNCTIONS: dict[str, Callable[[NodeRun, Inputs], NodeResult]] = {
    "CheckpointLoaderSimple": _checkpoint,
    "LoraLoader": _lora,
    "LoraLoaderModelOnly": _lora,
    "VAELoader": _single_file("vae", "vae_name"),
    "UNETLoader": _single_file("diffusion_models", "unet_name"),
    "CLIPLoader": _single_file("text_encoders", "clip_name"),
    "DualCLIPLoader": _single_file("text_encoders", "clip_name1"),
    "CLIPTextEncode": _passes("text"),
    "CLIPTextEncodeSDXL": _encode_sdxl,
    "CLIPSetLastLayer": _passes("clip"),
    "ConditioningCombine": _join("conditioning_1", "conditioning_2"),
    "ConditioningConcat": _join("conditioning_to", "conditioning_from"),
    "ConditioningZeroOut": lambda run, inputs: NodeResult(("",)),
    "FluxGuidance": _passes("conditioning"),
    "PrimitiveString": _passes("value"),
    "PrimitiveStringMultiline": _passes("value"),
    "PrimitiveInt": _passes("value"),
    "PrimitiveFloat": _passes("value"),
    "EmptyLatentImage": _empty_latent,
    "EmptySD3LatentImage": _empty_latent,
    "KSampler": _ksampler,
    "KSamplerAdvanced": _ksampler,
    "RandomNoise": _passes("noise_seed"),
    "KSamplerSelect": _passes("sampler_name"),
    "BasicScheduler": lambda run, inputs: NodeResult(((inputs["scheduler"], inputs["steps"], inputs["denoise"]),)),
    "BasicGuider": _guider,
    "CFGGuider": _guider,
    "SamplerCustomAdvanced": _custom_sample,
    "VAEDecode": _decode,
    "VAEEncode": _encode,
    "EmptyImage": _empty_image,
    "LoadImage": _load_image,
    "ImageScale": _scale,
    "SaveImage": _save("output"),
    "PreviewImage": _save("temp"),
}
