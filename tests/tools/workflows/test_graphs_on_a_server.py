"""The same real graphs, placed by the signatures of a running server and sampled by it: what reached the sampler is what was asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from lifeos.files import read_json
from tests.allowed_skips import NO_CASES
from tests.tools.stand_in.embedded_graphs import models_of, queue, wait_for
from tests.tools.workflows.real_graphs import EXPECTED, FILES
from tools.backends.comfyui import ComfyServer
from tools.stand_in import start_embedded_server
from tools.stand_in.server import EmbeddedServer
from tools.workflows.server_fit import check_models
from tools.workflows.signatures import signatures_of
from tools.workflows.workflow import NodeOverrides, Settings, Workflow

pytestmark = pytest.mark.skipif("LIFEOS_TEST_CASES" not in os.environ, reason=NO_CASES)

LORA = "amiranoor_v3.safetensors"
ASKED: dict[str, Any] = {
    "positive": "THE NEW PROMPT", "negative": "THE NEW NEGATIVE", "seed": 777, "steps": 8, "cfg": 5.5, "guidance": 2.5, "sampler": "heun",
    "scheduler": "exponential", "width": 128, "height": 192, "lora": LORA, "lora_strength": 0.7,
}  # fmt: skip
BY_HAND = {
    "13_prompt_by_concatenate": NodeOverrides(positive_node="8", positive_key="string_b"),
    "40_conditioning_concat_quality_text": NodeOverrides(positive_node="2"),
}
SOCKET_ONLY = ("20_save_websocket",)
"""Its pictures are sent, and leave no record."""
RUNNABLE = [path for path in FILES if path.stem in EXPECTED and path.stem not in SOCKET_ONLY]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    models: dict[str, list[str]] = {"loras": [LORA]}
    for path in RUNNABLE:
        for folder, names in models_of(read_json(path)).items():
            models[folder] = list(dict.fromkeys([*models.get(folder, []), *names]))
    with start_embedded_server(models=models) as started:
        yield started


def upload(server: EmbeddedServer, graph: dict[str, Any]) -> None:
    for node in graph.values():
        if node["class_type"] == "LoadImage":
            buffer = io.BytesIO()
            Image.new("RGB", (64, 64), (90, 80, 70)).save(buffer, "PNG")
            files = {"image": (node["inputs"]["image"], buffer.getvalue())}
            requests.post(f"{server.url}/upload/image", files=files, timeout=10).raise_for_status()


@pytest.mark.parametrize("path", RUNNABLE or [Path("absent.json")], ids=lambda path: path.stem)
def test_what_reached_the_sampler(path: Path, server: EmbeddedServer) -> None:
    expected = EXPECTED[path.stem]
    overrides = BY_HAND.get(path.stem)
    placed_ones = {name for name in ASKED if not expected.get(name, "").startswith("-") or (name == "positive" and overrides)}
    settings = {name: ASKED[name] for name in placed_ones} | {"filename_prefix": path.stem}
    with ComfyServer(server.url) as client:
        workflow = Workflow.load(path, overrides, signatures=signatures_of([client]))
        placed = workflow.fill(Settings(**settings))
        check_models(client, placed.graph)
    upload(server, placed.graph)
    entry = wait_for(server, queue(server, placed.graph))
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    told = {node: output["sampled"] for node, output in entry["meta"].items() if "sampled" in output}
    saved = [node for node in told if entry["outputs"][node]["images"][0]["type"] == "output"] or list(told)
    pictures = [picture for node in saved for picture in told[node]]
    assert len(pictures) == 1, "one picture a prompt"
    passes = [one for one in pictures[0] if one["positive"]]  # not those of a depth model
    first = passes[0]
    assert all(settings["positive"] in one["positive"] for one in passes)
    if "negative" in settings:
        assert settings["negative"] in first["negative"]
    assert {one["seed"] for one in passes} == {777}
    for name in {"steps", "cfg", "sampler", "scheduler", "width", "height", "guidance"} & set(settings):
        assert first[name] == settings[name], name
    used = [(each["file"], each["strength"]) for each in first["loras"]]
    assert used.count((LORA, 1.0 if expected["lora"] == "=" and "lora_strength" not in settings else 0.7)) == 1
    if first.get("schedule_size"):
        assert tuple(first["schedule_size"]) == (128, 192)
    if "/" in expected["lora"]:
        assert (LORA, 0.7) in [(each["file"], each["strength"]) for each in first["clip_loras"]]
