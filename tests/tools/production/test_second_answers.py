"""A batch at its end, on servers of which some stand idle: what two of them make is filed once, paid for, counted, and survives a kill."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lifeos.counting import counted, dollars, verb
from lifeos.errors import UnavailableError
from lifeos.files import read_records
from tests.tools.backends.scripted_backend import ScriptedBackend, ScriptedServer
from tests.tools.production.scenes import NAMES, HashScorer, filed, finish, graph_maker, make_plan, make_policy
from tools.backends import server_lane, task_pool
from tools.backends.backend import PromptEnd, Tariff
from tools.backends.dispatch import SentPrompt
from tools.production.brakes import Brakes
from tools.production.budget import Limits
from tools.production.filing import BatchFolder
from tools.production.item_state import ItemState
from tools.production.journal import Journal, read_state
from tools.production.plan import Plan
from tools.production.runner import BatchEnd, Equipment, run_batch
from tools.production.server_costs import cost_notes


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_lane, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(task_pool, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr("tools.production.runner.PASS_SECONDS", 0.02)


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return BatchFolder(tmp_path / "batch")


def picture_of(graph: dict[str, Any]) -> bytes:
    """The same graph gives the same picture on every server."""
    digest = hashlib.sha256(repr(sorted(graph.items())).encode()).digest()
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (digest[0], digest[1], digest[2])).save(out, "PNG")
    return out.getvalue()


def server(url: str, seconds: float = 0.01, **options: Any) -> ScriptedServer:
    made = ScriptedServer(url, seconds, **options)
    made.picture = picture_of
    return made


def run(
    folder: BatchFolder,
    *servers: ScriptedServer,
    plan: Plan | None = None,
    notes: list[str] | None = None,
    limits: Limits | None = None,
    backends: list[ScriptedBackend] | None = None,
    **production: Any,
) -> BatchEnd:
    plan = plan or make_plan()
    clients = backends if backends is not None else [ScriptedBackend(each) for each in servers]
    equipment = Equipment(HashScorer(), make_policy(**{"queue_ahead": 0, **production}), clients, graph_maker(plan), 0.0, workers=1)
    told = notes if notes is not None else []
    return run_batch(plan, folder, equipment, limits or Limits(), note=told.append)


def records(folder: BatchFolder, event: str) -> list[dict[str, Any]]:
    return [each.data for each in read_records(folder.root / "journal.jsonl") if each.data["event"] == event]


def test_what_two_servers_make_is_filed_once_counted_and_charged(folder: BatchFolder) -> None:
    """The slow one is paid by the second: what it did for nothing costs, and is part of the batch's dollars."""
    slow = server("http://b", 60.0, tariff=Tariff(usd_per_work_second=1.0))
    end = run(folder, server("http://a"), slow)
    assert end.why == "complete" and sorted(filed(folder)) == NAMES
    (second,) = (each for each in records(folder, "submitted") if each.get("second"))
    (dropped,) = records(folder, "dropped")
    assert (second["server"], dropped["server"], dropped["item"]) == ("http://a", "http://b", second["item"])
    assert slow.cancelled == [dropped["prompt_id"]]
    state = read_state(folder.root / "journal.jsonl")
    assert (state.made_twice.pictures, state.items[second["item"]].beside) == (1, None)
    assert dropped["seconds"] > 0
    assert state.made_twice.usd == state.sessions[-1].charged == pytest.approx(dropped["seconds"])
    document = finish(make_plan(), folder)
    lost = f"{dropped['seconds']:.0f} s for nothing, {dollars(dropped['usd'])}"
    assert f"1 picture was made twice at the end: {lost}. The first answer counted." in cost_notes(document)
    assert [(row["server"], row["pictures"], row["failed_tries"]) for row in document["servers"]["by_server"]] == [
        ("http://a", 4, 0),
        ("http://b", 0, 0),
    ]


@pytest.mark.parametrize("policy", ["off", "hourly"])
def test_nothing_is_made_twice_where_nobody_may(folder: BatchFolder, policy: str) -> None:
    quick = server("http://a", tariff=Tariff(usd_per_credit=0.01))
    run(folder, quick, server("http://b", 0.3), second_answers=policy)
    assert sorted(filed(folder)) == NAMES
    assert [each for each in records(folder, "submitted") if each.get("second")] == []
    assert read_state(folder.root / "journal.jsonl").made_twice.pictures == 0


class KilledError(BaseException):
    pass


def killing(backends: list[ScriptedBackend], when: Callable[[dict[str, Any]], bool], *, is_written: bool) -> Callable[..., None]:
    """A journal that ends with the process: from the first record of the kind on nothing is written, and nothing reaches a server."""
    append = Journal.append

    def dying(self: Journal, event: str, **fields: Any) -> None:
        is_dead = any(each.is_cut for each in backends)
        if is_dead or when({"event": event, **fields}):
            for each in backends:
                each.is_cut = True
            if is_written and not is_dead:
                append(self, event, **fields)
            raise KilledError
        append(self, event, **fields)

    return dying


def is_second(record: dict[str, Any]) -> bool:
    return record["event"] == "submitted" and bool(record.get("second"))


def after_a_second(event: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a record is of this event, and of a picture that a second server was asked for in this run."""
    items: list[int] = []

    def matches(record: dict[str, Any]) -> bool:
        if is_second(record):
            items.append(record["item"])
        return record["event"] == event and record.get("item") in items

    return is_second if event == "second" else matches


KILLS = ("downloaded", "dropped", "filed", "scored", "second")


@pytest.mark.parametrize("is_written", [False, True], ids=["before-the-record", "after-the-record"])
@pytest.mark.parametrize("kill", KILLS)
def test_killed_with_both_under_way_the_same_command_files_each_once(
    folder: BatchFolder, monkeypatch: pytest.MonkeyPatch, kill: str, is_written: bool
) -> None:
    quick, slow = server("http://a"), server("http://b", 60.0, prefix="job-")
    backends = [ScriptedBackend(quick), ScriptedBackend(slow)]
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", killing(backends, after_a_second(kill), is_written=is_written))
        with pytest.raises(KilledError):
            run(folder, backends=backends)
    before, posted = filed(folder), len(slow.posted)
    assert kill != "second" or slow.load().count == 1  # it works on, as after a kill; later it may have been stopped before
    slow.seconds = 0.2
    notes: list[str] = []
    assert run(folder, quick, slow, notes=notes).why == "complete"
    assert sorted(filed(folder)) == NAMES
    assert before.items() <= filed(folder).items()
    assert len(records(folder, "filed")) == len(NAMES)
    assert slow.load().count == 0  # what was left there was taken, or stopped
    assert len(slow.posted) == posted  # and not made once more
    assert read_state(folder.root / "journal.jsonl").filed == set(NAMES)


def interrupted(folder: BatchFolder, *servers: ScriptedServer) -> None:
    """A run that is killed when each server holds a picture."""
    backends = [ScriptedBackend(each) for each in servers]
    kill, append = [len(servers)], Journal.append

    def dying(self: Journal, event: str, **fields: Any) -> None:
        append(self, event, **fields)
        kill[0] -= event == "submitted"
        if kill[0] <= 0:
            for each in backends:
                each.is_cut = True
            raise KilledError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "append", dying)
        with pytest.raises(KilledError):
            run(folder, backends=backends)


def test_a_batch_goes_on_with_other_servers_and_nothing_is_filed_twice_when_the_first_is_back(folder: BatchFolder) -> None:
    gone, stays, new = server("http://a", 0.05), server("http://b", 0.05), server("http://c")
    interrupted(folder, gone, stays)
    gone_item = next(each["item"] for each in records(folder, "submitted") if each["server"] == "http://a")
    notes: list[str] = []
    plan = make_plan()
    assert run(folder, stays, new, plan=plan, notes=notes, limits=Limits(max_images=3)).why == "max_images"
    told = "1 picture of an earlier run was queued on http://a, which does not take part now: it is made on the others"
    assert [note for note in notes if "http://a" in note] == [told]
    assert gone_item in {each["item"] for each in records(folder, "submitted") if each["server"] in ("http://b", "http://c")}
    made = filed(folder)
    assert run(folder, gone, new, plan=plan).why == "complete"
    assert sorted(filed(folder)) == NAMES and made.items() <= filed(folder).items()
    assert len(records(folder, "filed")) == len(NAMES)
    assert run(folder, gone, new, plan=plan).why == "complete"
    assert len(records(folder, "filed")) == len(NAMES)


def test_a_refusal_that_moved_elsewhere_is_counted_and_charged(folder: BatchFolder) -> None:
    bare = server("http://a", tariff=Tariff(usd_per_work_second=1.0))
    bare.judge = lambda graph: PromptEnd("", "failed", message="rejected: no such node", is_rejection=True, is_set_up=True)
    assert run(folder, bare, server("http://b", 0.05)).why == "complete"
    state = read_state(folder.root / "journal.jsonl")
    assert 1 <= state.refused["http://a"] <= 3
    assert state.sessions[-1].charged == pytest.approx(0.01 * state.refused["http://a"])
    count = state.refused["http://a"]
    told = f"http://a refused {counted(count, 'picture')}; another server made {verb(count, 'it', 'them')}."
    assert told in cost_notes(finish(make_plan(), folder))


def test_what_refusals_cost_counts_while_the_batch_runs(folder: BatchFolder) -> None:
    """A dollar each: the batch stops at its limit, and not only at its end, when all is written down anyway."""
    bare = server("http://a", tariff=Tariff(usd_per_work_second=100.0))
    bare.judge = lambda graph: PromptEnd("", "failed", message="rejected: no such node", is_rejection=True, is_set_up=True)
    end = run(folder, bare, server("http://b", 0.02), plan=make_plan(count=100), limits=Limits(max_cost=0.5), seconds_per_picture=0.0001)
    assert end.why == "max_cost"
    assert len(filed(folder)) < 100


# Brakes


def test_a_batch_does_not_stop_for_one_broken_server_of_two(folder: BatchFolder) -> None:
    """Three failures, and no picture yet of the other, which is slow."""
    broken, slow = server("http://a", 0.0), server("http://b", 0.15)
    broken.judge = lambda graph: PromptEnd("", "failed", message="CUDA error", can_heal=True)
    assert run(folder, broken, slow, plan=make_plan(), retries=2).why == "complete"
    assert sorted(filed(folder)) == NAMES


def test_a_batch_stops_where_all_servers_are_broken(folder: BatchFolder) -> None:
    servers = [server(url, 0.01) for url in ("http://a", "http://b", "http://c")]
    for each in servers:
        each.judge = lambda graph: PromptEnd("", "failed", message="CUDA error", can_heal=True)
    end = run(folder, *servers, plan=make_plan(count=50), retries=1)
    assert end.why == "error" and "in a row" in str(end.error) and "the last failed: CUDA error" in str(end.error)
    assert len(records(folder, "submitted")) <= 12


def failing(brakes: Brakes, rows: list[tuple[str, set[str]]]) -> int:
    """After how many failed tries, on a server with those that hold prompts, it stops; 0: not at all."""
    for number, (url, working) in enumerate(rows, 1):
        try:
            brakes.failed_to_try(url, "x", working)
        except UnavailableError:
            return number
    return 0


@pytest.mark.parametrize(
    ("rows", "stops"),
    [
        pytest.param([("a", {"a"})] * 8, 6, id="the only one"),
        pytest.param([("a", {"a", "b"})] * 8, 0, id="another is at work"),
        pytest.param([("a", {"a", "b"})] * 6 + [("b", {"b"})], 7, id="until it fails as well"),
        pytest.param([("a", {"a", "b"}), ("b", {"a", "b"})] * 4, 6, id="both from the start"),
        pytest.param([("a", {"a", "b"})] * 6 + [("a", {"a"})], 7, id="until it is gone"),
    ],
)
def test_when_tries_stop_a_batch(rows: list[tuple[str, set[str]]], stops: int) -> None:
    assert failing(Brakes(), rows) == stops


# Where the prompts of an item are


def places(item: ItemState) -> Iterator[tuple[str, str, str | None]]:
    return ((each.prompt_id, each.server, each.handle) for each in item.sent)


def test_the_places_of_an_item() -> None:
    item = ItemState()
    item.submitted("p", "http://a")
    item.accepted("p", "job-1")
    item.submitted("q", "http://b", is_second=True)
    item.accepted("q", "job-2")
    item.accepted("z", "job-3")  # of neither
    assert list(places(item)) == [("p", "http://a", "job-1"), ("q", "http://b", "job-2")]
    item.submitted("q", "http://b")  # taken over by the next run
    assert list(places(item)) == [("p", "http://a", "job-1"), ("q", "http://b", "job-2")]
    item.dropped("p")
    assert list(places(item)) == [("q", "http://b", "job-2")]
    item.dropped("q")  # the only one is not forgotten: it may be there
    assert list(places(item)) == [("q", "http://b", "job-2")]
    item.beside = SentPrompt("r", "http://c")
    item.dropped("r")
    assert list(places(item)) == [("q", "http://b", "job-2")]
    item.beside = SentPrompt("r", "http://c", "job-4")
    item.answered("r", "http://c")  # the other is still to be stopped
    assert list(places(item)) == [("r", "http://c", "job-4"), ("q", "http://b", "job-2")]
    item.dropped("q")
    item.submitted("s", "http://d")  # another try
    assert list(places(item)) == [("s", "http://d", None)]
