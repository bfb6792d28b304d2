"""What the official proxy cannot show: a cloud that runs out of credits, is full, loses answers, forgets, and keeps its files elsewhere."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from lifeos.errors import UnavailableError
from tests.tools.backends.picture_file import small_png
from tools.backends.backend import BackendOptions, BusyError, LostPicture, PictureRef, PromptEnd, RejectedPrompt, StalledError
from tools.backends.comfy_api import ComfyApi
from tools.backends.comfy_api_answers import own_path
from tools.backends.credentials import Credential
from tools.backends.dispatch import Dispatcher, Job

GRAPH = {"1": {"class_type": "SaveImage", "inputs": {}}, "2": {"class_type": "PreviewImage", "inputs": {}}}
TOKEN = "cloud-token-77aa"

Answer = tuple[int, dict[str, Any] | bytes, dict[str, str]]


@dataclass
class Cloud:
    """`on_create` is asked before each job with its number: an answer instead of one, or `lose`: made, and the connection cut."""

    url: str = ""
    listed: bool = True
    file_host: str = ""
    on_create: Callable[[int], Answer | str | None] = lambda number: None
    on_job: Callable[[str], Answer | None] = lambda job_id: None
    end: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def handle(self, method: str, path: str, headers: Any, body: bytes) -> Answer | None:
        self.requests.append((f"{method} {path}", headers.get("Authorization")))
        if path == "/api/v2/health":
            return 200, {"status": "healthy"}, {}
        if path.startswith("/api/v2/assets/"):
            return 302, b"", {"Location": f"{self.file_host}/files/1?signature=s"}
        if path.startswith("/files/"):
            return (200, small_png(), {}) if headers.get("Authorization") is None else (400, b"", {})
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"error": {"code": "unauthorized", "message": f"bad {headers.get('Authorization')}"}}, {}
        if method == "POST" and path == "/api/v2/jobs":
            return self._create(headers["Idempotency-Key"], json.loads(body))
        if path.startswith("/api/v2/jobs?"):
            return (200, {"jobs": list(self.jobs.values())}, {}) if self.listed else (405, b"", {})
        job_id = path.split("/")[4]
        if path.endswith("/cancel"):
            self.jobs[job_id]["status"] = "canceled"
        told = self.on_job(job_id)
        if told is not None:
            return told
        return (200, self.jobs[job_id], {"X-Comfy-Credits-Used": "12.5"}) if job_id in self.jobs else (404, b"", {})

    def _create(self, key: str, body: dict[str, Any]) -> Answer | None:
        assert key not in self.keys
        self.keys.append(key)
        told = self.on_create(len(self.keys))
        if isinstance(told, tuple):
            return told
        job_id = f"job-{len(self.jobs) + 1}"
        output = {"node_id": "1", "name": "x.png", "type": "image", "url": f"{self.url}/api/v2/assets/1/content"}
        shown = output | {"node_id": "2", "name": "preview.png"}
        ended = {
            "status": "succeeded",
            "outputs": [shown, output],
            "started_at": "2026-11-30T10:00:00Z",
            "completed_at": "2026-11-30T10:00:07Z",
        }
        self.jobs[job_id] = {"id": job_id, "metadata": body["metadata"], "urls": {"cancel": f"/api/v2/jobs/{job_id}/cancel"}}
        self.jobs[job_id] |= ended | self.end
        return None if told == "lose" else (201, self.jobs[job_id] | {"status": "queued"}, {})


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    state = Cloud()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = state.handle(self.command, self.path, self.headers, body)
            if answer is None:
                self.close_connection = True
                return
            status, content, headers = answer
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def log_message(self, *parts: object) -> None:
            pass

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    for each in servers:
        threading.Thread(target=each.serve_forever, args=(0.02,), daemon=True).start()
    state.url, state.file_host = (f"http://127.0.0.1:{each.server_port}" for each in servers)
    yield state
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.fixture
def open_client(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ComfyApi]]:
    monkeypatch.setenv("CLOUD_TOKEN", TOKEN)
    monkeypatch.setattr("tools.backends.comfy_api.SETTLE_SECONDS", 0.0)
    opened: list[ComfyApi] = []

    def open_one(**more: Any) -> ComfyApi:
        settings = {"poll_seconds": 0.02, "outage_seconds": 1.0} | more
        opened.append(ComfyApi(f"comfy+{cloud.url}", BackendOptions(credential=Credential(variable="CLOUD_TOKEN"), **settings)))
        return opened[-1]

    yield open_one
    for server in opened:
        server.close()


def only_end(server: ComfyApi) -> PromptEnd:
    (end,) = server.wait(5.0)
    return end


def test_credits_time_and_the_saved_picture_alone(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    server = open_client()
    assert server.connect().device == "a cloud"
    server.submit("a", GRAPH)
    end = only_end(server)
    assert (end.kind, end.seconds, end.credits, [ref.filename for ref in end.pictures]) == ("done", 7.0, 12.5, ["x.png"])
    assert server.download(end.pictures[0]) == small_png()
    assert [token for request, token in cloud.requests if request.startswith("GET /files/")] == [None]
    assert [token for request, token in cloud.requests if request.startswith("GET /api/v2/assets/")] == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize("fault", ["lose", "503", "reuse"])
@pytest.mark.parametrize("was_made", [True, False], ids=["made", "not made"])
def test_a_lost_answer_is_settled_before_another_job(
    cloud: Cloud, open_client: Callable[..., ComfyApi], fault: str, was_made: bool
) -> None:
    def first_fails(number: int) -> Answer | str | None:
        if number > 1:
            return None
        if was_made:
            cloud.jobs["job-0"] = {"id": "job-0", "status": "succeeded", "metadata": "lifeos-a", "outputs": []}
        if fault == "lose":
            raise ConnectionAbortedError  # nothing is answered
        code = "upstream_unreachable" if fault == "503" else "idempotency_key_reuse"
        return (503 if fault == "503" else 422), {"error": {"code": code, "message": "?"}}, {}

    cloud.on_create = first_fails
    server = open_client()
    server.connect()
    assert server.submit("a", GRAPH) == ("job-0" if was_made else "job-1")
    assert len(cloud.keys) == (1 if was_made else 2)


def test_where_nothing_is_listed_a_lost_answer_is_said(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    cloud.listed = False
    cloud.on_create = lambda number: "lose" if number == 1 else None
    server, notes = open_client(), []
    server.on_note = notes.append
    server.connect()
    server.submit("a", GRAPH)
    assert len(notes) == 1
    assert "a picture may be made twice" in notes[0]


@pytest.mark.parametrize(("status", "words"), [(402, "has no credits left for us"), (401, "refuses our token"), (404, "no Comfy API v2")])
def test_a_refusal_ends_it_at_once_and_bars_the_server(cloud: Cloud, open_client: Callable[..., ComfyApi], status: int, words: str) -> None:
    cloud.on_create = lambda number: (status, {"error": {"code": "x", "message": f"no, Bearer {TOKEN}"}}, {})
    server = open_client()
    server.connect()
    for ask in (lambda: server.submit("a", GRAPH), server.connect):
        with pytest.raises(UnavailableError, match=words) as caught:
            ask()
        assert TOKEN not in str(caught.value)
    assert len(cloud.keys) == 1


def test_a_refused_graph_names_the_node_and_never_our_token(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    fault = {"errors": [{"type": "bad", "message": f"seed is odd {TOKEN}"}], "class_type": "KSampler"}
    details = {"node_errors": {"5": fault}}
    cloud.on_create = lambda number: (422, {"error": {"code": "invalid_workflow", "message": "no", "details": details}}, {})
    with pytest.raises(RejectedPrompt) as caught:
        open_client().submit("a", GRAPH)
    assert (caught.value.node, caught.value.message) == ("5 (KSampler)", "seed is odd ***")


def test_a_full_queue_is_left_alone_as_long_as_it_says(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    full: Answer = (429, {"error": {"code": "queue_full", "message": "full"}}, {"Retry-After": "0.3"})
    cloud.on_create = lambda number: full if number <= 2 else None
    notes: list[str] = []
    server = open_client()
    server.connect()
    began = time.monotonic()
    with Dispatcher([server], on_note=notes.append) as dispatcher:
        finished = list(dispatcher.run([Job("1", GRAPH)]))
    assert [each.outcome.kind for each in finished] == ["done"]
    assert [each.attempts for each in finished] == [1]
    assert time.monotonic() - began >= 0.6
    assert [note for note in notes if "full" in note] == [f"{server.url}: its queue is full: asked again in 0.3 s"]


def test_a_queue_that_stays_full_is_a_server_that_stands_still(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    cloud.on_create = lambda number: (429, b"", {"Retry-After": "0.05"})
    server = open_client(silence_seconds=0.1)
    with pytest.raises(StalledError, match="has taken no job for"):
        for _ in range(100):
            try:
                server.submit("a", GRAPH)
            except BusyError:
                continue


ENDS = {
    "expired": ({"status": "expired"}, ("lost", "its results have expired there", False)),
    "cancelled": ({"status": "canceled"}, ("interrupted", "cancelled at the server", True)),
    "cached": ({"outputs": [], "outputs_reused": True}, ("failed", "served from the server's cache, without a new picture", True)),
    "empty": ({"outputs": []}, ("failed", "ended without a picture: no node saved one", False)),
    "failed": (
        {"status": "failed", "error": {"code": "node_execution_error", "message": "CUDA out of memory", "node_id": 4, "class_type": "K"}},
        ("failed", "CUDA out of memory", True),
    ),
}


@pytest.mark.parametrize(("job", "wanted"), ENDS.values(), ids=ENDS)
def test_ends(cloud: Cloud, open_client: Callable[..., ComfyApi], job: dict[str, Any], wanted: tuple[str, str, bool]) -> None:
    cloud.end = job
    server = open_client()
    server.submit("a", GRAPH)
    end = only_end(server)
    assert (end.kind, end.message, end.can_heal, end.credits) == (*wanted, 12.5)
    assert end.out_of_memory == ("memory" in wanted[1])


def test_a_job_that_is_missed_once_is_not_lost(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    missed: list[str] = []

    def miss_once(job_id: str) -> Any:
        missed.append(job_id)
        return (404, b"", {}) if len(missed) == 1 else None

    cloud.on_job = miss_once
    server = open_client()
    server.connect()
    server.submit("a", GRAPH)
    assert only_end(server).kind == "done" and len(missed) == 2


def test_a_job_of_a_killed_run_that_is_missed_once_is_adopted(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    """By its name alone: a proxy that was started anew knows no metadata."""
    cloud.listed = False
    first = open_client()
    first.connect()
    handle = first.submit("a", GRAPH)
    looks: list[str] = []

    def miss_once(job_id: str) -> Any:
        looks.append(job_id)
        return (404, b"", {}) if len(looks) == 1 else None

    cloud.on_job = miss_once
    server = open_client()
    server.connect()
    assert server.submit("a", GRAPH, ask_first=True, handle=handle) == handle
    assert len(cloud.jobs) == 1


def test_a_job_that_is_not_known_any_more_is_made_again(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    cloud.on_job = lambda job_id: (404, b"", {}) if job_id == "job-1" else None
    server = open_client()
    server.connect()
    notes: list[str] = []
    with Dispatcher([server], on_note=notes.append) as dispatcher:
        (finished,) = dispatcher.run([Job("1", GRAPH)])
    assert (finished.outcome.kind, finished.attempts, len(cloud.jobs)) == ("done", 2, 2)
    assert "was lost (the server does not know the job any more" in notes[0]


def test_an_expired_output_is_a_lost_picture(open_client: Callable[..., ComfyApi]) -> None:
    with pytest.raises(LostPicture, match="its job has expired there"):
        open_client().download(PictureRef("x.png", handle="job-9/0"))


def test_a_token_that_expires_in_the_middle_stops_the_polling(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    server = open_client()
    server.submit("a", GRAPH)
    cloud.on_job = lambda job_id: (401, b"", {})
    with pytest.raises(UnavailableError, match="refuses our token"):
        server.wait(5.0)


def test_a_machine_that_starts_is_told_once(cloud: Cloud, open_client: Callable[..., ComfyApi], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.backends.comfy_api.COLD_SECONDS", 0.0)
    cloud.end = {"status": "queued"}
    server, notes = open_client(), []
    server.on_note = notes.append
    server.submit("a", GRAPH)
    server.wait(0.1)
    assert len(notes) == 1
    assert "a machine is starting" in notes[0]


def test_what_a_killed_run_left_is_cancelled_by_the_server_s_name_for_it(cloud: Cloud, open_client: Callable[..., ComfyApi]) -> None:
    cloud.end = {"status": "queued"}
    handle, spared = (open_client().submit(name, GRAPH) for name in ("mine", "spared"))
    open_client().cancel(["mine", "spared"], {"mine": handle})
    assert {name: cloud.jobs[name]["status"] for name in (handle, spared)} == {handle: "canceled", spared: "queued"}


OWN = {
    "/api/v2/jobs/1/cancel": "/api/v2/jobs/1/cancel",
    "http://pod.example/api/v2/x?a=1": "/api/v2/x?a=1",  # it does not know that we came by https
    "http://10.0.0.3:8189/api/v2/x": "/api/v2/x",  # nor under which name
    "https://pod.example:8189/base/api/v2/x": "/api/v2/x",
    "https://files.example/api/v2/x": None,
    "ftp://pod.example/x": None,
}


@pytest.mark.parametrize(("told", "path"), OWN.items())
def test_which_addresses_are_the_server_s_own(told: str, path: str | None) -> None:
    assert own_path("https://pod.example/base", told) == path
