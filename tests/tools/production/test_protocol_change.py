"""A batch that began when scores were measured in another way: all of it is scored again or nothing is, whenever the program is killed."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evals.judging.protocol import chosen_part, measured_otherwise
from evals.judging.records import Assessment
from evals.load_thresholds import load_thresholds
from lifeos import files
from lifeos.errors import InputError
from tools.production import protocol_change
from tools.production.batch_state import BatchState
from tools.production.budget import Limits
from tools.production.decisions import DecidedPicture, Decision
from tools.production.filing import BatchFolder
from tools.production.finish import Ending, finish_batch
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.pipeline import resume
from tools.production.plan import PLAN_FILE, Plan, judging_policy, read_plan, write_plan
from tools.production.protocol_change import Rescoring, foretell
from tools.production.rejudging import rejudge
from tools.production.results import read_results
from tools.production.runner import BatchEnd, Equipment, run_batch
from tools.production.settling import read_settled

from .scenes import filed, make_assessment, make_plan

THEN = {"engine": "test", "detector": {"name": "d", "side": 1}, "aggregation": "mean", "scale": {"pass": 0.3}, "id": "then"}
NOW = {**THEN, "aggregation": "centroid", "scale": {"pass": 0.46}, "id": "now"}
OLD = {"a.png": 0.55, "b.png": 0.65, "c.png": 0.75, "d.png": 0.8}
"""By the policy's 0.60 a is rejected."""
NEW = {"a.png": 0.91, "b.png": 0.41, "c.png": 0.95, "d.png": 0.42, "e.png": 0.9}
"""b and d are rejected, a is approved; e was not made yet."""
SECOND = {"same": 1.0, "stranger": 0.0, "warn": 0.4, "pass": 0.46}


def quiet(text: str) -> None:
    del text


@cache
def picture(name: str) -> bytes:
    """A picture of its own for each name: one that cannot be read counts as damaged, and is made again."""
    data = io.BytesIO()
    Image.new("RGB", (2, 2), (ord(name[0]), 0, 0)).save(data, "PNG")
    return data.getvalue()


def assessed(name: str, face: float) -> Assessment:
    return make_assessment(name, face, sha256=hashlib.sha256(picture(name)).hexdigest())


class TableScorer:
    def __init__(self, scores: dict[str, float] = NEW) -> None:
        self.scores, self.seen = scores, list[str]()

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        self.seen.append(path.name)
        return assessed(path.name, self.scores[path.name])


def policy_of(**engines: Any) -> dict[str, Any]:
    policy = load_thresholds()
    policy["face_similarity"]["engines"] |= engines
    return policy


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return begin(tmp_path)


def begin(tmp_path: Path, made: int = 4) -> BatchFolder:
    """Five existing pictures of which the first were scored and filed under the protocol of then."""
    source = tmp_path / "pictures"
    source.mkdir(parents=True)
    for name in NEW:
        (source / name).write_bytes(picture(name))
    batch = BatchFolder(tmp_path / "batch")
    batch.prepare()
    write_plan(batch.root, planned(batch, THEN))
    journal = Journal(batch.root / JOURNAL_FILE)
    journal.append("started", servers=[], rate_per_hr=0.0)
    for index, (name, face) in enumerate(list({**NEW, **OLD}.items())[:made], 1):
        place = "approved" if face >= 0.6 else "rejected"
        reasons = [] if face >= 0.6 else [f"face similarity {face:.2f} is below 0.60"]
        journal.append("downloaded", item=index, files=[{"file": name}])
        told = {"reasons": reasons, "assessment": assessed(name, face).to_json(), "bytes": len(picture(name))}
        journal.append("scored", item=index, file=name, approved=not reasons, **told)
        journal.append("filed", item=index, file=name, place=place)
        (batch.root / place / name).write_bytes(picture(name))
    journal.close()
    return batch


def planned(batch: BatchFolder, protocol: dict[str, Any], **fields: Any) -> Plan:
    policy = policy_of() if protocol is THEN else policy_of(test=SECOND)
    plan = make_plan(
        source_dir=str(batch.root.parent / "pictures"), images=tuple(sorted(NEW)), prompts=(), variants=(), workflows=(),
        policy=judging_policy(policy), protocol=protocol, engine=protocol["id"],
    )  # fmt: skip
    return replace(plan, **fields)


def go_on(
    batch: BatchFolder, scorer: TableScorer, note: Callable[[str], None] = quiet, wanted: Plan | None = None
) -> tuple[Plan, BatchState]:
    saved, state = read_plan(batch.root), read_state(batch.root / JOURNAL_FILE)
    assert saved is not None
    wanted = wanted or planned(batch, NOW)
    _, plan, state = resume(batch, saved, wanted, state, Limits(), Rescoring(scorer, policy_of(test=SECOND), None, note))
    return plan, state


def scores_of(batch: BatchFolder) -> dict[str, tuple[float | None, bool, str]]:
    """Each picture's face score, whether the gates approve it, and where it lies."""
    plan, state = read_plan(batch.root), read_state(batch.root / JOURNAL_FILE)
    assert plan is not None
    results = read_results(plan, batch, state, read_settled(batch, state), load_thresholds())
    return {each.file: (each.assessment.face.score, each.gates_approve, each.place) for each in results.pictures}


RESCORED = {
    "a.png": (0.91, True, "approved"),
    "b.png": (0.41, False, "rejected"),
    "c.png": (0.95, True, "approved"),
    "d.png": (0.42, False, "rejected"),
}


def events(batch: BatchFolder) -> list[str]:
    return [json.loads(line)["event"] for line in (batch.root / JOURNAL_FILE).read_text(encoding="utf-8").splitlines()]


def test_an_unfinished_batch_is_scored_again_as_a_whole(folder: BatchFolder) -> None:
    notes: list[str] = []
    plan, state = go_on(folder, TableScorer(), notes.append)
    assert scores_of(folder) == RESCORED
    assert filed(folder) == {name: place for name, (_, _, place) in RESCORED.items()}
    assert plan.protocol == NOW and read_plan(folder.root) == plan and plan.engine == "now"
    assert plan.policy["face_similarity"]["engines"]["test"] == SECOND
    assert state.verdicts == {name: approved for name, (_, approved, _) in RESCORED.items()}
    older = "its pictures were scored in an older way (aggregation mean then, centroid now)"
    assert notes == [
        f"{older}: all 4 are scored again, so that the batch has one protocol",
        "scored again: 1 rejected picture now approved, 2 approved now rejected",
    ]
    assert list(read_state(folder.root / JOURNAL_FILE).places.items()) == [(name, place) for name, (_, _, place) in RESCORED.items()]
    silent: list[str] = []
    again = TableScorer()
    assert go_on(folder, again, silent.append)[0] == plan
    assert (silent, again.seen) == ([], [])


def all_files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def foretold(batch: BatchFolder, protocol: dict[str, Any] = NOW) -> str:
    """What a dry run says, which writes nothing."""
    saved, before = read_plan(batch.root), all_files(batch.root)
    assert saved is not None
    said = foretell(batch, saved, planned(batch, protocol), read_state(batch.root / JOURNAL_FILE), Limits())
    assert all_files(batch.root) == before
    return said


def test_a_dry_run_says_what_will_be_scored_again(tmp_path: Path) -> None:
    older = "its pictures were scored in an older way (aggregation mean then, centroid now)"
    unfinished, finished = begin(tmp_path / "unfinished"), begin(tmp_path / "finished", made=5)
    assert foretold(unfinished) == f"{older}: all 4 are scored again, so that the batch has one protocol"
    assert foretold(unfinished, THEN) == ""
    assert foretold(finished) == f"{older}: nothing is left to make, so its numbers stay"
    (finished.root / "approved" / "e.png").write_bytes(picture("e.png")[:40])  # damaged: it will be made again
    assert foretold(finished).endswith(": all 5 are scored again, so that the batch has one protocol")
    go_on(unfinished, TableScorer())
    assert foretold(unfinished) == ""


class Killed(BaseException):
    """Nothing of the program runs after it."""


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int | None], list[str]]]:
    """Arms the kill at the step of a number: the writes to the disk are counted. The list holds the steps that were taken."""
    steps: list[str] = []
    limit: list[int | None] = [None]

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if limit[0] is not None and len(steps) >= limit[0]:
                raise Killed
            steps.append(name)
            return real(*arguments, **options)

        return step

    monkeypatch.setattr(Journal, "append", counted("journal", Journal.append))
    monkeypatch.setattr(BatchFolder, "refile", counted("move", BatchFolder.refile))
    monkeypatch.setattr(files, "replace", counted("file", files.replace))

    def arm(number: int | None) -> list[str]:
        steps.clear()
        limit[0] = number
        return steps

    yield arm


def test_killed_at_any_step_the_batch_has_one_protocol_and_goes_on(tmp_path: Path, kill: Callable[[int | None], list[str]]) -> None:
    kill(None)
    whole = begin(tmp_path / "whole")
    steps = kill(None)
    go_on(whole, TableScorer())
    expected, last = scores_of(whole), len(steps)
    assert steps.count("journal") >= 6 and steps.count("move") == 3  # four scores, the protocol, three moves and their record
    for number in range(last):
        kill(None)
        folder = begin(tmp_path / str(number))
        before = scores_of(folder)
        kill(number)
        with pytest.raises(Killed):
            go_on(folder, TableScorer())
        kill(None)
        found = {name: (score, approved) for name, (score, approved, _) in scores_of(folder).items()}
        assert found in ({n: v[:2] for n, v in before.items()}, {n: v[:2] for n, v in expected.items()}), f"killed at step {number}"
        scorer = TableScorer()
        plan, _ = go_on(folder, scorer)
        assert (scores_of(folder), plan.protocol) == (expected, NOW), f"killed at step {number}"
        assert not (folder.root / "decisions.jsonl").exists(), f"killed at step {number}: our own move was taken for a person's"
        assert len(scorer.seen) == max(0, 4 - number)  # what was scored again is not scored a third time


def test_what_stops_it_ends_it_between_two_pictures(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(TableScorer):
        def assess_bytes(self, data: bytes, path: Path) -> Assessment:
            found = super().assess_bytes(data, path)
            time.sleep(0.3 if len(self.seen) > 1 else 0.0)
            return found

    def append(journal: Journal, event: str, **fields: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    scorer = Slow()
    monkeypatch.setattr(protocol_change, "default_workers", lambda: 1)
    monkeypatch.setattr(Journal, "append", append)
    with pytest.raises(OSError, match="full"):
        go_on(folder, scorer)
    assert len(scorer.seen) <= 2  # of 4: the one that was under way


def test_a_finished_batch_keeps_its_numbers(tmp_path: Path) -> None:
    folder = begin(tmp_path, made=5)
    before, plan_file, journal = scores_of(folder), (folder.root / PLAN_FILE).read_bytes(), (folder.root / JOURNAL_FILE).read_bytes()
    notes: list[str] = []
    scorer = TableScorer()
    plan, _ = go_on(folder, scorer, notes.append)
    assert plan.protocol == THEN and plan.engine == "then" and plan.policy == planned(folder, THEN).policy
    assert scorer.seen == [] and scores_of(folder) == before
    assert (folder.root / PLAN_FILE).read_bytes() == plan_file and (folder.root / JOURNAL_FILE).read_bytes() == journal
    assert notes[-1] == (
        "its pictures were scored in an older way (aggregation mean then, centroid now): nothing is left to make, so its numbers stay"
    )


def test_a_finished_batch_that_lost_a_picture_is_scored_again(tmp_path: Path) -> None:
    """The picture is made again under the protocol of today: the others must not stay under another."""
    folder = begin(tmp_path, made=5)
    (folder.root / "approved" / "e.png").write_bytes(picture("e.png")[:40])
    assert go_on(folder, TableScorer())[0].protocol == NOW
    assert scores_of(folder) == RESCORED


def test_a_finished_batch_that_grows_is_scored_again(tmp_path: Path) -> None:
    folder = begin(tmp_path, made=5)
    (folder.root.parent / "pictures" / "f.png").write_bytes(picture("f.png"))
    wanted = planned(folder, NOW, images=(*sorted(NEW), "f.png"))
    plan, _ = go_on(folder, TableScorer(), wanted=wanted)
    assert (plan.protocol, plan.images[-1]) == (NOW, "f.png") and read_plan(folder.root) == plan
    assert scores_of(folder) == {**RESCORED, "e.png": (0.9, True, "approved")}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"engine": "another"}, "protocol.engine: 'test' there, 'another' now"),
        ({"detector": {"name": "other", "side": 1}}, "protocol.detector.name: 'd' there, 'other' now"),
        ({"reference_set_id": "r2"}, "protocol.reference_set_id: none there, 'r2' now"),
    ],
)
def test_what_was_chosen_otherwise_is_another_batch(folder: BatchFolder, changed: dict[str, Any], said: str) -> None:
    scorer = TableScorer()
    with pytest.raises(InputError, match="holds another batch") as caught:
        go_on(folder, scorer, wanted=planned(folder, {**NOW, **changed}))
    assert said in caught.value.why and "aggregation" not in caught.value.why and "scale" not in caught.value.why
    assert scorer.seen == []


def test_a_scale_that_was_set_anew_is_another_batch(folder: BatchFolder) -> None:
    with pytest.raises(InputError, match=r"protocol.scale.pass: 0.3 there, 0.4 now"):
        go_on(folder, TableScorer(), wanted=planned(folder, {**THEN, "scale": {"pass": 0.4}, "id": "other"}))


def test_what_a_person_decided_stays(folder: BatchFolder) -> None:
    """c was moved by hand; a review rejected a, which the gates approve now."""
    (folder.root / "approved" / "c.png").rename(folder.root / "rejected" / "c.png")
    decision = Decision(DecidedPicture("a.png"), approved=False, origin="review")
    files.append_record(folder.root / "decisions.jsonl", decision.to_json())
    go_on(folder, TableScorer())
    assert filed(folder) == {"a.png": "rejected", "b.png": "rejected", "c.png": "rejected", "d.png": "rejected"}
    assert len((folder.root / "decisions.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_picture_that_was_away_has_no_score_and_gets_one_when_it_is_back(folder: BatchFolder, tmp_path: Path) -> None:
    """Nor has it one that a killed run gave it under a third protocol."""
    told = {"reasons": [], "assessment": assessed("d.png", 0.91).to_json(), "bytes": len(picture("d.png"))}
    journal = Journal(folder.root / JOURNAL_FILE)
    journal.append("rescored", protocol_id="between", item=4, file="d.png", approved=True, **told)
    journal.close()
    (folder.root / "approved" / "d.png").rename(tmp_path / "d.png")
    notes: list[str] = []
    plan, _ = go_on(folder, TableScorer(), notes.append)
    assert "1 picture that somebody took away could not be scored again, and count no more" in notes
    assert set(scores_of(folder)) == {"a.png", "b.png", "c.png"} == set(read_state(folder.root / JOURNAL_FILE).verdicts)
    (tmp_path / "d.png").rename(folder.root / "approved" / "d.png")
    run_batch(plan, folder, Equipment(TableScorer(), load_thresholds()), Limits())
    assert scores_of(folder) == {**RESCORED, "e.png": (0.9, True, "approved")}


def test_what_was_judged_again_is_judged_by_those_rules(folder: BatchFolder) -> None:
    """Killed in between as well: scores from before the new rules do not carry their verdicts over."""
    journal = Journal(folder.root / JOURNAL_FILE)
    told = {"reasons": [], "assessment": assessed("a.png", 0.91).to_json(), "bytes": len(picture("a.png"))}
    journal.append("rescored", protocol_id="now", item=1, file="a.png", approved=True, **told)
    journal.close()
    rejudge(folder, load_thresholds(overrides={"face_similarity.pass_threshold": 0.93}), quiet)
    go_on(folder, TableScorer())
    assert {name: approved for name, (_, approved, _) in scores_of(folder).items()} == {
        "a.png": False, "b.png": False, "c.png": True, "d.png": False,
    }  # fmt: skip
    state = read_state(folder.root / JOURNAL_FILE)
    assert state.policy is not None and state.policy["face_similarity"]["engines"]["test"] == SECOND


def test_the_history_gets_a_row_of_the_new_protocol(folder: BatchFolder, tmp_path: Path) -> None:
    """Though it holds as many pictures as before: a batch of which some could not be made was recorded, and goes on."""
    history = tmp_path / "history.jsonl"

    def finish(plan: Plan) -> None:
        state = read_state(folder.root / JOURNAL_FILE)
        finish_batch(plan, folder, BatchEnd("incomplete", state), Ending(load_thresholds(), {}, history), quiet)

    finish(planned(folder, THEN))
    plan, _ = go_on(folder, TableScorer())
    finish(plan)
    finish(plan)
    rows = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    assert [(row["protocol_id"], len(row["images"]), row.get("supersedes")) for row in rows] == [
        ("then", 4, None),
        ("now", 4, rows[0]["timestamp"]),
    ]


def test_what_differs_is_told_apart_from_what_was_chosen() -> None:
    then = {
        "engine": "dlib",
        "detector": {"name": "hog", "low": 1},
        "skin_metric": "s/1",
        "measures": {"alone": "a/1"},
        "scale": {},
        "id": "1",
    }
    now = {**then, "detector": {"name": "yunet", "low": 2}, "skin_metric": "s/2", "measures": {"alone": "a/2", "age": "x"}, "id": "2"}
    assert measured_otherwise(then, now) == (
        "skin metric s/1 then, s/2 now",
        "detector low 1 then, 2 now",
        "measures alone a/1 then, a/2 now",
    )
    assert chosen_part(then) == {"engine": "dlib", "detector": {"name": "hog"}, "measures": {"alone": "in force"}}
    assert measured_otherwise({}, now) == ()
