"""The client of RunPod serverless on the stand-in endpoint, whose jobs run on the embedded server."""

from __future__ import annotations

import io
import json
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lifeos.errors import InputError, UnavailableError
from tests.tools.backends.job_graphs import plain_graph, sampled_graph
from tests.tools.backends.picture_file import small_png
from tests.tools.backends.three_kinds import KEY
from tests.tools.stand_in.embedded_graphs import flat_graph
from tools import prepare_servers
from tools.backends.backend import (
    Backend,
    BackendOptions,
    BusyError,
    LostPicture,
    PictureRef,
    PromptEnd,
    RejectedPrompt,
    StalledError,
    Tariff,
)
from tools.backends.comfyui import ComfyServer
from tools.backends.dispatch import Dispatcher, Job
from tools.backends.request_pace import RequestPace
from tools.backends.server_entry import ServerEntry
from tools.backends.serverless import Serverless
from tools.backends.serverless_answers import EndpointJob, ServerlessHealth, Workers, read_job_end
from tools.stand_in import start_embedded_server
from tools.stand_in.server import EmbeddedServer
from tools.stand_in.serverless_endpoint import EndpointFaults, ServerlessEndpoint

OpenEndpoint = Callable[..., ServerlessEndpoint]
OpenClient = Callable[..., Serverless]


@pytest.fixture(scope="session")
def comfyui() -> Iterator[EmbeddedServer]:
    with start_embedded_server() as server:
        yield server


@pytest.fixture
def open_endpoint(comfyui: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenEndpoint]:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    opened: list[ServerlessEndpoint] = []

    def open_one(workers: int = 1, url: str = comfyui.url, **faults: Any) -> ServerlessEndpoint:
        opened.append(ServerlessEndpoint(url, KEY, workers=workers, faults=EndpointFaults(**faults)))
        return opened[-1].__enter__()

    yield open_one
    for endpoint in opened:
        endpoint.__exit__(None, None, None)


@pytest.fixture
def open_client() -> Iterator[OpenClient]:
    opened: list[Serverless] = []

    def open_one(endpoint: ServerlessEndpoint, **more: Any) -> Serverless:
        opened.append(Serverless(endpoint.url, BackendOptions(**({"poll_seconds": 0.02, "outage_seconds": 1.0} | more))))
        opened[-1].on_note = lambda text: None
        return opened[-1]

    yield open_one
    for server in opened:
        server.close()


def new_id() -> str:
    return str(uuid.uuid4())


def only_end(server: Serverless) -> PromptEnd:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for end in server.wait(0.5):
            return end
    raise AssertionError("no end")


def end_of(server: Serverless, graph: dict[str, Any]) -> PromptEnd:
    server.submit(new_id(), graph)
    return only_end(server)


def noted(server: Serverless) -> list[str]:
    notes: list[str] = []
    server.on_note = notes.append
    return notes


@pytest.mark.parametrize("uses_store", [False, True], ids=["base64", "store"])
def test_a_picture_is_made_followed_and_fetched(open_endpoint: OpenEndpoint, open_client: OpenClient, uses_store: bool) -> None:
    endpoint = open_endpoint(uses_store=uses_store)
    server = open_client(endpoint)
    info = server.connect()
    assert (info.url, info.version) == (endpoint.url, "RunPod serverless")
    assert info.notice is not None
    prompt_id = new_id()
    handle = server.submit(prompt_id, plain_graph(color=0x102030, batch_size=2))
    assert handle in endpoint.jobs
    end = only_end(server)
    assert (end.prompt_id, end.kind, len(end.pictures)) == (prompt_id, "done", 2)
    assert end.seconds == endpoint.jobs[handle].execution_ms / 1000
    for ref in end.pictures:
        assert server.download(ref).startswith(b"\x89PNG")
    assert server.download(end.pictures[0]).startswith(b"\x89PNG")  # asked for again
    assert {token for part, token in endpoint.tokens if part == "store"} == ({None} if uses_store else set())


def test_a_store_on_plain_http_elsewhere_is_not_asked(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    endpoint = open_endpoint(workers=0)
    server = open_client(endpoint)
    handle = server.submit(new_id(), plain_graph())
    job = endpoint.jobs[handle]
    job.output = {"images": [{"filename": "x.png", "type": "s3_url", "data": "http://store.example/x.png"}]}
    job.status = "COMPLETED"
    (ref,) = only_end(server).pictures
    with pytest.raises(LostPicture, match="only https is followed") as caught:
        server.download(ref)
    assert caught.value.can_heal is False


def test_a_cut_picture_is_asked_for_again(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    endpoint = open_endpoint(cut_pictures=1)
    server = open_client(endpoint)
    (ref,) = end_of(server, plain_graph()).pictures
    assert server.download(ref).startswith(b"\x89PNG")
    assert endpoint.faults.cut_pictures == 0


def test_a_picture_over_the_limit_is_not_taken(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    server = open_client(open_endpoint(), max_picture_bytes=100)
    (ref,) = end_of(server, plain_graph()).pictures
    with pytest.raises(LostPicture, match="sends a picture of more than 100 bytes"):
        server.download(ref)


def test_an_expired_picture_is_lost(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    server = open_client(open_endpoint())
    with pytest.raises(LostPicture, match="its result has expired there"):
        server.download(PictureRef("x.png", handle="gone-u1/0"))


def without_saver() -> dict[str, Any]:
    graph = plain_graph()
    graph["2"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    return graph


def with_wrong_model() -> dict[str, Any]:
    graph = sampled_graph(1)
    graph["1"]["inputs"]["ckpt_name"] = "not_there.safetensors"
    return graph


ENDS: dict[str, tuple[dict[str, Any], Callable[[], dict[str, Any]], tuple[str, str, str, bool, bool]]] = {
    "failed": ({"ends": ["FAILED"]}, plain_graph, ("failed", "", "worker exited with exit code 1", True, False)),
    "timed out": ({"ends": ["TIMED_OUT"]}, plain_graph, ("failed", "", "the endpoint stopped it", True, False)),
    "cancelled": ({"ends": ["CANCELLED"]}, plain_graph, ("interrupted", "", "cancelled at the endpoint", True, False)),
    "memory": ({"ends": ["out of memory"]}, plain_graph, ("failed", "5 (KSampler)", "CUDA out of memory", True, False)),
    "other worker": ({"ends": ["other worker"]}, plain_graph, ("failed", "", "not delivered: the worker is another one", False, True)),
    "too large": (
        {"answer_limit_bytes": 99},
        plain_graph,
        ("failed", "", "not delivered: its pictures are larger", False, True),
    ),
    "no picture": ({}, without_saver, ("failed", "", "ended without a picture", False, True)),
    "rejected": (
        {},
        with_wrong_model,
        ("failed", "1 (CheckpointLoaderSimple)", "rejected: ckpt_name 'not_there", False, True),
    ),
}


@pytest.mark.parametrize(("faults", "graph", "wanted"), ENDS.values(), ids=ENDS)
def test_ends(
    open_endpoint: OpenEndpoint,
    open_client: OpenClient,
    faults: dict[str, Any],
    graph: Callable[[], dict[str, Any]],
    wanted: tuple[str, str, str, bool, bool],
) -> None:
    end = end_of(open_client(open_endpoint(**faults)), graph())
    kind, node, words, can_heal, is_set_up = wanted
    assert (end.kind, end.node, end.can_heal, end.is_set_up) == (kind, node, can_heal, is_set_up)
    assert end.message.startswith(words)
    assert end.out_of_memory == ("memory" in words)
    assert ("S3" in end.fix) == ("larger" in words)


def job(status: str = "COMPLETED", **more: Any) -> EndpointJob:
    return EndpointJob("1-u1", status, 1500.0, **more)


MISSING = {
    "error": {"type": "invalid_prompt", "message": "Cannot execute because node X does not exist.", "details": "Node ID '#9'"},
    "node_errors": {},
}
PICTURE = {"filename": "x.png", "type": "base64", "data": "AAAA"}
DOCUMENTS: dict[str, tuple[EndpointJob, tuple[str, str, bool]]] = {
    "no output at all": (job(), ("failed", "not delivered: it completed without an output", False)),
    "output of another kind": (job(output=["https://x/1.png"]), ("failed", "not delivered: the worker is another one", False)),
    "older worker": (job(output={"message": "AAAA", "status": "success"}), ("failed", "not delivered: the worker is another one", False)),
    "unknown type": (
        job(output={"images": [PICTURE, PICTURE | {"type": "gs"}]}),
        ("failed", "not delivered: the worker gives", False),
    ),
    "a remark": (job(output={"images": [PICTURE], "errors": ["Node 9 has gifs"]}), ("done", "Node 9 has gifs", False)),
    "one is missing": (
        job(output={"images": [PICTURE], "errors": ["Error uploading x.png to S3: 500"]}),
        ("failed", "Error uploading", False),
    ),
    "uncaught": (
        job("FAILED", error='{"error_type": "<class \'OSError\'>", "error_message": "ComfyUI server not reachable"}'),
        ("failed", "<class 'OSError'>: ComfyUI server not reachable", True),
    ),
    "no graph wanted": (job("FAILED", error="Missing 'workflow' parameter"), ("failed", "not run: the worker is another one", False)),
    "no reason": (job("FAILED"), ("failed", "the server gave no reason", False)),
    "missing node": (
        job("FAILED", error="Cannot execute because node X does not exist.. Raw response: " + json.dumps(MISSING)),
        ("failed", "rejected: Cannot execute because node X does not exist. Node ID '#9' (install the missing custom node", False),
    ),
    "raw text": (
        job("FAILED", error="ComfyUI validation failed (could not parse error response): <html>"),
        ("failed", "rejected: ComfyUI validation failed", False),
    ),
    "faults that are no Python": (
        job("FAILED", error="Workflow validation failed:\n• Node 5 (errors): [{'message': }\n• Node 5 (class_type): KSampler"),
        ("failed", "rejected: [{'message': }", False),
    ),
    "odd refusal": (
        job("FAILED", error="Workflow validation failed. Raw response: {}"),
        ("failed", "rejected: Workflow validation", False),
    ),
}


@pytest.mark.parametrize(("document", "wanted"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_what_an_answer_means(document: EndpointJob, wanted: tuple[str, str, bool]) -> None:
    end = read_job_end("a", document)
    assert (end.kind, end.can_heal, end.seconds) == (wanted[0], wanted[2], 1.5)
    assert end.is_rejection == end.message.startswith(("rejected", "not delivered", "not run"))  # another server may make it
    assert end.message.startswith(wanted[1])


def test_a_result_that_expired_is_made_again_once(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    endpoint = open_endpoint(forget_results=1)
    with Dispatcher([open_client(endpoint)]) as dispatcher:
        (finished,) = dispatcher.run([Job("1", plain_graph())])
    assert (finished.outcome.kind, finished.attempts, len(endpoint.jobs)) == ("done", 2, 2)
    endpoint.faults.forget_results = 9
    with Dispatcher([open_client(endpoint)]) as dispatcher:
        (finished,) = dispatcher.run([Job("1", plain_graph())])
    assert (finished.outcome.kind, len(endpoint.jobs)) == ("lost", 4)


def test_a_lost_answer_is_said_with_the_marks_of_the_picture(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    endpoint = open_endpoint(lose_run_answers=1)
    server = open_client(endpoint)
    notes = noted(server)
    assert end_of(server, sampled_graph(4711)).kind == "done"
    assert len(endpoint.jobs) == 2
    (note,) = notes
    assert "a picture may be made and charged twice, but is filed once; a second one has seed 4711 and name " in note


@pytest.mark.parametrize("is_known", [True, False])
def test_a_job_of_a_killed_run_is_adopted_by_its_name(open_endpoint: OpenEndpoint, open_client: OpenClient, is_known: bool) -> None:
    endpoint = open_endpoint()
    first, prompt_id, graph = open_client(endpoint), new_id(), plain_graph()
    handle = first.submit(prompt_id, graph)
    endpoint.jobs[handle].forgotten = not is_known
    server = open_client(endpoint)
    notes = noted(server)
    assert (server.submit(prompt_id, graph, ask_first=True, handle=handle) == handle) == is_known
    assert only_end(server).kind == "done"
    assert len(endpoint.jobs) == (1 if is_known else 2)
    assert [note for note in notes if "has expired there" in note] == ([] if is_known else notes)


def test_a_job_whose_name_was_never_recorded_is_said(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    server = open_client(open_endpoint())
    notes = noted(server)
    server.submit(new_id(), plain_graph(), ask_first=True)
    assert "an earlier run ended before RunPod named its job" in notes[0]


@pytest.mark.parametrize("route", ["run", "status", "health"])
def test_too_many_questions_make_all_of_them_slower(open_endpoint: OpenEndpoint, open_client: OpenClient, route: str) -> None:
    endpoint = open_endpoint(too_many={route: 2}, retry_after="0.2")
    server = open_client(endpoint)
    notes: list[str] = []
    began = time.monotonic()
    with Dispatcher([server], on_note=notes.append) as dispatcher:
        finished = list(dispatcher.run([Job(str(number), plain_graph()) for number in range(3)]))
    assert [each.outcome.kind for each in finished] == ["done"] * 3
    assert endpoint.counts[route] >= 3 or route == "health"
    assert [note for note in notes if "429" in note] == [
        f"{server.url}: RunPod is asked too often (status 429): asked again in 0.2 s, and more slowly"
    ]
    assert time.monotonic() - began >= 0.2


def test_the_pace_halves_with_each_answer_and_forgets_how_long_it_was_slow() -> None:
    pace = RequestPace("runpod://x", 0.0, "is asked too often", "wait")
    assert (pace.slow(None), pace.left > 0.5) == (1.0, True)
    pace.ease()
    assert pace.slow(None) == 1.0  # halved to 0.5, then doubled
    pace.ease()
    assert pace.slow(900.0) == 60.0
    with pytest.raises(StalledError, match="asked too often"):
        pace.slow(None)


def test_nothing_is_asked_or_wanted_in_a_pause(
    open_endpoint: OpenEndpoint, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = open_client(open_endpoint(workers=0, too_many={"status": 1}, retry_after="30"))
    server.submit("a", plain_graph())
    asked: list[float] = []
    ask = server._ask_what_is_due
    monkeypatch.setattr(server, "_ask_what_is_due", lambda: (asked.append(0.0), ask()))
    server.wait(0.3)
    assert len(asked) < 6
    assert server.depth(2) == 1
    monkeypatch.setattr("tools.backends.request_pace.SLICE_SECONDS", 0.02)
    with pytest.raises(BusyError):
        server.submit("b", plain_graph())


def test_an_endpoint_that_only_says_429_stands_still(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    server = open_client(open_endpoint(too_many={"run": 1000}, retry_after="0.02"), silence_seconds=0.1)
    with pytest.raises(StalledError, match="only that it is asked too often"):
        for _ in range(200):
            try:
                server.submit("a", plain_graph())
            except BusyError:
                continue


def test_a_cold_start_is_told_with_the_workers(
    open_endpoint: OpenEndpoint, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.backends.serverless.COLD_SECONDS", 0.1)
    server = open_client(open_endpoint(workers=2, cold_start_seconds=0.4))
    notes = noted(server)
    assert server.connect().device == "cold start, 2 workers starting"
    assert server.depth(2) == 4
    assert end_of(server, plain_graph()).kind == "done"
    (note,) = notes
    assert note.startswith("cold start: 2 workers starting; the first job has waited for 0 s")


def test_an_endpoint_without_workers_stands_still(
    open_endpoint: OpenEndpoint, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.backends.serverless.HEALTH_SECONDS", 0.02)
    monkeypatch.setattr("tools.backends.serverless.COLD_SECONDS", 0.05)
    server = open_client(open_endpoint(workers=0), silence_seconds=0.15)
    notes = noted(server)
    server.submit("a", plain_graph())
    with pytest.raises(StalledError, match="has no worker, and none has started"):
        server.wait(5.0)
    assert "no worker yet" in notes[0]


def test_cancel_stops_ours_alone(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    endpoint = open_endpoint(workers=0)
    server, other = open_client(endpoint), open_client(endpoint)
    mine, theirs = server.submit("mine", plain_graph()), other.submit("theirs", plain_graph())
    assert server.workload().waiting == (mine,)
    server.cancel(["mine", "never there"])
    assert {handle: endpoint.jobs[handle].status for handle in (mine, theirs)} == {mine: "CANCELLED", theirs: "IN_QUEUE"}
    assert server.wait(0.0) == []
    assert "purge-queue" not in endpoint.counts


def test_what_a_killed_run_left_is_cancelled_by_the_endpoint_s_name_for_it(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    endpoint = open_endpoint(workers=0)
    handle, spared = (open_client(endpoint).submit(name, plain_graph()) for name in ("mine", "spared"))
    open_client(endpoint).cancel(["mine", "spared"], {"mine": handle})
    assert {name: endpoint.jobs[name].status for name in (handle, spared)} == {handle: "CANCELLED", spared: "IN_QUEUE"}


@pytest.mark.parametrize(
    ("key", "endpoint_id", "words"),
    [
        pytest.param("rpa_WRONGKEY", "standin1", "RunPod refuses our key: it is wrong, or lacks the right", id="wrong key"),
        pytest.param(KEY, "nobody9", "there is no endpoint nobody9, or this key does not see it", id="no endpoint"),
    ],
)
def test_a_refusal_is_one_line_without_the_key(
    open_endpoint: OpenEndpoint, monkeypatch: pytest.MonkeyPatch, key: str, endpoint_id: str, words: str
) -> None:
    url = open_endpoint().url.replace("standin1", endpoint_id)
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    server = Serverless(url, BackendOptions())
    for ask in (server.connect, server.connect):
        with pytest.raises(UnavailableError, match=words) as caught:
            ask()
        assert str(caught.value).startswith(f"{url}: ")
        assert key not in str(caught.value)
    server.close()


def test_no_key_is_said_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(InputError, match="the variable RUNPOD_API_KEY: holds no token"):
        Serverless("runpod://abc123", BackendOptions())


@pytest.mark.parametrize(
    "url", ["runpod://", "runpod://a/b", "runpod://me@x", "runpod+http://pod.example:80/abc", "runpod+http://127.0.0.1:1/"]
)
def test_addresses_that_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with pytest.raises(InputError, match="runpod://ENDPOINT_ID"):
        Serverless(url, BackendOptions())


def test_costs_are_by_the_second_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    assert Serverless("runpod://abc123", BackendOptions()).tariff(0.72).of_work(10.0) == pytest.approx(0.002)  # 0.0002 a second
    told = Tariff(usd_per_work_second=0.00031)
    assert Serverless("runpod://abc123", BackendOptions(tariff=told)).tariff(0.72) == told


def test_models_are_refused_with_the_place_where_they_go(open_endpoint: OpenEndpoint, tmp_path: Path) -> None:
    header = json.dumps({"lora_unet_a.lora_down.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}).encode()
    lora = tmp_path / "amira.safetensors"
    lora.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    ((found,),) = prepare_servers.prepare_servers([ServerEntry(open_endpoint().url)], lora).values()
    assert found.severity == "error"
    assert f"put {lora} on the endpoint's network volume as /runpod-volume/models/loras/amira.safetensors" in found.fix


def test_pictures_that_a_graph_loads_go_along(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    endpoint = open_endpoint()
    server = open_client(endpoint)
    name = server.upload_picture("start.png", small_png())
    server.upload_picture("not_used.png", small_png())
    graph = flat_graph()
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": name}}
    (ref,) = end_of(server, graph).pictures
    assert server.download(ref).startswith(b"\x89PNG")
    (made,) = endpoint.jobs.values()
    assert [each["name"] for each in made.input["images"]] == ["start.png"]


def test_pictures_beyond_what_runpod_takes_are_refused_and_go_elsewhere(
    open_endpoint: OpenEndpoint, open_client: OpenClient, comfyui: EmbeddedServer
) -> None:
    endpoint = open_endpoint()
    server = open_client(endpoint)
    buffer = io.BytesIO()
    Image.effect_noise((1700, 1700), 90.0).convert("RGB").save(buffer, "BMP")  # 8.7 MB: 11.6 MB in base64

    def prepare(there: Backend, graph: dict[str, Any]) -> dict[str, Any]:
        told = there.upload_picture("large.bmp", buffer.getvalue())
        return graph | {"1": {"class_type": "LoadImage", "inputs": {"image": told}}}

    with pytest.raises(RejectedPrompt) as caught:
        server.submit(new_id(), prepare(server, plain_graph()))
    assert caught.value.message == "graph and pictures are 11.6 MB, more than the 10 MB that RunPod takes"
    with ComfyServer(comfyui.url) as plain:
        plain.connect()
        with Dispatcher([server, plain]) as dispatcher:
            (finished,) = dispatcher.run([Job("1", plain_graph(), prepare=prepare)])
    assert (finished.outcome.kind, finished.server, endpoint.jobs) == ("done", comfyui.url, {})


def test_only_the_newest_pictures_are_kept_for_jobs(open_endpoint: OpenEndpoint, open_client: OpenClient) -> None:
    server = open_client(open_endpoint(workers=0))
    for number in range(40):
        server.upload_picture(f"{number}.png", small_png())
    kept = list(server._inputs.values())
    assert len(kept) == len(list(kept[0].parent.iterdir())) == 32
    assert "39.png" in server._inputs


def test_health_in_words() -> None:
    assert ServerlessHealth(Workers(1, 2, 0, 1)).describe() == "2 workers at work, 1 worker ready, 1 worker throttled"


@pytest.mark.parametrize("ends", [[], ["other worker"] * 9], ids=["lacks the checkpoint", "another worker"])
def test_what_an_endpoint_cannot_make_goes_to_another_server(
    open_endpoint: OpenEndpoint, open_client: OpenClient, comfyui: EmbeddedServer, ends: list[str]
) -> None:
    with start_embedded_server(models=None if ends else {"checkpoints": [], "loras": []}) as bare:
        endpoint = open_client(open_endpoint(url=bare.url, ends=ends))
        with ComfyServer(comfyui.url) as plain:
            plain.connect()
            with Dispatcher([endpoint, plain]) as dispatcher:
                finished = list(dispatcher.run([Job(str(seed), sampled_graph(seed)) for seed in range(4)]))
    assert [(each.outcome.kind, each.server) for each in finished] == [("done", comfyui.url)] * 4
