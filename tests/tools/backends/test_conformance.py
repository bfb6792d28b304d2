"""What every row of the registry keeps, and a toy: a prompt's life, what a crash leaves, what is offered. (`test_contract.py` has more of
ComfyUI's own protocol, and takes a real server.)"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lifeos.errors import InputError, UnavailableError
from tests.tools.backends import toy_backend
from tests.tools.backends.api_proxy import Proxied
from tests.tools.backends.job_graphs import plain_graph, sampled_graph
from tests.tools.backends.three_kinds import KEY
from tests.tools.backends.toy_backend import MACHINES, ToyMachine
from tools.backends.backend import Backend, BackendOptions, LostPicture, PictureRef, PromptEnd, RejectedPrompt, Tariff
from tools.backends.credentials import Credential
from tools.backends.registry import BACKENDS, open_backends
from tools.backends.server_entry import ServerEntry
from tools.stand_in import Faults, start_embedded_server
from tools.stand_in.serverless_endpoint import ServerlessEndpoint

PATIENCE = 20.0
GRAPH = {"2": {"class_type": "SaveImage", "inputs": {}}}


@dataclass(frozen=True)
class Kind:
    """A server of one kind. `accepted` tells how many prompts it took; `lose_answers` has it lose the answers to the next ones.

    `is_asked`: it can be asked whether it has a prompt whose answer was lost, so that none is made twice.
    """

    entry: ServerEntry
    accepted: Callable[[], int]
    lose_answers: Callable[[int], None]
    is_asked: bool = True
    has_models: Callable[[], list[str]] = list


def plain_kind(url: str, server: Any) -> Kind:
    def lose(count: int) -> None:
        server.faults.lose_prompt_replies = count

    return Kind(ServerEntry(url), lambda: server.counters["accepted"], lose, has_models=lambda: server.list_models("loras"))


@pytest.fixture(scope="module")
def plain() -> Iterator[Kind]:
    with start_embedded_server(seconds_per_picture=0.4, faults=Faults()) as server:
        yield plain_kind(server.url, server)


@pytest.fixture(scope="module")
def behind_proxy(proxied: Proxied) -> Kind:
    def lose(count: int) -> None:
        proxied.faults.lose_job_answers = count

    entry = ServerEntry(proxied.url, Credential(file=proxied.token_file))
    there = proxied.models / "loras"
    return Kind(entry, lambda: proxied.comfyui.counters["accepted"], lose, has_models=lambda: [file.name for file in there.iterdir()])


@pytest.fixture(scope="module")
def endpoint(proxied: Proxied) -> Iterator[Kind]:
    with pytest.MonkeyPatch.context() as patch, ServerlessEndpoint(proxied.comfyui.url, KEY) as server:
        patch.setenv("RUNPOD_API_KEY", KEY)

        def lose(count: int) -> None:
            server.faults.lose_run_answers = count

        yield Kind(ServerEntry(server.url), lambda: len(server.jobs), lose, is_asked=False)


@pytest.fixture(scope="module")
def toy() -> Iterator[Kind]:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (0x10, 0x20, 0x30)).save(buffer, "PNG")
    machine = MACHINES["toy://conformance"] = ToyMachine(buffer.getvalue())

    def lose(count: int) -> None:
        machine.loses_answers = count

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKENDS, "toy", toy_backend.__name__)
        yield Kind(ServerEntry("toy://conformance"), lambda: len(machine.jobs), lose)


KINDS = {"plain": "http", "behind_proxy": "comfy+http", "endpoint": "runpod+http", "toy": "toy"}
REAL = [name for name in KINDS if name != "toy"]
"""Fixture and scheme of each. The embedded back end is one of its own: it comes and goes with its client."""


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def client_of() -> Iterator[Callable[[Kind], Backend]]:
    """A factory of connected clients, closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def open_one(kind: Kind) -> Backend:
            (server,) = stack.enter_context(open_backends([kind.entry], BackendOptions(poll_seconds=0.03, outage_seconds=3)))
            server.connect()
            return server

        yield open_one


ClientOf = Callable[[Kind], Backend]
every_kind = pytest.mark.parametrize("kind", KINDS, indirect=True)
real_kinds = pytest.mark.parametrize("kind", REAL, indirect=True)


def new_id() -> str:
    return str(uuid.uuid4())


def ends_of(server: Backend, *prompt_ids: str) -> dict[str, PromptEnd]:
    found: dict[str, PromptEnd] = {}
    until = time.monotonic() + PATIENCE
    while not found.keys() >= set(prompt_ids):
        assert time.monotonic() < until, f"only {found}"
        for end in server.wait(0.5):
            assert end.prompt_id not in found, "told twice"
            found[end.prompt_id] = end
    return found


def test_every_module_of_the_registry_is_held_to_it() -> None:
    assert {BACKENDS[scheme] for scheme in KINDS.values() if scheme != "toy"} | {BACKENDS["embedded"]} == set(BACKENDS.values())


@every_kind
def test_a_prompt_ends_once_and_its_picture_is_fetched_whole(kind: Kind, client_of: ClientOf) -> None:
    server, prompt_id = client_of(kind), new_id()
    assert server.submit(prompt_id, plain_graph(color=0x102030))
    (end,) = ends_of(server, prompt_id).values()
    assert (end.kind, len(end.pictures)) == ("done", 1)
    assert server.wait(0.0) == []
    for _ in range(2):
        picture = Image.open(io.BytesIO(server.download(end.pictures[0])))
        assert picture.convert("RGB").getpixel((5, 5)) == (0x10, 0x20, 0x30)
    with pytest.raises(LostPicture):
        server.download(PictureRef("gone.png", "nowhere", handle=f"{new_id()}/0"))


@every_kind
def test_what_a_killed_run_sent_is_followed_not_made_again(kind: Kind, client_of: ClientOf) -> None:
    """`close` leaves what is queued. The next run knows what was recorded: our id, and the server's name for it."""
    prompt_id, graph = new_id(), sampled_graph(5)
    with open_backends([kind.entry], BackendOptions(poll_seconds=0.03)) as (before,):
        before.connect()
        handle = before.submit(prompt_id, graph)
    count = kind.accepted()
    server = client_of(kind)
    assert server.submit(prompt_id, graph, ask_first=True, handle=handle) == handle
    assert ends_of(server, prompt_id)[prompt_id].kind == "done"
    assert kind.accepted() == count


@every_kind
def test_a_lost_answer_is_settled_or_said(kind: Kind, client_of: ClientOf) -> None:
    server, prompt_id, notes = client_of(kind), new_id(), list[str]()
    server.on_note = notes.append
    count = kind.accepted()
    kind.lose_answers(1)
    server.submit(prompt_id, sampled_graph(6))
    assert ends_of(server, prompt_id)[prompt_id].kind == "done"
    assert kind.accepted() - count == (1 if kind.is_asked else 2)
    assert any("made and charged twice" in note for note in notes) != kind.is_asked


@every_kind
def test_what_is_offered_works_and_what_is_not_is_refused(kind: Kind, client_of: ClientOf, tmp_path: Path) -> None:
    hold_to_its_offers(client_of(kind), kind.has_models, tmp_path)


@pytest.fixture
def embedded() -> Iterator[Backend]:
    with open_backends(["embedded"], BackendOptions(poll_seconds=0.03)) as (server,):
        server.connect()
        yield server


def test_the_embedded_back_end_too(embedded: Backend, tmp_path: Path) -> None:
    hold_to_its_offers(embedded, lambda: embedded.models("loras"), tmp_path)
    prompt_id = new_id()
    assert embedded.submit(prompt_id, plain_graph()) == prompt_id
    assert ends_of(embedded, prompt_id)[prompt_id].kind == "done"


def hold_to_its_offers(server: Backend, has_models: Callable[[], list[str]], tmp_path: Path) -> None:
    offers = server.offers
    if offers.lists_models:
        assert "embedded_demo_sdxl.safetensors" in server.models("checkpoints")
    if offers.lists_nodes:
        assert (server.node("KSampler") is None, server.node("NoSuchNode")) == (False, None)
    assert offers.shares_memory or server.info().vram_total is None
    server.free_memory()
    file = tmp_path / f"{uuid.uuid4().hex}.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + uuid.uuid4().bytes[:8])
    if offers.takes_models:
        assert server.upload_model("loras", file) == file.name
        assert file.name in has_models()
    else:
        with pytest.raises(InputError, match="takes no model files"):
            server.upload_model("loras", file)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (201, 101, 51)).save(buffer, "PNG")
    if not offers.takes_pictures:
        with pytest.raises(InputError, match="takes no pictures"):
            server.upload_picture("start.png", buffer.getvalue())
        return
    names = {server.upload_picture(name, buffer.getvalue()) for name in ("start.png", "start.png", "same bytes.png")}
    assert len(names) == 2
    for name in sorted(names):
        prompt_id, graph = new_id(), plain_graph()
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": name}}
        server.submit(prompt_id, graph)
        (end,) = ends_of(server, prompt_id).values()
        picture = Image.open(io.BytesIO(server.download(end.pictures[0])))
        assert picture.convert("RGB").getpixel((5, 5)) == (201, 101, 51)


@real_kinds
def test_cancelling_stops_ours_and_nobody_else_s(kind: Kind, client_of: ClientOf) -> None:
    server, other = client_of(kind), client_of(kind)
    mine, theirs = [new_id(), new_id()], new_id()
    handles = [server.submit(prompt_id, sampled_graph(at)) for at, prompt_id in enumerate(mine, 100)]
    other.submit(theirs, sampled_graph(102))
    there = server.workload()
    assert {*there.running, *there.waiting} & set(handles)
    assert there.by_lifeos >= {handles[-1]}
    server.cancel([*mine, new_id()])
    assert ends_of(other, theirs)[theirs].kind == "done"
    assert server.wait(0.0) == []
    there = server.workload()
    assert not {*there.running, *there.waiting} & set(handles)
    assert server.progress == {}


def with_missing_file() -> dict[str, Any]:
    graph = sampled_graph(1)
    graph["1"]["inputs"]["ckpt_name"] = "not_there.safetensors"
    return graph


def with_missing_node() -> dict[str, Any]:
    return plain_graph() | {"1": {"class_type": "NotInstalled", "inputs": {}}}


LACKING = {  # a proxy does not tell which node has the class
    "file": (with_missing_file, {"1 (CheckpointLoaderSimple)"}, "ckpt_name 'not_there.safetensors' is not on the server", "nearest"),
    "node": (
        with_missing_node,
        {"1 (NotInstalled)", ""},
        "'NotInstalled' not found",
        "install the missing custom node",
    ),
}


@real_kinds
@pytest.mark.parametrize(("graph", "nodes", "why", "fix"), LACKING.values(), ids=LACKING)
def test_what_it_lacks_is_a_rejection_in_the_same_words(
    kind: Kind, client_of: ClientOf, graph: Callable[[], dict[str, Any]], nodes: set[str], why: str, fix: str
) -> None:
    """At once where the server looks before it queues, else as the end: another server may take it."""
    server, prompt_id = client_of(kind), new_id()
    try:
        server.submit(prompt_id, graph())
    except RejectedPrompt as error:
        node, message = error.node, f"{error.message} ({error.fix})"
        assert server.wait(0.0) == []
    else:
        (end,) = ends_of(server, prompt_id).values()
        node, message = end.node, end.message
        assert (end.is_rejection, end.is_set_up, end.can_heal) == (True, True, False)
        assert server.offers.lists_models is False
    assert node in nodes
    assert why in message
    assert fix in message


@real_kinds
def test_its_price_is_what_the_user_says(kind: Kind) -> None:
    told = ServerEntry(kind.entry.url, kind.entry.credential, Tariff(usd_per_credit=0.5), most_at_once=2)
    with open_backends([told]) as (server,):
        assert server.tariff(0.7) == Tariff(usd_per_credit=0.5)
        assert server.depth(5) == 2


def test_nobody_there_is_one_line_after_the_outage() -> None:
    """Each kind, at a port where nobody listens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNPOD_API_KEY", KEY)
        for url in ("http://127.0.0.1:9", "comfy+http://127.0.0.1:9", "runpod+http://127.0.0.1:9/abc"):
            with open_backends([url], BackendOptions(outage_seconds=0.1)) as (server,):
                with pytest.raises(UnavailableError, match="cannot be reached") as caught:
                    server.connect()
                assert "\n" not in str(caught.value)
                with pytest.raises(UnavailableError, match="gone for"):
                    server.submit(new_id(), GRAPH)
