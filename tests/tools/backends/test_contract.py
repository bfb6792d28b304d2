"""What the client relies on, on the embedded server (every version that it speaks) and, with COMFYUI_URL, on a real one.

    COMFYUI_URL=http://127.0.0.1:8188 python -m pytest tests/tools/backends/test_contract.py

COMFYUI_PATIENCE is how many seconds a real one may take for a picture of 20 steps (120).
Only graphs without a model are sent, except where a checkpoint of the server is needed for something slow enough to stop.
"""

from __future__ import annotations

import io
import json
import os
import random
import time
import uuid
from collections.abc import Iterator

import pytest
import requests
from PIL import Image

from lifeos.errors import InputError
from tests.tools.backends.job_graphs import plain_graph
from tools.backends.backend import PromptEnd, RejectedPrompt
from tools.backends.comfyui import ComfyServer
from tools.stand_in import start_embedded_server
from tools.stand_in.dialects import DIALECTS
from tools.workflows.server_fit import check_models
from tools.workflows.workflow import Settings, Workflow

REAL_URL = os.environ.get("COMFYUI_URL")
STEPS = 20
PATIENCE = float(os.environ.get("COMFYUI_PATIENCE", "120")) if REAL_URL else 20

Graph = dict[str, dict[str, object]]


@pytest.fixture(scope="module", params=["real"] if REAL_URL else [*DIALECTS])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if REAL_URL:
        yield REAL_URL
        return
    with start_embedded_server(seconds_per_picture=0.6, version=request.param) as server:
        yield server.url


@pytest.fixture
def server(url: str) -> Iterator[ComfyServer]:
    with ComfyServer(url) as server:
        server.connect()
        yield server


def slow_graph(server: ComfyServer, *, sampling: bool = False) -> Graph:
    """Takes long enough to be stopped: a sampling or, on a server without a checkpoint, a chain of scalings."""
    checkpoints = [name for name in server.models("checkpoints") if "broken" not in name]
    if not checkpoints and sampling:
        pytest.skip("this server has no checkpoint to sample with")
    if not checkpoints:
        return scaling_graph()
    seed = random.SystemRandom().randrange(1 << 32)
    settings = Settings(
        positive="a test", seed=seed, steps=STEPS, width=64, height=64, checkpoint=checkpoints[0], filename_prefix="lifeos_test/slow"
    )
    return Workflow.built_in().place(settings)


def scaling_graph() -> Graph:
    graph = plain_graph(width=2048, height=2048)
    for step in range(20):
        source = ["1", 0] if step == 0 else [f"{99 + step}", 0]
        side = 2040 if step % 2 == 0 else 2048
        inputs = {"image": source, "upscale_method": "lanczos", "width": side, "height": side, "crop": "disabled"}
        graph[f"{100 + step}"] = {"class_type": "ImageScale", "inputs": inputs}
    graph["2"]["inputs"]["images"] = ["119", 0]  # type: ignore[index]
    return graph


def new_id() -> str:
    return str(uuid.uuid4())


def wait_for(server: ComfyServer, count: int) -> dict[str, PromptEnd]:
    found: dict[str, PromptEnd] = {}
    until = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < until, f"only {found} after {PATIENCE} s"
        found |= {outcome.prompt_id: outcome for outcome in server.wait(1.0)}
    return found


def wait_until_running(server: ComfyServer, prompt_id: str) -> None:
    until = time.monotonic() + PATIENCE
    while prompt_id not in server.workload().running:
        assert time.monotonic() < until
        server.wait(0.01)


def wait_for_socket(server: ComfyServer) -> None:
    until = time.monotonic() + PATIENCE
    while server._stream is None or not server._stream.connected:
        assert time.monotonic() < until, "no WebSocket"
        time.sleep(0.01)


def test_server_names_its_version(server: ComfyServer) -> None:
    info = server.info()
    assert info.url == server.url
    assert info.version[0].isdigit()


def test_models_and_nodes(server: ComfyServer) -> None:
    assert server.models("no_such_folder") == []
    assert "loras" in server.model_folders()
    sampler = server.node("KSampler")
    assert sampler is not None
    assert sampler.outputs == ("LATENT",)
    assert server.node("NoSuchNode") is None
    assert {"KSampler", "SaveImage"} <= set(server.node_classes())


def test_picture_arrives_whole_with_its_text_chunks(server: ComfyServer) -> None:
    prompt_id, graph = new_id(), plain_graph(color=0x102030)
    graph["2"]["inputs"]["filename_prefix"] = f"lifeos_test/{prompt_id[:8]}"  # type: ignore[index]
    server.submit(prompt_id, graph)
    outcome = wait_for(server, 1)[prompt_id]
    assert (outcome.kind, len(outcome.pictures), outcome.pictures[0].node) == ("done", 1, "2")
    image = Image.open(io.BytesIO(server.download(outcome.pictures[0])))
    assert image.size == (64, 64)
    assert image.convert("RGB").getpixel((0, 0)) == (0x10, 0x20, 0x30)
    assert json.loads(image.info["prompt"])["1"]["inputs"]["color"] == 0x102030


def png(colour: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_uploaded_picture_is_what_a_graph_loads(server: ComfyServer) -> None:
    graph = plain_graph()
    for colour in ((10, 20, 30), (200, 100, 50)):
        prompt_id = new_id()
        name = f"lifeos test {colour[0]}.png"
        told = [server.upload_picture(name, png(colour)) for _ in range(2)][-1]
        assert told == name
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": told}}
        server.submit(prompt_id, graph)
        outcome = wait_for(server, 1)[prompt_id]
        assert outcome.kind == "done", outcome
        image = Image.open(io.BytesIO(server.download(outcome.pictures[0])))
        assert (image.size, image.convert("RGB").getpixel((5, 5))) == ((64, 64), colour)
    assert server.offers.takes_pictures


def test_every_picture_of_a_batch_is_named(server: ComfyServer) -> None:
    prompt_id = new_id()
    server.submit(prompt_id, plain_graph(batch_size=3))
    images = wait_for(server, 1)[prompt_id].pictures
    assert len({image.filename for image in images}) == 3


def test_queued_prompts_all_end(server: ComfyServer) -> None:
    prompt_ids = [new_id() for _ in range(5)]
    for prompt_id in prompt_ids:
        server.submit(prompt_id, plain_graph())
    assert {outcome.kind for outcome in wait_for(server, 5).values()} == {"done"}


def test_identical_prompt_names_the_old_file(server: ComfyServer) -> None:
    graph, first, second = plain_graph(), new_id(), new_id()
    server.submit(first, graph)
    before = wait_for(server, 1)[first]
    server.submit(second, graph)
    after = wait_for(server, 1)[second]
    assert (after.kind, after.pictures) == ("done", before.pictures)


@pytest.mark.parametrize(
    ("node_id", "class_type", "words"),
    [
        pytest.param("1", "NoSuchNode", "NoSuchNode", id="unknown node class"),
        pytest.param("2", "EmptyImage", "no outputs", id="nothing is saved"),
    ],
)
def test_rejected_graph(server: ComfyServer, node_id: str, class_type: str, words: str) -> None:
    graph = plain_graph()
    graph[node_id] = {"class_type": class_type, "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 1}}
    with pytest.raises(RejectedPrompt, match=words):
        server.submit(new_id(), graph)
    assert server.wait(0.0) == []


def test_rejected_model_is_named_with_its_node(server: ComfyServer) -> None:
    graph = Workflow.built_in().place(Settings(checkpoint="no_such_model.safetensors"))
    with pytest.raises(RejectedPrompt) as caught:
        server.submit(new_id(), graph)
    assert caught.value.node == "1 (CheckpointLoaderSimple)"
    assert "no_such_model.safetensors" in caught.value.message
    with pytest.raises(InputError, match=r"ckpt_name 'no_such_model\.safetensors' of node 1"):
        check_models(server, graph)


def test_dropped_output_is_a_rejection(server: ComfyServer) -> None:
    """The server answers 200, runs the one good output, and would leave out the other without a word."""
    graph = plain_graph()
    graph["5"] = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    graph["20"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "lifeos_test/bad", "images": ["5", 0]}}
    with pytest.raises(RejectedPrompt, match="node 20"):
        server.submit(new_id(), graph)


def test_progress_is_told(server: ComfyServer) -> None:
    wait_for_socket(server)  # it alone tells of progress
    prompt_id = new_id()
    server.submit(prompt_id, slow_graph(server, sampling=True))
    seen: set[tuple[int, int]] = set()
    until = time.monotonic() + PATIENCE
    while not server.wait(0.02):
        assert time.monotonic() < until
        seen |= set(server.progress.values())
    assert {wanted for _, wanted in seen} == {STEPS}
    assert server.progress == {}


def test_prompt_deleted_by_someone_is_lost(server: ComfyServer) -> None:
    first, second = new_id(), new_id()
    server.submit(first, slow_graph(server))
    server.submit(second, plain_graph())
    requests.post(f"{server.url}/queue", json={"delete": [second]}, timeout=10).raise_for_status()
    outcomes = wait_for(server, 2)
    assert (outcomes[first].kind, outcomes[second].kind) == ("done", "lost")


def test_interrupted_prompt_says_so(server: ComfyServer) -> None:
    prompt_id = new_id()
    server.submit(prompt_id, slow_graph(server))
    wait_until_running(server, prompt_id)
    requests.post(f"{server.url}/interrupt", json={"prompt_id": prompt_id}, timeout=10).raise_for_status()
    outcome = wait_for(server, 1)[prompt_id]
    assert (outcome.kind, outcome.can_heal) == ("interrupted", True)


def test_cancel_stops_ours_and_spares_others(server: ComfyServer, url: str) -> None:
    mine = [new_id() for _ in range(3)]
    theirs = new_id()
    with ComfyServer(url) as other:
        other.connect()
        server.submit(mine[0], slow_graph(server))
        other.submit(theirs, plain_graph())
        for prompt_id in mine[1:]:
            server.submit(prompt_id, plain_graph())
        wait_until_running(server, mine[0])
        server.cancel(mine)
        assert wait_for(other, 1)[theirs].kind == "done"
    assert server.wait(0.0) == []
    there = server.workload()
    assert not {*there.running, *there.waiting} & set(mine)


def test_cancel_of_a_waiting_prompt_does_not_stop_the_running_one(server: ComfyServer) -> None:
    running, waiting = new_id(), new_id()
    server.submit(running, slow_graph(server))
    server.submit(waiting, plain_graph())
    wait_until_running(server, running)
    server.cancel([waiting])
    assert wait_for(server, 1)[running].kind == "done"


@pytest.mark.parametrize("ended", [False, True], ids=["still queued", "ended already"])
def test_resumed_prompt_is_followed_not_run_again(server: ComfyServer, url: str, ended: bool) -> None:
    prompt_id, graph = new_id(), plain_graph()
    with ComfyServer(url) as before_the_crash:
        before_the_crash.connect()
        if not ended:
            before_the_crash.submit(new_id(), slow_graph(server))
        before_the_crash.submit(prompt_id, graph)
        if ended:
            wait_for(before_the_crash, 1)
    number = _number_of(url, prompt_id)
    server.submit(prompt_id, graph, ask_first=True)
    assert wait_for(server, 1)[prompt_id].kind == "done"
    assert _number_of(url, prompt_id) == number  # the same id posted twice would run, and be numbered, twice


def _number_of(url: str, prompt_id: str) -> int:
    history = requests.get(f"{url.rstrip('/')}/history/{prompt_id}", timeout=10).json()
    if prompt_id in history:
        return int(history[prompt_id]["prompt"][0])
    queued = requests.get(f"{url.rstrip('/')}/queue", timeout=10).json()
    return next(int(item[0]) for item in queued["queue_running"] + queued["queue_pending"] if item[1] == prompt_id)


def test_unknown_prompt_is_posted_when_resumed(server: ComfyServer) -> None:
    prompt_id = new_id()
    server.submit(prompt_id, plain_graph(), ask_first=True)
    assert wait_for(server, 1)[prompt_id].kind == "done"


def test_memory_can_be_freed(server: ComfyServer) -> None:
    server.free_memory()
    prompt_id = new_id()
    server.submit(prompt_id, plain_graph())
    assert wait_for(server, 1)[prompt_id].kind == "done"
