"""A batch that grows: what was planned keeps number and seed, only what is new is made, and what is another batch is refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lifeos import cli
from lifeos.errors import InputError
from tests.tools.production.scenes import make_plan
from tools import production_pipeline
from tools.production.batch_state import BatchState, ScoredFile
from tools.production.growth import check_growth, grown_from, say_changed_sources
from tools.production.item_state import ItemState
from tools.production.plan import Plan, read_plan, write_plan
from tools.stand_in import Faults

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

    StartServer = Callable[..., EmbeddedServer]


def order(plan: Plan, number: int | None = None) -> list[tuple[str, int | None]]:
    items = [plan.item(index) for index in range(1, (number or plan.planned) + 1)]
    return [(plan.prompt_of(item), item.variation) for item in items]


SMALL = make_plan(prompts=("a", "b"), count=2)


def test_more_of_each_prompt_goes_on_as_a_larger_batch_would() -> None:
    grown = grown_from(SMALL, replace(SMALL, count=4))
    fresh = make_plan(prompts=("a", "b"), count=4)
    assert order(grown) == order(fresh)
    assert [grown.item(index).seed for index in range(1, 9)] == [fresh.item(index).seed for index in range(1, 9)]


def test_new_prompts_come_behind_all_that_was_planned() -> None:
    grown = grown_from(SMALL, replace(SMALL, prompts=("new", "a", "b", "other")))
    assert grown.prompts == ("a", "b", "new", "other")
    assert order(grown) == [
        ("a", 1), ("b", 1), ("a", 2), ("b", 2),
        ("new", 1), ("other", 1), ("new", 2), ("other", 2),
    ]  # fmt: skip
    assert [grown.item(index) for index in range(1, 5)] == [SMALL.item(index) for index in range(1, 5)]
    assert len({grown.item(index).seed for index in range(1, 9)}) == 8


def test_more_of_each_and_new_prompts_at_once_and_again() -> None:
    first = grown_from(SMALL, replace(SMALL, prompts=("a", "b", "c"), count=3))
    assert order(first) == [
        ("a", 1), ("b", 1), ("a", 2), ("b", 2),
        ("c", 1), ("c", 2), ("a", 3), ("b", 3), ("c", 3),
    ]  # fmt: skip
    second = grown_from(first, replace(SMALL, prompts=("a", "b", "c", "d"), count=4))
    assert order(second)[:9] == order(first)
    assert sorted(order(second)) == sorted((prompt, variation) for prompt in "abcd" for variation in (1, 2, 3, 4))
    assert [(stage.prompts, stage.count) for stage in second.stages] == [(2, 2), (3, 3)]


def test_a_grown_plan_is_read_back(tmp_path: Path) -> None:
    grown = grown_from(SMALL, replace(SMALL, prompts=("a", "b", "c"), count=3))
    write_plan(tmp_path, grown)
    assert read_plan(tmp_path) == grown
    document = json.loads((tmp_path / "batch.json").read_text(encoding="utf-8"))
    assert document["planned"][4] == {"index": 5, "prompt_id": 3, "variation": 1, "seed": 104}
    document["stages"] = [{"prompts": 4, "count": 2}]
    (tmp_path / "batch.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="stages do not grow"):
        read_plan(tmp_path)


def test_the_same_command_is_no_growth() -> None:
    grown = grown_from(SMALL, replace(SMALL, prompts=("a", "b", "c")))
    assert grown_from(grown, replace(SMALL, prompts=("a", "b", "c"))) == grown
    assert grown_from(grown, replace(SMALL, prompts=("c", "b", "a"))) == grown  # in whatever order the file has them
    assert check_growth(Path("out"), grown, grown) == []


def test_a_target_goes_on_in_the_order_of_the_last_stage() -> None:
    grown = grown_from(SMALL, replace(SMALL, prompts=("a", "b", "c")))
    assert order(grown, 12)[6:] == [("a", 3), ("b", 3), ("c", 3), ("a", 4), ("b", 4), ("c", 4)]


@pytest.mark.parametrize(
    ("saved", "wanted", "news"),
    [
        ({"count": 2}, {"count": 5}, ["5 pictures of each prompt instead of 2"]),
        ({"prompts": ("a",)}, {"prompts": ("x", "a", "y")}, ["2 new prompts"]),
        ({"prompts": ("a",)}, {"prompts": ("a", "a")}, ["1 new prompt"]),
        ({"prompts": ("a",), "count": 1}, {"prompts": ("b", "a"), "count": 2}, ["1 new prompt", "2 pictures of each prompt instead of 1"]),
        ({"prompts": ("a", "a", "b")}, {"prompts": ("b", "a", "a", "a")}, ["1 new prompt"]),
        ({}, {"target_approved": 9}, ["until 9 are approved"]),
        ({"target_approved": 9}, {"target_approved": 12}, ["until 12 are approved instead of 9"]),
        ({"target_approved": 9}, {"target_approved": 9, "count": 7}, []),
    ],
)
def test_what_is_new_is_said(tmp_path: Path, saved: dict[str, Any], wanted: dict[str, Any], news: list[str]) -> None:
    before = make_plan(**saved)
    assert check_growth(tmp_path, before, grown_from(before, replace(before, **wanted))) == news


@pytest.mark.parametrize(
    ("saved", "wanted", "said"),
    [
        ({"count": 5}, {"count": 2}, "count: 5 there, 2 now"),
        ({"prompts": ("a", "b")}, {"prompts": ("a", "c", "d")}, "prompts: 2 there, 3 now"),
        ({"prompts": ("a", "b")}, {"prompts": ("a", "c")}, "prompts: number 2 is 'b' there, 'c' now"),
        ({"prompts": ("a", "b")}, {"prompts": ("a",)}, "prompts: 2 there, 1 now"),
        ({"prompts": ("a",), "target_approved": 5}, {"prompts": ("a", "b")}, "prompts: 1 there, 2 now"),
        ({"target_approved": 5}, {"target_approved": 3}, "target: 5 there, 3 now"),
        ({"target_approved": 5}, {"target_approved": None}, "target: 5 there, none now"),
        ({"base_seed": 1}, {"base_seed": 2, "count": 9}, "base seed: 1 there, 2 now"),
        ({"prompts": ("a",)}, {"reference_dir": "/other", "prompts": ("a", "c")}, "reference folder: '/refs' there, '/other' now"),
        ({}, {"source_dir": "/p", "images": ("a.png",)}, "pictures' folder: none there, '/p' now"),
    ],
)  # fmt: skip
def test_another_batch_is_refused_whatever_else_grew(tmp_path: Path, saved: dict[str, Any], wanted: dict[str, Any], said: str) -> None:
    before = make_plan(**saved)
    with pytest.raises(InputError) as caught:
        check_growth(tmp_path, before, grown_from(before, replace(before, **wanted)))
    assert said in str(caught.value)


# Existing pictures

FOLDER = {"source_dir": "/p", "prompts": (), "variants": (), "workflows": (), "workflow_name": ""}


def test_new_pictures_come_behind_and_gone_ones_stay(tmp_path: Path) -> None:
    saved = make_plan(images=("b.png", "c.png"), **FOLDER)
    grown = grown_from(saved, make_plan(images=("a.png", "c.png", "d.png"), **FOLDER))
    assert grown.images == ("b.png", "c.png", "a.png", "d.png")
    assert check_growth(tmp_path, saved, grown) == ["2 new pictures in /p"]
    assert check_growth(tmp_path, grown, grown_from(grown, make_plan(images=("a.png", "d.png"), **FOLDER))) == []


def test_sources_that_changed_or_went_are_named(tmp_path: Path) -> None:
    names = [f"{letter}.png" for letter in "abcdefg"]
    plan = make_plan(images=tuple(names), **{**FOLDER, "source_dir": str(tmp_path)}, created="2020-01-01T00:00:00.000Z")
    state = BatchState()
    for index, name in enumerate(names, 1):
        (tmp_path / name).write_bytes(name.encode())
        state.items[index] = ItemState(files=(name,))
        state.scored[name] = ScoredFile("0" * 64)
    for name in names[:2]:
        (tmp_path / name).unlink()
    os.utime(tmp_path / "c.png", (1, 1))  # older than the batch: not looked into
    state.items[7] = ItemState()  # not judged yet
    notes: list[str] = []
    say_changed_sources(plan, state, notes.append)
    assert notes == [
        f"2 pictures (a.png, b.png) no longer in {tmp_path}; copies and scores stay",
        f"warning: 3 pictures (d.png, e.png, f.png) changed in {tmp_path} since they were judged; copies and scores stay. "
        "Judge them under other names",
    ]


def test_sources_as_they_were_are_not_spoken_of(tmp_path: Path) -> None:
    names = [f"{letter}.png" for letter in "abcd"]
    plan = make_plan(images=tuple(names), **{**FOLDER, "source_dir": str(tmp_path)}, created="2020-01-01T00:00:00.000Z")
    state = BatchState()
    for index, name in enumerate(names, 1):
        (tmp_path / name).write_bytes(name.encode())
        state.items[index] = ItemState(files=(name,))
        state.scored[name] = ScoredFile(hashlib.sha256(name.encode()).hexdigest())
    notes: list[str] = []
    say_changed_sources(plan, state, notes.append)
    assert notes == []
    for name in names:
        (tmp_path / name).unlink()
    say_changed_sources(plan, state, notes.append)
    assert notes == [f"4 pictures (a.png, b.png, c.png and 1 more) no longer in {tmp_path}; copies and scores stay"]


# The command


def run(capsys: pytest.CaptureFixture[str], *flags: object) -> tuple[int, dict[str, Any], str]:
    code = cli.run(lambda: production_pipeline.main([*map(str, flags), "--json"]))
    out, err = capsys.readouterr()
    return code, json.loads(out), err


@pytest.fixture
def references(tmp_path: Path) -> Path:
    from tests.evals.portraits import write_references

    write_references(tmp_path / "references")
    return tmp_path / "references"


def test_a_finished_batch_grows_and_only_what_is_new_is_made(
    tmp_path: Path, references: Path, embedded_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server = embedded_server()
    judged = ("--reference-dir", references, "--engine", "dlib", "--history-file", tmp_path / "history.jsonl", "--base-seed", 7)
    made = ("--comfy-url", server.url, "--lora", "amiranoor_v3.safetensors", "--width", 128, "--height", 176, "--skip-health-check")
    command = (*judged, *made, "--output-dir", tmp_path / "batch", "--skin-threshold", 0, "--face-threshold", 0)
    _, first, _ = run(capsys, *command, "--prompt", "a portrait")
    _, same, err = run(capsys, *command, "--prompt", "a portrait")
    assert len(server.executed) == first["counts"]["generated"] == same["counts"]["generated"] == 1
    assert "every picture of this batch is made (1 of 1); a larger --count, or more prompts would add to it" in err
    _, planned, _ = run(capsys, *command, "--prompt", "a garden", "--prompt", "a portrait", "--count", 2, "--dry-run")
    assert (planned["continues"], planned["grows"]) == (True, ["1 new prompt", "2 pictures of each prompt instead of 1"])
    _, grown, err = run(capsys, *command, "--prompt", "a garden", "--prompt", "a portrait", "--count", 2)
    assert "the batch grows: 1 new prompt; 2 pictures of each prompt instead of 1" in err
    assert len(server.executed) == grown["counts"]["generated"] == grown["counts"]["planned"] == 4
    assert grown["images"][0]["sha256"] == first["images"][0]["sha256"]
    _, again, _ = run(capsys, "--resume", "--output-dir", tmp_path / "batch", "--skip-health-check")
    assert (len(server.executed), again["counts"]["planned"]) == (4, 4)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len(row["images"]) for row in rows] == [1, 4]
    code, refused, _ = run(capsys, *command, "--prompt", "a portrait", "--prompt", "a garden", "--count", 2, "--cfg", 9)
    assert code == 2 and "cfg: 5.0 there, 9.0 now" in refused["error"]["why"]


def test_a_batch_of_which_nothing_was_scored_begins_anew(
    tmp_path: Path, references: Path, embedded_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its workflow was mended, as the error asked: the same directory takes it."""
    server = embedded_server(faults=Faults(broken_models=frozenset({"amiranoor_v3.safetensors"})))
    command = ("--reference-dir", references, "--engine", "dlib", "--history-file", tmp_path / "history.jsonl", "--comfy-url", server.url,
               "--width", 128, "--height", 176, "--skip-health-check", "--prompt", "a portrait", "--output-dir", tmp_path / "batch",
               "--skin-threshold", 0, "--face-threshold", 0)  # fmt: skip
    code, _, _ = run(capsys, *command, "--lora", "amiranoor_v3.safetensors", "--count", 4)
    assert code == 3
    incoming = tmp_path / "batch" / ".work" / "incoming"
    incoming.mkdir(exist_ok=True)
    (incoming / "0001_p001_v01_seed1_a-portrait.png").write_bytes(b"of the former plan")
    server.faults.broken_models = frozenset()
    _, planned, _ = run(capsys, *command, "--cfg", 6, "--dry-run")
    assert planned["settings"]["cfg"] == 6
    _, document, err = run(capsys, *command, "--cfg", 6)
    assert "nothing was scored yet of the batch that was begun here: it begins anew with this command" in err
    assert (document["counts"]["generated"], document["counts"]["failed"], document["settings"]["cfg"]) == (1, 0, 6.0)
    assert (tmp_path / "batch" / ".work" / "damaged" / "0001_p001_v01_seed1_a-portrait.png").exists()
    code, refused, _ = run(capsys, *command, "--cfg", 7)
    assert code == 2 and "cfg: 6.0 there, 7.0 now" in refused["error"]["why"]


def test_new_pictures_in_the_folder_are_scored_alone(tmp_path: Path, references: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    for name in ("b.png", "c.png"):
        Image.new("RGB", (64, 96), (90, 120, 200)).save(source / name)
    command = ("--images", source, "--reference-dir", references, "--engine", "dlib", "--output-dir", tmp_path / "out",
               "--history-file", tmp_path / "history.jsonl")  # fmt: skip
    run(capsys, *command)
    Image.new("RGB", (64, 97), (90, 120, 200)).save(source / "a.png")
    (source / "c.png").unlink()
    _, document, err = run(capsys, *command)
    assert f"the batch grows: 1 new picture in {source}" in err and "1 picture (c.png) no longer in" in err
    assert [image["file"] for image in document["images"]] == ["b.png", "c.png", "a.png"]
    events = [json.loads(line) for line in (tmp_path / "out" / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    scored = [event["file"] for event in events if event["event"] == "scored"]
    assert (sorted(scored[:2]), scored[2:]) == (["b.png", "c.png"], ["a.png"])
    _, _, err = run(capsys, *command)
    assert f"every picture of this batch is made (3 of 3); new pictures in {source} would add to it" in err
