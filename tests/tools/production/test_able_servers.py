"""Servers that differ: a batch goes on with those that can make its pictures, says in a line why others do not, and lets them join."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lifeos.errors import InputError, UnavailableError
from tests.tools.backends.fakes import fake_server
from tests.tools.production.scenes import WORKFLOW, HashScorer, graph_maker, make_plan, make_policy
from tools.backends import registry, server_lane
from tools.backends.registry import ReachedServers, connect_backends
from tools.backends.server_entry import ServerEntry
from tools.backends.server_groups import LeftOutServer, tell_left_out
from tools.backends.server_list import list_servers
from tools.production.able_servers import AbleServers, able_to_run, find_unwell
from tools.production.budget import Limits
from tools.production.equipment import Equipment
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.runner import run_batch
from tools.stand_in import start_embedded_server
from tools.stand_in.server import DEFAULT_MODELS
from tools.workflows.server_fit import Spelling, in_one_spelling
from tools.workflows.workflow import Settings

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

LORA = "chars/amiranoor_v3.safetensors"
GRAPH = WORKFLOW.place(Settings(checkpoint="embedded_demo_sdxl.safetensors", lora=LORA, positive="a", seed=1))


@contextlib.contextmanager
def serving(*loras: str) -> Iterator[EmbeddedServer]:
    with start_embedded_server(models={**DEFAULT_MODELS, "loras": list(loras)}) as server:
        yield server


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[EmbeddedServer]]:
    """One as on Linux, one as on Windows, two without the LoRA."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving(name)) for name in (LORA, LORA.replace("/", "\\"), "other.safetensors", "other.safetensors")]


@contextlib.contextmanager
def reach(servers: Sequence[str | ServerEntry]) -> Iterator[tuple[ReachedServers, list[str]]]:
    said: list[str] = []
    with connect_backends(servers, said.append) as reached:
        yield reached, said


DEAD = [f"http://127.0.0.1:{port}" for port in range(11, 21)]


def test_a_batch_goes_on_with_those_that_can_and_each_reason_is_one_line(fleet: list[EmbeddedServer]) -> None:
    urls = [server.url for server in fleet]
    with reach([urls[2], urls[3], *DEAD, urls[0], urls[1]]) as (reached, said):
        able = AbleServers(reached, [GRAPH], able_to_run(reached.servers, GRAPH), lambda servers: {}, said.append)
        assert [server.url for server in able.able] == urls[:2]
        assert [server.url for server in able.servers] == [*urls, *DEAD]
        assert set(able.left_out) == {*urls[2:], *DEAD}
    assert said == [
        "going on without 10 of 14 servers: cannot be reached (Connection refused): http://127.0.0.1:11, http://127.0.0.1:12, "
        "http://127.0.0.1:13 and 7 more (is ComfyUI running there? start it, or give another --comfy-url; "
        "tried again while the batch runs)",
        f"going on without 2 of 14 servers: lacks lora_name '{LORA}' of node 8 (LoraLoader \"LoRA\"): {urls[2]}, {urls[3]} "
        "(tools/prepare_servers.py --lora-file FILE brings a LoRA there, or says what to copy; tried again while the batch runs)",
    ]


def test_one_that_lacked_a_file_joins_when_it_has_it(fleet: list[EmbeddedServer]) -> None:
    with serving() as late, reach([fleet[0].url, late.url]) as (reached, said):
        able = AbleServers(reached, [GRAPH], able_to_run(reached.servers, GRAPH), lambda servers: {}, said.append)
        server = able.servers[-1]
        with pytest.raises(UnavailableError, match="lacks lora_name"):
            able.admit(server)
        late.add_model("loras", LORA)
        able.admit(server)


def test_where_none_can_all_is_said_at_once(fleet: list[EmbeddedServer]) -> None:
    with reach([fleet[2].url, fleet[3].url]) as (reached, _), pytest.raises(InputError) as caught:
        able_to_run(reached.servers, GRAPH)
    assert caught.value.what == "the servers"
    assert caught.value.why.startswith("none of 2 has what the pictures need: lacks lora_name")
    with reach([fleet[2].url]) as (reached, _), pytest.raises(InputError, match=r"is not there: there is other\.safetensors"):
        able_to_run(reached.servers, GRAPH)


def test_one_that_is_not_well_is_left_out_and_if_none_is_the_batch_is_refused(fleet: list[EmbeddedServer]) -> None:
    sick = {fleet[0].url: LeftOutServer(fleet[0].url, "queue: the worker has died", "restart ComfyUI")}
    with reach([fleet[0].url, fleet[1].url]) as (reached, said):
        able = AbleServers(reached, [GRAPH], {}, lambda servers: sick, said.append)
        assert [server.url for server in able.able] == [fleet[1].url]
        assert said[-1].startswith(f"going on without {fleet[0].url}: queue: the worker has died (restart ComfyUI;")
    with reach([fleet[0].url]) as (reached, said), pytest.raises(UnavailableError, match="the worker has died"):
        AbleServers(reached, [GRAPH], {}, lambda servers: sick, said.append)


def test_repairs_go_where_their_nodes_are(fleet: list[EmbeddedServer]) -> None:
    repair = {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "only_windows.safetensors"}}}
    with serving(LORA, "only_windows.safetensors") as other, reach([fleet[0].url, other.url]) as (reached, said):
        able = AbleServers(reached, [GRAPH], {}, lambda servers: {}, said.append, repair)
        assert [able.can_repair(url) for url in (fleet[0].url, other.url)] == [False, True]
        assert said[-1].startswith(f"repairs go elsewhere: {fleet[0].url}: lacks lora_name 'only_windows.safetensors'")
        fleet[0].add_model("loras", "only_windows.safetensors")
        able.admit(reached.servers[0])
        assert able.can_repair(fleet[0].url)
    repair["1"]["inputs"]["lora_name"] = "nowhere.safetensors"
    with reach([fleet[0].url]) as (reached, said), pytest.raises(InputError, match="--repair-workflow"):
        AbleServers(reached, [GRAPH], {}, lambda servers: {}, said.append, repair)


def test_a_sweep_s_pictures_go_where_their_lora_is(fleet: list[EmbeddedServer]) -> None:
    def graph(lora: str) -> dict[str, Any]:
        return WORKFLOW.place(Settings(checkpoint="embedded_demo_sdxl.safetensors", lora=lora, positive="a", seed=1))

    grid = [GRAPH, graph("second.safetensors")]
    with serving("second.safetensors") as other, serving() as late, reach([fleet[0].url, other.url, late.url]) as (reached, said):
        able = AbleServers(reached, grid, able_to_run(reached.servers, *grid), lambda servers: {}, said.append)
        assert [server.url for server in able.able] == [fleet[0].url, other.url]
        assert said[-2].startswith(f"makes only the pictures that it can: {fleet[0].url}: lacks lora_name 'second.safetensors'")

        def runners(lora: str) -> list[bool]:
            can_run = able.can_run(graph(lora))
            assert can_run is not None
            return [can_run(url) for url in (fleet[0].url, other.url, late.url)]

        assert (runners(LORA)[:2], runners("second.safetensors")[:2]) == ([True, False], [False, True])
        late.add_model("loras", LORA)
        able.admit(able.servers[-1])
        assert (runners(LORA)[2], runners("second.safetensors")[2]) == (True, False)
        one = AbleServers(reached, [GRAPH], {}, lambda servers: {}, said.append)
        assert one.can_run(GRAPH) is None
    with reach([fleet[0].url, fleet[1].url]) as (reached, _), pytest.raises(InputError, match=r"none of 2 has .*second\.safetensors"):
        able_to_run(reached.servers, *grid)


def test_each_server_gets_its_own_spelling_and_the_records_keep_one(fleet: list[EmbeddedServer]) -> None:
    spelling = Spelling()
    with reach([server.url for server in fleet[:3]]) as (reached, _):
        linux, windows, lacking = reached.servers
        assert spelling(linux, GRAPH) is GRAPH and spelling(lacking, GRAPH) is GRAPH
        written = spelling(windows, GRAPH)
        assert written["8"]["inputs"] == {**GRAPH["8"]["inputs"], "lora_name": "chars\\amiranoor_v3.safetensors"}
        assert spelling(linux, written) == GRAPH
        asked = sum(fleet[1].counters.values())
        spelling(windows, GRAPH)
        assert sum(fleet[1].counters.values()) == asked, "asked once"
    assert in_one_spelling(written) == GRAPH
    row = {"1": {"class_type": "Power Lora Loader (rgthree)", "inputs": {"lora_1": {"on": True, "lora": LORA, "strength": 1.0}}}}
    with reach([fleet[1].url]) as (reached, _):
        assert spelling(reached.servers[0], row)["1"]["inputs"]["lora_1"]["lora"] == "chars\\amiranoor_v3.safetensors"


def test_a_text_is_no_file_name(fleet: list[EmbeddedServer]) -> None:
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": LORA}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "a/b"}},
    }
    with reach([fleet[1].url]) as (reached, _):
        before = sum(fleet[1].counters.values())
        assert Spelling()(reached.servers[0], graph) is graph
        assert sum(fleet[1].counters.values()) == before, "nothing is asked"
    assert in_one_spelling({"1": {"inputs": {"text": "a\\b"}}}) == {"1": {"inputs": {"text": "a\\b"}}}


REFUSING: dict[str, Any] = {"GET /system_stats": (401, b"")}


def test_a_missing_or_wrong_token_leaves_its_server_out(
    fleet: list[EmbeddedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_TOKEN", "secret-of-nobody")
    monkeypatch.delenv("NO_TOKEN", raising=False)
    servers = tmp_path / "servers.yaml"
    with fake_server(REFUSING) as refusing:
        rows = [(refusing.url, "WRONG_TOKEN"), ("http://127.0.0.1:9", "NO_TOKEN")]
        servers.write_text("servers:\n" + "".join(f"- url: {url}\n  token_env: {name}\n" for url, name in rows))
        with reach([*list_servers([], servers), ServerEntry(fleet[0].url)]) as (reached, said):
            assert [server.url for server in reached.servers] == [fleet[0].url]
        assert f"{refusing.url}: refuses with 401 (check the token in the variable WRONG_TOKEN; tried again" in said[0]
        assert "http://127.0.0.1:9: the variable NO_TOKEN holds no token (export NO_TOKEN=… before the command)" in said[1]
        with pytest.raises(UnavailableError, match="none of 2 answers") as caught, reach(list_servers([], servers)):
            pass
        assert (caught.value.exit_code, "secret" in str(caught.value)) == (3, False)


def test_those_that_are_silent_do_not_hold_up_the_others(fleet: list[EmbeddedServer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ALL_ANSWER_SECONDS", 0.5)

    def stuck(body: Any) -> None:
        time.sleep(1.0)

    with fake_server({"GET /system_stats": stuck}) as silent, reach([silent.url, fleet[0].url]) as (reached, said):
        assert [server.url for server in reached.absent] == [silent.url]
        assert said == [
            f"going on without {silent.url}: does not answer within 0.5 s (is it running? start it, or leave it out; "
            "tried again while the batch runs)"
        ]


def test_a_few_are_all_named() -> None:
    left = [LeftOutServer(f"http://{name}", "is gone", comes_back=False) for name in "abcd"]
    assert tell_left_out(left, 9) == ["4 of 9 servers: is gone: http://a, http://b, http://c, http://d"]


def test_one_that_joins_makes_pictures_and_is_paid_for_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server_lane, "REVIVE_SECONDS", 0.1)
    plan, said, asked = make_plan(count=12), list[str](), list[str]()
    slow = {"models": {**DEFAULT_MODELS}, "seconds_per_picture": 0.05}
    with start_embedded_server(**slow) as first, start_embedded_server(**slow) as late, reach([first.url, late.url]) as (reached, _):

        def admit(server: Any) -> None:
            asked.append(server.url)
            if len(asked) < 3:
                raise UnavailableError(server.url, "lacks a node" if len(asked) == 1 else "lacks a LoRA", "mend it")

        equipment = Equipment(
            HashScorer(),
            make_policy(),
            reached.servers,
            graph_maker(plan),
            rate_per_hr=3600.0,
            left_out={late.url: "lacks a node"},
            admit=admit,
        )
        end = run_batch(plan, BatchFolder(tmp_path), equipment, Limits(), note=said.append)
    printed = capsys.readouterr().err
    told = [f"{late.url}: lacks a LoRA (mend it); it is left out for now", f"{late.url} takes part from now on"]
    assert [line for line in printed.splitlines() if late.url in line] == told, "a reason that was told is not told again"
    assert (end.why, len(late.executed) > 0, len(first.executed) + len(late.executed)) == ("complete", True, 24)
    (session,) = read_state(tmp_path / JOURNAL_FILE).sessions
    priced = {each.server: bool(each.since) for each in session.prices}
    assert priced == {first.url: False, late.url: True}
    assert session.seconds < session.usd < 2 * session.seconds - 0.1, "a dollar a second each; the late one missed two rounds"


def test_a_warning_of_the_health_check_is_told_and_a_fault_leaves_out(fleet: list[EmbeddedServer]) -> None:
    busy = {"queue_running": [[0, "a"]], "queue_pending": []}
    stats = {"system": {"comfyui_version": "0.8.0"}, "devices": []}
    sound = {
        "GET /system_stats": (200, stats),
        "GET /models/checkpoints": (200, ["a.safetensors"]),
        "GET /models/diffusion_models": (200, []),
    }
    has_node = {"GET /object_info/KSampler": (200, {"KSampler": {}})}
    lacks_node = {"GET /queue": (200, {"queue_running": [], "queue_pending": []}), "GET /object_info": (200, {"Other": {}})}
    said: list[str] = []
    with fake_server({**sound, **has_node, "GET /queue": (200, busy)}) as works, fake_server({**sound, **lacks_node}) as broken:
        with reach([works.url, broken.url]) as (reached, _):
            unwell = find_unwell(reached.servers, ["KSampler"], make_policy(), said.append)
    assert list(unwell) == [broken.url]
    assert [line.partition(": ")[0] for line in said] == ["warning", "warning"]
    assert any(f"{works.url}: queue: busy: 1 running, 0 waiting" in line for line in said)
    assert not any(broken.url in line for line in said), "one that is left out needs no warning beside the reason"
