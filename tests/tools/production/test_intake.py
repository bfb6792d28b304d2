"""Taking pictures in: what is recorded at each step, and what is taken over from a run that was killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.judging import gates
from evals.judging.records import Assessment, Reading
from tests.tools.production.scenes import Bench, Scripted, filed, make_assessment, make_plan, make_policy, picture
from tools.production.filing import BatchFolder
from tools.production.intake import find_stored, flat_names, picture_names, stem_of
from tools.production.journal import read_state
from tools.production.plan import Plan, Variant
from tools.workflows.workflow import Settings

NAME, SECOND = "0001_p001_v01_seed100_cafe.png", "0001_p001_v01_seed100_cafe_2.png"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "batch", make_plan(), {picture(1): 0.9, picture(2): 0.4})
    yield bench
    bench.close()


def test_each_step_is_recorded_in_its_order(bench: Bench) -> None:
    bench.intake.admit(bench.plan.item(1), [picture(1), picture(2)], seconds=7.5, prompt_id="abc")
    assert bench.written("event", "item", "file", "place", "approved") == [
        ("downloaded", 1, None, None, None),
        ("scored", 1, NAME, None, True),
        ("filed", 1, NAME, "approved", None),
        ("scored", 1, SECOND, None, False),
        ("filed", 1, SECOND, "rejected", None),
    ]
    assert bench.written("files", "seconds", "prompt_id")[0] == ([{"file": NAME}, {"file": SECOND}], 7.5, "abc")
    assert filed(bench.folder) == {NAME: "approved", SECOND: "rejected"}
    assert (bench.folder.root / "rejected" / SECOND).read_bytes() == picture(2)


def test_a_score_is_recorded_with_its_assessment_and_every_reason(bench: Bench) -> None:
    bench.intake.admit(bench.plan.item(1), [picture(2)])
    assert bench.written("approved", "reasons", "grounds", "assessment")[1] == (
        False,
        ["face similarity 0.40 is below 0.60"],
        [{"gate": "face", "kind": "below", "cause": ""}],
        json.loads(json.dumps(make_assessment(NAME, 0.4).to_json())),
    )


def test_the_state_in_hand_is_the_state_that_the_journal_adds_up_to(bench: Bench) -> None:
    bench.intake.state.item(1).failure = "it failed before"
    bench.intake.admit(bench.plan.item(1), [picture(1), picture(2)], seconds=7.5)
    kept, read = bench.intake.state, read_state(bench.path)
    assert (kept.verdicts, kept.filed) == (read.verdicts, read.filed) == ({NAME: True, SECOND: False}, {NAME, SECOND})
    assert (kept.items[1].files, kept.items[1].seconds, kept.items[1].failure) == ((NAME, SECOND), 7.5, None)
    assert (read.items[1].files, read.items[1].seconds, read.items[1].failure) == ((NAME, SECOND), 7.5, None)


def test_a_small_copy_of_each_picture_is_made(bench: Bench) -> None:
    bench.intake.admit(bench.plan.item(1), [picture(1), picture(2)])
    assert {path.name for path in bench.folder.thumbnails.iterdir()} == {f"{NAME}.webp", f"{SECOND}.webp"}


def test_a_downloaded_item_is_scored_and_filed_without_the_server(bench: Bench) -> None:
    bench.folder.take_in([(NAME, picture(1)), (SECOND, picture(2))])
    bench.intake.journal.append("downloaded", item=1, files=[{"file": NAME}, {"file": SECOND}], seconds=3.0)
    bench.again().finish(bench.plan.item(1))
    assert bench.scorer.asked == [NAME, SECOND]
    assert filed(bench.folder) == {NAME: "approved", SECOND: "rejected"}
    assert bench.written("event", "file")[1:] == [("scored", NAME), ("filed", NAME), ("scored", SECOND), ("filed", SECOND)]


def test_a_scored_picture_is_only_filed_and_by_the_verdict_that_it_has(bench: Bench) -> None:
    """Its score would now be another: the recorded one stands."""
    bench.folder.take_in([(NAME, picture(1))])
    bench.intake.journal.append("downloaded", item=1, files=[{"file": NAME}])
    bench.intake.journal.append("scored", item=1, file=NAME, approved=False, reasons=[], assessment={})
    bench.again().finish(bench.plan.item(1))
    assert bench.scorer.asked == []
    assert filed(bench.folder) == {NAME: "rejected"}
    assert bench.written("event", "place")[-1] == ("filed", "rejected")


def test_a_picture_that_was_moved_without_a_record_is_recorded_where_it_lies(bench: Bench) -> None:
    bench.folder.take_in([(NAME, picture(2))])
    bench.intake.journal.append("downloaded", item=1, files=[{"file": NAME}])
    bench.intake.journal.append("scored", item=1, file=NAME, approved=False, reasons=[], assessment={})
    bench.folder.file(NAME, approved=False)
    bench.again().finish(bench.plan.item(1))
    assert filed(bench.folder) == {NAME: "rejected"}
    assert bench.written("event", "place")[-1] == ("filed", "rejected")


def test_what_is_filed_is_left_alone(bench: Bench) -> None:
    bench.intake.admit(bench.plan.item(1), [picture(1), picture(2)])
    before = bench.path.read_bytes()
    bench.again().finish(bench.plan.item(1))
    assert bench.path.read_bytes() == before


def test_the_rest_of_an_item_is_finished_when_one_of_its_pictures_is_filed(bench: Bench) -> None:
    bench.intake.admit(bench.plan.item(1), [picture(1), picture(2)])
    lines = bench.path.read_text(encoding="utf-8").splitlines(keepends=True)
    bench.path.write_text("".join(lines[:3]), encoding="utf-8")  # all of the first, of the second only its download
    (bench.folder.root / "rejected" / SECOND).rename(bench.folder.incoming / SECOND)
    bench.again().finish(bench.plan.item(1))
    assert bench.scorer.asked == [NAME, SECOND, SECOND]
    assert filed(bench.folder) == {NAME: "approved", SECOND: "rejected"}


def test_stored_pictures_without_a_record_are_adopted(bench: Bench) -> None:
    bench.folder.take_in([(NAME, picture(1)), (SECOND, picture(2))])
    bench.intake.journal.append("submitted", item=1, prompt_id="abc", server="http://a")
    intake = bench.again()
    [(item, names)] = find_stored(bench.plan, bench.folder, [bench.plan.item(1), bench.plan.item(2)])
    assert (item.index, names) == (1, [NAME, SECOND])
    intake.adopt(item, names)
    assert bench.written("event", "files", "prompt_id", "seconds")[1] == ("downloaded", [{"file": NAME}, {"file": SECOND}], "abc", None)
    assert filed(bench.folder) == {NAME: "approved", SECOND: "rejected"}


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ([], []),
        ([SECOND], []),
        ([NAME], [NAME]),
        (["0001_p001_v01_seed100_cafe.jpg", SECOND], ["0001_p001_v01_seed100_cafe.jpg", SECOND]),
        ([NAME, "0001_p001_v01_seed100_cafe_2.jpg", "0001_p001_v01_seed100_cafe_3.png"], None),
        (["0003_p001_v02_seed102_cafe.png"], []),
    ],
    ids=["nothing", "the first is missing: it was being written", "one", "two of different kinds", "three", "of another item"],
)
def test_only_whole_items_are_found(bench: Bench, stored: list[str], found: list[str] | None) -> None:
    for name in stored:
        (bench.folder.incoming / name).write_bytes(b"data")
    wanted = stored if found is None else found
    assert find_stored(bench.plan, bench.folder, [bench.plan.item(1)]) == ([(bench.plan.item(1), wanted)] if wanted else [])


def test_without_an_incoming_folder_nothing_is_found(tmp_path: Path) -> None:
    plan = make_plan()
    assert find_stored(plan, BatchFolder(tmp_path), [plan.item(1)]) == []


SOURCES = ("a.png", "sub/a.png", "sub__a.png", "SUB/A.png", "sub__a_2.png")


def sources_plan() -> Plan:
    return make_plan(source_dir="/pictures", images=SOURCES, prompts=(), variants=(), workflows=(), workflow_name="")


def test_copies_of_existing_pictures_are_found_by_their_flat_names(bench: Bench) -> None:
    plan = sources_plan()
    for name in ("a.png", "sub__a_2.png"):
        (bench.folder.incoming / name).write_bytes(b"data")
    items = [plan.item(index) for index in (1, 2, 3)]
    assert find_stored(plan, bench.folder, items) == [(items[0], ["a.png"]), (items[2], ["sub__a_2.png"])]


def test_every_copy_has_a_name_of_its_own_where_case_does_not_count() -> None:
    """`sub/a.png` takes `sub__a.png`; each that would be the same counts on, also over a name that looks counted."""
    assert flat_names(SOURCES) == ("a.png", "sub__a.png", "sub__a_2.png", "SUB__A_3.png", "sub__a_2_2.png")


def test_a_copy_keeps_its_name_whatever_its_bytes_are() -> None:
    plan = sources_plan()
    assert picture_names(plan, plan.item(3), [picture(1, "JPEG")]) == ["sub__a_2.png"]


def test_pictures_of_one_prompt_are_numbered_and_named_by_their_bytes() -> None:
    plan = make_plan()
    names = picture_names(plan, plan.item(4), [picture(1), picture(2, "JPEG"), picture(3, "WEBP")])
    stem = "0004_p002_v02_seed103_park"
    assert names == [f"{stem}.png", f"{stem}_2.jpg", f"{stem}_3.webp"]


@pytest.mark.parametrize(
    ("prompt", "stem"),
    [
        ("amiranoor, rainy street", "0001_p001_v01_seed100_rainy-street"),
        ("portrait", "0001_p001_v01_seed100_portrait"),
        ("portrait,", "0001_p001_v01_seed100_portrait"),
    ],
    ids=["without the trigger word", "one word", "nothing behind the comma"],
)
def test_the_name_tells_the_prompt(prompt: str, stem: str) -> None:
    plan = make_plan(prompts=(prompt, "other"))
    assert stem_of(plan, plan.item(1)) == stem


def test_in_a_sweep_the_configuration_leads_the_name() -> None:
    plan = make_plan(variants=(Variant(Settings(), "cfg4"), Variant(Settings(), "cfg7")), workflows=({}, {}))
    assert stem_of(plan, plan.item(5)).startswith("cfg7_0005_p001_v01_seed100")


def test_a_gate_among_others_sees_the_pictures_of_this_run_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def read(assessment: Assessment, others: Any) -> Reading:
        seen.append([other.file for other in others])
        return Reading(1.0, None)

    crowd = replace(gates.GATES[0], key="crowd", limit_key="gates.crowd.limit", read=read, weight_key=None, needs_others=True)
    monkeypatch.setattr(gates, "GATES", (*gates.GATES, crowd))
    bench = Bench(tmp_path, make_plan(), {picture(1): 0.9, picture(2): 0.4}, make_policy() | {"gates": {"crowd": {"limit": 0.5}}})
    bench.intake.admit(bench.plan.item(1), [picture(1), picture(2)])
    assert seen == [[], [NAME]]
    kept = [record[0]["measures"]["crowd"]["score"] for record in bench.written("assessment") if record[0]]
    assert kept == [1.0, 1.0]
    bench.close()


def test_without_such_a_gate_no_assessment_is_kept_in_memory(bench: Bench) -> None:
    bench.intake.admit(bench.plan.item(1), [picture(1), picture(2)])
    assert bench.intake._seen() == []


def test_a_step_that_fails_is_not_recorded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record tells of what is done: a run that stops in between leaves the step to the next."""
    steps: list[tuple[type, str, Callable[..., Any]]] = [
        (BatchFolder, "file", BatchFolder.file),
        (Scripted, "assess_bytes", Scripted.assess_bytes),
        (BatchFolder, "take_in", BatchFolder.take_in),
    ]
    left = {"file": ["downloaded", "scored"], "assess_bytes": ["downloaded"], "take_in": []}
    for owner, name, _ in steps:

        def fail(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
            patched.setattr(owner, name, fail)
            bench.path.write_bytes(b"")
            bench.again().admit(bench.plan.item(1), [picture(1)])
        assert [event for (event,) in bench.written("event")] == left[name]
        assert bench.intake.state.filed == set()
