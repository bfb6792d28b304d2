"""Graphs, and a plain client of requests and websocket, for the tests of the embedded server."""

from __future__ import annotations

import copy
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import requests
import websocket

from tests.tools.workflows.built_graphs import node
from tools.stand_in.node_class import FileChoice
from tools.stand_in.node_classes import NODE_CLASSES

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

PATIENCE_SECONDS = 30.0

CHECKPOINT, LORA, STYLE, TURBO = "base.safetensors", "person.safetensors", "style.safetensors", "turbo.safetensors"
MODELS = {
    "checkpoints": [CHECKPOINT], "loras": [LORA, STYLE, TURBO], "diffusion_models": ["unet.safetensors"],
    "text_encoders": ["clip.safetensors"], "vae": ["vae.safetensors"], "unet_gguf": ["q4.gguf"],
}  # fmt: skip

Graph = dict[str, dict[str, Any]]


def flat_graph(color: int = 1, prefix: str = "test/flat", **inputs: Any) -> Graph:
    """EmptyImage to SaveImage: no model, a millisecond."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": color, **inputs}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix, "images": ["1", 0]}},
    }


def portrait_graph(
    seed: int = 1,
    *,
    steps: int = 4,
    width: int = 64,
    height: int = 96,
    lora: str = "amiranoor_v3.safetensors",
    strength: float = 0.8,
    text: str = "amiranoor, portrait",
) -> Graph:
    """Checkpoint, LoRA, prompts, sampler, decoder, SaveImage: nodes numbered as in ComfyUI's default workflow."""
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "embedded_demo_sdxl.safetensors"}},
        "10": {
            "class_type": "LoraLoader",
            "inputs": {"lora_name": lora, "strength_model": strength, "strength_clip": strength, "model": ["4", 0], "clip": ["4", 1]},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["10", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "plastic skin", "clip": ["10", 1]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": height, "batch_size": 1}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed, "steps": steps, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
                "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "test/portrait", "images": ["8", 0]}},
    }  # fmt: skip


def post(server: EmbeddedServer, graph: Any, **more: Any) -> requests.Response:
    return requests.post(f"{server.url}/prompt", json={"prompt": graph, **more}, timeout=PATIENCE_SECONDS)


def get(server: EmbeddedServer, path: str, **params: str) -> requests.Response:
    return requests.get(server.url + path, params=params, timeout=PATIENCE_SECONDS)


def queue(server: EmbeddedServer, graph: Graph, **more: Any) -> str:
    """Queue a prompt and return its id."""
    response = post(server, graph, **more)
    assert response.status_code == 200, response.text
    return str(response.json()["prompt_id"])


def wait_for(server: EmbeddedServer, prompt_id: str) -> dict[str, Any]:
    """The history entry of a prompt, when it has one."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            found = get(server, f"/history/{prompt_id}").json()
        except (requests.ConnectionError, requests.JSONDecodeError):
            found = {}
        if prompt_id in found:
            return dict(found[prompt_id])
        time.sleep(0.01)
    raise AssertionError(f"{prompt_id} has no history after {PATIENCE_SECONDS} s")


def wait_until_running(server: EmbeddedServer, prompt_id: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while prompt_id not in [item[1] for item in get(server, "/queue").json()["queue_running"]]:
        assert time.monotonic() < until
        time.sleep(0.01)


def images_of(entry: dict[str, Any], node: str) -> list[str]:
    return [image["filename"] for image in entry["outputs"][node]["images"]]


def connect(server: EmbeddedServer, client_id: str | None = None) -> websocket.WebSocket:
    """A WebSocket whose first message, the status, is still to be read."""
    query = f"?clientId={client_id}" if client_id else ""
    return websocket.create_connection(f"{server.url.replace('http', 'ws')}/ws{query}", timeout=PATIENCE_SECONDS)


def read_until_idle(socket: websocket.WebSocket, prompt_id: str) -> list[dict[str, Any] | bytes]:
    """Every message up to and with the one that says that nothing of the prompt runs any more."""
    messages: list[dict[str, Any] | bytes] = []
    while True:
        message = socket.recv()
        if isinstance(message, bytes):
            messages.append(message)
            continue
        messages.append(json.loads(message))
        if json.loads(message) == {"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}:
            return messages


def new_id() -> str:
    return str(uuid.uuid4())


def models_of(graph: Graph) -> dict[str, list[str]]:
    """The model files that a graph names, by folder: a server that has them can run it."""
    found: dict[str, list[str]] = {}
    for each in graph.values():
        known = NODE_CLASSES.get(each["class_type"])
        if known is None:
            continue
        for name, spec in {**known.required, **known.optional}.items():
            value = each["inputs"].get(name)
            if isinstance(spec.kind, FileChoice) and isinstance(value, str) and value not in spec.kind.words:
                found.setdefault(spec.kind.folder, []).append(value)
        rows = [value["lora"] for value in each["inputs"].values() if isinstance(value, dict) and "lora" in value]
        found.setdefault("loras", []).extend(rows)
    return found


def base_graph(**nodes: dict[str, Any]) -> Graph:
    """Checkpoint, two texts, latent, sampler, decoder, saver, each by a name; more nodes, or others in their place."""
    graph = {
        "loader": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "positive": node("CLIPTextEncode", text="wanted", clip=["loader", 1]),
        "negative": node("CLIPTextEncode", text="unwanted", clip=["loader", 1]),
        "latent": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "sampler": node(
            "KSampler", model=["loader", 0], seed=11, steps=3, cfg=4.0, sampler_name="euler", scheduler="normal", positive=["positive", 0],
            negative=["negative", 0], latent_image=["latent", 0], denoise=1.0,
        ),
        "decoder": node("VAEDecode", samples=["sampler", 0], vae=["loader", 2]),
        "saver": node("SaveImage", images=["decoder", 0], filename_prefix="graphs/g"),
    }  # fmt: skip
    return graph | copy.deepcopy(nodes)


def changed(graph: Graph, name: str, **inputs: Any) -> Graph:
    graph[name]["inputs"] |= inputs
    return graph


def run(server: EmbeddedServer, graph: Graph) -> dict[str, Any]:
    entry = wait_for(server, queue(server, graph))
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    return entry


def passes(server: EmbeddedServer, graph: Graph, saver: str = "saver") -> list[dict[str, Any]]:
    """The passes of samplers over the first picture that a node saved."""
    found: list[dict[str, Any]] = run(server, graph)["meta"][saver]["sampled"][0]
    return found
