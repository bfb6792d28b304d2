"""Each fault of the embedded server strikes as its knob says, and no more often."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import websocket

from tests.capabilities import POSIX
from tests.tools.stand_in.embedded_graphs import (
    connect,
    flat_graph,
    get,
    images_of,
    new_id,
    portrait_graph,
    post,
    queue,
    wait_for,
    wait_until_running,
)
from tools.stand_in import Faults
from tools.stand_in.__main__ import main
from tools.stand_in.faults import FaultInjector
from tools.stand_in.server import EmbeddedServer

Start = Callable[..., EmbeddedServer]


def count_until_cut(channel: websocket.WebSocket) -> int:
    """How many messages arrive before the connection breaks."""
    count = 0
    try:
        while channel.recv():
            count += 1
    except (websocket.WebSocketException, ConnectionError):
        channel.close()
    return count


def test_sockets_are_cut_after_so_many_messages(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(drop_socket_after_messages=4))
    for turn in range(2):
        channel = connect(server, "c")
        prompt_id = queue(server, flat_graph(turn), client_id="c")
        assert count_until_cut(channel) == 4
        assert wait_for(server, prompt_id)["status"]["completed"]
    assert server.counters["cut sockets"] == 2


def test_random_cuts_follow_the_seed() -> None:
    def cuts(seed: int) -> list[bool]:
        injector = FaultInjector(Faults(seed=seed, drop_socket_chance=0.3))
        return [injector.drops_socket(1) for _ in range(20)]

    assert cuts(1) == cuts(1) != cuts(2)
    stream = random.Random(1)
    assert cuts(1) == [stream.random() < 0.3 for _ in range(20)]


def test_500s_for_one_route_only(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(http_500={"GET /history/{id}": 2, "POST /prompt": 1}))
    assert [get(server, "/api/history/x").status_code for _ in range(3)] == [500, 500, 200]
    assert get(server, "/queue").status_code == 200
    assert post(server, flat_graph()).status_code == 500
    assert get(server, "/prompt").json() == {"exec_info": {"queue_remaining": 0}}  # not carried out
    assert server.faults.http_500 == {"GET /history/{id}": 0, "POST /prompt": 0}
    server.faults.http_500_chance["GET /queue"] = 1.0
    assert get(server, "/queue").status_code == 500


def test_answers_can_be_late(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(delay_seconds={"GET /queue": 5.0}))
    assert get(server, "/history").status_code == 200
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{server.url}/queue", timeout=0.2)


def test_lost_reply_was_accepted(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(lose_prompt_replies=1))
    chosen = new_id()
    with pytest.raises(requests.ConnectionError):
        post(server, flat_graph(), prompt_id=chosen)
    assert wait_for(server, chosen)["status"]["completed"]
    assert (server.counters["accepted"], server.counters["lost replies"]) == (1, 1)
    assert post(server, flat_graph(2)).status_code == 200


def test_view_breaks_off_or_sends_half(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(truncated_views=1, half_written_views=1))
    wait_for(server, queue(server, flat_graph(prefix="a")))
    whole = (server.output_dir / "a_00001_.png").read_bytes()
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(server, "/view", filename="a_00001_.png")
    half = get(server, "/view", filename="a_00001_.png")
    assert (half.status_code, half.content) == (200, whole[: len(whole) // 2])
    assert get(server, "/view", filename="a_00001_.png").content == whole


def test_restart_in_the_middle_loses_queue_history_and_numbers(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(restart_at_prompts=frozenset({2}), restart_seconds=0.05))
    first = queue(server, flat_graph(prefix="kept"))
    wait_for(server, first)
    channel = connect(server, "c")
    lost = queue(server, portrait_graph(), client_id="c")
    with pytest.raises((websocket.WebSocketException, ConnectionError)):
        while channel.recv():
            pass
    channel.close()
    until = time.monotonic() + 20
    while not server.counters["restarts"]:
        assert time.monotonic() < until
        time.sleep(0.01)
    response = None
    while response is None:
        try:
            response = get(server, "/history")
        except requests.ConnectionError:
            assert time.monotonic() < until
    assert response.json() == {}
    assert get(server, "/queue").json() == {"queue_running": [], "queue_pending": []}
    body = post(server, flat_graph(2, prefix="kept")).json()
    assert body["number"] == 0
    assert images_of(wait_for(server, body["prompt_id"]), "2") == ["kept_00002_.png"]  # files and their counter stay
    assert get(server, f"/history/{lost}").json() == {}
    assert not (server.output_dir / "test").exists()


def test_stop_during_a_restart_leaves_nothing_behind(embedded_server: Start) -> None:
    others = set(threading.enumerate())  # servers that other tests share
    server = embedded_server(faults=Faults(restart_at_prompts=frozenset({1}), restart_seconds=60))
    queue(server, portrait_graph())
    with pytest.raises(requests.ConnectionError):
        while True:
            get(server, "/queue")
    server.stop()
    assert server.counters["restarts"] == 0
    left = set(threading.enumerate()) - others
    assert not [thread for thread in left if thread.name.startswith("embedded-comfyui")]


def test_kill_and_revive_on_the_same_port(embedded_server: Start) -> None:
    server = embedded_server(seconds_per_picture=60)
    wait_until_running(server, queue(server, portrait_graph()))
    server.kill()
    with pytest.raises(requests.ConnectionError):
        get(server, "/queue")
    server.kill()  # a second time
    server.revive()
    assert get(server, "/queue").json() == {"queue_running": [], "queue_pending": []}
    server.restart()
    assert get(server, "/history").json() == {}


def test_out_of_memory_on_chosen_prompts(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(out_of_memory_at_prompts=frozenset({1})))
    entry = wait_for(server, queue(server, portrait_graph(1)))
    kind, data = entry["status"]["messages"][-1]
    assert (kind, data["node_id"], data["node_type"], data["exception_type"]) == (
        "execution_error", "3", "KSampler", "torch.OutOfMemoryError",
    )  # fmt: skip
    assert data["exception_message"].startswith("CUDA out of memory.")
    assert data["current_inputs"]["steps"] == [4]
    assert sorted(data["current_outputs"]) == ["10", "3", "4", "5", "6", "7", "8", "9"]
    assert (entry["status"]["status_str"], entry["status"]["completed"], entry["outputs"]) == ("error", False, {})
    assert wait_for(server, queue(server, portrait_graph(2)))["status"]["completed"]


def test_out_of_memory_until_freed(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(out_of_memory_until_free=True))
    assert not wait_for(server, queue(server, portrait_graph(1)))["status"]["completed"]
    assert not wait_for(server, queue(server, portrait_graph(1)))["status"]["completed"]
    requests.post(f"{server.url}/free", json={"unload_models": True, "free_memory": True}, timeout=10)
    assert wait_for(server, queue(server, portrait_graph(1)))["status"]["completed"]


def test_dead_worker_accepts_and_runs_nothing(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(dead_worker_at_prompt=2))
    wait_for(server, queue(server, flat_graph(1)))
    dead = [queue(server, flat_graph(color)) for color in (2, 3)]
    wait_until_running(server, dead[0])
    left = get(server, "/queue").json()
    assert ([item[1] for item in left["queue_running"]], [item[1] for item in left["queue_pending"]]) == ([dead[0]], [dead[1]])
    server.restart()
    assert wait_for(server, queue(server, flat_graph(4)))["status"]["completed"]


def test_interrupted_by_someone_else(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(interrupt_at_prompts=frozenset({1})))
    entry = wait_for(server, queue(server, portrait_graph(1)))
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"
    assert wait_for(server, queue(server, portrait_graph(1)))["status"]["completed"]


def test_disk_full(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(disk_full_at_prompts=frozenset({1})))
    kind, data = wait_for(server, queue(server, flat_graph()))["status"]["messages"][-1]
    assert (kind, data["node_type"], data["exception_type"]) == ("execution_error", "SaveImage", "OSError")
    assert "No space left on device" in data["exception_message"]


def test_broken_model_is_listed_and_fails_to_load(embedded_server: Start) -> None:
    server = embedded_server(faults=Faults(broken_models=frozenset({"amiranoor_v2.safetensors"})))
    kind, data = wait_for(server, queue(server, portrait_graph(lora="amiranoor_v2.safetensors")))["status"]["messages"][-1]
    assert (kind, data["node_id"], data["executed"]) == ("execution_error", "10", ["4"])
    assert data["exception_type"] == "safetensors._safetensors_rust.SafetensorError"
    assert data["exception_message"] == "Error while deserializing header: header too large\n"


def test_stop_while_a_picture_is_sampled_returns_soon(embedded_server: Start) -> None:
    server = embedded_server(seconds_per_picture=600)
    wait_until_running(server, queue(server, portrait_graph()))
    server.stop()
    assert server.executed == []


def test_pretended_time_passes_in_steps(embedded_server: Start) -> None:
    server = embedded_server(seconds_per_picture=0.3, seconds_per_model_load=0.1)
    wait_for(server, queue(server, portrait_graph(1, steps=3)))
    wait_for(server, queue(server, portrait_graph(2, steps=3)))
    until = time.monotonic() + 10
    while len(server.executed) < 2:
        assert time.monotonic() < until
    first, second = (run.ended - run.started for run in server.executed)
    assert first >= 0.5  # 0.3 for the picture, 0.1 each for checkpoint and LoRA
    assert second >= 0.3


@pytest.mark.skipif(not POSIX, reason="Windows ends a process without a signal that it could answer")
def test_command_line_serves_until_stopped(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "tools.stand_in", "--port", str(port), "--output-dir", str(tmp_path / "out")]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(2)]
            assert "NASA" in said[0]
            assert f"listening on http://127.0.0.1:{port}" in said[1]
            stats = requests.get(f"http://127.0.0.1:{port}/system_stats", timeout=10).json()
            assert json.dumps(stats).count("NASA") == 1
        finally:
            process.terminate()
    assert process.returncode == 0
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["input", "output", "temp"]


def test_command_line_says_that_the_port_is_taken(embedded_server: Start, capsys: pytest.CaptureFixture[str]) -> None:
    from lifeos import cli

    port = embedded_server().url.rpartition(":")[2]
    assert cli.run(lambda: main(["--port", port])) == 3
    assert f"error: 127.0.0.1:{port}: the embedded server cannot listen there" in capsys.readouterr().err
