"""The client when things go wrong: on the embedded server's faults, and on a scripted server for what only others do."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest

from lifeos.errors import InputError, UnavailableError
from tests.tools.backends.fakes import fake_server
from tests.tools.backends.job_graphs import plain_graph, sampled_graph
from tools.backends import comfyui as client_module
from tools.backends import comfyui_events
from tools.backends.address import read_address
from tools.backends.backend import LostPicture, PictureRef, PromptEnd, RejectedPrompt, StalledError
from tools.backends.comfyui import ComfyServer
from tools.backends.transport import Transport
from tools.stand_in import Faults
from tools.stand_in.dialects import DIALECTS
from tools.workflows.workflow import Settings, Workflow

STATS = {"system": {"comfyui_version": "0.8.0"}, "devices": []}
PATIENCE = 15.0


def submit(server: ComfyServer, graph: dict[str, Any]) -> str:
    prompt_id = str(uuid.uuid4())
    server.submit(prompt_id, graph)
    return prompt_id


def first_end(server: ComfyServer) -> PromptEnd:
    until = time.monotonic() + PATIENCE
    while not (ended := server.wait(0.5)):
        assert time.monotonic() < until, "no end"
    assert len(ended) == 1
    return ended[0]


def poll_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found by asking now and then: only what the socket told, or a reconnect, can be quick."""
    monkeypatch.setattr(client_module, "POLL_SECONDS", 1000.0)
    monkeypatch.setattr(client_module, "RECONCILE_SECONDS", 1000.0)


# Cancelling


@pytest.mark.parametrize("version", [*DIALECTS])
def test_cancel_asks_in_the_way_that_the_server_has(embedded_server: Any, follow: Any, version: str) -> None:
    embedded = embedded_server(version=version, seconds_per_picture=30)
    server = follow(embedded.url)
    mine = [submit(server, sampled_graph(seed)) for seed in range(3)]
    until = time.monotonic() + PATIENCE
    while mine[0] not in server.workload().running:
        assert time.monotonic() < until
    server.cancel(mine)
    while server.workload().count:
        assert time.monotonic() < until, "something of ours still runs"
    asked = {route: embedded.counters[route] for route in ("POST /api/jobs/cancel", "POST /queue", "POST /interrupt")}
    current = {"POST /api/jobs/cancel": 1, "POST /queue": 0, "POST /interrupt": 0}
    assert asked == (current if DIALECTS[version].cancels_jobs else {**asked, "POST /queue": 1, "POST /interrupt": 1})


def test_ids_that_a_server_does_not_cancel_are_cancelled_in_the_old_way() -> None:
    """A job id of another form is refused with 400 by the new route, and the whole list with it."""
    refused = {"error": "job_ids contains invalid id(s)", "invalid_ids": ["mine"]}
    answers = {
        "POST /api/jobs/cancel": (400, refused),
        "GET /queue": (200, {"queue_running": [[1, "mine", {}, {}, []], [2, "theirs", {}, {}, []]], "queue_pending": []}),
        **{f"POST /{route}": (200, {}) for route in ("queue", "interrupt")},
    }
    with fake_server(answers) as fake, ComfyServer(fake.url) as server:
        server.cancel(["mine"])
        assert fake.asked("POST /queue") == [{"delete": ["mine"]}]
        assert fake.asked("POST /interrupt") == [{"prompt_id": "mine"}]


# Submitting


def test_lost_reply_is_settled_without_running_twice(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(faults=Faults(lose_prompt_replies=1))
    server = follow(embedded.url)
    prompt_id = submit(server, plain_graph())
    assert first_end(server).prompt_id == prompt_id
    assert (embedded.counters["POST /prompt"], embedded.counters["accepted"], embedded.counters["lost replies"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("dropped", "class_type", "is_refused"),
    [(["2"], "SaveImage", True), (["2"], "PreviewImage", False), ([], "SaveImage", True)],
    ids=["what saves", "only a preview", "it does not say what"],
)
def test_prompt_that_was_taken_without_its_picture_is_refused_and_taken_off(dropped: list[str], class_type: str, is_refused: bool) -> None:
    """ComfyUI answers 200 and leaves out the outputs that failed validation: the rest would run for nothing."""
    prompt_id, node = str(uuid.uuid4()), "2" if not dropped else "1"
    faults = {"errors": [{"type": "x", "message": "no", "details": "", "extra_info": {}}], "dependent_outputs": dropped, "class_type": "X"}
    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {"class_type": class_type, "inputs": {"images": ["1", 0]}}}
    answers = {
        "POST /prompt": (200, {"prompt_id": prompt_id, "number": 1, "node_errors": {node: faults}}),
        "GET /queue": (200, {"queue_running": [[1, prompt_id, {}, {}, []]], "queue_pending": []}),
        **{f"POST /{route}": (200, {}) for route in ("queue", "interrupt")},
    }
    with fake_server(answers) as fake, ComfyServer(fake.url) as server:
        if is_refused:
            with pytest.raises(RejectedPrompt):
                server.submit(prompt_id, graph)
        else:
            server.submit(prompt_id, graph)
        stopped = (fake.asked("POST /queue"), fake.asked("POST /interrupt"))
    assert stopped == (([{"delete": [prompt_id]}], [{"prompt_id": prompt_id}]) if is_refused else ([], []))


@pytest.mark.parametrize(
    ("history", "queue", "posts"),
    [
        pytest.param({}, ([], ["ID"]), 1, id="it waits"),
        pytest.param({}, (["ID"], []), 1, id="it runs"),
        pytest.param({"ID": {"status": {}}}, ([], []), 1, id="it has ended"),
        pytest.param({}, ([], ["another"]), 2, id="it never arrived"),
    ],
)
def test_server_is_asked_before_posting_again(history: dict[str, Any], queue: tuple[list[str], list[str]], posts: int) -> None:
    prompt_id = str(uuid.uuid4())
    answers = iter([None, (200, {"prompt_id": prompt_id, "number": 0, "node_errors": {}})])

    def named(ids: list[str]) -> list[list[Any]]:
        return [[0, each.replace("ID", prompt_id), {}, {}, []] for each in ids]

    with (
        fake_server(
            {
                "POST /prompt": lambda body: next(answers),
                f"GET /history/{prompt_id}": (200, {key.replace("ID", prompt_id): value for key, value in history.items()}),
                "GET /queue": (200, {"queue_running": named(queue[0]), "queue_pending": named(queue[1])}),
            }
        ) as fake,
        ComfyServer(fake.url) as server,
    ):
        server.submit(prompt_id, plain_graph())
        sent = fake.asked("POST /prompt")
    assert len(sent) == posts
    assert all(body["prompt_id"] == prompt_id and "number" not in body for body in sent)


def test_a_prompt_that_ends_while_it_is_asked_for_is_not_made_twice() -> None:
    """The answer to the post is lost; the prompt runs when the history is asked, and has ended when the queue is."""
    prompt_id = str(uuid.uuid4())
    replies = iter([None])
    state = {"ended": False}

    def queue(body: Any) -> Any:
        state["ended"] = True
        return 200, {"queue_running": [], "queue_pending": []}

    with (
        fake_server(
            {
                "POST /prompt": lambda body: next(replies),
                f"GET /history/{prompt_id}": lambda body: (200, {prompt_id: {"status": None}} if state["ended"] else {}),
                "GET /queue": queue,
            }
        ) as fake,
        ComfyServer(fake.url) as server,
    ):
        server.submit(prompt_id, plain_graph())
        assert len(fake.asked("POST /prompt")) == 1


ODD_REJECTIONS = {
    "node_errors as a list": ({"error": {"message": "no outputs"}, "node_errors": []}, "no outputs"),
    "an error in words": ({"error": "refused"}, "refused"),
    "a fault without anything": ({"node_errors": {"3": {"errors": [{}]}}}, "no reason given"),
    "a choice of numbers": (
        {"node_errors": {"3": {"errors": [{"type": "value_not_in_list", "extra_info": {"input_name": "x", "input_config": [[1, 2]]}}]}}},
        "x None is not on the server",
    ),
}


@pytest.mark.parametrize(("body", "told"), ODD_REJECTIONS.values(), ids=ODD_REJECTIONS)
def test_rejections_of_odd_shapes(body: Any, told: str) -> None:
    with fake_server({"POST /prompt": (400, body)}) as fake, ComfyServer(fake.url) as server:
        with pytest.raises(RejectedPrompt) as caught:
            server.submit("x", plain_graph())
    assert caught.value.message == told


def test_server_in_trouble_gets_the_prompt_once_it_has_recovered(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(faults=Faults(http_500={"POST /prompt": 2}))
    server = follow(embedded.url)
    submit(server, plain_graph())
    assert first_end(server).kind == "done"
    assert embedded.counters["accepted"] == 1


@pytest.mark.parametrize("status", [401, 403, 413])
def test_refused_request_is_not_repeated(status: int) -> None:
    with fake_server({"POST /prompt": (status, b"")}) as fake, ComfyServer(fake.url) as server:
        with pytest.raises(UnavailableError, match="refuses with 40" if status < 410 else "answers POST /prompt with status 413"):
            server.submit("x", plain_graph())
        assert len(fake.requests) == 1


def test_rejection_names_node_reason_and_nearest(embedded_server: Any, follow: Any) -> None:
    server = follow(embedded_server().url)
    graph = Workflow.built_in().place(Settings(checkpoint="embedded_demo_sdxl.safetensors", lora="amiranor_v3.safetensors"))
    with pytest.raises(RejectedPrompt) as caught:
        submit(server, graph)
    near = "amiranoor_v3.safetensors, amiranoor_v2.safetensors, amiranoor_v3-step2500.safetensors"
    assert str(caught.value) == (
        f"{server.url}: node 8 (LoraLoader): the prompt was rejected: lora_name 'amiranor_v3.safetensors' is not on the server "
        f"(nearest on the server: {near})"
    )


# Following


def test_end_is_told_by_the_socket_not_found_by_asking(embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    poll_slowly(monkeypatch)
    server = follow(embedded_server(seconds_per_picture=0.2).url, poll_seconds=1000.0)
    prompt_id = submit(server, sampled_graph(1))
    assert first_end(server).prompt_id == prompt_id


def test_messages_about_other_peoples_prompts_end_nothing(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(seconds_per_picture=0.1)
    server, other = follow(embedded.url), follow(embedded.url)
    theirs, ours = submit(other, sampled_graph(1)), submit(server, sampled_graph(2))
    assert (first_end(server).prompt_id, first_end(other).prompt_id) == (ours, theirs)
    assert server.wait(0.05) == []


@pytest.mark.parametrize("messages", [1, 4, 9])
def test_dropped_socket_loses_no_end(embedded_server: Any, follow: Any, messages: int) -> None:
    """Cut after its first messages, again and again."""
    embedded = embedded_server(faults=Faults(drop_socket_after_messages=messages))
    server = follow(embedded.url, poll_seconds=0.05)
    prompt_ids = {submit(server, plain_graph()) for _ in range(4)}
    ended: set[str] = set()
    until = time.monotonic() + PATIENCE
    while ended != prompt_ids:
        assert time.monotonic() < until
        ended |= {outcome.prompt_id for outcome in server.wait(0.5) if outcome.kind == "done"}


def test_reconnects_and_asks_what_it_missed(embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end itself falls into the gap; others' prompts keep the queue from looking empty, which would be another sign."""
    poll_slowly(monkeypatch)
    embedded = embedded_server(seconds_per_picture=0.3, faults=Faults(drop_socket_after_messages=8))
    server, other = follow(embedded.url, poll_seconds=1000.0), follow(embedded.url)
    submit(server, sampled_graph(1))
    for seed in range(2, 22):
        submit(other, sampled_graph(seed))
    assert first_end(server).kind == "done"
    assert server.workload().count > 0
    assert embedded.counters["GET /ws"] >= 3
    other.cancel(other.workload().waiting)


def test_deaf_socket_is_replaced(embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server forgets a socket when another under the same id ends: it stays open and gets nothing."""
    import websocket

    monkeypatch.setattr(client_module, "POLL_SECONDS", 0.05)
    embedded = embedded_server()
    server = follow(embedded.url)
    submit(server, plain_graph())
    first_end(server)
    twin = websocket.create_connection(f"{embedded.url.replace('http', 'ws')}/ws?clientId={server.client_id}")
    twin.close()
    before = embedded.counters["GET /ws"]
    until = time.monotonic() + PATIENCE
    while embedded.counters["GET /ws"] == before:
        assert time.monotonic() < until, "the deaf socket was kept"
        submit(server, plain_graph())
        assert first_end(server).kind == "done"  # found by asking
    poll_slowly(monkeypatch)
    until = time.monotonic() + PATIENCE
    while server._stream is None or not server._stream.connected or server._stream._replace.is_set():
        assert time.monotonic() < until
        time.sleep(0.01)
    submit(server, plain_graph())
    assert first_end(server).kind == "done"  # told again


def test_works_without_any_websocket(follow: Any) -> None:
    """A proxy that lets no WebSocket through: ends are found by asking."""
    prompt_id = str(uuid.uuid4())
    entry = {"outputs": {"2": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}, "status": {"messages": []}}
    answers = iter([(200, {}), (200, {}), (200, {prompt_id: entry})])
    with fake_server(
        {
            "GET /system_stats": (200, STATS),
            "POST /prompt": (200, {"prompt_id": prompt_id, "number": 0, "node_errors": {}}),
            f"GET /history/{prompt_id}": lambda body: next(answers),
            "GET /queue": (200, {"queue_running": [[0, prompt_id]], "queue_pending": []}),
        }
    ) as fake:
        server = follow(fake.url, poll_seconds=0.02)
        server.submit(prompt_id, plain_graph())
        assert first_end(server).pictures == (PictureRef("a.png", "", "output", "2"),)


def test_a_websocket_that_always_fails_is_told_once_with_the_reason(follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui_events, "RETRY_PAUSES", (0.0,))
    refused = (403, b"a page of the proxy", {"X-Proxy": "secret"})
    with fake_server({"GET /system_stats": (200, STATS), "GET /ws": refused, "POST /prompt": (200, {"node_errors": {}})}) as fake:
        server = follow(fake.url)
        notes: list[str] = []
        server.on_note = notes.append
        until = time.monotonic() + PATIENCE
        while server._stream is None or server._stream.failures < client_module.SOCKET_FAILURES:
            assert time.monotonic() < until
            time.sleep(0.01)
        for number in range(2):
            server.submit(f"{number}", plain_graph())
    assert notes == ["its WebSocket fails (Handshake status 403 Forbidden): it is asked every 0.5 s instead"]


def test_websocket_failures_of_an_outage_are_not_told(embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui_events, "RETRY_PAUSES", (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, PATIENCE))
    embedded = embedded_server()
    server = follow(embedded.url)
    notes: list[str] = []
    server.on_note = notes.append
    back = threading.Thread(target=embedded.restart, kwargs={"down_seconds": 0.5})
    back.start()
    until = time.monotonic() + PATIENCE
    while server._stream is None or server._stream.failures < client_module.SOCKET_FAILURES:
        assert time.monotonic() < until
        time.sleep(0.01)
    submit(server, plain_graph())
    assert first_end(server).kind == "done"
    back.join()
    assert notes == []


def test_restarted_server_has_lost_its_prompts(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(seconds_per_picture=0.5)
    server = follow(embedded.url)
    prompt_ids = {submit(server, sampled_graph(seed)) for seed in (1, 2)}
    embedded.restart(down_seconds=0.2)
    ended: dict[str, str] = {}
    until = time.monotonic() + PATIENCE
    while len(ended) < 2:
        assert time.monotonic() < until
        ended |= {outcome.prompt_id: outcome.kind for outcome in server.wait(0.5)}
    assert ended == dict.fromkeys(prompt_ids, "lost")
    submit(server, plain_graph())
    assert first_end(server).kind == "done"


def test_prompt_that_ends_between_two_questions_is_not_lost() -> None:
    """It runs when the history is asked, and has ended when the queue is: neither names it, and yet it is not lost."""
    prompt_id = str(uuid.uuid4())
    entry = {"outputs": {"2": {"images": [{"filename": "a.png"}]}}, "status": {"messages": []}}
    state = {"ended": False}

    def queue(body: Any) -> Any:
        state["ended"] = True  # from the queue to the history, at this very moment
        return 200, {"queue_running": [], "queue_pending": []}

    with (
        fake_server(
            {
                "POST /prompt": (200, {"prompt_id": prompt_id, "number": 0, "node_errors": {}}),
                f"GET /history/{prompt_id}": lambda body: (200, {prompt_id: entry} if state["ended"] else {}),
                "GET /queue": queue,
            }
        ) as fake,
        ComfyServer(fake.url) as server,
    ):
        server.submit(prompt_id, plain_graph())
        assert first_end(server).kind == "done"


def test_server_that_stays_away_is_given_up(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(seconds_per_picture=5.0)
    server = follow(embedded.url, outage_seconds=0.3)
    submit(server, sampled_graph(1))
    embedded.kill()
    with pytest.raises(UnavailableError, match=r"gone for \d+ s: cannot be reached"):
        for _ in range(100):
            server.wait(0.2)


def test_dead_worker_is_found_out() -> None:
    """A real server's worker that died while it took a prompt: every POST is answered 200, all wait, none runs."""
    prompt_id = str(uuid.uuid4())
    with (
        fake_server(
            {
                "POST /prompt": (200, {"prompt_id": prompt_id, "number": 0, "node_errors": {}}),
                f"GET /history/{prompt_id}": (200, {}),
                "GET /queue": (200, {"queue_running": [], "queue_pending": [[1, prompt_id]]}),
            }
        ) as fake,
        ComfyServer(fake.url, stalled_seconds=0.2) as server,
    ):
        server.submit(prompt_id, plain_graph())
        with pytest.raises(StalledError, match="accepts prompts, but has run none for") as caught:
            for _ in range(100):
                server.wait(0.2)
    assert caught.value.fix == "restart ComfyUI, then run the same command again"


def test_worker_that_died_with_our_prompt_is_found_out(embedded_server: Any, follow: Any) -> None:
    server = follow(embedded_server(faults=Faults(dead_worker_at_prompt=2)).url, silence_seconds=0.4)
    submit(server, plain_graph())
    assert first_end(server).kind == "done"
    submit(server, plain_graph())
    with pytest.raises(StalledError, match=r"(no sign of progress for .* on our prompt|has run none)"):
        for _ in range(100):
            server.wait(0.2)


@pytest.mark.parametrize(("ours", "silence"), [(True, 0.2), (False, 0.05)], ids=["our prompt", "somebody else's"])
def test_running_prompt_without_a_sign_of_life_is_given_up(ours: bool, silence: float) -> None:
    prompt_id = str(uuid.uuid4())
    running = prompt_id if ours else "theirs"
    with (
        fake_server(
            {
                "POST /prompt": (200, {"prompt_id": prompt_id, "number": 0, "node_errors": {}}),
                f"GET /history/{prompt_id}": (200, {}),
                "GET /queue": (200, {"queue_running": [[0, running]], "queue_pending": [] if ours else [[1, prompt_id]]}),
            }
        ) as fake,
        ComfyServer(fake.url, silence_seconds=silence) as server,
    ):
        server.submit(prompt_id, plain_graph())
        whose = "our" if ours else "somebody else's"
        with pytest.raises(StalledError, match=f"no sign of progress for .* on {whose} prompt {running}"):
            for _ in range(100):
                server.wait(0.2)


@pytest.mark.parametrize(
    ("faults", "kind", "words", "out_of_memory", "can_heal"),
    [
        pytest.param(Faults(out_of_memory_at_prompts=frozenset({1})), "failed", "out of memory", True, True, id="out of memory"),
        pytest.param(
            Faults(interrupt_at_prompts=frozenset({1})), "interrupted", "interrupted at the server", False, True, id="interrupted"
        ),
        pytest.param(Faults(disk_full_at_prompts=frozenset({1})), "failed", "No space left on device", False, False, id="disk full"),
        pytest.param(
            Faults(broken_models=frozenset({"embedded_demo_sdxl.safetensors"})),
            "failed",
            "SafetensorError",
            False,
            False,
            id="broken model",
        ),
    ],
)
def test_unhappy_ends(
    embedded_server: Any, follow: Any, faults: Faults, kind: str, words: str, out_of_memory: bool, can_heal: bool
) -> None:
    server = follow(embedded_server(faults=faults).url)
    submit(server, sampled_graph(1))
    outcome = first_end(server)
    assert (outcome.kind, outcome.out_of_memory, outcome.can_heal) == (kind, out_of_memory, can_heal)
    assert words in outcome.message
    assert outcome.node


# Downloading


def ended_picture(server: ComfyServer) -> PictureRef:
    submit(server, plain_graph())
    return first_end(server).pictures[0]


@pytest.mark.parametrize(
    "faults",
    [Faults(truncated_views=2), Faults(half_written_views=2), Faults(http_500={"GET /view": 1})],
    ids=["cut off", "half written", "server in trouble"],
)
def test_broken_download_is_repeated(embedded_server: Any, follow: Any, faults: Faults) -> None:
    embedded = embedded_server(faults=faults)
    server = follow(embedded.url)
    picture = server.download(ended_picture(server))
    assert picture[-8:] == b"IEND\xaeB`\x82"
    assert embedded.counters["GET /view"] >= 2


def test_picture_that_never_arrives_whole(embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.backends.comfyui_downloads.DOWNLOAD_PAUSES", (0.0, 0.0))
    server = follow(embedded_server(faults=Faults(half_written_views=99)).url)
    with pytest.raises(LostPicture, match="arrived incomplete 3 times: a PNG without its end"):
        server.download(ended_picture(server))


def test_deleted_picture_is_lost(embedded_server: Any, follow: Any) -> None:
    server = follow(embedded_server().url)
    with pytest.raises(LostPicture, match="status 404"):
        server.download(PictureRef("gone_00001_.png", "lifeos", "output"))


UNUSABLE = {
    "a JPEG XL picture": (b"\xff\x0a" + bytes(100), "JPEG XL cannot be read here"),
    "a film": (b"\0\0\0\x18ftypisom" + bytes(100), "MP4 cannot be read here"),
    "too large": (b"x" * 2000, "answers GET /view with more than 0.000954 MiB"),
}


@pytest.mark.parametrize(("body", "why"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_would_come_again_is_told_at_once(body: bytes, why: str) -> None:
    with fake_server({"GET /view": (200, body)}) as fake, ComfyServer(fake.url, max_picture_bytes=1000) as server:
        with pytest.raises(LostPicture) as caught:
            server.download(PictureRef("a.png"))
        assert (caught.value.why, caught.value.can_heal, len(fake.requests)) == (why, False, 1)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.png"])
def test_hostile_names_stay_on_the_server(embedded_server: Any, follow: Any, name: str) -> None:
    server = follow(embedded_server().url)
    with pytest.raises(LostPicture):
        server.download(PictureRef(name, "", "output"))


# Cancelling


def test_older_servers_interrupt_whatever_runs(follow: Any) -> None:
    """They ignore the prompt id: so nothing is interrupted while somebody else's prompt runs."""
    queues = iter([[[0, "theirs"]], [[1, "mine"]]])
    with (
        fake_server(
            {
                "GET /queue": lambda body: (200, {"queue_running": next(queues), "queue_pending": []}),
                "POST /queue": (200, b""),
                "POST /interrupt": (200, b""),
            }
        ) as fake,
        ComfyServer(fake.url) as server,
    ):
        server.cancel(["mine"])
        assert fake.asked("POST /interrupt") == []
        server.cancel(["mine"])
        assert fake.asked("POST /interrupt") == [{"prompt_id": "mine"}]
        assert fake.asked("POST /queue") == [{"delete": ["mine"]}] * 2
        server.cancel([])
        assert len(fake.asked("POST /queue")) == 2


# Addresses


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("http://host:8188/", "http://host:8188"),
        ("  https://host/comfy/  ", "https://host/comfy"),
        ("localhost", "http://localhost"),
        ("abc123-8188.proxy.runpod.net", "https://abc123-8188.proxy.runpod.net"),
        ("pod.example:8188/", "http://pod.example:8188"),
        ("wss://host/", "https://host"),
        ("[::1]:8188", "http://[::1]:8188"),
        ("https://me:se%40cret@host/", "https://host"),
    ],
)
def test_addresses_as_people_type_them(text: str, base: str) -> None:
    assert read_address(text).base == base


def test_password_is_sent_and_never_shown() -> None:
    # base64 of "me:se@cret"
    assert read_address("https://me:se%40cret@host").authorization == "Basic bWU6c2VAY3JldA=="
    with pytest.raises(InputError) as caught:
        read_address("http://me:secret@host:99999")
    assert "secret" not in str(caught.value)
    with fake_server({"GET /system_stats": (200, STATS)}) as fake, ComfyServer(fake.url.replace("//", "//me:secret@")) as server:
        assert "secret" not in server.info().url
        assert fake.requests[0][3]["Authorization"] == "Basic bWU6c2VjcmV0"


@pytest.mark.parametrize("text", ["", "ftp://host", "http://", "host:99999", "http://host/?token=1", "two words"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match=r"an address like http://127\.0\.0\.1:8188 is wanted"):
        read_address(text)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(
            (200, b"<html>Welcome</html>"),
            "answers, but not as ComfyUI does (/system_stats: not JSON: Expecting value (line 1, column 1))",
            id="a web page",
        ),
        pytest.param(
            (200, {"hello": 1}), "answers, but not as ComfyUI does (/system_stats: the key system is missing)", id="another service"
        ),
        pytest.param((404, b""), "/system_stats gives status 404", id="no such page"),
        pytest.param((401, b""), "refuses with 401", id="login wanted"),
        pytest.param((502, b""), "answers GET /system_stats with status 502", id="proxy without its pod"),
        pytest.param(None, "broke off the connection", id="no answer"),
    ],
)
def test_what_is_not_comfyui(answer: Any, words: str) -> None:
    with fake_server({"GET /system_stats": answer}) as fake, ComfyServer(fake.url) as server:
        with pytest.raises(UnavailableError) as caught:
            server.connect()
    assert words in str(caught.value)


ODD_ANSWERS: dict[str, tuple[list[Any], str]] = {
    "/system_stats": ([True, {"system": 3}, {"system": {}, "devices": 5}, {"system": {"comfyui_version": []}}], "info"),
    "/queue": ([[], {}, {"queue_running": [[]], "queue_pending": []}, {"queue_running": [True], "queue_pending": []}], "workload"),
    "/models": ([{}, [3], None], "model_folders"),
    "/models/loras": ([{"a": 1}, [["x"]]], "models loras"),
    "/object_info/KSampler": ([{"KSampler": {"input": []}}, [1], {"KSampler": 5}], "node KSampler"),
    "/object_info": ([[], 7], "node_classes"),
    "/history/p": ([[], {"p": []}, {"p": {"status": {"messages": [[]]}}}, {"p": {"outputs": []}}], "history p"),
}


@pytest.mark.parametrize(
    ("path", "body", "ask"),
    [pytest.param(path, body, ask, id=f"{path} {body}") for path, (bodies, ask) in ODD_ANSWERS.items() for body in bodies],
)
def test_answers_of_a_wrong_type_are_refused(path: str, body: Any, ask: str) -> None:
    method, *arguments = ask.split()
    with fake_server({f"GET {path}": (200, body)}) as fake, ComfyServer(fake.url) as server:
        with pytest.raises(UnavailableError) as caught:
            getattr(server, method)(*arguments)
    assert caught.value.why.startswith(f"answers, but not as ComfyUI does ({path}: ")


def test_limits_of_a_node_beyond_64_bits_are_no_fault() -> None:
    declared = {
        "Math": {"input": {"required": {"value": ["FLOAT", {"max": 1.7976931348623157e308, "min": -(10**40)}]}}, "output": ["FLOAT"]}
    }
    with fake_server({"GET /object_info/Math": (200, declared)}) as fake, ComfyServer(fake.url) as server:
        node = server.node("Math")
    assert node is not None
    assert (node.inputs["value"].type, node.outputs) == ("FLOAT", ("FLOAT",))


def test_nobody_listens() -> None:
    with fake_server({}) as fake:
        url = fake.url
    with ComfyServer(url) as server, pytest.raises(UnavailableError) as caught:
        server.connect()
    hint = "is ComfyUI running there? start it, or give another --comfy-url"
    assert str(caught.value) == f"{url}: cannot be reached (Connection refused) ({hint})"


def test_slow_answer_runs_into_the_timeout(embedded_server: Any) -> None:
    embedded = embedded_server(faults=Faults(delay_seconds={"GET /system_stats": 5.0}))
    with ComfyServer(embedded.url, timeout_seconds=0.1) as server, pytest.raises(UnavailableError, match="did not answer"):
        server.connect()


def test_redirected_address_is_taken_over() -> None:
    """A redirected POST arrives as a GET: the prompt must go to the new address."""
    with fake_server({"GET /system_stats": (200, STATS)}) as new:
        with fake_server({"GET /system_stats": (308, b"", {"Location": f"{new.url}/system_stats"})}) as old, ComfyServer(old.url) as server:
            server.info()
            assert server.url == new.url


def test_proxy_of_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with fake_server({"GET /x": (200, {"ok": True})}) as fake:
        transport = Transport(read_address(fake.url), timeout_seconds=5)
        assert transport.get_record("/x", dict) == {"ok": True}
        transport.close()
