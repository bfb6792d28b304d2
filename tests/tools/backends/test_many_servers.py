"""Many unlike servers: quick and slow, busy, broken and refusing ones, and what they do when a batch comes to its end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.tools.backends.scripted_backend import ScriptedBackend, ScriptedServer
from tools.backends import lane_state, server_lane, task_pool
from tools.backends.backend import PromptEnd, Tariff
from tools.backends.dispatch import Dispatcher, Finished, Job
from tools.backends.dispatched_jobs import SentPrompt
from tools.backends.tail_choice import HeldPrompt, LaneLoad, choose_prompt, last_end

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_lane, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(task_pool, "LOOK_SECONDS", 0.02)


def graph(number: int, **more: Any) -> dict[str, Any]:
    return {"1": {"class_type": "Sampler", "inputs": {"seed": number, "model": "a.safetensors", **more}}}


def jobs(count: int) -> list[Job]:
    return [Job(f"job {number}", graph(number)) for number in range(1, count + 1)]


class Told:
    """What a dispatcher told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.submitted: list[tuple[str, str, str]] = []
        self.seconds: list[tuple[str, str, str]] = []
        self.dropped: list[tuple[str, PromptEnd, str]] = []
        self.refused: list[str] = []
        self.tries: list[str] = []

    @property
    def listeners(self) -> dict[str, Any]:
        return {
            "on_note": self.notes.append,
            "on_submit": lambda job, prompt_id, url: self.submitted.append((job.key, prompt_id, url)),
            "on_second": lambda job, prompt_id, url: self.seconds.append((job.key, prompt_id, url)),
            "on_dropped": lambda job, outcome, url: self.dropped.append((job.key, outcome, url)),
            "on_refused": lambda outcome, url: self.refused.append(url),
            "on_failed_try": lambda outcome, url: self.tries.append(url),
        }


def run(servers: list[ScriptedServer], work: list[Job], told: Told | None = None, **options: Any) -> dict[str, Finished]:
    """Everything, with the number of jobs known from the beginning."""
    told, found, left = told or Told(), {}, list(work)
    with Dispatcher([ScriptedBackend(server) for server in servers], **told.listeners, **options) as dispatcher:
        until = time.monotonic() + PATIENCE
        while left or dispatcher.busy:
            assert time.monotonic() < until, told.notes
            while left and dispatcher.wanted:
                dispatcher.put(left.pop(0))
            dispatcher.expect(len(left))
            for finished in dispatcher.wait(0.05):
                assert finished.job.key not in found, "ended twice"
                found[finished.job.key] = finished
    return found


def shares(found: dict[str, Finished]) -> Counter[str]:
    return Counter(each.server for each in found.values())


# By plain values


def load(url: str, held: int = 0, pace: float | None = 1.0, since: float = 0.0) -> LaneLoad:
    return LaneLoad(url, held, pace, since)


@pytest.mark.parametrize(
    ("lane", "others", "waiting", "needed"),
    [
        pytest.param(load("slow", pace=10.0), [load("quick", pace=1.0)], 9, False, id="the quick one makes nine in nine seconds"),
        pytest.param(load("slow", pace=10.0), [load("quick", pace=1.0)], 11, True, id="eleven take it longer"),
        pytest.param(load("slow", pace=10.0), [load("quick", held=3, pace=1.0)], 7, True, id="it has three to make before"),
        pytest.param(load("new", pace=None), [load("quick", pace=1.0)], 1, True, id="nothing is known of it"),
        pytest.param(load("slow", pace=10.0), [load("new", pace=None)], 1, True, id="nor of the other"),
        pytest.param(load("a"), [load("b")], 1, True, id="either of equals"),
        pytest.param(load("a", held=1, since=0.5), [load("b")], 1, False, id="the idle one of equals"),
        pytest.param(load("a", held=1, since=0.5), [load("b", held=1, since=0.2)], 1, True, id="the one that is free earlier"),
        pytest.param(load("slow", pace=10.0), [load("stuck", held=1, pace=1.0, since=300.0)], 1, True, id="no help from one that hangs"),
        pytest.param(load("slow", held=1, pace=None, since=50.0), [load("quick")], 20, False, id="its first takes long already"),
    ],
)
def test_who_takes_what_is_left(lane: LaneLoad, others: list[LaneLoad], waiting: int, needed: bool) -> None:
    assert is_needed(lane, others, waiting) == needed


def is_needed(lane: LaneLoad, others: list[LaneLoad], waiting: int) -> bool:
    return lane.next_end <= last_end([lane, *others], waiting)


@pytest.mark.parametrize("paces", [(1.0, 1.0, 1.0), (0.5, 3.0, 7.0), (2.0, 2.0, 9.0)])
@pytest.mark.parametrize("waiting", [1, 2, 5])
def test_somebody_always_takes_what_is_left(paces: tuple[float, ...], waiting: int) -> None:
    loads = [load(f"s{place}", held=place % 2, pace=pace) for place, pace in enumerate(paces)]
    assert any(is_needed(each, [other for other in loads if other is not each], waiting) for each in loads)


@pytest.mark.parametrize(
    ("lane", "takers", "held", "chosen"),
    [
        pytest.param(load("idle"), [], [HeldPrompt("p", "slow", 5.0)], "p", id="would be done four seconds earlier"),
        pytest.param(load("idle"), [], [HeldPrompt("p", "slow", 1.1)], None, id="nothing is gained"),
        pytest.param(load("idle"), [], [HeldPrompt("p", "slow", 5.0), HeldPrompt("q", "slow", 15.0)], "q", id="the one that ends last"),
        pytest.param(load("idle"), [], [HeldPrompt("p", "idle", 50.0)], None, id="not its own"),
        pytest.param(load("idle", pace=4.0), [load("busy", held=1)], [HeldPrompt("p", "slow", 9.0)], None, id="a busy one has it earlier"),
        pytest.param(
            load("idle", pace=4.0),
            [load("busy", held=1)],
            [HeldPrompt("p", "slow", 9.0), HeldPrompt("q", "slow", 18.0)],
            "p",
            id="the busy one gets the last, it the one before",
        ),
        pytest.param(load("idle", pace=None), [], [HeldPrompt("p", "slow", 99.0)], None, id="nothing is known of it"),
    ],
)
def test_what_an_idle_server_makes(lane: LaneLoad, takers: list[LaneLoad], held: list[HeldPrompt], chosen: str | None) -> None:
    found = choose_prompt(lane, [lane, *takers], held)
    assert (found.prompt_id if found else None) == chosen


def test_time_left_grows_for_what_is_overdue() -> None:
    assert [round(load("a", held=2, since=since).left(place), 3) for since, place in [(0.25, 0), (0.25, 1), (3.0, 0), (3.0, 1)]] == [
        0.75,
        1.75,
        2.0,
        3.0,
    ]


# Shares and the end


def test_a_quick_server_makes_more_and_a_slow_one_does_not_hold_the_end() -> None:
    """What waits in the slow one's queue is taken back from it, and what it is at is made once more."""
    quick, slow = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 60.0)
    told = Told()
    found = run([quick, slow], jobs(40), told, second_answers="hourly")
    assert shares(found) == {"http://a": 40}
    assert len(slow.posted) == 3  # it took none of them back
    assert sorted(slow.cancelled) == sorted(slow.posted)
    assert [outcome.prompt_id for _, outcome, _ in told.dropped] == slow.posted[:1]


def test_what_has_begun_is_not_taken_back() -> None:
    """It runs two at once, which nobody knew beforehand."""
    quick, slow = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 0.4, parallel=2)
    run([quick, slow], jobs(12))
    assert len(slow.posted) == 4 and sorted(slow.cancelled) == sorted(slow.posted[2:])


def test_one_that_has_begun_is_made_once_more_and_the_first_answer_counts() -> None:
    quick, slow = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 5.0, prefix="job-")
    told = Told()
    found = run([quick, slow], jobs(6), told, second_answers="hourly")
    assert shares(found) == {"http://a": 6}
    ((key, prompt_id, url),) = told.seconds
    assert url == "http://a" and prompt_id in quick.posted
    ((dropped, outcome, where),) = told.dropped
    assert (dropped, where, outcome.kind) == (key, "http://b", "interrupted")
    assert 0 < (outcome.seconds or 0) < 2
    assert outcome.prompt_id in slow.cancelled  # it does not go on working for nothing


@pytest.mark.parametrize(
    ("policy", "tariff", "has_second"),
    [
        ("hourly", Tariff(usd_per_hour=0.7), True),
        ("hourly", Tariff(usd_per_work_second=0.001), False),
        ("hourly", Tariff(usd_per_credit=0.004), False),
        ("all", Tariff(usd_per_credit=0.004), True),
        ("off", Tariff(), False),
    ],
)
def test_who_may_make_a_second(policy: str, tariff: Tariff, has_second: bool) -> None:
    quick, slow = ScriptedServer("http://a", 0.01, tariff=tariff), ScriptedServer("http://b", 0.5)
    told = Told()
    assert len(run([quick, slow], jobs(6), told, second_answers=policy)) == 6
    assert bool(told.seconds) == has_second


def test_one_that_charges_credits_makes_no_second_whatever_it_is_said_to_cost() -> None:
    quick, slow = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 0.3)
    quick.credits = 2.0
    told = Told()
    run([quick, slow], jobs(6), told, second_answers="hourly")
    assert told.seconds == []


def test_no_second_is_paid_for_where_the_money_is_gone() -> None:
    quick = ScriptedServer("http://a", 0.01, tariff=Tariff(usd_per_work_second=0.001))
    slow = ScriptedServer("http://b", 0.3)
    told = Told()
    with Dispatcher([ScriptedBackend(each) for each in (quick, slow)], second_answers="all", **told.listeners) as dispatcher:
        for job in jobs(6):
            dispatcher.put(job)
        dispatcher.expect(0, may_pay=False)
        while dispatcher.busy:
            dispatcher.wait(0.1)
    assert told.seconds == []


def test_a_failure_of_one_copy_is_none_of_the_job() -> None:
    quick, slow = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 0.4)
    made: list[Any] = []

    def fails_later(asked: dict[str, Any]) -> PromptEnd | None:
        made.append(asked)
        return PromptEnd("", "failed", message="broken") if len(made) > 4 else None

    quick.judge = fails_later
    told = Told()
    found = run([quick, slow], jobs(5), told, second_answers="hourly", ahead=0)
    assert {each.outcome.kind for each in found.values()} == {"done"}
    assert [(outcome.message, url) for _, outcome, url in told.dropped] == [("broken", "http://a")]
    assert told.tries == []


def test_a_second_that_cannot_be_made_ready_is_none_of_the_job() -> None:
    quick, slow = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 0.4)

    def prepare(server: Any, asked: dict[str, Any]) -> dict[str, Any]:
        if server.url == "http://a" and len(quick.posted) == 4:
            raise InputError("0001.png", "this server takes no pictures")
        return asked

    found: dict[str, str] = {}
    told = Told()
    with Dispatcher([ScriptedBackend(each) for each in (quick, slow)], ahead=0, second_answers="hourly", **told.listeners) as dispatcher:
        for job in jobs(5):
            dispatcher.put(replace(job, prepare=prepare))
        dispatcher.expect(0)
        while dispatcher.busy:
            for each in dispatcher.wait(0.02):
                found[each.job.key] = each.outcome.kind
    assert found == {job.key: "done" for job in jobs(5)}
    assert [outcome.message for _, outcome, _ in told.dropped] == ["0001.png: this server takes no pictures"]


def test_a_slow_server_that_answers_after_all_is_dropped_and_told() -> None:
    """Both are done before the picture of the first is there."""
    quick, slow = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 0.3)
    backends = [ScriptedBackend(quick), ScriptedBackend(slow)]
    real = backends[0].download

    def late(ref: Any) -> bytes:
        if ref.handle in {prompt_id for _, prompt_id, _ in told.seconds}:
            time.sleep(0.35)
        return real(ref)

    backends[0].download = late  # type: ignore[method-assign]
    told = Told()
    ended: list[Finished] = []
    with Dispatcher(backends, second_answers="hourly", ahead=0, **told.listeners) as dispatcher:
        for job in jobs(5):
            dispatcher.put(job)
        dispatcher.expect(0)
        while dispatcher.busy:
            ended += dispatcher.wait(0.1)
    assert sorted(each.job.key for each in ended) == [job.key for job in jobs(5)]
    ((_, outcome, _),) = told.dropped
    assert outcome.kind == "done"  # it was made to the end: paid for, counted, not filed


def test_both_answers_of_an_earlier_run_are_found_again() -> None:
    """Neither is posted again; the quicker one counts, the other is stopped."""
    first, second = ScriptedServer("http://a", 0.3), ScriptedServer("http://b", 0.1)
    for server, prompt_id in ((first, "one"), (second, "two")):
        ScriptedBackend(server).submit(prompt_id, graph(1))
    again = Job("job 1", graph(1), sent_as="one", sent_to="http://a", beside=SentPrompt("two", "http://b"))
    told = Told()
    found = run([first, second], [again], told)
    assert found["job 1"].outcome.prompt_id == "two"
    assert (first.posted, second.posted) == (["one"], ["two"])
    assert first.cancelled == ["one"]
    assert [prompt_id for _, prompt_id, _ in told.seconds] == ["two"]


@pytest.mark.parametrize("there", ["http://a", "http://b", "http://c"])
def test_of_two_answers_the_one_that_is_there_is_taken(there: str) -> None:
    server = ScriptedServer(there, 0.05)
    prompt_id = {"http://a": "one", "http://b": "two"}.get(there)
    if prompt_id is not None:
        ScriptedBackend(server).submit(prompt_id, graph(1))
    again = Job("job 1", graph(1), sent_as="one", sent_to="http://a", beside=SentPrompt("two", "http://b"))
    found = run([server], [again])
    assert len(server.posted) == 1 and found["job 1"].outcome.kind == "done"
    assert prompt_id is None or found["job 1"].outcome.prompt_id == prompt_id


def test_an_answer_that_waits_for_a_server_that_dies_is_left_to_the_other() -> None:
    pool = task_pool.TaskPool(["http://a", "http://b"])
    pool.put(Job("job 1", graph(1), sent_as="one", sent_to="http://a", beside=SentPrompt("two", "http://b")))
    pool.leave(pool.lanes["http://b"], [])
    task = pool.take(pool.lanes["http://a"], lambda task: None, wait=False)
    assert task is not None and task.job.sent_as == "one"
    assert pool.take(pool.lanes["http://a"], lambda task: None, wait=False) is None
    assert not pool.part(task)  # there is no other any more: a failure would be one of the job


def test_of_two_servers_with_answers_one_may_die() -> None:
    first, second = ScriptedServer("http://a", 0.3), ScriptedServer("http://b", 0.2)
    for server, prompt_id in ((first, "one"), (second, "two")):
        ScriptedBackend(server).submit(prompt_id, graph(1))
    backends = [ScriptedBackend(first), ScriptedBackend(second)]
    second.is_dead = True
    again = Job("job 1", graph(1), sent_as="one", sent_to="http://a", beside=SentPrompt("two", "http://b"))
    with Dispatcher(backends) as dispatcher:
        (finished,) = dispatcher.run([again])
    assert finished.outcome.prompt_id == "one" and first.posted == ["one"]


# Busy, refusing and broken ones


def test_a_busy_server_is_asked_with_growing_pauses_and_the_others_make_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_state, "FIRST_PAUSE_SECONDS", 0.02)
    busy, other = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 0.01)
    busy.busy = 1000
    found = run([busy, other], jobs(40))
    assert shares(found) == {"http://b": 40}
    assert 2 <= busy.asked <= 7  # 0.02 + 0.04 + 0.08 + 0.16 + …: in 0.4 s no more than five times


def test_a_batch_whose_only_server_is_busy_for_a_while_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_state, "FIRST_PAUSE_SECONDS", 0.02)
    server = ScriptedServer("http://a", 0.01)
    server.busy = 4
    found = run([server], jobs(5))
    assert len(found) == 5 and {each.attempts for each in found.values()} == {1}
    assert server.asked == 5 + 4


def test_what_refuses_the_same_each_time_gets_no_more_of_it() -> None:
    bare, other = ScriptedServer("http://a", 0.001), ScriptedServer("http://b", 0.01)
    bare.refuses = lambda asked: "there is no a.safetensors" if asked["1"]["inputs"]["model"] == "a.safetensors" else ""
    work = jobs(20) + [Job(f"else {number}", graph(number, model="b.safetensors")) for number in range(20)]
    told = Told()
    found = run([bare, other], work, told)
    assert {each.outcome.kind for each in found.values()} == {"done"}
    assert told.refused == ["http://a"] * 3
    assert shares(found)["http://a"] >= 10  # what it has the files for it goes on making
    first, last = (note for note in told.notes if note.startswith("http://a"))
    assert first.endswith("there is no a.safetensors; another server gets it")
    assert last.startswith("http://a refused 3 pictures in a row (rejected: there is no a.safetensors)")


def test_what_everybody_refuses_fails() -> None:
    servers = [ScriptedServer(url, 0.001) for url in ("http://a", "http://b", "http://c")]
    for server in servers:
        server.refuses = lambda asked: "no such node"
    found = run(servers, jobs(8))
    assert {each.outcome.kind for each in found.values()} == {"failed"} and len(found) == 8


@pytest.mark.parametrize("can_heal", [True, False])
def test_a_broken_server_eats_no_picture_and_rests(can_heal: bool) -> None:
    """It fails at once, so it would be first at everything."""
    broken, other = ScriptedServer("http://a", 0.0), ScriptedServer("http://b", 0.01)
    broken.judge = lambda asked: PromptEnd("", "failed", message="CUDA error", can_heal=can_heal)
    told = Told()
    found = run([broken, other], jobs(20), told)
    assert {each.outcome.kind for each in found.values()} == {"done"}
    assert shares(found) == {"http://b": 20}
    assert 3 <= len(told.tries) <= 6  # what it held when it was left alone
    (rest,) = (note for note in told.notes if "gets no more" in note)
    assert rest.startswith("http://a gets no more for 1 min, the other servers go on: ") and rest.endswith("the last: CUDA error")


def test_a_server_that_rests_works_again_when_it_is_the_last() -> None:
    """It had three bad moments; then the other one dies."""
    shaky, other = ScriptedServer("http://a", 0.0), ScriptedServer("http://b", 0.02)
    left = [1, 2, 3]
    shaky.judge = lambda asked: PromptEnd("", "failed", message="hiccup", can_heal=True) if left and left.pop() else None
    told = Told()
    found: list[Finished] = []
    with Dispatcher([ScriptedBackend(each) for each in (shaky, other)], ahead=0, **told.listeners) as dispatcher:
        for job in jobs(12):
            dispatcher.put(job)
        until = time.monotonic() + PATIENCE
        while len(found) < 12:
            assert time.monotonic() < until, told.notes
            found += dispatcher.wait(0.1)
            other.is_dead = other.is_dead or any("gets no more" in note for note in told.notes)
    assert {each.outcome.kind for each in found} == {"done"}


def test_the_last_picture_failed_on_the_quick_server_and_goes_to_the_slow_one() -> None:
    """Which is not needed for anything else."""
    quick, slow = ScriptedServer("http://a", 0.01), ScriptedServer("http://b", 0.15)
    quick.judge = lambda asked: PromptEnd("", "failed", message="x", can_heal=True) if asked["1"]["inputs"]["seed"] == 30 else None
    found = run([quick, slow], jobs(30), ahead=0)
    assert (found["job 30"].server, found["job 30"].outcome.kind) == ("http://b", "done")


def test_a_set_up_that_is_wrong_everywhere_is_not_tried_elsewhere() -> None:
    servers = [ScriptedServer(url, 0.0) for url in ("http://a", "http://b")]
    for server in servers:
        server.judge = lambda asked: PromptEnd("", "failed", message="saves AVIF", is_set_up=True)
    assert {each.attempts for each in run(servers, jobs(1)).values()} == {1}


# Many


def test_a_put_wakes_one_of_many_idle_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [ScriptedServer(f"http://{number}", 0.0) for number in range(40)]
    woken: list[str] = []
    looked = task_pool.TaskPool._next_for

    def counting(self: Any, lane: Any, now: float) -> Any:
        woken.append(lane.url)
        return looked(self, lane, now)

    with Dispatcher([ScriptedBackend(server) for server in servers]) as dispatcher:
        until = time.monotonic() + PATIENCE
        while not all(lane._state.is_idle for lane in dispatcher._lanes):
            assert time.monotonic() < until
        monkeypatch.setattr(task_pool.TaskPool, "_next_for", counting)
        for job in jobs(10):
            dispatcher.put(job)
        ended = 0
        while ended < 10:
            assert time.monotonic() < until
            ended += len(dispatcher.wait(0.1))
    assert len(woken) <= 60  # each of the ten looks a few times; 40 at each put would be 400
