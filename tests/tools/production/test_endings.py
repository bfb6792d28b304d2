"""How a batch ends: by what was made, not by what was planned; by what cannot be mended; and what a later run heals, each time."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lifeos.errors import EXIT_GATE, InputError, UnavailableError
from lifeos.files import read_records
from tests.tools.production.scenes import (
    NAMES,
    Bench,
    HashScorer,
    filed,
    finish,
    graph_maker,
    make_assessment,
    make_plan,
    make_policy,
    picture,
    run,
)
from tools.backends.comfyui import ComfyServer
from tools.production.budget import Limits
from tools.production.filing import BatchFolder
from tools.production.intake import describe_node
from tools.production.journal import Journal, read_state
from tools.production.pipeline import Outcome
from tools.production.results import ending_of
from tools.production.runner import BatchEnd, Equipment, run_batch
from tools.stand_in import Faults
from tools.stand_in.picture_store import PictureStore

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

    StartServer = Callable[..., EmbeddedServer]


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return BatchFolder(tmp_path / "batch")


def count(folder: BatchFolder, event: str) -> int:
    return sum(record.data["event"] == event for record in read_records(folder.root / "journal.jsonl"))


# The ending comes from the results


def test_every_planned_picture_is_never_said_of_a_batch_in_which_one_failed(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server(faults=Faults(disk_full_at_prompts=frozenset({2})))
    end = run(folder, make_plan(), server)
    assert (end.why, end.error) == ("incomplete", None)
    assert len(filed(folder)) == 3
    document = finish(make_plan(), folder, why="complete")  # whatever an older journal claims
    assert (document["ending"], document["counts"]["failed"]) == ("incomplete", 1)
    assert "The batch is not complete: 3 of 4 planned pictures were made; the same command tries the others again." in document["judgement"]
    for name in ("batch_report.md", "batch_report.html", "batch_report.json"):
        assert "every planned picture was made" not in (folder.root / name).read_text(encoding="utf-8").replace("not every planned", "")
    assert Outcome(document, folder, end).exit_code == EXIT_GATE
    assert run(folder, make_plan(), server).why == "complete"
    document = finish(make_plan(), folder)
    assert (document["ending_text"], document["counts"]["failed"]) == ("every planned picture was made", 0)


@pytest.mark.parametrize(
    ("why", "missing", "ending"),
    [
        ("complete", 0, "complete"),
        ("complete", 1, "incomplete"),
        ("incomplete", 0, "complete"),
        ("max_cost", 1, "max_cost"),
        ("interrupted", 0, "interrupted"),
    ],
)
def test_the_ending_by_what_there_is(folder: BatchFolder, why: str, missing: int, ending: str) -> None:
    plan = make_plan()
    folder.prepare()
    journal = Journal(folder.root / "journal.jsonl")
    for index in range(1, plan.planned + 1 - missing):
        journal.append("downloaded", item=index, files=[{"file": NAMES[index - 1]}])
    journal.append("downloaded", item=plan.planned + 1, files=[{"file": "beyond the plan.png"}])
    journal.close()
    assert ending_of(why, plan, read_state(folder.root / "journal.jsonl")) == ending


def test_a_server_that_restarts_again_and_again_costs_no_picture(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server(seconds_per_picture=0.05, faults=Faults(restart_at_prompts=frozenset({2, 3, 5}), restart_seconds=0.1))
    assert run(folder, make_plan(count=4), server).why == "complete"
    assert len(filed(folder)) == 8


# What cannot be mended by trying again


def jpeg_xl() -> bytes:
    return b"\xff\x0a" + bytes(range(200))


def open_exr() -> bytes:
    """A format of which nobody here knows even the beginning."""
    return b"v/1\x01" + bytes(range(200))


def animated_webp() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in (10, 90, 200)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


def saving(change: Callable[[int, bytes], bytes]) -> Callable[..., Any]:
    """A saver of the embedded server that writes other bytes: `change` gets the number of the picture, from 1, and its bytes."""
    real, count = PictureStore.save, itertools.count(1)
    return lambda self, files, *more: real(self, [change(next(count), data) for data in files], *more)


class LoadingScorer(HashScorer):
    """Reads the picture as an assessor does."""

    def assess_bytes(self, data: bytes, path: Path) -> Any:
        from dataclasses import replace

        from lifeos.images import ImageError, decode_picture

        self.seen.append(path.name)
        try:
            decode_picture(data, path)
        except ImageError as error:
            return replace(make_assessment(path.name, None), reason=error.reason)
        return make_assessment(path.name, 0.9)


@pytest.mark.parametrize("make", [jpeg_xl, open_exr, animated_webp])
def test_a_saver_that_nobody_can_read_stops_the_batch_after_its_first_picture(
    folder: BatchFolder, embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch, make: Callable[[], bytes]
) -> None:
    server = embedded_server(seconds_per_picture=0.3)
    with monkeypatch.context() as patched:
        patched.setattr(PictureStore, "save", saving(lambda number, data: make()))
        end = run(folder, make_plan(count=20), server, scorer=LoadingScorer(), retries=2)
        assert end.why == "error" and isinstance(end.error, InputError)
        assert end.error.exit_code == 2
        assert end.error.what == f"node {saver_of_plan()} (SaveImage)"
        assert "have" in end.error.fix and "save PNG, JPEG or WebP" in end.error.fix
        assert len(server.executed) <= 8  # what was queued behind it, also where this machine is slow
        assert filed(folder) == {}
        assert run(folder, make_plan(count=20), server, scorer=LoadingScorer(), retries=2).why == "error"  # as long as it lasts


def test_a_workflow_that_saves_nothing_stops_the_batch_after_its_first_picture(
    folder: BatchFolder, embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PictureStore, "save", lambda *_: [])
    server = embedded_server(seconds_per_picture=0.3)
    end = run(folder, make_plan(count=20), server)
    assert isinstance(end.error, InputError) and len(server.executed) <= 8
    assert str(end.error) == (
        "the workflow: ended without a picture: no node saved one; the other pictures would be the same, so the batch stops "
        "(end the workflow with a node that saves pictures, such as SaveImage)"
    )


def saver_of_plan() -> str:
    return next(node for node, content in make_plan().workflows[0].items() if content["class_type"] == "SaveImage")


def test_one_odd_picture_among_good_ones_is_only_rejected(
    folder: BatchFolder, embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = embedded_server()
    monkeypatch.setattr(PictureStore, "save", saving(lambda number, data: animated_webp() if number == 3 else data))
    end = run(folder, make_plan(), server, scorer=LoadingScorer(), queue_ahead=0)
    assert (end.why, len(filed(folder))) == ("complete", 4)
    assert sum(place == "rejected" for place in filed(folder).values()) == 1


@pytest.mark.parametrize(
    ("graph", "node", "text"),
    [
        ({"9": {"class_type": "SaveAVIF"}}, "9", "node 9 (SaveAVIF)"),
        ({}, "9", "node 9"),
        ({"9": {"class_type": "SaveAVIF"}}, "", "the workflow"),
        ({"9": "x"}, "9", "node 9"),
    ],
)
def test_a_saver_is_named_as_far_as_it_is_known(graph: dict[str, Any], node: str, text: str) -> None:
    assert describe_node(graph, node) == text


def test_a_prompt_that_the_server_refuses_is_said_once(folder: BatchFolder, embedded_server: StartServer) -> None:
    plan = make_plan(count=20)
    broken = {number: dict(content, inputs=dict(content["inputs"])) for number, content in plan.workflows[0].items()}
    sampler = next(number for number, content in broken.items() if content["class_type"] == "KSampler")
    del broken[sampler]["inputs"]["steps"]
    server = embedded_server()
    client = ComfyServer(server.url)
    client.connect()
    equipment = Equipment(HashScorer(), make_policy(), [client], lambda item: broken, 0.0, workers=1)
    end = run_batch(plan, folder, equipment, Limits())
    client.close()
    assert isinstance(end.error, InputError)
    assert end.error.what == f"node {sampler} (KSampler)" and "rejected: " in end.error.why and "steps" in end.error.why
    assert end.error.fix == "mend the workflow or its settings"
    assert count(folder, "failed") == 1


def test_a_batch_that_waits_beats_and_does_not_move_on(
    folder: BatchFolder, embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its beginning, and when a picture was made and when it was filed; in between it only lives."""
    monkeypatch.setattr("tools.production.signs_of_life.REFRESH_SECONDS", 0)
    client, plan = ComfyServer(embedded_server(seconds_per_picture=0.8).url), make_plan(count=1)
    client.connect()
    told: list[bool] = []
    equipment = Equipment(HashScorer(), make_policy(), [client], graph_maker(plan), workers=1, beat=told.append)
    assert run_batch(plan, folder, equipment, Limits()).why == "complete"
    client.close()
    assert told[0] and False in told and 2 <= sum(told) <= 1 + 2 * plan.planned


# The brakes count tries


def test_failed_tries_stop_the_batch_before_the_failures_do(folder: BatchFolder, embedded_server: StartServer) -> None:
    """Two retries each: three failures would be nine tries, and nothing to show for them."""
    server = embedded_server(faults=Faults(out_of_memory_at_prompts=frozenset(range(1, 100))))
    end = run(folder, make_plan(count=10), server, retries=2, queue_ahead=0)
    assert end.why == "error" and isinstance(end.error, UnavailableError)
    assert "6 tries in a row made no picture; the last failed: " in str(end.error)
    assert count(folder, "submitted") <= 7


def test_a_picture_in_between_lets_the_tries_begin_anew(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server(faults=Faults(out_of_memory_at_prompts=frozenset({1, 2, 4, 5, 7, 8, 10, 11})))
    end = run(folder, make_plan(), server, retries=2, queue_ahead=0)
    assert (end.why, len(filed(folder))) == ("complete", 4)


# What is lost is made again, each time


def test_a_download_that_vanished_is_made_again(folder: BatchFolder, embedded_server: StartServer) -> None:
    """Its record is there, the file is not, and nobody had seen it yet."""
    server = embedded_server()
    run(folder, make_plan(), server)
    keep = [
        line for line in (folder.root / "journal.jsonl").read_text().splitlines(keepends=True) if NAMES[1] not in line or "downl" in line
    ]
    (folder.root / "journal.jsonl").write_text("".join(keep))
    next(folder.root.glob(f"*/{NAMES[1]}")).unlink()
    assert run(folder, make_plan(), server).why == "complete"
    assert sorted(filed(folder)) == NAMES


@pytest.mark.parametrize(
    "ruin", [lambda data: b"", lambda data: data[:300], lambda data: data[:-500] + bytes(500)], ids=["empty", "half", "zeros"]
)
def test_a_damaged_picture_is_made_again_each_time(
    folder: BatchFolder, embedded_server: StartServer, ruin: Callable[[bytes], bytes]
) -> None:
    server = embedded_server()
    run(folder, make_plan(), server)
    places = filed(folder)
    for _ in range(3):
        path = folder.root / places[NAMES[2]] / NAMES[2]
        path.write_bytes(ruin(path.read_bytes()))
        notes: list[str] = []
        assert run(folder, make_plan(), server, note=notes.append).why == "complete"
        assert f"{NAMES[2]}: its file is damaged; it is made again" in notes
        assert filed(folder) == places
        with Image.open(path) as picture:
            picture.load()
    assert count(folder, "lost") == 3
    assert (folder.root / ".work" / "damaged" / NAMES[2]).exists()


def test_a_damaged_picture_that_was_moved_is_made_again_in_one_place(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server()
    run(folder, make_plan(), server, scorer=HashScorer(least=0.7))
    (folder.root / "approved" / NAMES[2]).rename(folder.root / "rejected" / NAMES[2])
    (folder.root / "rejected" / NAMES[2]).write_bytes(b"\x89PNG")
    assert run(folder, make_plan(), server, scorer=HashScorer(least=0.7)).why == "complete"
    assert filed(folder) == dict.fromkeys(NAMES, "approved")


def test_a_picture_that_somebody_retouched_is_left_alone(folder: BatchFolder, embedded_server: StartServer) -> None:
    server = embedded_server()
    run(folder, make_plan(), server)
    path = next(folder.root.glob(f"*/{NAMES[0]}"))
    Image.new("RGB", (64, 64), (1, 2, 3)).save(path, "BMP")
    mine = path.read_bytes()
    assert run(folder, make_plan(), server).why == "complete"
    assert path.read_bytes() == mine and count(folder, "lost") == 0


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_a_file_as_long_as_it_was_is_not_read_at_each_start(folder: BatchFolder, monkeypatch: Any, kind: str) -> None:
    from tools.production.healing import find_losses

    bench = Bench(folder.root, make_plan(), {picture(1, kind): 0.9})
    bench.intake.admit(bench.plan.item(1), [picture(1, kind)])
    state = bench.again().state
    bench.close()
    with monkeypatch.context() as patched:
        patched.delattr(Path, "read_bytes")
        assert list(find_losses(folder, state)) == []
    [path] = folder.root.glob("approved/*")
    path.write_bytes(path.read_bytes()[:-40])
    assert [loss.why for loss in find_losses(folder, state)] == ["its file is damaged"]


def test_only_the_lost_one_of_several_pictures_of_a_prompt_is_replaced(folder: BatchFolder) -> None:
    from tools.production.healing import give_up_lost

    bench = Bench(folder.root, make_plan(), {picture(1): 0.9, picture(2): 0.4})
    bench.intake.admit(bench.plan.item(1), [picture(1), picture(2)])
    first, second = NAMES[0], NAMES[0].replace(".png", "_2.png")
    (folder.root / "rejected" / second).write_bytes(b"")
    (folder.root / "approved" / first).rename(folder.root / "approved" / "kept.tmp")
    (folder.root / "approved" / "kept.tmp").rename(folder.root / "approved" / first)
    kept = (folder.root / "approved" / first).stat().st_ino
    intake = bench.again()
    give_up_lost(folder, intake.state, intake.journal, lambda text: None)
    assert not intake.state.items[1].is_made
    intake.admit(bench.plan.item(1), [picture(1), picture(2)])
    assert intake.state.items[1].is_made
    assert filed(folder) == {first: "approved", second: "rejected"}
    assert (folder.root / "approved" / first).stat().st_ino == kept
    bench.close()


def test_a_run_killed_before_the_rest_was_put_aside_does_so_later(
    folder: BatchFolder, embedded_server: StartServer, monkeypatch: Any
) -> None:
    server = embedded_server()
    run(folder, make_plan(), server)
    path = next(folder.root.glob(f"*/{NAMES[0]}"))
    path.write_bytes(b"")

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(BatchFolder, "set_aside", die)
        run(folder, make_plan(), server)
    assert run(folder, make_plan(), server).why == "complete"
    assert sorted(filed(folder)) == NAMES and next(folder.root.glob(f"*/{NAMES[0]}")).stat().st_size > 0


def test_the_target_counts_what_people_approve(folder: BatchFolder, embedded_server: StartServer) -> None:
    """Two were rejected and one deleted by hand: the same command makes others until there are four again."""
    plan, server, scorer = make_plan(target_approved=4, count=1), embedded_server(), HashScorer(least=0.7)
    end: BatchEnd = run(folder, plan, server, scorer=scorer, limits=Limits(max_images=50), queue_ahead=0)
    assert end.why == "target"
    names = sorted(name for name, place in filed(folder).items() if place == "approved")
    before = len(names)
    for name in names[:2]:
        (folder.root / "approved" / name).rename(folder.root / "rejected" / name)
    (folder.root / "approved" / names[2]).unlink()
    assert run(folder, plan, server, scorer=scorer, limits=Limits(max_images=50), queue_ahead=0).why == "target"
    assert sum(place == "approved" for place in filed(folder).values()) >= 4
    assert len(filed(folder)) > before - 1
    assert json.loads((folder.root / "decisions.jsonl").read_text(encoding="utf-8").splitlines()[0])["verdict"] == "rejected"
