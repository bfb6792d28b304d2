"""The embedded server's queue, cache, interrupts and WebSocket messages, as recorded from ComfyUI."""

from __future__ import annotations

import io
import json
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import websocket
from PIL import Image

from tests.tools.stand_in.embedded_graphs import (
    connect,
    flat_graph,
    get,
    images_of,
    new_id,
    portrait_graph,
    post,
    queue,
    read_until_idle,
    wait_for,
    wait_until_running,
)
from tools.stand_in import start_embedded_server
from tools.stand_in.server import EmbeddedServer

Message = dict[str, Any] | bytes


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with start_embedded_server() as started:
        yield started


@pytest.fixture
def slow(embedded_server: Callable[..., EmbeddedServer]) -> EmbeddedServer:
    """A server whose sampler goes on until it is stopped."""
    return embedded_server(seconds_per_picture=60)


def short(messages: list[Message]) -> list[str]:
    """Messages as words: type and what it is about. Steps of the sampler as `3: 1/2`."""
    words = []
    for message in messages:
        if isinstance(message, bytes):
            words.append("preview")
            continue
        kind, data = message["type"], message["data"]
        if kind == "progress_state":
            node = list(data["nodes"].values())[-1]
            words.append(f"state {node['node_id']} {node['value']:g}/{node['max']:g} {node['state']}")
        elif kind == "status":
            words.append(f"status {data['status']['exec_info']['queue_remaining']}")
        elif kind == "progress":
            words.append(f"progress {data['value']}/{data['max']}")
        elif kind in ("executing", "executed"):
            words.append(f"{kind} {data['node']}")
        elif kind == "execution_cached":
            words.append(f"cached {' '.join(data['nodes'])}".strip())
        else:
            words.append(kind)
    return words


def sent_now(server: EmbeddedServer, client_id: str, graph: Any) -> tuple[str, list[Message]]:
    """Queue a prompt with a WebSocket open, and read everything it says."""
    socket = connect(server, client_id)
    hello = json.loads(socket.recv())
    assert hello == {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client_id}}
    prompt_id = queue(server, graph, client_id=client_id)
    messages = read_until_idle(socket, prompt_id)
    socket.close()
    return prompt_id, messages


def test_full_run_then_cached_then_partly_cached(server: EmbeddedServer) -> None:
    graph = flat_graph(color=1000, prefix="messages/m")
    prompt_id, messages = sent_now(server, "full", graph)
    assert short(messages) == [
        "status 1", "status 1", "execution_start", "cached", "state 1 0/1 running", "executing 1", "state 1 1/1 finished",
        "state 2 0/1 running", "executing 2", "executed 2", "state 2 1/1 finished", "execution_success", "status 0", "executing None",
    ]  # fmt: skip
    executed = next(m for m in messages if isinstance(m, dict) and m["type"] == "executed")
    output = {"images": [{"filename": "m_00001_.png", "subfolder": "messages", "type": "output"}]}
    assert executed["data"] == {"node": "2", "display_node": "2", "output": output, "prompt_id": prompt_id}
    state = next(m for m in messages if isinstance(m, dict) and m["type"] == "progress_state")
    assert state["data"]["nodes"]["1"] == {
        "value": 0.0, "max": 1.0, "state": "running", "node_id": "1", "prompt_id": prompt_id,
        "display_node_id": "1", "parent_node_id": None, "real_node_id": "1",
    }  # fmt: skip

    _, again = sent_now(server, "full", graph)
    assert short(again) == [
        "status 1", "status 1", "execution_start", "cached 1 2", "executed 2", "state 2 1/1 finished", "execution_success", "status 0",
        "executing None",
    ]  # fmt: skip
    graph["2"]["inputs"]["filename_prefix"] = "messages/other"
    assert "cached 1" in short(sent_now(server, "full", graph)[1])


def test_sampler_tells_its_steps_and_shows_previews(server: EmbeddedServer) -> None:
    prompt_id, messages = sent_now(server, "steps", portrait_graph(seed=11, steps=2))
    words = short(messages)
    start = words.index("executing 3")
    assert words[start : start + 8] == [
        "executing 3", "state 3 1/2 running", "progress 1/2", "preview", "state 3 2/2 running", "progress 2/2", "preview",
        "state 3 2/2 finished",
    ]  # fmt: skip
    progress = next(m for m in messages if isinstance(m, dict) and m["type"] == "progress")
    assert progress["data"] == {"value": 1, "max": 2, "prompt_id": prompt_id, "node": "3"}
    preview = next(m for m in messages if isinstance(m, bytes))
    assert struct.unpack(">II", preview[:8]) == (1, 1)  # PREVIEW_IMAGE, JPEG
    with Image.open(io.BytesIO(preview[8:])) as image:
        assert (image.format, max(image.size)) == ("JPEG", 160)


def test_preview_with_metadata_for_clients_that_ask(server: EmbeddedServer) -> None:
    socket = connect(server, "flags")
    socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
    assert [json.loads(socket.recv())["type"] for _ in range(2)] == ["status", "feature_flags"]
    prompt_id = queue(server, portrait_graph(seed=12, steps=1), client_id="flags")
    preview = next(m for m in read_until_idle(socket, prompt_id) if isinstance(m, bytes))
    kind, length = struct.unpack(">II", preview[:8])
    metadata = json.loads(preview[8 : 8 + length])
    assert (kind, metadata["node_id"], metadata["prompt_id"], metadata["image_type"]) == (4, "3", prompt_id, "image/jpeg")
    socket.close()


def test_others_see_only_the_status(server: EmbeddedServer) -> None:
    other = connect(server, "other")
    other.recv()
    sent_now(server, "mine", flat_graph(color=1001))
    assert short([json.loads(other.recv()) for _ in range(3)]) == ["status 1", "status 1", "status 0"]
    other.close()


def test_prompt_without_client_id_broadcasts_progress_and_tells_no_output(server: EmbeddedServer) -> None:
    anyone = connect(server)
    anyone.recv()
    prompt_id = queue(server, flat_graph(color=1002))
    words = []
    while not words or words[-1] != "status 0":
        words += short([json.loads(anyone.recv())])
    assert words == [
        "status 1", "status 1", "state 1 0/1 running", "state 1 1/1 finished", "state 2 0/1 running", "state 2 1/1 finished", "status 0",
    ]  # fmt: skip
    assert images_of(wait_for(server, prompt_id), "2")
    anyone.close()


@pytest.mark.parametrize(("version", "outputs"), [("0.8.0", 0), ("0.3.64", 1)])
def test_cached_prompt_without_client_id(embedded_server: Callable[..., EmbeddedServer], version: str, outputs: int) -> None:
    server = embedded_server(version=version)
    wait_for(server, queue(server, flat_graph()))
    entry = wait_for(server, queue(server, flat_graph()))
    assert (entry["status"]["status_str"], len(entry["outputs"]), len(entry["meta"])) == ("success", outputs, outputs)


def test_cache_holds_only_the_prompt_before(server: EmbeddedServer) -> None:
    names = [images_of(wait_for(server, queue(server, flat_graph(color, "cache/a"), client_id="c")), "2")[0] for color in (1, 1, 2, 1)]
    assert names == ["a_00001_.png", "a_00001_.png", "a_00002_.png", "a_00003_.png"]


def test_cached_file_may_be_gone(server: EmbeddedServer) -> None:
    wait_for(server, queue(server, flat_graph(7, "cache/gone"), client_id="c"))
    (server.output_dir / "cache" / "gone_00001_.png").unlink()
    entry = wait_for(server, queue(server, flat_graph(7, "cache/gone"), client_id="c"))
    assert images_of(entry, "2") == ["gone_00001_.png"]
    assert get(server, "/view", filename="gone_00001_.png", subfolder="cache").status_code == 404


def test_free_forgets_the_cache(server: EmbeddedServer) -> None:
    wait_for(server, queue(server, flat_graph(8, "cache/free"), client_id="c"))
    body = {"unload_models": True, "free_memory": True}
    assert requests.post(f"{server.url}/free", json=body, timeout=10).status_code == 200
    assert images_of(wait_for(server, queue(server, flat_graph(8, "cache/free"), client_id="c")), "2") == ["free_00002_.png"]


def test_pending_runs_by_number(slow: EmbeddedServer) -> None:
    running = queue(slow, portrait_graph())
    wait_until_running(slow, running)
    by_name = {
        "second": queue(slow, flat_graph(2)),
        "front": queue(slow, flat_graph(3), front=True),
        "minus": queue(slow, flat_graph(4), number=-100),
        "half": queue(slow, flat_graph(5), number=0.5),
    }
    pending = get(slow, "/queue").json()["queue_pending"]
    # a heap by (number, id): -100 first, the rest in the order of a heap's array, not sorted
    assert [item[0] for item in pending] == [-100.0, 0.5, -2, 1]
    # deleting the first leaves an array that is no heap until it is made one again: 0.5 would run before -2
    requests.post(f"{slow.url}/queue", json={"delete": [by_name.pop("minus")]}, timeout=10)
    requests.post(f"{slow.url}/interrupt", json={}, timeout=10)
    for prompt_id in by_name.values():
        wait_for(slow, prompt_id)
    order = [item.prompt_id for item in slow.executed]
    assert order == [running, *(by_name[name] for name in ("front", "half", "second"))]


def test_interrupt_stops_only_the_prompt_that_is_meant(slow: EmbeddedServer) -> None:
    first, second = queue(slow, portrait_graph(seed=1), client_id="i"), queue(slow, flat_graph(), client_id="i")
    wait_until_running(slow, first)
    for other in (second, "unknown"):
        assert requests.post(f"{slow.url}/interrupt", json={"prompt_id": other}, timeout=10).status_code == 200
    assert get(slow, f"/history/{first}").json() == {}
    requests.post(f"{slow.url}/interrupt", json={"prompt_id": first}, timeout=10)
    entry = wait_for(slow, first)
    kind, data = entry["status"]["messages"][-1]
    assert (entry["status"]["status_str"], entry["outputs"], kind) == ("error", {}, "execution_interrupted")
    assert (data["node_id"], data["node_type"], sorted(data["executed"])) == ("3", "KSampler", ["10", "4", "5", "6", "7"])
    assert wait_for(slow, second)["status"]["status_str"] == "success"


def test_idle_interrupt_does_not_hit_the_next_prompt(server: EmbeddedServer) -> None:
    assert requests.post(f"{server.url}/interrupt", timeout=10).status_code == 200
    assert wait_for(server, queue(server, flat_graph(1003)))["status"]["completed"]


def test_delete_and_clear(slow: EmbeddedServer) -> None:
    running = queue(slow, portrait_graph())
    wait_until_running(slow, running)
    waiting = [queue(slow, flat_graph(color)) for color in (2, 3, 4)]
    requests.post(f"{slow.url}/queue", json={"delete": [waiting[0], running]}, timeout=10)
    left = get(slow, "/queue").json()
    assert [item[1] for item in left["queue_running"]] == [running]  # only pending prompts are deleted
    assert sorted(item[1] for item in left["queue_pending"]) == sorted(waiting[1:])
    requests.post(f"{slow.url}/queue", json={"clear": True}, timeout=10)
    assert get(slow, "/prompt").json() == {"exec_info": {"queue_remaining": 1}}
    assert get(slow, f"/history/{waiting[0]}").json() == {}


def test_history_pages_and_forgets(embedded_server: Callable[..., EmbeddedServer]) -> None:
    server = embedded_server()
    ids = [queue(server, flat_graph(color)) for color in range(3)]
    wait_for(server, ids[2])
    assert list(get(server, "/history").json()) == ids
    assert list(get(server, "/history", max_items="2").json()) == ids[1:]
    assert list(get(server, "/history", max_items="1", offset="1").json()) == [ids[1]]
    requests.post(f"{server.url}/history", json={"delete": [ids[1]]}, timeout=10)
    assert list(get(server, "/history").json()) == [ids[0], ids[2]]
    requests.post(f"{server.url}/history", json={"clear": True}, timeout=10)
    assert get(server, "/history").json() == {}


def test_reconnecting_client_is_told_the_running_node_and_nothing_before(slow: EmbeddedServer) -> None:
    socket = connect(slow, "back")
    running = queue(slow, portrait_graph(), client_id="back")
    words: list[str] = []
    while "executing 3" not in words:
        words += short([json.loads(socket.recv())])
    socket.close()
    again = connect(slow, "back")
    assert short([json.loads(again.recv()) for _ in range(2)]) == ["status 1", "executing 3"]
    requests.post(f"{slow.url}/interrupt", json={}, timeout=10)
    assert short(read_until_idle(again, running)) == ["execution_interrupted", "status 0", "executing None"]
    again.close()


def test_of_two_sockets_with_one_id_the_newer_gets_messages_until_the_older_closes(server: EmbeddedServer) -> None:
    old, new = connect(server, "twin"), connect(server, "twin")
    for socket in (old, new):
        socket.recv()
    read_until_idle(new, queue(server, flat_graph(1004), client_id="twin"))
    old.settimeout(0.2)
    with pytest.raises(websocket.WebSocketTimeoutException):
        old.recv()
    old.close()
    witness = connect(server, "witness")
    witness.recv()
    queue(server, flat_graph(1005), client_id="twin")
    while short([json.loads(witness.recv())]) != ["status 0"]:
        pass
    new.settimeout(0.2)
    with pytest.raises(websocket.WebSocketTimeoutException):
        new.recv()
    new.close()
    witness.close()


def test_same_id_twice_runs_twice_and_history_keeps_the_last(server: EmbeddedServer) -> None:
    chosen = new_id()
    for color in (1006, 1007):
        queue(server, flat_graph(color, "twice/t"), prompt_id=chosen)
    until = time.monotonic() + 20
    while images_of(wait_for(server, chosen), "2") != ["t_00002_.png"]:
        assert time.monotonic() < until


def test_equal_number_and_id_cannot_be_ordered(slow: EmbeddedServer) -> None:
    """A real server's heap compares the two graphs and fails: never send numbers."""
    wait_until_running(slow, queue(slow, portrait_graph()))
    chosen = new_id()
    assert post(slow, flat_graph(1), prompt_id=chosen, number=5).status_code == 200
    assert post(slow, flat_graph(2), prompt_id=chosen, number=5).status_code == 500
