"""Servers that refuse, lie or differ: one clear line each, at once where no other try helps, and never a token in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lifeos.errors import UnavailableError
from tests.tools.backends.fakes import Fake, fake_server
from tests.tools.backends.job_graphs import plain_graph
from tests.tools.backends.picture_file import small_png
from tests.tools.backends.raw_server import http, raw_server
from tools.backends.address import Address
from tools.backends.backend import Backend, BackendOptions
from tools.backends.comfyui import ComfyServer
from tools.backends.credentials import Credential
from tools.backends.dispatch import Dispatcher, Job
from tools.backends.registry import open_backends
from tools.backends.server_entry import ServerEntry
from tools.backends.transport import Transport
from tools.stand_in import start_embedded_server

TOKEN = "secret-token-41f0"
ID = "7d1f8c1e-0000-4000-8000-000000000001"
OTHER = "7d1f8c1e-0000-4000-8000-000000000002"

PICTURE = {"filename": "x.png", "type": "base64", "data": "AAAA"}
TRUE: dict[str, dict[str, Any]] = {
    "http": {
        "GET /system_stats": {"system": {"comfyui_version": "0.33.0"}, "devices": []},
        "POST /prompt": {"prompt_id": ID, "node_errors": {}},
        "GET /queue": {"queue_running": [], "queue_pending": []},
        f"GET /history/{ID}": {},
    },
    "comfy+http": {
        "GET /api/v2/health": {"status": "healthy"},
        "GET /api/v2/jobs": {"jobs": []},
        "POST /api/v2/jobs": {"id": ID, "status": "queued"},
        f"GET /api/v2/jobs/{ID}": {"id": ID, "status": "running"},
        f"POST /api/v2/jobs/{ID}/cancel": {},
    },
    "runpod+http": {
        "GET /e1/health": {"workers": {"idle": 1, "running": 0}},
        "POST /e1/run": {"id": ID, "status": "IN_QUEUE"},
        f"GET /e1/status/{ID}": {"id": ID, "status": "IN_PROGRESS"},
        f"POST /e1/cancel/{ID}": {},
    },
}
"""The first answers of a sound server of each kind: connected, one job queued, followed."""

SUBMIT = {"http": "POST /prompt", "comfy+http": "POST /api/v2/jobs", "runpod+http": "POST /e1/run"}
FOLLOW = {"http": f"GET /history/{ID}", "comfy+http": f"GET /api/v2/jobs/{ID}", "runpod+http": f"GET /e1/status/{ID}"}
CONNECT = {"http": "GET /system_stats", "comfy+http": "GET /api/v2/health", "runpod+http": "GET /e1/health"}


def sound(scheme: str, **changed: Any) -> dict[str, Any]:
    return {route: (200, answer) for route, answer in TRUE[scheme].items()} | changed


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_TOKEN", TOKEN)
    monkeypatch.setattr("tools.backends.comfy_api.SETTLE_SECONDS", 0.0)


def entry(scheme: str, fake: Fake) -> ServerEntry:
    url = fake.url.replace("http", scheme, 1) + ("/e1" if scheme.startswith("runpod") else "")
    return ServerEntry(url, Credential(variable="POD_TOKEN"))


def follow(scheme: str, fake: Fake, **options: Any) -> Iterator[Backend]:
    with open_backends([entry(scheme, fake)], BackendOptions(**({"poll_seconds": 0.02, "outage_seconds": 30} | options))) as (server,):
        server.connect()
        yield server


def said_of(scheme: str, answers: dict[str, Any], **options: Any) -> str:
    """What a run hears of a server of which it wants one picture."""
    with fake_server(answers) as fake, pytest.raises(UnavailableError) as caught:
        for server in follow(scheme, fake, **options):
            server.submit(ID, plain_graph())
            while not (ends := server.wait(5.0)):
                pass
            raise AssertionError(ends)
    text = str(caught.value)
    assert "\n" not in text
    assert TOKEN not in text
    return text


@pytest.mark.parametrize("scheme", TRUE)
@pytest.mark.parametrize("when", [CONNECT, SUBMIT, FOLLOW], ids=["at first", "at a job", "in the middle"])
def test_a_token_that_is_refused_is_said_at_once_with_its_place(scheme: str, when: dict[str, str]) -> None:
    """Not after the 30 seconds that a server may be gone."""
    text = said_of(scheme, sound(scheme, **{when[scheme]: (401, f"no: Bearer {TOKEN}".encode())}))
    assert "401" in text
    assert "gone for" not in text
    assert "check the token in the variable POD_TOKEN" in text


@pytest.mark.parametrize("scheme", TRUE)
def test_the_others_go_on_without_a_server_whose_token_has_expired(scheme: str) -> None:
    notes: list[str] = []
    with fake_server(sound(scheme, **{FOLLOW[scheme]: (401, b""), SUBMIT[scheme]: (401, b"")})) as fake:
        with start_embedded_server() as good, ComfyServer(good.url) as plain:
            plain.connect()
            for server in follow(scheme, fake):
                with Dispatcher([server, plain], on_note=notes.append) as dispatcher:
                    finished = list(dispatcher.run([Job(str(number), plain_graph()) for number in range(4)]))
    assert [(each.outcome.kind, each.server) for each in finished] == [("done", good.url)] * 4
    assert [note for note in notes if "check the token in the variable POD_TOKEN" in note]
    assert not [note for note in notes if TOKEN in note]


@pytest.mark.parametrize("scheme", ["comfy+http", "runpod+http"])
def test_an_answer_for_somebody_else_s_job_is_not_taken(scheme: str) -> None:
    ended = {"comfy+http": {"id": OTHER, "status": "succeeded"}, "runpod+http": {"id": OTHER, "status": "COMPLETED", "output": {}}}
    text = said_of(scheme, sound(scheme, **{FOLLOW[scheme]: (200, ended[scheme])}), outage_seconds=0.1)
    assert f"(asked for job {ID}, it tells of {OTHER})" in text


def test_a_job_that_comes_back_as_another_s_is_not_taken() -> None:
    made = (201, {"id": ID, "status": "queued", "metadata": "lifeos-of-another-run"})
    text = said_of("comfy+http", sound("comfy+http", **{SUBMIT["comfy+http"]: made}), outage_seconds=0.1)
    assert "(a job of ours comes back with the metadata of another)" in text


BODIES: dict[str, Any] = {
    "a web page": b"<html>Welcome</html>",
    "nothing": b"",
    "a list": [],
    "another record": {"hello": 1},
    "words for numbers": {"id": 5, "status": ["x"], "workers": "many", "system": 3, "upstream": {}},
    "a status that nobody knows": {"id": ID, "status": "dreaming", "workers": {"idle": "x"}, "system": {"comfyui_version": []}},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("scheme", ["comfy+http", "runpod+http"])
@pytest.mark.parametrize("when", [CONNECT, SUBMIT, FOLLOW], ids=["connect", "submit", "follow"])
def test_what_is_no_answer_of_its_kind_is_said_with_the_place(scheme: str, when: dict[str, str], body: Any) -> None:
    if (when, body) == (CONNECT, BODIES["a status that nobody knows"]) and scheme == "comfy+http":
        body = {"status": 5}
    text = said_of(scheme, sound(scheme, **{when[scheme]: (200, body)}), outage_seconds=0.05)
    kind = {"comfy+http": "Comfy API v2", "runpod+http": "RunPod"}[scheme]
    assert f"answers, but not as {kind} does (" in text


def test_a_proxy_of_a_later_version_is_understood_as_far_as_we_know_it() -> None:
    """Fields that nobody knows are left alone; one that lists no jobs and cancels none is no fault. Its clock does not matter: results
    that expired before they were made, a start after the end."""
    job = {"id": ID, "status": "succeeded", "expires_at": "1999-01-01T00:00:00Z", "region": {"name": ["x"]}, "queue_position": None}
    job |= {"started_at": "2026-11-30T10:00:07Z", "completed_at": "2026-11-30T10:00:00Z", "outputs_reused": False}
    job["outputs"] = [{"node_id": "2", "name": "x.png", "type": "image", "url": "/api/v2/assets/1/content", "lineage": []}]
    answers = sound("comfy+http", **{FOLLOW["comfy+http"]: (200, job), "GET /api/v2/jobs": (404, b"")})
    answers |= {"GET /api/v2/assets/1/content": (200, small_png()), f"POST /api/v2/jobs/{ID}/cancel": (404, b"")}
    answers["POST /api/v2/jobs"] = (202, {"id": ID, "status": "queued", "priority": {"class": "batch"}})
    with fake_server(answers) as fake:
        for server in follow("comfy+http", fake):
            server.submit("mine", plain_graph())
            (end,) = server.wait(5.0)
            assert (end.kind, end.seconds) == ("done", None)
            assert server.download(end.pictures[0]) == small_png()
            server.submit("other", plain_graph())
            server.cancel(["other"])


DATES = {
    "seconds": ({"Retry_After": "7"}, 7.0),
    "a date, by the server's own clock": ({"Retry_After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
    "a date that is over": ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0.0),
    "a date alone": ({"Retry_After": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
    "nonsense": ({"Retry_After": "soon", "Date": "x"}, None),
}


@pytest.mark.parametrize(("headers", "seconds"), DATES.values(), ids=DATES)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    with raw_server(lambda head: [http(json.dumps({}).encode(), "429 Too Many Requests", Connection="close", **headers)]) as server:
        transport = Transport(Address(server.url, None), timeout_seconds=5)
        assert transport.get_once("/x").retry_after == seconds
        transport.close()
