"""The node classes that save or show pictures, and the file formats in which they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.stand_in import saver_formats as formats
from tools.stand_in.node_class import Run
from tools.stand_in.node_values import DrawnPicture, Film, Inputs, NodeResult, NodeRun

Choose = Callable[[Inputs], tuple[str, formats.Encode]]
"""From a saver's inputs to the ending of its files and what encodes them."""


def saves(choose: Choose, folder: str = "output") -> Run:
    """Writes each picture into a file of its own, with prompt and workflow in it, and puts the pictures out."""

    def save(run: NodeRun, inputs: Inputs) -> NodeResult:
        run.check_disk()
        pictures: tuple[DrawnPicture, ...] = inputs["images"]
        ending, encode = choose(inputs)
        prefix = inputs.get("filename_prefix", "ComfyUI_temp_embedded")
        height, width = pictures[0].pixels.shape[:2]
        files = [encode(picture.pixels, _texts(run, picture)) for picture in pictures]
        saved = run.store.save(files, prefix, ending, (width, height), folder)
        return NodeResult((pictures,), {"images": saved}, _passes(pictures))

    return save


def _texts(run: NodeRun, picture: DrawnPicture) -> dict[str, str]:
    values = {"prompt": run.graph, **(run.extra_data.get("extra_pnginfo") or {})}
    if picture.passes:
        values["sampled"] = [scene.record() for scene in picture.passes]
    return {**formats.texts_of(values), "rendered_by": run.store.notice}


def _passes(pictures: tuple[DrawnPicture, ...]) -> list[list[dict[str, Any]]]:
    return [[scene.record() for scene in picture.passes] for picture in pictures]


FILE_FORMATS: dict[str, tuple[str, formats.Encode]] = {
    "png": ("png", formats.png),
    "jpg": ("jpg", formats.with_pillow("JPEG", quality=95)),
    "jpeg": ("jpeg", formats.with_pillow("JPEG", quality=95)),
    "webp": ("webp", formats.with_pillow("WEBP", quality=90)),
    "gif": ("gif", formats.with_pillow("GIF")),
    "tiff": ("tiff", formats.with_pillow("TIFF", compression="tiff_deflate")),
    "bmp": ("bmp", formats.with_pillow("BMP")),
    "avif": ("avif", formats.with_pillow("AVIF", speed=9)),
    "jxl": ("jxl", formats.unreadable(formats.JXL_BOX)),
    "exr": ("exr", formats.unreadable(formats.EXR_MAGIC)),
}
"""By the word that a saver's `extension` or `format` has for it."""


def _as_png(inputs: Inputs) -> tuple[str, formats.Encode]:
    return FILE_FORMATS["png"]


def _advanced(inputs: Inputs) -> tuple[str, formats.Encode]:
    kind = inputs["format"]
    return ("png", formats.png_16bit) if kind == "png" and inputs["format.bit_depth"] == "16-bit" else FILE_FORMATS[kind]


def _save_webp(run: NodeRun, inputs: Inputs) -> NodeResult:
    run.check_disk()
    pictures: tuple[DrawnPicture, ...] = inputs["images"]
    height, width = pictures[0].pixels.shape[:2]
    data = formats.animated_webp(
        [picture.pixels for picture in pictures], _texts(run, pictures[0]), frames_per_second=inputs["fps"], lossless=inputs["lossless"],
        quality=inputs["quality"],
    )  # fmt: skip
    saved = run.store.save([data], inputs["filename_prefix"], "webp", (width, height))
    return NodeResult((pictures,), {"images": saved, "animated": [len(pictures) > 1]}, _passes(pictures[:1]))


def _save_film(run: NodeRun, inputs: Inputs) -> NodeResult:
    run.check_disk()
    film: Film = inputs["video"]
    height, width = film.pictures[0].pixels.shape[:2]
    data = formats.film([picture.pixels for picture in film.pictures], film.frames_per_second)
    saved = run.store.save([data], inputs["filename_prefix"], "mp4", (width, height))
    return NodeResult((film,), {"images": saved, "animated": [True]}, _passes(film.pictures[:1]))


def _send(run: NodeRun, inputs: Inputs) -> NodeResult:
    """Sends each picture over the WebSocket, and saves none."""
    pictures: tuple[DrawnPicture, ...] = inputs["images"]
    for number, picture in enumerate(pictures, 1):
        run.send_picture(formats.encode_png(picture.pixels), number, len(pictures))
    return NodeResult()


SAVER_FUNCTIONS: dict[str, Run] = {
    "SaveImage": saves(_as_png),
    "PreviewImage": saves(_as_png, "temp"),
    "SaveImageAdvanced": saves(_advanced),
    "SaveAnimatedWEBP": _save_webp,
    "SaveVideo": _save_film,
    "SaveImageWebsocket": _send,
}
