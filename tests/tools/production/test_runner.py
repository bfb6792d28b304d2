"""Batches on a real socket: whole, interrupted, killed between any two steps, with servers that fail, restart and vanish."""

from __future__ import annotations

import io
import json
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lifeos.errors import UnavailableError
from lifeos.files import read_records
from tests.power_loss import Disk
from tests.tools.backends.fakes import fake_server
from tests.tools.production.scenes import NAMES, HashScorer, filed, graph_maker, make_plan, run
from tools.backends.backend import Workload
from tools.backends.comfyui import ComfyServer
from tools.production import batch_progress
from tools.production.budget import Limits
from tools.production.filing import BatchFolder
from tools.production.journal import Journal, read_state
from tools.production.plan import Plan
from tools.production.stopping import StopSignal
from tools.stand_in import Faults

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

    StartServer = Callable[..., EmbeddedServer]


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return BatchFolder(tmp_path / "batch")


def test_a_whole_batch(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server()
    end = run(folder, make_plan(), server)
    assert (end.why, end.error) == ("complete", None)
    assert sorted(filed(folder)) == NAMES
    assert len(server.executed) == 4
    assert list(folder.incoming.iterdir()) == []
    with Image.open(next(folder.root.glob("*/0001_*.png"))) as picture:
        assert '"seed": 100' in str(picture.info["prompt"])  # the server's own text chunks survive


def test_verdicts_put_pictures_in_their_places(folder: BatchFolder, embedded_server: StartServer) -> None:
    end = run(folder, make_plan(), embedded_server())
    places = filed(folder)
    assert {name: places[name] == "approved" for name in places} == end.state.verdicts


STEPS = ["submitted", "downloaded", "scored", "filed"]


@pytest.mark.parametrize("is_written", [False, True], ids=["before-the-record", "after-the-record"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_same_command_continues(
    folder: BatchFolder, embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch, step: str, is_written: bool
) -> None:
    class KilledError(BaseException):
        pass

    server, append, left = embedded_server(), Journal.append, [2]

    def dying(self: Journal, event: str, **fields: Any) -> None:
        if event == step:
            left[0] -= 1
            if left[0] <= 0:
                if is_written:
                    append(self, event, **fields)
                raise KilledError
        append(self, event, **fields)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", dying)
        with pytest.raises(KilledError):
            run(folder, make_plan(), server)
    before = filed(folder)
    end = run(folder, make_plan(), server)
    assert end.why == "complete"
    assert sorted(filed(folder)) == NAMES
    assert before.items() <= filed(folder).items()
    assert list(folder.incoming.iterdir()) == []
    assert read_state(folder.root / "journal.jsonl").filed == set(NAMES)
    records = [record.data for record in read_records(folder.root / "journal.jsonl")]
    assert sorted(record["file"] for record in records if record["event"] == "scored") == NAMES  # none is scored again


def test_a_prompt_id_is_on_the_disk_before_its_prompt_is_posted(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may make the picture from that moment on: a power loss must not let it be made twice."""
    folder.prepare()
    disk, posted = Disk(folder.root, monkeypatch), []

    def receive(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        lines = disk.after_power_loss().get("journal.jsonl", b"").splitlines()
        on_disk = {record.get("prompt_id") for record in map(json.loads, lines) if record["event"] == "submitted"}
        posted.append(body["prompt_id"] in on_disk)
        return 400, {"error": {"type": "x", "message": "no", "details": "", "extra_info": {}}, "node_errors": {}}

    with fake_server({"GET /system_stats": (200, {"system": {}}), "POST /prompt": receive}) as server:
        run(folder, make_plan(), server)
    assert posted and all(posted)


def test_a_downloaded_picture_is_not_generated_again_when_its_server_is_gone(folder: BatchFolder, embedded_server: StartServer) -> None:
    plan, first = make_plan(), embedded_server()
    run(folder, plan, first, limits=Limits(max_images=1))
    name = NAMES[0]
    place = filed(folder)[name]
    folder.prepare()
    (folder.root / place / name).rename(folder.incoming / name)  # as a kill before the journal knew of it leaves it
    lines = (folder.root / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder.root / "journal.jsonl").write_text("".join(line for line in lines if '"submitted"' in line or '"started"' in line))
    first.stop()
    second = embedded_server()
    assert run(folder, plan, second).why == "complete"
    assert sorted(filed(folder)) == NAMES
    assert len(second.executed) == 3


def test_a_prompt_in_flight_is_found_again(folder: BatchFolder, embedded_server: StartServer) -> None:
    server, plan = embedded_server(), make_plan(count=1, prompts=("amiranoor, cafe",))
    client = ComfyServer(server.url)
    client.connect()
    client.submit("11111111-1111-4111-8111-111111111111", graph_maker(plan)(plan.item(1)))
    client.close()
    folder.prepare()
    journal = Journal(folder.root / "journal.jsonl")
    journal.append("submitted", item=1, prompt_id="11111111-1111-4111-8111-111111111111", server=server.url)
    journal.close()
    assert run(folder, plan, server).why == "complete"
    assert len(filed(folder)) == 1
    assert len(server.executed) == 1


def test_a_prompt_that_the_run_before_cancelled_is_made_now(folder: BatchFolder, embedded_server: StartServer) -> None:
    server, plan = embedded_server(seconds_per_picture=2), make_plan(count=1, prompts=("amiranoor, cafe",))
    sent = "22222222-2222-4222-8222-222222222222"
    with ComfyServer(server.url) as client:
        client.connect()
        client.submit(sent, graph_maker(plan)(plan.item(1)))
        while client.workload().running != (sent,):
            client.wait(0.05)
        client.cancel([sent])
        while client.workload() != Workload():
            client.wait(0.05)
    folder.prepare()
    journal = Journal(folder.root / "journal.jsonl")
    journal.append("submitted", item=1, prompt_id=sent, server=server.url)
    journal.close()
    end = run(folder, plan, server)  # the policy here has no retries
    assert end.why == "complete" and len(filed(folder)) == 1
    assert end.state.items[1].failure is None


def test_half_written_files_are_cleaned_up(folder: BatchFolder, embedded_server: StartServer) -> None:
    folder.prepare()
    for place in (folder.incoming, folder.root / "approved", folder.root):
        (place / ".0001_x.png.abc.tmp").write_bytes(b"half")
    run(folder, make_plan(), embedded_server())
    assert list(folder.root.rglob("*.tmp")) == []


def test_nothing_is_done_twice(folder: BatchFolder, embedded_server: StartServer) -> None:
    server, scorer = embedded_server(), HashScorer()
    run(folder, make_plan(), server, scorer=scorer)
    assert run(folder, make_plan(), server, scorer=scorer).why == "complete"
    assert len(server.executed) == 4
    assert sorted(scorer.seen) == NAMES


def test_a_target_is_reached_with_new_seeds(folder: BatchFolder, embedded_server: StartServer) -> None:
    plan = make_plan(count=1, target_approved=5)
    end = run(folder, plan, embedded_server(), scorer=HashScorer(least=0.7), limits=Limits(max_images=50))
    assert end.why == "target"
    approved = [name for name, place in filed(folder).items() if place == "approved"]
    assert 5 <= len(approved) < 20  # what was queued ahead may be more than was wanted, not the whole of --max-images
    assert any("seed104" in name for name in approved)  # beyond the two of the plan


class SlowScorer(HashScorer):
    """Takes longer to judge a picture than the server takes to make one; likes everything."""

    def assess_bytes(self, data: bytes, path: Path) -> Any:
        time.sleep(0.3)
        return super().assess_bytes(data, path)


def test_no_more_is_made_than_may_be_wanted_while_pictures_wait_to_be_judged(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server()
    end = run(folder, make_plan(count=5, target_approved=5), server, scorer=SlowScorer(least=0.7), limits=Limits(max_images=50))
    assert end.why == "target"
    assert 5 <= len(server.executed) <= 9  # five that wait, and what was queued ahead of them


def test_a_target_out_of_reach_stops_at_max_images(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server()
    end = run(folder, make_plan(target_approved=3), server, scorer=NeverScorer(), limits=Limits(max_images=5))
    assert end.why == "max_images"
    assert len(server.executed) == 5


class NeverScorer(HashScorer):
    """Finds no face in anything."""

    def assess_bytes(self, data: bytes, path: Path) -> Any:
        from tests.tools.production.scenes import make_assessment

        return make_assessment(path.name, None)


def test_max_images_stops_and_a_later_run_goes_on(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server()
    assert run(folder, make_plan(), server, limits=Limits(max_images=3)).why == "max_images"
    assert len(filed(folder)) == 3
    assert run(folder, make_plan(), server).why == "complete"
    assert len(server.executed) == 4


def test_max_cost_of_zero_queues_nothing(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server()
    assert run(folder, make_plan(), server, limits=Limits(max_cost=0.0), rate=0.6).why == "max_cost"
    assert server.counters["POST /prompt"] == 0


def test_failures_in_a_row_stop_the_batch_and_are_tried_again_later(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server(faults=Faults(broken_models=frozenset({"amiranoor_v3.safetensors"})))
    end = run(folder, make_plan(), server)
    assert end.why == "error" and isinstance(end.error, UnavailableError)
    assert "3 pictures in a row were not made" in str(end.error)
    assert sum(item.failure is not None for item in end.state.items.values()) >= 3
    server.faults.broken_models = frozenset()
    assert run(folder, make_plan(), server).why == "complete"
    assert sorted(filed(folder)) == NAMES


def test_a_failure_that_a_killed_run_did_not_see_is_tried_again(folder: BatchFolder, embedded_server: StartServer) -> None:
    """It sent a prompt, which failed on the server while nobody listened: the history has it, and it is no failure of this run."""
    server = embedded_server(faults=Faults(broken_models=frozenset({"amiranoor_v3.safetensors"})))
    plan, sent = make_plan(), str(uuid.uuid4())
    with ComfyServer(server.url) as client:
        client.connect()
        client.submit(sent, graph_maker(plan)(plan.item(1)))
        while not client.wait(0.05):
            pass
    server.faults.broken_models = frozenset()
    folder.prepare()
    journal = Journal(folder.root / "journal.jsonl")
    journal.append("submitted", item=1, prompt_id=sent, server=server.url)
    journal.close()
    assert run(folder, plan, server).why == "complete"
    assert sorted(filed(folder)) == NAMES


def test_a_restarted_server_costs_only_time(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server(seconds_per_picture=0.1, faults=Faults(restart_at_prompts=frozenset({2}), restart_seconds=0.2))
    assert run(folder, make_plan(), server).why == "complete"
    assert sorted(filed(folder)) == NAMES


def test_a_server_that_goes_away_leaves_what_is_done_and_another_continues(folder: BatchFolder, embedded_server: StartServer) -> None:
    first = embedded_server(seconds_per_picture=0.05)
    scorer = HashScorer()
    original = scorer.assess_bytes

    def kill_then_score(data: bytes, path: Path) -> Any:
        if not scorer.seen:
            first.kill()
        return original(data, path)

    scorer.assess_bytes = kill_then_score  # type: ignore[method-assign]
    end = run(folder, make_plan(count=10), first, scorer=scorer, outage_seconds=0.5)
    assert end.why == "error" and isinstance(end.error, UnavailableError)
    kept = filed(folder)
    assert 1 <= len(kept) < 20
    second = embedded_server()
    assert run(folder, make_plan(count=10), second).why == "complete"
    assert len(filed(folder)) == 20
    assert kept.items() <= filed(folder).items()


def test_a_server_that_dies_leaves_its_prompts_to_the_other(folder: BatchFolder, embedded_server: StartServer) -> None:
    first, second, scorer = embedded_server(seconds_per_picture=0.1), embedded_server(seconds_per_picture=0.1), HashScorer()
    original = scorer.assess_bytes

    def kill_then_score(data: bytes, path: Path) -> Any:
        if not scorer.seen:
            first.kill()
        return original(data, path)

    scorer.assess_bytes = kill_then_score  # type: ignore[method-assign]
    end = run(folder, make_plan(count=6), first, second, scorer=scorer, outage_seconds=0.3, retries=1)  # a download may die with it
    assert (end.why, end.error) == ("complete", None)
    assert len(filed(folder)) == 12
    assert len(second.executed) >= 6


def test_a_stop_cancels_ours_and_keeps_what_is_done(folder: BatchFolder, embedded_server: StartServer) -> None:
    server, stop, scorer = embedded_server(seconds_per_picture=0.05), StopSignal(), HashScorer()
    original = scorer.assess_bytes

    def stop_then_score(data: bytes, path: Path) -> Any:
        stop.request()
        return original(data, path)

    scorer.assess_bytes = stop_then_score  # type: ignore[method-assign]
    end = run(folder, make_plan(count=50), server, stop=stop, scorer=scorer)
    assert end.why == "interrupted"
    assert 1 <= len(filed(folder)) < 20
    assert list(folder.incoming.iterdir()) == []
    with ComfyServer(server.url) as client:  # an interrupt is heeded at the next step
        until = time.monotonic() + 5
        while client.workload() != Workload():
            assert time.monotonic() < until
            time.sleep(0.01)
    assert len(server.executed) < 20


def test_pictures_that_their_owner_moved_or_took_are_left_alone(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server()
    run(folder, make_plan(), server)
    places = filed(folder)
    moved, taken = NAMES[0], NAMES[1]
    other = "rejected" if places[moved] == "approved" else "approved"
    (folder.root / places[moved] / moved).rename(folder.root / other / moved)
    (folder.root / places[taken] / taken).unlink()
    assert run(folder, make_plan(), server).why == "complete"
    assert filed(folder) == {**{name: place for name, place in places.items() if name != taken}, moved: other}
    assert len(server.executed) == 4


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    source = tmp_path / "pictures"
    for name, shade in (("a.png", 10), ("sub/a.png", 20), ("sub__a.png", 30)):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 48), (shade, shade, shade)).save(source / name)
    (source / "broken.jpg").write_bytes(b"no picture")
    return source


IMAGES = ("a.png", "broken.jpg", "sub/a.png", "sub__a.png")


def images_plan(source: Path) -> Plan:
    return make_plan(source_dir=str(source), images=IMAGES, prompts=(), variants=(), workflows=(), workflow_name="")


def test_existing_pictures_are_copied_and_never_touched(folder: BatchFolder, pictures: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pictures.rglob("*.*")}
    assert run(folder, images_plan(pictures)).why == "complete"
    assert set(filed(folder)) == {"a.png", "broken.jpg", "sub__a.png", "sub__a_2.png"}
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pictures.rglob("*.*")} == before
    copied = next(folder.root.glob("*/sub__a_2.png")).read_bytes()
    assert copied == (pictures / "sub__a.png").read_bytes()


def test_what_is_left_is_told_once_it_is_known(folder: BatchFolder, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy's seconds for a picture are those of a GPU that makes one: judging existing ones has its own pace."""
    monkeypatch.setattr(batch_progress, "LOG_SECONDS", 0)
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(pictures / f"more_{number:02}.png")
    images = (*IMAGES, *(f"more_{number:02}.png" for number in range(20)))
    notes: list[str] = []
    run(folder, replace(images_plan(pictures), images=images), note=notes.append, seconds_per_picture=3600)
    assert notes[0].endswith(" approved, ? left")  # which of the workers came first is chance
    assert notes[-1].startswith("24 of 24 pictures, ") and notes[-1].endswith(" approved, 0 s left")
    assert not [line for line in notes if " min left" in line or " h " in line]


def test_a_target_is_left_by_the_share_that_is_approved(folder: BatchFolder, embedded_server: StartServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(batch_progress, "LOG_SECONDS", 0)
    monkeypatch.setattr(batch_progress.WallPace, "seconds", 60.0)
    notes: list[str] = []
    plan = make_plan(count=1, target_approved=3)
    scorer = HashScorer(least=0.7)
    run(folder, plan, embedded_server(), scorer=scorer, limits=Limits(max_images=50), note=notes.append, queue_ahead=0)
    told = {line.partition(", ")[2] for line in notes}
    left = {1: "2 min", 2: "60 s"}
    assert told and told <= {f"{number} approved, {left.get(number, '0 s')} left" for number in range(1, 10)}


def test_a_picture_that_vanished_is_a_failure_not_an_end(folder: BatchFolder, pictures: Path) -> None:
    (pictures / "a.png").unlink()
    end = run(folder, images_plan(pictures))
    assert end.why == "incomplete"
    assert end.state.items[1].failure == "cannot be read: No such file or directory"
    assert len(filed(folder)) == 3
    Image.new("RGB", (32, 48)).save(pictures / "a.png")
    assert run(folder, images_plan(pictures)).why == "complete"


def test_a_full_disk_stops_cleanly(folder: BatchFolder, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(pictures)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=50_000_000))
    end = run(folder, images_plan(pictures))
    assert end.why == "error"
    assert str(end.error) == f"{folder.root}: the disk is full (free some room, then run the same command again)"
    monkeypatch.undo()
    assert run(folder, images_plan(pictures)).why == "complete"


def test_a_disk_that_fills_while_generating_stops_before_the_next_prompt(
    folder: BatchFolder, embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, usage = embedded_server(), shutil.disk_usage(folder.root.parent)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000_000 - int(server.counters["POST /prompt"] >= 2)))
        end = run(folder, make_plan(), server, queue_ahead=0)
    assert end.why == "error"
    assert str(end.error) == f"{folder.root}: the disk is full (free some room, then run the same command again)"
    assert server.counters["POST /prompt"] == 2  # 100 MB are enough to queue another, one byte less is not
    assert sorted(filed(folder)) == NAMES[:2]  # what was queued is kept
    assert run(folder, make_plan(), server).why == "complete"


def test_a_write_that_finds_no_room_stops_cleanly(folder: BatchFolder, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(self: BatchFolder, stored: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x.png")

    with monkeypatch.context() as patched:
        patched.setattr(BatchFolder, "take_in", full)
        end = run(folder, images_plan(pictures))
    assert end.why == "error" and isinstance(end.error, OSError)
    assert run(folder, images_plan(pictures)).why == "complete"
    assert len(filed(folder)) == 4


def test_every_picture_of_a_prompt_is_kept(folder: BatchFolder) -> None:
    from tools.production.intake import picture_names

    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    plan = make_plan()
    assert picture_names(plan, plan.item(1), [b"\x89PNG", out.getvalue()]) == [NAMES[0], "0001_p001_v01_seed100_cafe_2.jpg"]
