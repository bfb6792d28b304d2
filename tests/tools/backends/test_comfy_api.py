"""The client of Comfy API v2 on the official proxy, which stands before the embedded server."""

from __future__ import annotations

import io
import json
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from lifeos.errors import InputError, UnavailableError
from tests.tools.backends.api_proxy import Proxied
from tests.tools.backends.job_graphs import plain_graph, sampled_graph
from tools.backends.backend import BackendOptions, PromptEnd, RejectedPrompt, Tariff
from tools.backends.comfy_api import ComfyApi
from tools.backends.credentials import Credential


def options_for(proxied: Proxied, **more: object) -> BackendOptions:
    return BackendOptions(poll_seconds=0.05, outage_seconds=2, credential=Credential(file=proxied.token_file), **more)  # type: ignore[arg-type]


@pytest.fixture
def server(proxied: Proxied) -> Iterator[ComfyApi]:
    server = ComfyApi(proxied.url, options_for(proxied))
    server.connect()
    yield server
    server.close()


def new_id() -> str:
    return str(uuid.uuid4())


def end_of(server: ComfyApi, prompt_id: str) -> PromptEnd:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for end in server.wait(0.5):
            if end.prompt_id == prompt_id:
                return end
    raise AssertionError("no end")


def test_a_picture_is_made_followed_and_fetched(server: ComfyApi, proxied: Proxied) -> None:
    info = server.info()
    assert (info.url, info.version, info.device) == (proxied.url, "Comfy API v2", "a ComfyUI behind a proxy")
    prompt_id = new_id()
    handle = server.submit(prompt_id, plain_graph(color=0x102030))
    assert handle != prompt_id
    end = end_of(server, prompt_id)
    assert (end.kind, len(end.pictures), end.pictures[0].node) == ("done", 1, "2")
    picture = Image.open(io.BytesIO(server.download(end.pictures[0])))
    assert picture.convert("RGB").getpixel((0, 0)) == (0x10, 0x20, 0x30)
    assert json.loads(picture.info["prompt"])["1"]["inputs"]["color"] == 0x102030
    later = ComfyApi(proxied.url, options_for(proxied))  # after a crash only the handle of the picture is known
    assert len(later.download(end.pictures[0])) > 100
    later.close()


def test_a_node_from_the_cache_is_no_picture_from_the_cache(server: ComfyApi) -> None:
    """The proxy says `outputs_reused` as soon as one node came from the cache, such as the loader of every picture but the first."""
    ends = []
    for prefix in ("lifeos_test/first", "lifeos_test/second"):
        prompt_id, graph = new_id(), plain_graph(color=0x405060)
        graph["2"]["inputs"]["filename_prefix"] = prefix
        handle = server.submit(prompt_id, graph)
        ends.append(end_of(server, prompt_id))
    job, _ = server._api.job(handle)
    assert job is not None
    assert job.outputs_reused is True
    assert [end.kind for end in ends] == ["done", "done"]
    assert ends[0].pictures[0].filename != ends[1].pictures[0].filename
    assert len(server.download(ends[1].pictures[0])) > 100


def test_a_rejected_graph_names_its_node(server: ComfyApi) -> None:
    graph = sampled_graph(3)
    loader = next(node for node in graph.values() if node["class_type"] == "CheckpointLoaderSimple")
    loader["inputs"]["ckpt_name"] = "no_such.safetensors"
    with pytest.raises(RejectedPrompt, match=r"ckpt_name 'no_such\.safetensors' is not on the server") as caught:
        server.submit(new_id(), graph)
    assert caught.value.node.endswith("(CheckpointLoaderSimple)")
    assert server.wait(0.0) == []


def test_what_was_sent_before_a_crash_is_adopted(server: ComfyApi, proxied: Proxied) -> None:
    """Once by the server's name for it, once by ours in the metadata, where the answer never arrived."""
    prompt_id, graph = new_id(), plain_graph()
    handle = server.submit(prompt_id, graph)
    ran = proxied.comfyui.counters["accepted"]
    for known in (handle, None):
        again = ComfyApi(proxied.url, options_for(proxied))
        again.connect()
        assert again.submit(prompt_id, graph, ask_first=True, handle=known) == handle
        assert end_of(again, prompt_id).kind == "done"
        again.close()
    assert proxied.comfyui.counters["accepted"] == ran


def test_an_answer_that_the_proxy_lost_is_said(server: ComfyApi, proxied: Proxied) -> None:
    """It records a job only when ComfyUI has answered: what became of this one can be asked of nobody."""
    proxied.comfyui.faults.lose_prompt_replies = 1
    notes: list[str] = []
    server.on_note = notes.append
    ran, prompt_id = proxied.comfyui.counters["accepted"], new_id()
    server.submit(prompt_id, plain_graph())
    assert end_of(server, prompt_id).kind == "done"
    assert proxied.comfyui.counters["accepted"] == ran + 2
    (note,) = notes
    assert "a picture may be made twice (answers POST /api/v2/jobs with status 503 (upstream_unreachable))" in note


@pytest.mark.parametrize("token", ["", "wrong-token"])
def test_a_token_that_is_missing_or_wrong_is_named_at_once(proxied: Proxied, tmp_path: Path, token: str) -> None:
    (tmp_path / "t").write_text(token, "utf-8")
    (tmp_path / "t").chmod(0o600)
    server = ComfyApi(proxied.url, BackendOptions(credential=Credential(file=tmp_path / "t") if token else None))
    with pytest.raises(UnavailableError) as caught:
        server.connect()
    said = "refuses our token: it is wrong, has expired, or lacks the right" if token else "wants a token"
    assert caught.value.why == f"{said} (status 401)"
    assert "wrong-token" not in str(caught.value)
    server.close()


def lora(seed: int) -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<ff", seed, 1)


def test_a_lora_is_uploaded_under_its_name(server: ComfyApi, proxied: Proxied, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(lora(1))
    assert server.offers.takes_models
    assert server.upload_model("loras", file) == "mine.safetensors"
    assert (proxied.models / "loras" / "mine.safetensors").read_bytes() == file.read_bytes()
    assert server.upload_model("loras", file) == "mine.safetensors"
    same = tmp_path / "same.safetensors"
    same.write_bytes(file.read_bytes())
    assert server.upload_model("loras", same) == "mine.safetensors"
    file.write_bytes(lora(2))
    with pytest.raises(InputError, match=r"has a file at loras/mine\.safetensors already"):
        server.upload_model("loras", file)
    file.write_bytes(b"no model")
    with pytest.raises(InputError, match=r"takes no model files: Model uploads must be valid safetensors"):
        server.upload_model("loras", file)


def test_what_it_costs_and_holds(proxied: Proxied) -> None:
    plain = ComfyApi(proxied.url, options_for(proxied))
    told = ComfyApi(proxied.url, options_for(proxied, tariff=Tariff(usd_per_credit=0.01), most_at_once=2))
    assert (plain.tariff(0.5), plain.depth(4)) == (Tariff(usd_per_hour=0.5), 5)
    assert (told.tariff(0.5), told.depth(4)) == (Tariff(usd_per_credit=0.01), 2)
    plain.close()
    told.close()
