"""Run every family's built-in workflow on a real ComfyUI that holds narrow models (`benchmarks/narrow_models.py`), and say what came of it.

The graphs are those that the commands send, with a LoRA, at a small size and few steps. In the families of `CONDITIONING` the server's test
node `NarrowConditioning` stands for the text encoders, and a LoRA changes the model alone. Prints a row for each family: how long it took,
what the picture is like, and how it differs without the LoRA (where it does not, the LoRA had no effect).

    python benchmarks/families_on_comfyui.py --comfy-url http://127.0.0.1:8188 --family flux --family z-image

Exit codes: 0 every family made a picture · 1 one did not · 2 usage · 3 the server is unavailable.
"""

from __future__ import annotations

import io
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from PIL import Image

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK, LifeosError
from tools.backends.comfyui import ComfyServer
from tools.families.families import FAMILIES, Family, family_ids, find_family
from tools.workflows.workflow import Settings, Workflow

NODE = "NarrowConditioning"
CONDITIONING: Mapping[str, tuple[int, int]] = {
    "sd35": (4096, 2048), "sd35-medium": (4096, 2048), "flux": (4096, 768), "chroma": (4096, 0), "flux2": (15360, 0),
    "flux2-klein": (7680, 0), "flux2-klein-9b": (12288, 0), "qwen-image": (3584, 0), "qwen-image-2512": (3584, 0), "z-image": (2560, 0),
    "z-image-turbo": (2560, 0), "wan22": (4096, 0),
}  # fmt: skip
"""Width of a token, and of what is pooled, that the model reads."""

ONE_LORA = {"qwen-image-2512": "qwen-image", "z-image-turbo": "z-image"}
STEPS, WIDTH, HEIGHT = 2, 64, 96
PATIENCE_SECONDS = 900.0

Graph = dict[str, dict[str, Any]]


def graph_of(family: Family, *, with_lora: bool) -> Graph:
    """The graph that a command would send, with the test node in the place of text encoders that are not there."""
    names = {name: family.settings[name] for name in ("cfg", "guidance", "sampler", "scheduler") if name in family.settings}
    lora = f"narrow_{ONE_LORA.get(family.id, family.id)}.safetensors" if with_lora else None
    settings = Settings(
        **names, steps=STEPS, width=WIDTH, height=HEIGHT, positive="a portrait", negative=family.settings.get("negative_prompt"), seed=5,
        lora=lora, lora_strength=1.0 if with_lora else None, filename_prefix=f"lifeos_families/{family.id}",
    )  # fmt: skip
    graph = Workflow.built_in(family).place(settings)
    if family.id in CONDITIONING:
        _without_text_encoder(graph, *CONDITIONING[family.id])
    return graph


def _without_text_encoder(graph: Graph, width: int, pooled: int) -> None:
    for node_id in [
        node_id for node_id, node in graph.items() if "CLIPLoader" in node["class_type"] or node["class_type"] == "T5TokenizerOptions"
    ]:
        del graph[node_id]
    for node in graph.values():
        if node["class_type"] == "CLIPTextEncode":
            node.update(class_type=NODE, inputs={"text": node["inputs"]["text"], "width": width, "pooled": pooled})
        elif node["class_type"] == "LoraLoader":
            kept = {name: node["inputs"][name] for name in ("lora_name", "strength_model", "model")}
            node.update(class_type="LoraLoaderModelOnly", inputs=kept)


def make_picture(server: ComfyServer, graph: Graph) -> tuple[np.ndarray[Any, Any], float]:
    """The picture of a graph, and how many seconds it took. Raises LifeosError for a graph that failed."""
    begun = time.monotonic()
    server.submit(str(uuid.uuid4()), graph)
    while not (ends := server.wait(5.0)):
        if time.monotonic() - begun > PATIENCE_SECONDS:
            raise LifeosError(server.url, f"made no picture in {PATIENCE_SECONDS:g} s")
    (end,) = ends
    if end.kind != "done" or not end.pictures:
        raise LifeosError(server.url, f"{end.kind}: {end.message} (node {end.node})")
    with Image.open(io.BytesIO(server.download(end.pictures[0]))) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.float64), time.monotonic() - begun


def try_family(server: ComfyServer, family: Family) -> str:
    """A row of the table."""
    with_lora, seconds = make_picture(server, graph_of(family, with_lora=True))
    without, _ = make_picture(server, graph_of(family, with_lora=False))
    size = f"{with_lora.shape[1]} x {with_lora.shape[0]}"
    changed = np.abs(with_lora - without).mean()
    return f"{size}, spread of values {with_lora.std():.1f}, the LoRA changes {changed:.2f} of 255 on average, {seconds:.0f} s"


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--comfy-url", required=True, metavar="URL", help="a real ComfyUI")
    parser.add_argument("--family", action="append", choices=family_ids(), help="a family (repeatable; default: all)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    failed = 0
    with ComfyServer(args.comfy_url) as server:
        cli.say(f"ComfyUI {server.connect().version}")
        for family in [find_family(each) for each in args.family] if args.family else FAMILIES:
            try:
                told = try_family(server, family)
            except LifeosError as error:
                failed += 1
                told = f"failed: {error}"
            cli.say(f"{family.id}: {told}")
    return EXIT_GATE if failed else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
