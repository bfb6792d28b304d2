"""The node classes that change pictures and latents: encode, decode, resize, repeat, load."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tools.stand_in.by_type import LATENT_SCALE
from tools.stand_in.node_class import Run
from tools.stand_in.node_values import DrawnPicture, Film, Inputs, Latent, NodeResult, NodeRun
from tools.stand_in.picture_store import read_input_picture
from tools.stand_in.text_functions import pass_on

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KONTEXT_PIXELS = 1024 * 1024
"""FluxKontextImageScale brings a picture to about so many."""

GREY = 127


def resize(picture: DrawnPicture, width: int, height: int) -> DrawnPicture:
    import cv2
    import numpy as np

    smaller = width * height < picture.pixels.shape[0] * picture.pixels.shape[1]
    pixels = cv2.resize(picture.pixels, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return replace(picture, pixels=np.asarray(pixels, np.uint8))


def sides(old_width: int, old_height: int, width: int, height: int) -> tuple[int, int]:
    """The wanted size, where a side of 0 follows the other."""
    return (
        width or max(1, round(old_width * (height or old_height) / old_height)),
        height or max(1, round(old_height * (width or old_width) / old_width)),
    )


def _decode(run: NodeRun, inputs: Inputs) -> NodeResult:
    import numpy as np

    latent: Latent = inputs["samples"]
    grey = DrawnPicture(np.full((latent.height, latent.width, 3), GREY, np.uint8))
    pictures = latent.pictures if latent.pictures is not None else (grey,) * latent.batch
    return NodeResult((tuple(picture for picture in pictures for _ in range(latent.frames)),))


def _encode(run: NodeRun, inputs: Inputs) -> NodeResult:
    pictures: tuple[DrawnPicture, ...] = inputs["pixels"]
    height, width = (side // LATENT_SCALE * LATENT_SCALE for side in pictures[0].pixels.shape[:2])
    cut = tuple(replace(picture, pixels=picture.pixels[:height, :width]) for picture in pictures)
    return NodeResult((Latent(width, height, len(cut), cut),))


def _resize_latent(size: Callable[[Latent, Inputs], tuple[int, int]]) -> Run:
    def resize_latent(run: NodeRun, inputs: Inputs) -> NodeResult:
        latent: Latent = inputs["samples"]
        width, height = (max(LATENT_SCALE, side // LATENT_SCALE * LATENT_SCALE) for side in size(latent, inputs))
        pictures = latent.pictures and tuple(resize(picture, width, height) for picture in latent.pictures)
        return NodeResult((replace(latent, width=width, height=height, pictures=pictures),))

    return resize_latent


def _repeat_latent(run: NodeRun, inputs: Inputs) -> NodeResult:
    latent: Latent = inputs["samples"]
    amount = inputs["amount"]
    return NodeResult((replace(latent, batch=latent.batch * amount, pictures=latent.pictures and latent.pictures * amount),))


def _resize(size: Callable[[int, int, Inputs], tuple[int, int]]) -> Run:
    """Each picture at the size that (old width, old height, inputs) lead to."""

    def change(run: NodeRun, inputs: Inputs) -> NodeResult:
        old: tuple[DrawnPicture, ...] = inputs["image"]
        return NodeResult((tuple(resize(one, *size(one.pixels.shape[1], one.pixels.shape[0], inputs)) for one in old),))

    return change


def _with_pixels(width: int, height: int, pixels: float) -> tuple[int, int]:
    """The size with so many pixels, each side a multiple of eight."""
    scale = (pixels / (width * height)) ** 0.5
    return max(8, round(width * scale / 8) * 8), max(8, round(height * scale / 8) * 8)


def _upscale_by_model(width: int, height: int, inputs: Inputs) -> tuple[int, int]:
    """As large as the model's name says: `4x`, `x2`; four times where it says nothing."""
    found = re.search(r"(?:^|[^0-9])([1248])x|x([1248])(?![0-9])", inputs["upscale_model"].file.lower())
    factor = int(found[1] or found[2]) if found else 4
    return width * factor, height * factor


def _invert(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult((tuple(replace(picture, pixels=255 - picture.pixels) for picture in inputs["image"]),))


def _size(run: NodeRun, inputs: Inputs) -> NodeResult:
    height, width = inputs["image"][0].pixels.shape[:2]
    return NodeResult((width, height, len(inputs["image"])))


def _empty_image(run: NodeRun, inputs: Inputs) -> NodeResult:
    import numpy as np

    color = inputs["color"]
    rgb = np.array([color >> 16 & 255, color >> 8 & 255, color & 255], np.uint8)
    pixels: NDArray[np.uint8] = np.broadcast_to(rgb, (inputs["height"], inputs["width"], 3)).copy()
    return NodeResult(((DrawnPicture(pixels),) * inputs["batch_size"],))


def _load_image(run: NodeRun, inputs: Inputs) -> NodeResult:
    path = run.store.find(str(inputs["image"]), None, "input")
    if path is None:
        raise FileNotFoundError(f"no such picture in the input folder: {inputs['image']}")
    return NodeResult(((DrawnPicture(read_input_picture(path)),), None))


def _film(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult((Film(inputs["images"], float(inputs["fps"])),))


PICTURE_FUNCTIONS: dict[str, Run] = {
    "VAEDecode": _decode,
    "VAEDecodeTiled": _decode,
    "VAEEncode": _encode,
    "VAEEncodeTiled": _encode,
    "LatentUpscale": _resize_latent(lambda latent, inputs: sides(latent.width, latent.height, inputs["width"], inputs["height"])),
    "LatentUpscaleBy": _resize_latent(
        lambda latent, inputs: (round(latent.width * inputs["scale_by"]), round(latent.height * inputs["scale_by"]))
    ),
    "RepeatLatentBatch": _repeat_latent,
    "ImageScale": _resize(lambda width, height, inputs: sides(width, height, inputs["width"], inputs["height"])),
    "ImageScaleBy": _resize(lambda width, height, inputs: (round(width * inputs["scale_by"]), round(height * inputs["scale_by"]))),
    "ImageScaleToTotalPixels": _resize(lambda width, height, inputs: _with_pixels(width, height, inputs["megapixels"] * 1024 * 1024)),
    "FluxKontextImageScale": _resize(lambda width, height, inputs: _with_pixels(width, height, KONTEXT_PIXELS)),
    "ImageUpscaleWithModel": _resize(_upscale_by_model),
    "ImageInvert": _invert,
    "ImageSharpen": pass_on("image"),
    "ImageBlur": pass_on("image"),
    "GetImageSize": _size,
    "EmptyImage": _empty_image,
    "LoadImage": _load_image,
    "CreateVideo": _film,
}
