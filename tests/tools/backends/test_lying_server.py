"""A server that answers anything at all, on every route and on the WebSocket: the client and the dispatcher meet only errors of ours.

LIFEOS_TEST_EXAMPLES says how many answers each test tries.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifeos.errors import LifeosError
from tests.examples import EXAMPLES
from tests.tools.backends.any_answers import PROMPT_ID, mutated
from tests.tools.backends.fakes import Fake, fake_server
from tests.tools.backends.raw_server import RawServer
from tools.backends import comfyui_downloads, transport
from tools.backends.backend import PictureRef
from tools.backends.comfyui import ComfyServer
from tools.backends.comfyui_answers import SocketMessage, read_message
from tools.backends.dispatch import Dispatcher, Job
from tools.pod_health_check import check_pod
from tools.workflows.server_fit import check_models

GRAPH = {"1": {"class_type": "KSampler", "inputs": {"sampler_name": "euler"}}}
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")

ENTRY = {
    "prompt": [1, PROMPT_ID, {}, {}, ["2"]],
    "outputs": {"2": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}},
    "status": {"status_str": "success", "messages": [["execution_start", {"timestamp": 1}], ["execution_success", {"timestamp": 2}]]},
}
FAULTS = {"1": {"errors": [{"type": "value_not_in_list", "extra_info": {"input_config": [["a"], {}]}}], "dependent_outputs": ["2"]}}
TRUE = {
    "GET /system_stats": {"system": {"comfyui_version": "1"}, "devices": [{"type": "cuda", "vram_total": 9, "vram_free": 5}]},
    "GET /queue": {"queue_running": [[0, PROMPT_ID, {}, {"client_id": "lifeos-1"}, []]], "queue_pending": []},
    f"GET /history/{PROMPT_ID}": {PROMPT_ID: ENTRY},
    "GET /models": ["checkpoints"],
    "GET /models/checkpoints": ["a.safetensors"],
    "GET /object_info": {"KSampler": {}},
    "GET /object_info/KSampler": {"KSampler": {"input": {"required": {"sampler_name": [["euler"], {}]}}, "output": ["LATENT"]}},
    "POST /prompt": {"prompt_id": PROMPT_ID, "number": 1, "node_errors": FAULTS},
    "POST /api/jobs/cancel": {"cancelled": True},
    "POST /queue": {},
    "POST /interrupt": {},
    "POST /free": {},
}
STATUSES = st.sampled_from([200, 200, 200, 200, 400, 401, 404, 500, 302, 204, 418])


def answer(route: str) -> st.SearchStrategy[Any]:
    bodies = mutated(TRUE[route]).map(lambda document: json.dumps(document).encode()) | st.binary(max_size=60)
    return st.tuples(
        STATUSES, bodies, st.sampled_from([{}, {"Location": "/x"}, {"Location": "http://[::1/"}, {"Content-Encoding": "gzip"}])
    )


ANSWERS = st.fixed_dictionaries(
    {route: answer(route) for route in TRUE} | {"GET /view": st.tuples(STATUSES, st.just(PNG) | st.binary(max_size=60))}
)
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
SLOW = settings(QUICK, max_examples=max(10, EXAMPLES // 10))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "SAFE_PAUSES", ())
    monkeypatch.setattr(comfyui_downloads, "DOWNLOAD_PAUSES", ())


@pytest.fixture(scope="module")
def liar() -> Iterator[Fake]:
    with fake_server({}) as fake:
        yield fake


def client(liar: Fake) -> ComfyServer:
    return ComfyServer(liar.url, timeout_seconds=5, outage_seconds=0, silence_seconds=0.02, stalled_seconds=0.02, poll_seconds=0.005)


@QUICK
@given(answers=ANSWERS)
def test_every_question_is_answered_or_an_error_of_ours(liar: Fake, answers: dict[str, Any]) -> None:
    liar.answers = answers
    liar.requests.clear()
    with client(liar) as server:
        questions = [
            server.info,
            server.workload,
            server.model_folders,
            server.node_classes,
            server.free_memory,
            lambda: server.models("checkpoints"),
            lambda: server.node("KSampler"),
            lambda: server.history(PROMPT_ID),
            lambda: server.download(PictureRef("a.png")),
            lambda: check_models(server, GRAPH),
            lambda: server.submit(PROMPT_ID, GRAPH, ask_first=True),
            lambda: server.wait(0.01),
            lambda: server.cancel([PROMPT_ID]),
        ]
        for ask in questions:
            try:
                ask()
            except LifeosError as error:
                assert "\n" not in str(error)


@QUICK
@given(answers=ANSWERS)
def test_the_health_check_always_ends_in_findings(liar: Fake, answers: dict[str, Any]) -> None:
    liar.answers = answers
    with client(liar) as server:
        found = check_pod(server, required_nodes=["KSampler"], required_models=["a.safetensors"], stall_seconds=0, ours=[PROMPT_ID])
    assert found[0].rule == "ComfyUI"


@SLOW
@given(answers=ANSWERS)
def test_the_dispatcher_ends_with_an_outcome_or_an_error_of_ours(liar: Fake, answers: dict[str, Any]) -> None:
    liar.answers = answers
    liar.requests.clear()
    with client(liar) as server, Dispatcher([server], retries=1) as dispatcher:
        try:
            ended = list(dispatcher.run([Job("1", GRAPH, sent_as=PROMPT_ID, sent_to=server.url)]))
        except LifeosError:
            return
    assert len(ended) == 1
    assert (ended[0].outcome.kind == "done") == bool(ended[0].pictures)


MESSAGE = {
    "type": "progress",
    "data": {"prompt_id": PROMPT_ID, "node": "3", "value": 1, "max": 20, "status": {"exec_info": {"queue_remaining": 1}}},
}


@QUICK
@given(data=mutated(MESSAGE).map(lambda document: json.dumps(document).encode()) | st.binary(max_size=60))
def test_every_message_of_the_socket_is_taken_or_left(data: bytes) -> None:
    with ComfyServer("http://127.0.0.1:9") as server:
        server._open[PROMPT_ID] = None
        message = read_message(data, 1 << 20)
        if message is not None:
            server._take(message)


def frames(payload: bytes) -> Any:
    """Accept the WebSocket, say something in one text frame, then send `payload` as it is."""

    def send(head: bytes) -> Iterator[bytes]:
        key = next((line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")), b"")
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        yield b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        text = json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 7}}}}).encode()
        yield bytes([0x81, len(text)]) + text + payload

    return send


SOCKET_FAULTS = {
    "a frame of 2**60 bytes": b"\x81\x7f" + struct.pack("!Q", 1 << 60) + b"x" * (9 << 20),
    "text that is not UTF-8": b"\x81\x02\xff\xfe",
    "an unknown opcode": b"\x83\x00",
    "deep JSON": b"\x81\x7e\xff\xff" + b"[" * 65535,
    "a close frame of one byte": b"\x88\x01\x00",
    "the middle of nothing": b"\x00\x01x",
    "not a frame at all": b"HTTP/1.1 500 no\r\n\r\n",
}


@pytest.mark.parametrize("payload", SOCKET_FAULTS.values(), ids=SOCKET_FAULTS)
def test_a_broken_socket_is_opened_again(payload: bytes) -> None:
    from tools.backends.address import read_address
    from tools.backends.comfyui_events import CONNECTED, DISCONNECTED, EventStream

    server = RawServer(frames(payload))
    stream = EventStream(read_address(server.url), "me")
    stream.start()
    try:
        seen: list[SocketMessage] = [stream.events.get(timeout=10) for _ in range(4)]
    finally:
        server.close()
        stream.close()
    assert [message for message in seen if message in (CONNECTED, DISCONNECTED)] == [CONNECTED, DISCONNECTED, CONNECTED]
    assert seen[1].data.status is not None


@pytest.mark.parametrize("location", ["ws://127.0.0.1:{port}/ws", "http://127.0.0.1:{port}/ws"])
def test_the_socket_follows_no_redirect(location: str) -> None:
    from tools.backends.address import read_address
    from tools.backends.comfyui_events import EventStream

    other = RawServer(frames(b""))
    to = location.replace("{port}", other.url.rpartition(":")[2])
    server = RawServer(lambda head: [f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()])
    stream = EventStream(read_address(server.url), "me")
    stream.start()
    try:
        while len(server.heads) < 2:
            stream._closing.wait(0.01)
    finally:
        server.close()
        other.close()
        stream.close()
    assert other.heads == []
