"""Duplicates of a batch: one is approved whatever the order in which threads and runs end, and whatever kills them."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image, ImageEnhance, ImageOps

from evals.judging.records import Assessment
from evals.load_thresholds import load_thresholds
from lifeos.files import read_records
from tests.evals.portraits import portrait
from tests.tools.production.scenes import HashScorer, filed, graph_maker, make_plan, make_policy
from tools.backends.comfyui import ComfyServer
from tools.production import filing, resemblance, weeding
from tools.production.budget import Limits
from tools.production.decisions import DECISIONS_FILE
from tools.production.filing import BatchFolder
from tools.production.finish import Ending, finish_batch
from tools.production.intake import Intake
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.plan import Item, Plan, Variant, write_plan
from tools.production.rejudging import rejudge
from tools.production.runner import BatchEnd, Equipment, run_batch
from tools.production.settling import NOTHING_SETTLED
from tools.production.viewed_batch import viewed_pictures
from tools.production.weeding import find_duplicates
from tools.workflows.workflow import Settings

APPROVED, REJECTED = "approved", "rejected"


def quiet(text: str) -> None:
    del text


def picture(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 96), (shade, 0, 90)).save(out, "PNG")
    return out.getvalue()


def make_sources(root: Path, content: str) -> Plan:
    """A plan of existing pictures, one for each letter: the same letter is the same file."""
    folder = root / "pictures"
    folder.mkdir(exist_ok=True)
    names = tuple(f"{place}.png" for place in range(1, len(content) + 1))
    for name, letter in zip(names, content, strict=True):
        (folder / name).write_bytes(picture(ord(letter)))
    return make_plan(source_dir=str(folder), images=names, prompts=(), variants=(), workflows=(), workflow_name="", count=1)


class Ordered(HashScorer):
    """Lets pictures through in the order that is asked for, as threads may happen to end."""

    def __init__(self, order: Sequence[str]) -> None:
        super().__init__(least=0.7)
        self.order = list(order)
        self.turn = threading.Condition()

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        with self.turn:
            assert self.turn.wait_for(lambda: not self.order or path.name not in self.order or self.order[0] == path.name, timeout=20)
            if self.order and self.order[0] == path.name:
                self.order.pop(0)
            self.turn.notify_all()
        return super().assess_bytes(data, path)

    def let_all_through(self) -> None:
        """After a kill: the picture whose turn it is may never come."""
        with self.turn:
            self.order.clear()
            self.turn.notify_all()


def run(plan: Plan, folder: BatchFolder, scorer: Any = None, **production: Any) -> BatchEnd:
    equipment = Equipment(scorer or HashScorer(least=0.7), make_policy(**production), workers=len(plan.images) or 2)
    return run_batch(plan, folder, equipment, Limits())


def report(plan: Plan, folder: BatchFolder) -> dict[str, Any]:
    end = BatchEnd("complete", read_state(folder.root / JOURNAL_FILE))
    return finish_batch(plan, folder, end, Ending(make_policy(), {}, folder.root / "h.jsonl"), quiet)


@pytest.mark.parametrize("order", list(permutations("123")))
def test_the_lowest_number_stays_in_whatever_order_threads_end(tmp_path: Path, order: tuple[str, ...]) -> None:
    plan, folder = make_sources(tmp_path, "aaab"), BatchFolder(tmp_path / "batch")
    run(plan, folder, Ordered([f"{place}.png" for place in order]))
    assert filed(folder) == {"1.png": APPROVED, "2.png": REJECTED, "3.png": REJECTED, "4.png": APPROVED}
    images = {image["file"]: image for image in report(plan, folder)["images"]}
    assert images["3.png"]["reasons"] == ["duplicate: the same file as 1.png"] and images["3.png"]["duplicate_of"] == "1.png"
    assert (images["3.png"]["gates_verdict"], images["1.png"]["duplicate_of"]) == (REJECTED, None)


def test_every_report_marks_a_duplicate_with_a_link_to_the_kept_picture(tmp_path: Path) -> None:
    plan, folder = make_sources(tmp_path, "aab"), BatchFolder(tmp_path / "batch")
    run(plan, folder)
    document = report(plan, folder)
    assert document["counts"]["duplicates"] == 1
    assert document["reasons_by_gate"] == [
        {
            "gate": "duplicate",
            "title": "duplicate",
            "pictures": 1,
            "reasons": [{"reason": "the same file as another picture", "pictures": 1}],
        }
    ]
    text = (folder.root / "batch_report.md").read_text(encoding="utf-8")
    assert "| [`2.png`](rejected/2.png) | rejected | the same file as | [`1.png`](approved/1.png) |" in text
    assert [(row["alike"], row["like"]) for row in viewed_pictures(document)] == [("", ""), ("the same file as ", "1.png"), ("", "")]
    rows = list(csv.DictReader(io.StringIO((folder.root / "scores.csv").read_text(encoding="utf-8"))))
    assert [(row["verdict"], row["duplicate_of"]) for row in rows] == [("approved", ""), ("rejected", "1.png"), ("approved", "")]
    [row] = [record.data for record in read_records(folder.root / "h.jsonl")]
    assert [image["approved"] for image in row["images"]] == [True, False, True]


def test_across_runs_the_lowest_number_stays_too(tmp_path: Path) -> None:
    """The first run took in pictures 2 and 3 alone, as a server that was faster may."""
    plan, folder = make_sources(tmp_path, "aaa"), BatchFolder(tmp_path / "batch")
    first = Path(str(plan.source_dir)) / "1.png"
    data = first.read_bytes()
    first.unlink()
    run(plan, folder)
    assert filed(folder) == {"2.png": APPROVED, "3.png": REJECTED}
    first.write_bytes(data)
    run(plan, folder)
    assert filed(folder) == {"1.png": APPROVED, "2.png": REJECTED, "3.png": REJECTED}
    assert read_state(folder.root / JOURNAL_FILE).duplicates["3.png"].file == "1.png"


def test_only_what_the_gates_approve_can_be_a_duplicate(tmp_path: Path) -> None:
    plan, folder = make_sources(tmp_path, "aa"), BatchFolder(tmp_path / "batch")

    class Strict(HashScorer):
        def assess_bytes(self, data: bytes, path: Path) -> Assessment:
            found = super().assess_bytes(data, path)
            return replace(found, face=replace(found.face, score=0.3))

    run(plan, folder, Strict())
    assert set(filed(folder).values()) == {REJECTED}
    assert [image["reasons"] for image in report(plan, folder)["images"]] == [["face similarity 0.30 is below 0.60"]] * 2


class KilledError(BaseException):
    pass


def kill_at(step: int, patch: pytest.MonkeyPatch, scorer: Ordered) -> list[str]:
    """From the given step on (a record of the journal, a move) nothing is done any more, by any thread; none waits for its turn."""
    steps: list[str] = []
    append, move = Journal.append, filing.files.replace

    def guarded(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **named: Any) -> Any:
            steps.append(f"{name} {arguments[1] if name == 'record' else ''}")
            if len(steps) > step:
                scorer.let_all_through()
                raise KilledError
            return do(*arguments, **named)

        return act

    patch.setattr(Journal, "append", guarded("record", append))
    patch.setattr(filing.files, "replace", guarded("move", move))
    return steps


@pytest.mark.parametrize("order", ["321", "213"])
def test_killed_at_any_step_the_next_run_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    step, killed = 0, True
    while killed:
        root = tmp_path / str(step)
        root.mkdir()
        plan, folder = make_sources(root, "aaab"), BatchFolder(root / "batch")
        with monkeypatch.context() as patch:
            scorer = Ordered([f"{place}.png" for place in order])
            steps = kill_at(step, patch, scorer)
            try:
                run(plan, folder, scorer)
                killed = False
            except KilledError:
                killed = len(steps) > step
        run(plan, folder)
        assert filed(folder) == {"1.png": APPROVED, "2.png": REJECTED, "3.png": REJECTED, "4.png": APPROVED}, steps
        assert not (folder.root / DECISIONS_FILE).exists(), f"killed at {steps[step:]}: a move of ours was taken for a person's"
        assert list(folder.incoming.iterdir()) == []
        step += 1
    assert step > 20


def test_a_run_that_changes_nothing_writes_nothing_about_duplicates(tmp_path: Path) -> None:
    plan, folder = make_sources(tmp_path, "aab"), BatchFolder(tmp_path / "batch")
    for _ in range(3):
        run(plan, folder)
    events = [record.data["event"] for record in read_records(folder.root / JOURNAL_FILE)]
    assert (events.count("duplicates"), events.count("moved")) == (1, 1)


def test_a_finished_batch_of_an_older_version_stays_as_it_is(tmp_path: Path) -> None:
    """Both copies were approved; judging it again is what finds them."""
    plan, folder = make_sources(tmp_path, "aab"), BatchFolder(tmp_path / "batch")
    folder.root.mkdir()
    write_plan(folder.root, plan)
    run(plan, folder)
    path = folder.root / JOURNAL_FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines = [line for line in lines if json.loads(line)["event"] not in ("duplicates", "moved")]
    path.write_text("".join(lines), encoding="utf-8")
    (folder.root / REJECTED / "2.png").replace(folder.root / APPROVED / "2.png")
    run(plan, folder)
    assert set(filed(folder).values()) == {APPROVED}
    changed = rejudge(folder, load_thresholds(), quiet)
    assert (changed.now_approved, changed.now_rejected) == (0, 1)
    assert filed(folder) == {"1.png": APPROVED, "2.png": REJECTED, "3.png": APPROVED}


@pytest.mark.parametrize("again", [False, True], ids=["", "judged again"])
def test_a_person_s_decision_stays(tmp_path: Path, again: bool) -> None:
    plan, folder = make_sources(tmp_path, "aab"), BatchFolder(tmp_path / "batch")
    folder.root.mkdir()
    write_plan(folder.root, plan)
    run(plan, folder)
    (folder.root / REJECTED / "2.png").replace(folder.root / APPROVED / "2.png")
    (folder.root / APPROVED / "1.png").replace(folder.root / REJECTED / "1.png")
    if again:
        rejudge(folder, load_thresholds(), quiet)
    run(plan, folder)
    assert filed(folder) == {"1.png": REJECTED, "2.png": APPROVED, "3.png": APPROVED}
    document = report(plan, folder)
    image = document["images"][1]
    assert (image["verdict"], image["gates_verdict"], image["duplicate_of"]) == (APPROVED, REJECTED, "1.png")
    assert image["overruled"] == ["duplicate: the same file as 1.png"]


@pytest.mark.parametrize("target", ["approved/best", "rejected"])
def test_what_somebody_moves_meanwhile_is_decided_and_stays(tmp_path: Path, target: str) -> None:
    plan, folder = make_sources(tmp_path, "aa"), BatchFolder(tmp_path / "batch")

    class Meddling(Ordered):
        def assess_bytes(self, data: bytes, path: Path) -> Assessment:
            found = super().assess_bytes(data, path)
            if path.name == "1.png":
                while "2.png" not in read_state(folder.root / JOURNAL_FILE).filed:
                    time.sleep(0.01)
                (folder.root / target).mkdir(exist_ok=True)
                (folder.root / APPROVED / "2.png").replace(folder.root / target / "2.png")
            return found

    run(plan, folder, Meddling(["2.png", "1.png"]))
    assert (folder.root / target / "2.png").is_file()
    wanted = target.partition("/")[0]
    assert [image["verdict"] for image in report(plan, folder)["images"]] == [APPROVED, wanted]
    assert [record.data["verdict"] for record in read_records(folder.root / DECISIONS_FILE)] == [wanted]


def test_what_was_decided_before_its_twin_came_stays(tmp_path: Path) -> None:
    plan, folder = make_sources(tmp_path, "aa"), BatchFolder(tmp_path / "batch")
    first = Path(str(plan.source_dir)) / "1.png"
    data = first.read_bytes()
    first.unlink()
    run(plan, folder)
    for place in (REJECTED, APPROVED):  # the owner thought twice
        (folder.root / ("approved" if place == REJECTED else "rejected") / "2.png").replace(folder.root / place / "2.png")
        run(plan, folder)
    first.write_bytes(data)
    run(plan, folder)
    assert filed(folder) == {"1.png": APPROVED, "2.png": APPROVED}


def test_judged_again_a_duplicate_whose_twin_fails_is_none(tmp_path: Path) -> None:
    """Two pictures of one file have one score: by a stricter policy both fail, by the old one the first comes back."""
    plan, folder = make_sources(tmp_path, "aab"), BatchFolder(tmp_path / "batch")
    folder.root.mkdir()
    write_plan(folder.root, plan)
    run(plan, folder)
    strict = rejudge(folder, load_thresholds(overrides={"face_similarity.pass_threshold": 0.99}), quiet)
    assert set(filed(folder).values()) == {REJECTED} and strict.now_rejected == 2
    assert read_state(folder.root / JOURNAL_FILE).duplicates == {}
    rejudge(folder, load_thresholds(), quiet)
    assert filed(folder) == {"1.png": APPROVED, "2.png": REJECTED, "3.png": APPROVED}


def test_a_kept_picture_that_is_damaged_is_made_again_and_kept(tmp_path: Path) -> None:
    plan, folder = make_sources(tmp_path, "aab"), BatchFolder(tmp_path / "batch")
    run(plan, folder)
    (folder.root / APPROVED / "1.png").write_bytes(picture(ord("a"))[:-20])
    run(plan, folder)
    assert filed(folder) == {"1.png": APPROVED, "2.png": REJECTED, "3.png": APPROVED}


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed when two copies were taken in"])
def test_a_target_counts_no_duplicates(
    tmp_path: Path, embedded_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """The server makes one picture three times before it makes another: two copies are no two approved pictures."""
    admit = Intake.admit

    def admit_copies(self: Intake, item: Item, pictures: Sequence[bytes], **told: Any) -> None:
        admit(self, item, [picture(max(3, item.index))], **told)

    monkeypatch.setattr(Intake, "admit", admit_copies)
    plan, folder = make_plan(target_approved=2, count=1), BatchFolder(tmp_path / "batch")
    client = ComfyServer(embedded_server().url, outage_seconds=5)
    client.connect()
    try:
        equipment = Equipment(HashScorer(least=0.7), make_policy(queue_ahead=0), [client], graph_maker(plan), workers=2)
        if killed:

            def dying(*_: Any, **__: Any) -> None:
                raise KilledError

            with monkeypatch.context() as patch, pytest.raises(KilledError):
                patch.setattr(weeding, "to_record", dying)
                run_batch(plan, folder, equipment, Limits(max_images=20))
            assert list(filed(folder).values()).count(APPROVED) >= 2
        end = run_batch(plan, folder, equipment, Limits(max_images=20))
    finally:
        client.close()
    assert end.why == "target"
    kept = sorted(int(name[:4]) for name, place in filed(folder).items() if place == APPROVED)
    assert kept[0] == 1 and len(kept) >= 2 and kept[1] == 4, filed(folder)
    assert [place for name, place in filed(folder).items() if name[:4] in ("0002", "0003")] == [REJECTED] * 2


def test_configurations_of_a_sweep_are_sets_of_their_own(tmp_path: Path) -> None:
    """Two LoRAs at strength 0 make the same picture: that is no fault of the second."""
    plan = make_plan(variants=(Variant(Settings(), "a"), Variant(Settings(), "b")), workflows=({}, {}))
    journal = Journal(tmp_path / JOURNAL_FILE)
    names = {1: "a_1.png", 2: "a_2.png", 5: "b_1.png"}
    for index, name in names.items():
        journal.append("downloaded", item=index, files=[{"file": name}])
        journal.append("scored", item=index, file=name, approved=True, assessment={"sha256": "f" * 64})
    journal.close()
    state = read_state(tmp_path / JOURNAL_FILE)
    assert {name: copy.file for name, copy in find_duplicates(plan, state, state.verdicts).items()} == {"a_2.png": "a_1.png"}


def test_configurations_are_compared_each_within_itself(tmp_path: Path) -> None:
    """The first picture of `b` is like that of `a`, which is none of its set; the second is like the first of `b`."""
    names = {1: "a_1.png", 5: "b_1.png", 6: "b_2.png"}
    folder = BatchFolder(tmp_path)
    folder.prepare()
    journal = Journal(tmp_path / JOURNAL_FILE)
    for index, name in names.items():
        journal.append("downloaded", item=index, files=[{"file": name}])
        journal.append("scored", item=index, file=name, approved=True, assessment={"sha256": f"{index}" * 64, "dhash": f"{index:016x}"})
    journal.close()
    state, configs = read_state(tmp_path / JOURNAL_FILE), {name: name[0] for name in names.values()}
    found = resemblance.find_marked(folder, state, NOTHING_SETTLED, configs)
    assert {name: copy.file for name, copy in found.items()} == {"b_2.png": "b_1.png"}


# nearly the same


LIKE = {
    "2.png": "the mirror image of 1.png",
    "3.png": "the same picture, cut otherwise, as 1.png",
    "4.png": "nearly the same picture as 1.png",
}


@pytest.fixture(scope="module")
def near_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait, its mirror image, a part of it, a darker small copy; and another picture."""
    folder = tmp_path_factory.mktemp("near")
    first = portrait()
    pictures = (
        first,
        ImageOps.mirror(first),
        first.crop((60, 40, 470, 450)),
        ImageEnhance.Brightness(first).enhance(0.9).resize((256, 256)),
    )
    for place, each in enumerate((*pictures, Image.fromarray(skimage.data.coffee()).resize((512, 512))), 1):
        each.save(folder / f"{place}.png")
    return folder


def plan_of(folder: Path, names: Sequence[str] = ("1.png", "2.png", "3.png", "4.png", "5.png")) -> Plan:
    return make_plan(source_dir=str(folder), images=tuple(names), prompts=(), variants=(), workflows=(), workflow_name="", count=1)


def test_pictures_that_are_nearly_the_same_are_marked_and_stay(tmp_path: Path, near_sources: Path) -> None:
    plan, folder = plan_of(near_sources), BatchFolder(tmp_path / "batch")
    run(plan, folder)
    document = report(plan, folder)
    assert {image["file"]: image["alike"] for image in document["images"] if image["alike"]} == LIKE
    assert set(filed(folder).values()) == {APPROVED} and document["counts"]["nearly_same"] == 3
    assert "3 of the approved pictures are nearly the same as another." in document["judgement"]
    text = (folder.root / "batch_report.md").read_text(encoding="utf-8")
    assert "| [`2.png`](approved/2.png) | approved | the mirror image of | [`1.png`](approved/1.png) |" in text
    assert (viewed_pictures(document)[1]["alike"], viewed_pictures(document)[1]["like"]) == ("the mirror image of ", "1.png")
    rows = list(csv.DictReader(io.StringIO((folder.root / "scores.csv").read_text(encoding="utf-8"))))
    assert [row["nearly_same_as"] for row in rows] == ["", "1.png", "1.png", "1.png", ""]


@pytest.mark.parametrize("order", ["12345", "54321", "31524"])
def test_by_the_policy_one_of_them_is_approved(tmp_path: Path, near_sources: Path, order: str) -> None:
    plan, folder = plan_of(near_sources), BatchFolder(tmp_path / "batch")
    folder.root.mkdir()
    write_plan(folder.root, plan)
    run(plan, folder, Ordered([f"{place}.png" for place in order]), reject_near_duplicates=True)
    assert filed(folder) == {"1.png": APPROVED, **dict.fromkeys(LIKE, REJECTED), "5.png": APPROVED}
    images = {image["file"]: image for image in report(plan, folder)["images"]}
    assert {name: images[name]["reasons"] for name in LIKE} == {name: [f"duplicate: {text}"] for name, text in LIKE.items()}
    rejudge(folder, make_policy(), quiet)
    assert set(filed(folder).values()) == {APPROVED}
    rejudge(folder, make_policy(reject_near_duplicates=True), quiet)
    assert {name for name, place in filed(folder).items() if place == REJECTED} == set(LIKE)


def test_what_a_person_rejected_takes_no_other_picture_with_it(tmp_path: Path, near_sources: Path) -> None:
    """A hand that is bad in the first may be good in the second."""
    plan, folder = plan_of(near_sources, ("1.png", "2.png")), BatchFolder(tmp_path / "batch")
    folder.root.mkdir()
    write_plan(folder.root, plan)
    run(plan, folder, reject_near_duplicates=True)
    (folder.root / APPROVED / "1.png").replace(folder.root / REJECTED / "1.png")
    rejudge(folder, make_policy(reject_near_duplicates=True), quiet)
    assert filed(folder) == {"1.png": REJECTED, "2.png": APPROVED}
