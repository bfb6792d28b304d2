"""Every family's built-in workflow, on the embedded server and, with COMFYUI_URL, on a real one.

    COMFYUI_URL=http://127.0.0.1:8188 python -m pytest tests/tools/families/test_family_contract.py

A real server needs files with the names of the table in its model folders; empty ones will do: before a prompt is queued it checks node
classes, the types of links and the names of files, and the prompt is taken back at once. What comes out with narrow weights is shown by
`benchmarks/narrow_models.py`.
"""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Iterator

import pytest
from PIL import Image

from lifeos.errors import InputError
from tools.backends.comfyui import ComfyServer
from tools.families.families import FAMILIES, Family
from tools.production.model_choice import choose_files
from tools.stand_in import start_embedded_server
from tools.workflows.server_fit import check_models
from tools.workflows.workflow import Settings, Workflow

REAL_URL = os.environ.get("COMFYUI_URL")
LORA = "amiranoor_v3.safetensors"
PATIENCE_SECONDS = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyServer]:
    if REAL_URL:
        with ComfyServer(REAL_URL) as real:
            real.connect()
            yield real
        return
    with start_embedded_server() as embedded, ComfyServer(embedded.url) as client:
        client.connect()
        yield client


@pytest.mark.parametrize("family", FAMILIES, ids=lambda row: row.id)
def test_a_server_takes_the_workflow(server: ComfyServer, family: Family) -> None:
    lora = LORA if LORA in server.models("loras") else None
    try:
        files = choose_files(family, {}, server)
    except InputError as error:
        assert REAL_URL, error
        pytest.skip("this server lacks files of the family")
    names = {name: value for name, value in family.settings.items() if name not in ("negative_prompt", "lora_strength", "width", "height")}
    settings = Settings(
        **names, width=64, height=96, lora=lora, lora_strength=1.0 if lora else None, negative=family.settings.get("negative_prompt"),
        positive="amiranoor, portrait", seed=5, filename_prefix=f"lifeos_test/{family.id}",
    )  # fmt: skip
    graph = Workflow.built_in(family, files=files).place(settings)
    if REAL_URL and any(server.node(node["class_type"]) is None for node in graph.values()):
        pytest.skip("this server lacks nodes of the family")
    check_models(server, graph)
    prompt_id = server.submit(str(uuid.uuid4()), graph)
    if REAL_URL:
        server.cancel([prompt_id])
        return
    (end,) = ends = server.wait(PATIENCE_SECONDS)
    assert [(each.prompt_id, each.kind) for each in ends] == [(prompt_id, "done")], ends
    with Image.open(io.BytesIO(server.download(end.pictures[0]))) as picture:
        assert picture.size == (64, 96)
        told = json.loads(picture.info["sampled"])
    assert {use["file"] for each in told for use in each["loras"]} == {LORA}
    assert {each["model"] for each in told} == {files[each.name] for each in family.models}
