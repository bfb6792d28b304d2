"""Jobs over several servers: every job ends once, whatever happens to the servers meanwhile."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from lifeos.errors import InputError, UnavailableError
from tests.tools.backends.fakes import fake_server
from tests.tools.backends.job_graphs import plain_graph, sampled_graph
from tools.backends import server_lane
from tools.backends.comfyui import ComfyServer
from tools.backends.dispatch import Dispatcher, Finished, Job
from tools.stand_in import Faults

PATIENCE = 20.0


def jobs(count: int, make: Callable[[int], dict[str, Any]] = lambda number: plain_graph()) -> list[Job]:
    return [Job(f"job {number}", make(number)) for number in range(1, count + 1)]


def run_all(servers: list[ComfyServer], work: list[Job], **options: Any) -> dict[str, Finished]:
    found: dict[str, Finished] = {}
    with Dispatcher(servers, **options) as dispatcher:
        for finished in dispatcher.run(work):
            assert finished.job.key not in found, "ended twice"
            found[finished.job.key] = finished
    return found


def kinds(found: dict[str, Finished]) -> Counter[str]:
    return Counter(finished.outcome.kind for finished in found.values())


def test_every_job_ends_once_with_its_picture(embedded_server: Any, follow: Any) -> None:
    servers = [follow(embedded_server().url) for _ in range(2)]
    found = run_all(servers, jobs(12))
    assert kinds(found) == {"done": 12}
    assert all(len(each.pictures) == 1 and each.pictures[0][1].startswith(b"\x89PNG") for each in found.values())
    assert {each.attempts for each in found.values()} == {1}


def test_work_is_shared(embedded_server: Any, follow: Any) -> None:
    servers = [follow(embedded_server(seconds_per_picture=0.1).url) for _ in range(2)]
    found = run_all(servers, jobs(12, sampled_graph))
    shares = Counter(each.server for each in found.values())
    assert set(shares) == {server.url for server in servers}
    assert min(shares.values()) >= 3


def test_the_next_try_is_made_on_another_server(embedded_server: Any, follow: Any) -> None:
    """A server on which every job fails may be at fault itself."""
    bad = follow(embedded_server(faults=Faults(out_of_memory_at_prompts=frozenset(range(1, 100)))).url)
    good = follow(embedded_server(seconds_per_picture=0.1).url)
    found = run_all([bad, good], jobs(6, sampled_graph), retries=1)
    assert kinds(found) == {"done": 6}
    assert max(each.attempts for each in found.values()) == 2
    assert {each.server for each in found.values()} == {good.url}


def test_prompts_wait_behind_the_running_one_and_no_more_is_read(embedded_server: Any, follow: Any) -> None:
    """Two ahead of the running one: of ten jobs, three are taken before the first ends."""
    server = follow(embedded_server(seconds_per_picture=5.0).url)
    taken: list[int] = []

    def source() -> Iterator[Job]:
        for number in range(10):
            taken.append(number)
            yield Job(f"job {number}", sampled_graph(number))

    with Dispatcher([server], ahead=2) as dispatcher:
        thread = threading.Thread(target=lambda: next(dispatcher.run(source()), None), daemon=True)
        thread.start()
        until = time.monotonic() + PATIENCE
        while server.workload().count < 3:
            assert time.monotonic() < until
        assert server.workload().count == 3
        assert len(taken) == 3
    assert server.workload().waiting == ()  # closing cancels what waits


def test_server_is_given_no_more_than_it_is_kept_ahead(embedded_server: Any, follow: Any) -> None:
    """However many wait here: what is on a server dies with it."""
    embedded = embedded_server(seconds_per_picture=0.2)
    with Dispatcher([follow(embedded.url)], ahead=2) as dispatcher:
        for job in jobs(12, sampled_graph):
            dispatcher.put(job)
        ended = dispatcher.wait(PATIENCE)
        assert embedded.counters["accepted"] <= len(ended) + 3 + 1  # the next may have ended already


def test_jobs_run_in_the_order_they_were_put(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server()
    order: list[str] = []
    run_all([follow(embedded.url)], jobs(8), on_submit=lambda job, prompt_id, url: order.append(job.key))
    assert order == [f"job {number}" for number in range(1, 9)]


def test_put_and_wait(embedded_server: Any, follow: Any) -> None:
    with Dispatcher([follow(embedded_server().url)], ahead=2) as dispatcher:
        assert (dispatcher.wanted, dispatcher.busy) == (3, False)
        assert dispatcher.wait(0.0) == []
        dispatcher.put(jobs(1)[0])
        assert dispatcher.busy
        ended = dispatcher.wait(PATIENCE)
        assert [each.job.key for each in ended] == ["job 1"]
        assert not dispatcher.busy


def test_jobs_of_a_server_that_dies_move_to_the_other(embedded_server: Any, follow: Any) -> None:
    dying, other = embedded_server(seconds_per_picture=0.3), embedded_server(seconds_per_picture=0.02)
    servers = [follow(dying.url, outage_seconds=0.2), follow(other.url)]
    notes: list[str] = []
    found: dict[str, Finished] = {}
    with Dispatcher(servers, on_note=notes.append) as dispatcher:
        for finished in dispatcher.run(jobs(10, sampled_graph)):
            if not found:
                dying.kill()
            found[finished.job.key] = finished
    assert kinds(found) == {"done": 10}
    assert any("move to the other servers" in note for note in notes)


def test_server_that_comes_back_is_used_again(embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_lane, "REVIVE_SECONDS", 0.05)
    dying, other = embedded_server(seconds_per_picture=0.05), embedded_server(seconds_per_picture=0.2)
    servers = [follow(dying.url, outage_seconds=0.1), follow(other.url)]
    notes: list[str] = []
    found: list[Finished] = []
    with Dispatcher(servers, on_note=notes.append) as dispatcher:
        until = time.monotonic() + PATIENCE
        killed = False
        number = 0
        while not (any("is back" in note for note in notes) and found[-1].server == dying.url):
            assert time.monotonic() < until, notes
            while dispatcher.wanted:
                number += 1
                dispatcher.put(Job(f"job {number}", sampled_graph(number)))
            found += dispatcher.wait(0.1)
            if found and not killed:
                dying.kill()
                killed = True
            elif killed and any("move to the other" in note for note in notes) and dying.counters["restarts"] == 0:
                dying.counters["restarts"] = 1
                dying.revive()
    assert {each.outcome.kind for each in found} == {"done"}


def test_an_outage_is_told_at_once_and_once_and_so_is_its_end(embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before `outage_seconds` are over: a person who watches must know what is waited for."""
    embedded = embedded_server(seconds_per_picture=0.3)
    server = follow(embedded.url, outage_seconds=60)
    notes: list[str] = []
    attempts: list[UnavailableError] = []
    bear = server._outage.bear
    monkeypatch.setattr(server._outage, "bear", lambda error, tell: (attempts.append(error), bear(error, tell)))
    with Dispatcher([server], on_note=notes.append) as dispatcher:
        for job in jobs(2, sampled_graph):
            dispatcher.put(job)
        until = time.monotonic() + PATIENCE
        while server.workload().count < 2:
            assert time.monotonic() < until
        embedded.kill()
        while not notes or len(attempts) < 3:  # told at the first failure, and not again at the next ones
            assert time.monotonic() < until, notes
            dispatcher.wait(0.05)
        embedded.revive()
        ended: list[Finished] = []
        while len(ended) < 2:
            assert time.monotonic() < until, notes
            ended += dispatcher.wait(0.1)
    assert [note for note in notes if "was lost" not in note] == [
        f"{server.url}: cannot be reached (Connection refused); waiting up to 60 s for it to come back",
        f"{server.url} is back",
    ]


def test_an_outage_while_a_picture_is_fetched_is_told(embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_lane, "FETCH_PAUSE_SECONDS", 0.0)
    server = follow(embedded_server().url)
    real, failures = server.download, [1, 2, 3]

    def download(ref: Any) -> bytes:
        if failures:
            failures.pop()
            raise UnavailableError(server.url, "cannot be reached", "start it")
        return bytes(real(ref))

    server.download = download
    notes: list[str] = []
    assert kinds(run_all([server], jobs(1), on_note=notes.append)) == {"done": 1}
    assert notes == [f"{server.url}: cannot be reached; waiting up to 120 s for it to come back", f"{server.url} is back"]


def test_no_server_left(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(seconds_per_picture=1.0)
    server = follow(embedded.url, outage_seconds=0.2)
    with Dispatcher([server]) as dispatcher:
        for job in jobs(2, sampled_graph):
            dispatcher.put(job)
        until = time.monotonic() + PATIENCE
        while server.workload().count < 2:
            assert time.monotonic() < until
        embedded.kill()
        with pytest.raises(UnavailableError, match="gone for"):
            dispatcher.wait(PATIENCE)


def test_restart_loses_prompts_and_they_are_submitted_again_once(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(seconds_per_picture=0.05, faults=Faults(restart_at_prompts=frozenset({3})))
    notes: list[str] = []
    found = run_all([follow(embedded.url)], jobs(6, sampled_graph), on_note=notes.append)
    assert kinds(found) == {"done": 6}
    assert sum("was lost" in note for note in notes) >= 1


@pytest.mark.parametrize(("restarts", "kind", "attempts"), [(2, "done", 3), (3, "done", 4), (4, "lost", 4)])
def test_a_job_may_be_lost_several_times_but_not_for_ever(
    embedded_server: Any, follow: Any, restarts: int, kind: str, attempts: int
) -> None:
    """A server may be restarted more than once; a prompt that takes it down each time must not be sent for ever."""
    at = frozenset(range(1, restarts + 1))
    embedded = embedded_server(seconds_per_picture=0.05, faults=Faults(restart_at_prompts=at, restart_seconds=0.05))
    found = run_all([follow(embedded.url)], jobs(1, sampled_graph))
    assert (found["job 1"].outcome.kind, found["job 1"].attempts) == (kind, attempts)


def test_memory_is_freed_once_and_the_job_tried_again(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(faults=Faults(out_of_memory_until_free=True))
    found = run_all([follow(embedded.url)], jobs(1, sampled_graph))
    assert (found["job 1"].outcome.kind, found["job 1"].attempts) == ("done", 2)
    assert embedded.counters["POST /free"] == 1


@pytest.mark.parametrize(
    ("faults", "retries", "kind", "attempts"),
    [
        pytest.param(Faults(out_of_memory_at_prompts=frozenset({1, 2, 3, 4})), 2, "failed", 3, id="out of memory every time"),
        pytest.param(Faults(out_of_memory_at_prompts=frozenset({1})), 0, "failed", 1, id="no retries wanted"),
        pytest.param(Faults(interrupt_at_prompts=frozenset({1})), 2, "done", 2, id="interrupted once"),
        pytest.param(Faults(disk_full_at_prompts=frozenset({1})), 2, "failed", 1, id="cannot heal"),
        pytest.param(Faults(half_written_views=6), 2, "done", 2, id="picture never whole, then whole"),
    ],
)
def test_what_is_tried_again(
    embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch, faults: Faults, retries: int, kind: str, attempts: int
) -> None:

    monkeypatch.setattr("tools.backends.comfyui_downloads.DOWNLOAD_PAUSES", (0.0, 0.0, 0.0, 0.0))
    found = run_all([follow(embedded_server(faults=faults).url)], jobs(1, sampled_graph), retries=retries)
    assert (found["job 1"].outcome.kind, found["job 1"].attempts) == (kind, attempts)
    assert bool(found["job 1"].pictures) == (kind == "done")


def test_picture_deleted_before_its_download_is_made_again(embedded_server: Any, follow: Any) -> None:
    """The second try must not be served from the cache, which names the deleted file again."""
    embedded = embedded_server()
    server = follow(embedded.url)
    real, deleted = server.download, []

    def download(ref: Any) -> bytes:
        if not deleted:
            deleted.append(ref)
            embedded.store.find(ref.filename, ref.subfolder, ref.type).unlink()
        return bytes(real(ref))

    server.download = download
    found = run_all([server], jobs(1))
    assert (found["job 1"].outcome.kind, found["job 1"].attempts) == ("done", 2)
    assert found["job 1"].pictures[0][0] != deleted[0]


def test_rejected_job_fails_and_the_others_go_on(embedded_server: Any, follow: Any) -> None:
    work = [*jobs(2), Job("bad", {"1": {"class_type": "NoSuchNode", "inputs": {}}}), *[Job("last", plain_graph())]]
    found = run_all([follow(embedded_server().url)], work)
    assert (found["bad"].outcome.kind, kinds(found)["done"]) == ("failed", 3)
    assert "NoSuchNode" in found["bad"].outcome.message


def test_rejected_job_names_the_node(embedded_server: Any, follow: Any) -> None:
    graph = sampled_graph(1)
    node_id = next(key for key, node in graph.items() if node["class_type"] == "KSampler")
    graph[node_id]["inputs"]["sampler_name"] = "no_such_sampler"
    outcome = run_all([follow(embedded_server().url)], [Job("bad", graph)])["bad"].outcome
    assert outcome.kind == "failed" and outcome.node is not None and outcome.node.startswith(node_id)


def test_job_that_one_server_refuses_goes_to_another(embedded_server: Any, follow: Any) -> None:
    """A server without the model would else take, and fail, everything: it is the quickest."""
    bare = embedded_server(models={"checkpoints": []})
    servers = [follow(bare.url), follow(embedded_server().url)]
    found = run_all(servers, jobs(6, sampled_graph))
    assert kinds(found) == {"done": 6}
    assert {each.server for each in found.values()} == {servers[1].url}
    assert max(each.attempts for each in found.values()) <= 2  # refused once, and never sent there again


def test_resumed_job_is_taken_from_its_server(embedded_server: Any, follow: Any) -> None:
    """Sent before a crash: its picture is fetched, not made again, and the other server does not touch it."""
    first, second = embedded_server(seconds_per_picture=0.05), embedded_server()
    sent: list[tuple[str, str]] = []
    with Dispatcher([follow(first.url)], on_submit=lambda job, prompt_id, url: sent.append((prompt_id, url))) as dispatcher:
        dispatcher.put(Job("job 1", sampled_graph(1)))
        dispatcher.wait(PATIENCE)
    (prompt_id, url) = sent[0]
    again = Job("job 1", sampled_graph(1), sent_as=prompt_id, sent_to=url)
    found = run_all([follow(second.url), follow(first.url)], [again])
    assert (found["job 1"].server, found["job 1"].outcome.prompt_id, found["job 1"].outcome.kind) == (url, prompt_id, "done")
    assert (first.counters["POST /prompt"], second.counters["POST /prompt"]) == (1, 0)


def test_resumed_jobs_wait_for_their_server_though_another_is_idle(embedded_server: Any, follow: Any) -> None:
    """Else each of them would be made twice."""
    first, second = embedded_server(seconds_per_picture=0.05), embedded_server()
    sent: dict[str, str] = {}
    run_all([follow(first.url)], jobs(4, sampled_graph), on_submit=lambda job, prompt_id, url: sent.update({job.key: prompt_id}))
    again = [replace(job, sent_as=sent[job.key], sent_to=first.url) for job in jobs(4, sampled_graph)]
    found = run_all([follow(second.url), follow(first.url)], again, ahead=0)
    assert {each.outcome.prompt_id for each in found.values()} == set(sent.values())
    assert (first.counters["POST /prompt"], second.counters["POST /prompt"]) == (4, 0)


def test_resumed_jobs_whose_server_dies_are_made_elsewhere_under_new_names(embedded_server: Any, follow: Any) -> None:
    dead, other = embedded_server(), embedded_server()
    servers = [follow(dead.url, outage_seconds=0.2), follow(other.url)]
    dead.kill()
    work = [replace(job, sent_as=f"{number:032x}", sent_to=dead.url) for number, job in enumerate(jobs(3, sampled_graph))]
    found = run_all(servers, work, ahead=0)
    assert kinds(found) == {"done": 3}
    assert {each.server for each in found.values()} == {other.url}
    assert not {each.outcome.prompt_id for each in found.values()} & {job.sent_as for job in work}


def test_resumed_job_whose_server_is_not_there_is_made_elsewhere(embedded_server: Any, follow: Any) -> None:
    job = Job("job 1", plain_graph(), sent_as="0" * 8, sent_to="http://127.0.0.1:9")
    found = run_all([follow(embedded_server().url)], [job])["job 1"]
    assert found.outcome.kind == "done" and found.outcome.prompt_id != job.sent_as


def test_server_that_is_gone_is_tried_now_and_then_and_not_all_the_time(
    embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_lane, "REVIVE_SECONDS", 0.2)
    dying, other = embedded_server(), embedded_server(seconds_per_picture=0.6)
    servers = [follow(dying.url, outage_seconds=0.1), follow(other.url)]
    dying.kill()
    tries: list[float] = []

    def connect() -> None:
        tries.append(time.monotonic())
        raise UnavailableError(dying.url, "cannot be reached")

    servers[0].connect = connect
    run_all(servers, jobs(4, sampled_graph), ahead=0)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert len(tries) >= 2 and min(pauses) >= 0.19


def test_what_a_server_says_is_told_with_its_name_and_ours_is_no_name_of_its_own(embedded_server: Any, follow: Any) -> None:
    server = follow(embedded_server().url)
    notes: list[str] = []
    accepted: list[str] = []
    with Dispatcher([server], on_note=notes.append, on_accepted=lambda job, prompt_id, handle: accepted.append(handle)) as dispatcher:
        server.on_note("is full")
        dispatcher.put(jobs(1)[0])
        dispatcher.wait(PATIENCE)
    assert (notes, accepted) == ([f"{server.url}: is full"], [])  # ComfyUI takes our id: there is nothing to remember


def test_closing_cancels_only_ours(embedded_server: Any, follow: Any) -> None:
    embedded = embedded_server(seconds_per_picture=0.3)
    theirs, somebody_else = follow(embedded.url), str(uuid.uuid4())
    with Dispatcher([follow(embedded.url)]) as dispatcher:
        for job in jobs(3, sampled_graph):
            dispatcher.put(job)
        until = time.monotonic() + PATIENCE
        while theirs.workload().count < 3:
            assert time.monotonic() < until
        theirs.submit(somebody_else, sampled_graph(99))
    assert set(theirs.workload().waiting) <= {somebody_else}
    ended: list[Any] = []
    while not ended:
        assert time.monotonic() < until + PATIENCE
        ended = theirs.wait(0.5)
    assert (ended[0].prompt_id, ended[0].kind) == (somebody_else, "done")
    assert embedded.counters["pictures"] <= 2  # theirs, and at most the one of ours that was ending


def test_fault_of_the_caller_is_raised_where_it_waits(embedded_server: Any, follow: Any) -> None:
    def full_disk(job: Job, prompt_id: str, url: str) -> None:
        raise OSError(28, "No space left on device")

    with Dispatcher([follow(embedded_server().url)], on_submit=full_disk) as dispatcher:
        dispatcher.put(jobs(1)[0])
        with pytest.raises(OSError, match="No space left on device"):
            dispatcher.wait(PATIENCE)


def test_sick_server_does_not_hold_up_the_other(embedded_server: Any, follow: Any) -> None:
    """It refuses every prompt with 500: what it was given goes to the healthy one."""
    with fake_server({"GET /system_stats": (200, {"system": {}}), "POST /prompt": (500, b"in trouble")}) as sick:
        servers = [follow(sick.url, outage_seconds=0.2), follow(embedded_server().url)]
        found = run_all(servers, jobs(6))
    assert kinds(found) == {"done": 6}


def test_a_graph_is_made_ready_for_the_server_that_runs_it(embedded_server: Any, follow: Any) -> None:
    """Each server gets what its prompts load; a graph that cannot be made ready ends at once, and the others go on."""
    servers = [follow(embedded_server(seconds_per_picture=0.05).url) for _ in range(2)]
    picture = b"\x89PNG that nobody opens"

    def upload(server: Any, graph: dict[str, Any]) -> dict[str, Any]:
        told = server.upload_picture("same name.png", picture)
        return {**graph, "2": {**graph["2"], "inputs": {**graph["2"]["inputs"], "filename_prefix": f"{told}/{server.url[-5:]}"}}}

    def refuse(server: Any, graph: dict[str, Any]) -> dict[str, Any]:
        raise InputError("0007.png", "its file is gone")

    work = [replace(job, prepare=upload) for job in jobs(6)] + [Job("refused", plain_graph(), prepare=refuse)]
    found = run_all(servers, work)
    assert found["refused"].outcome.kind == "failed"
    assert found["refused"].outcome.message == "0007.png: its file is gone"
    made = [each for key, each in found.items() if key != "refused"]
    assert {each.pictures[0][0].subfolder for each in made} == {"same name.png"}
    assert all(each.pictures[0][0].filename.startswith(each.server[-5:]) for each in made)
    assert work[0].graph["2"]["inputs"]["filename_prefix"] == "lifeos_test/plain"  # the caller's stays as it is


def test_a_picture_that_a_server_does_not_take_goes_to_another(embedded_server: Any, follow: Any) -> None:
    def upload(server: Any, graph: dict[str, Any]) -> dict[str, Any]:
        server.upload_picture("big.png", b"{}")
        return graph

    answers = {"GET /system_stats": (200, {"system": {}}), "POST /upload/image": (413, b"", {})}
    with fake_server(answers) as fake:
        servers = [follow(fake.url), follow(embedded_server().url)]
        found = run_all(servers, [replace(job, prepare=upload) for job in jobs(4)])
        assert {(each.outcome.kind, each.server) for each in found.values()} == {("done", servers[1].url)}
        (alone,) = run_all(servers[:1], [replace(job, prepare=upload) for job in jobs(1)]).values()
    assert alone.outcome.message.startswith("rejected: it does not take the picture big.png (0.0 MB): status 413 (raise --max-upload-size")


def test_an_upload_waits_for_a_server_that_restarts(embedded_server: Any, follow: Any) -> None:
    server = follow(embedded_server(faults=Faults(http_500={"POST /upload/image": 4})).url, outage_seconds=5)
    told: list[bool] = []
    server.on_outage = lambda error: told.append(error is not None)
    assert server.upload_picture("a.png", b"{}") == "a.png"
    assert told == [True, False]


def test_a_server_that_begins_left_out_takes_part_once_it_is_admitted(
    embedded_server: Any, follow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_lane, "REVIVE_SECONDS", 0.05)
    there, late = (follow(embedded_server(seconds_per_picture=0.1).url) for _ in range(2))
    asked: list[str] = []

    def admit(server: Any) -> None:
        asked.append(server.url)
        if len(asked) < 3:
            raise UnavailableError(server.url, "lacks a LoRA")

    found = run_all([there, late], jobs(16, sampled_graph), left_out=[late.url], admit=admit)
    assert kinds(found) == {"done": 16}
    assert asked == [late.url] * 3
    assert {each.server for each in found.values()} == {there.url, late.url}


def test_a_job_goes_only_where_it_can_run_and_leaves_the_others_busy(embedded_server: Any, follow: Any) -> None:
    able, other = (follow(embedded_server(seconds_per_picture=0.1).url) for _ in range(2))
    bound = [Job(f"bound {number}", sampled_graph(number), can_run=lambda url: url == able.url) for number in range(6)]
    with Dispatcher([able, other], ahead=0) as dispatcher:
        for job in bound:
            dispatcher.put(job)
        assert dispatcher.wanted > 0, "what waits for one server leaves room on the other"
        found = {each.job.key: each.server for each in dispatcher.run(jobs(6, lambda number: sampled_graph(100 + number)))}
    assert {found[job.key] for job in bound} == {able.url}
    assert other.url in {server for key, server in found.items() if not key.startswith("bound")}


def test_a_job_that_no_server_can_run_is_given_out_all_the_same(embedded_server: Any, follow: Any) -> None:
    """Its `prepare` says what is missing; it must not wait for ever. The same where the only one that can refuses it."""
    able, other = (follow(embedded_server().url) for _ in range(2))
    nobody = Job("nobody", sampled_graph(1), can_run=lambda url: False)
    refused = Job("refused", {"1": {"class_type": "NoSuchNode", "inputs": {}}}, can_run=lambda url: url == able.url)
    assert kinds(run_all([able, other], [nobody, refused])) == {"done": 1, "failed": 1}
