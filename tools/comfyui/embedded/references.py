"""Reference portraits of the embedded server's person, for the demo and for tests."""

from __future__ import annotations

from pathlib import Path

from lifeos import files
from tools.comfyui.embedded.picture_store import encode_png
from tools.comfyui.embedded.renderer import render
from tools.comfyui.embedded.scene import Scene


def write_references(folder: Path, count: int) -> list[Path]:
    """Write `count` portraits as `reference_01.png` … and return their paths."""
    paths = []
    for index in range(count):
        scene = Scene("reference portrait", "", index, 0, 28, 5.0, "dpmpp_2m", "karras", 832, 1216)
        path = folder / f"reference_{index + 1:02}.png"
        files.write_bytes(path, encode_png(render(scene)))
        paths.append(path)
    return paths
