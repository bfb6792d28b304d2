"""Judging a batch again: what it changes, what it leaves alone, and that a killed run is finished by the next command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.load_thresholds import load_thresholds
from lifeos.errors import InputError
from lifeos.files import read_records
from tools import production_pipeline
from tools.production import rejudging
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.pipeline import Circumstances, rejudge_batch
from tools.production.plan import judging_policy, read_plan, write_plan
from tools.production.rejudging import finish_moves, policy_in_force, rejudge
from tools.production.request import Request

from .scenes import filed, make_assessment, make_plan

FACES = {"a.png": 0.55, "b.png": 0.65, "c.png": 0.75, "d.png": None}
"""By the policy's 0.60 b and c are approved; by 0.50 a as well; by 0.70 c alone; d has no face."""


def quiet(text: str) -> None:
    del text


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    """A finished batch of four existing pictures, as version 3.0 left one: reasons as sentences alone, no newer keys in the policy."""
    policy = judging_policy(load_thresholds())
    del policy["gates"], policy["scorecard"]["minimum_coverage"], policy["scorecard"]["minimum_pictures"]
    batch = BatchFolder(tmp_path / "batch")
    batch.prepare()
    write_plan(batch.root, make_plan(source_dir="/pictures", images=tuple(FACES), prompts=(), variants=(), workflows=(), policy=policy))
    journal = Journal(batch.root / JOURNAL_FILE)
    journal.append("started", servers=[], rate_per_hr=0.0)
    for index, (name, face) in enumerate(FACES.items(), 1):
        approved = face is not None and face >= 0.6
        reasons = [] if approved else ["no face found" if face is None else f"face similarity {face:.2f} is below 0.60"]
        place = "approved" if approved else "rejected"
        journal.append("downloaded", item=index, files=[{"file": name}])
        assessment = make_assessment(name, face, sha256=f"{index:064x}").to_json()
        journal.append("scored", item=index, file=name, approved=approved, reasons=reasons, assessment=assessment)
        journal.append("filed", item=index, file=name, place=place)
        (batch.root / place / name).write_bytes(name.encode())
    journal.append("ended", why="complete")
    journal.close()
    return batch


def policy_of(face: float) -> dict[str, Any]:
    return load_thresholds(overrides={"face_similarity.pass_threshold": face})


def around(tmp_path: Path) -> Circumstances:
    return Circumstances(tmp_path, tmp_path / "history.jsonl", tmp_path / "cost.jsonl", note=quiet)


@pytest.mark.parametrize(
    ("limit", "approved"),
    [(0.5, {"a.png", "b.png", "c.png"}), (0.6, {"b.png", "c.png"}), (0.7, {"c.png"}), (0.8, set())],
)
def test_pictures_lie_where_the_new_policy_puts_them(folder: BatchFolder, limit: float, approved: set[str]) -> None:
    changed = rejudge(folder, policy_of(limit), quiet)
    assert {name for name, place in filed(folder).items() if place == "approved"} == approved
    assert (changed.pictures, changed.now_approved, changed.now_rejected) == (
        4,
        len(approved - {"b.png", "c.png"}),
        len({"b.png", "c.png"} - approved),
    )


def test_it_is_one_record_with_the_policy_written_before_a_picture_moves(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BatchFolder, "refile", stop)
    with pytest.raises(KeyboardInterrupt):
        rejudge(folder, policy_of(0.7), quiet)
    records = [record.data for record in read_records(folder.root / JOURNAL_FILE) if record.data["event"] == "rejudged"]
    assert [record["policy"]["face_similarity"]["pass_threshold"] for record in records] == [0.7]
    assert (records[0]["changed"], records[0]["moves"]) == ({"b.png": False}, ["b.png"])


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_killed_between_two_moves_the_next_command_finishes_them(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    real, done = BatchFolder.refile, []

    def refile(self: BatchFolder, name: str, *, approved: bool) -> None:
        if len(done) == moved:
            raise KeyboardInterrupt
        done.append(name)
        real(self, name, approved=approved)

    monkeypatch.setattr(BatchFolder, "refile", refile)
    if moved < 2:
        with pytest.raises(KeyboardInterrupt):
            rejudge(folder, policy_of(0.8), quiet)
    else:
        rejudge(folder, policy_of(0.8), quiet)
    monkeypatch.setattr(BatchFolder, "refile", real)
    state = read_state(folder.root / JOURNAL_FILE)
    finish_moves(folder, state)
    assert set(filed(folder).values()) == {"rejected"}
    assert read_state(folder.root / JOURNAL_FILE).moves == {}


def test_what_somebody_moved_by_hand_stays(folder: BatchFolder) -> None:
    (folder.root / "approved" / "b.png").rename(folder.root / "rejected" / "b.png")
    for limit in (0.5, 0.8, 0.6):
        assert rejudge(folder, policy_of(limit), quiet).kept_by_hand == 1
        assert filed(folder)["b.png"] == "rejected"
    assert filed(folder) == {"a.png": "rejected", "b.png": "rejected", "c.png": "approved", "d.png": "rejected"}


def test_the_history_gets_a_row_that_replaces_the_run_s(folder: BatchFolder, tmp_path: Path) -> None:
    for limit in (0.6, 0.7, 0.6):
        rejudge_batch(Request(folder.root), policy_of(limit), around(tmp_path))
    rows = [record.data for record in read_records(tmp_path / "history.jsonl")]
    assert [row["run_id"] for row in rows] == ["batch_001"] * 3
    assert [row.get("rejudged") for row in rows] == [1, 2, 3]
    assert [row.get("supersedes") for row in rows] == [None, rows[0]["timestamp"], rows[1]["timestamp"]]
    assert [sum(picture["approved"] for picture in row["images"]) for row in rows] == [2, 1, 2]


def test_the_same_limits_again_make_no_second_row(folder: BatchFolder, tmp_path: Path) -> None:
    """Killed after its last write, the command is begun again: it must not count the run twice."""
    for _ in range(2):
        changed, _ = rejudge_batch(Request(folder.root), policy_of(0.7), around(tmp_path))
    assert (changed.pictures, changed.now_approved, changed.now_rejected) == (4, 0, 0)
    assert sum(1 for _ in read_records(tmp_path / "history.jsonl")) == 1
    assert read_state(folder.root / JOURNAL_FILE).rejudged == 1


def test_a_run_killed_before_the_history_is_written_is_recorded_by_the_next(folder: BatchFolder, tmp_path: Path) -> None:
    rejudge_batch(Request(folder.root), policy_of(0.6), around(tmp_path))
    rejudge(folder, policy_of(0.7), quiet)  # and killed here
    assert read_state(folder.root / JOURNAL_FILE).recorded is None
    rejudge_batch(Request(folder.root), policy_of(0.7), around(tmp_path))
    assert sum(1 for _ in read_records(tmp_path / "history.jsonl")) == 2


def test_the_reports_tell_the_new_verdicts_and_count_reasons_by_gate(folder: BatchFolder, tmp_path: Path) -> None:
    _, outcome = rejudge_batch(Request(folder.root), policy_of(0.604), around(tmp_path))
    document = json.loads((folder.root / "batch_report.json").read_text(encoding="utf-8"))
    assert document == outcome.document
    assert document["reasons"] == {"face similarity below 0.60": 1, "no face found": 1}
    _, outcome = rejudge_batch(Request(folder.root), policy_of(0.7), around(tmp_path))
    assert outcome.document["reasons"] == {"face similarity below 0.70": 2, "no face found": 1}
    assert outcome.document["policy"]["face_similarity"]["pass_threshold"] == 0.7
    assert [image["reasons"] for image in outcome.document["images"]][1] == ["face similarity 0.65 is below 0.70"]


def test_a_batch_that_goes_on_is_judged_by_the_policy_in_force(folder: BatchFolder) -> None:
    from tools.production.plan import read_plan

    plan = read_plan(folder.root)
    assert plan is not None
    rejudge(folder, policy_of(0.7), quiet)
    state = read_state(folder.root / JOURNAL_FILE)
    assert policy_in_force(load_thresholds(), plan, state)["face_similarity"]["pass_threshold"] == 0.7


def test_a_gate_that_an_old_batch_does_not_know_stays_off(folder: BatchFolder) -> None:
    from tools.production.plan import read_plan

    plan = read_plan(folder.root)
    assert plan is not None
    policy = load_thresholds()
    policy["gates"] = {"brightness": {"limit": 0.5}}
    merged = policy_in_force(policy, plan, read_state(folder.root / JOURNAL_FILE))
    assert (merged["gates"], merged["scorecard"]["minimum_pictures"]) == ({}, 3)


def test_time_after_the_last_run_is_nobody_s(folder: BatchFolder) -> None:
    before = read_state(folder.root / JOURNAL_FILE).sessions[-1].last
    rejudge(folder, policy_of(0.7), quiet)
    assert read_state(folder.root / JOURNAL_FILE).sessions[-1].last == before


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda folder: (folder.root / "batch.json").unlink(), "there is no batch to judge again"),
        (lambda folder: (folder.root / JOURNAL_FILE).unlink(), "no picture of this batch was scored yet"),
    ],
    ids=["no batch", "nothing scored"],
)
def test_nothing_to_judge_is_one_line(folder: BatchFolder, spoil: Callable[[BatchFolder], None], what: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=what):
        rejudge(folder, policy_of(0.7), quiet)


def test_the_command(folder: BatchFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--rejudge", "--output-dir", str(folder.root), "--history-file", str(tmp_path / "history.jsonl")]
    assert production_pipeline.main([*flags, "--face-threshold", "0.7", "--skin-texture-threshold", "0.9"]) == 1
    assert "3 in" not in capsys.readouterr().out
    assert production_pipeline.main([*flags, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["counts"]["approved"] == 2
    assert "judged again: 4 pictures" in err
    assert rejudging.describe_rules(load_thresholds()) in err


def test_the_row_goes_into_the_history_of_the_batch(folder: BatchFolder, tmp_path: Path) -> None:
    """As its first command named it; another may be named."""
    plan = read_plan(folder.root)
    assert plan is not None
    write_plan(folder.root, replace(plan, command={"history_file": str(tmp_path / "own.jsonl")}))
    rejudge_batch(Request(folder.root), policy_of(0.5), around(tmp_path))
    assert sum(1 for _ in read_records(tmp_path / "own.jsonl")) == 1 and not (tmp_path / "history.jsonl").exists()
    rejudge_batch(Request(folder.root, history_file=tmp_path / "named.jsonl"), policy_of(0.7), around(tmp_path))
    assert sum(1 for _ in read_records(tmp_path / "named.jsonl")) == 1


@pytest.mark.parametrize("guard", ["second_face", "lookalike", "age", "technical"])
def test_a_guard_that_was_never_measured_approves_nothing(folder: BatchFolder, guard: str) -> None:
    """Neither by the policy nor by a flag: the batch stays as it was, and the message says what to do."""
    before = (folder.root / JOURNAL_FILE).read_bytes()
    with pytest.raises(InputError) as caught:
        rejudge(folder, {**policy_of(0.5), "gates": {guard: {"limit": 0.5}}}, quiet)
    assert caught.value.what == f"gates.{guard}.limit" and "were never measured for the guard" in caught.value.why
    assert f"--images {folder.root} --output-dir NEW" in caught.value.fix
    assert (folder.root / JOURNAL_FILE).read_bytes() == before


def test_likeness_to_other_people_than_the_batch_was_measured_against_is_refused(folder: BatchFolder) -> None:
    plan = read_plan(folder.root)
    assert plan is not None
    on = {"lookalike": {"limit": 0.6, "folder": "/people"}}
    write_plan(folder.root, replace(plan, policy={**plan.policy, "gates": on}, protocol={**plan.protocol, "measures": {"lookalike": "x"}}))
    with pytest.raises(InputError, match=r"gates\.lookalike\.folder: is /others, and the pictures in .* were measured against /people"):
        rejudge(folder, {**policy_of(0.6), "gates": {"lookalike": {"limit": 0.6, "folder": "/others"}}}, quiet)
    for same in ({"limit": 0.7, "folder": "/people"}, {"limit": 0.7}):
        assert rejudge(folder, {**policy_of(0.6), "gates": {"lookalike": same}}, quiet).pictures == 4


def test_a_batch_that_was_scored_without_an_age_model(folder: BatchFolder) -> None:
    plan = read_plan(folder.root)
    assert plan is not None
    write_plan(folder.root, replace(plan, protocol={**plan.protocol, "measures": {"age": "age/1 without a model"}}))
    with pytest.raises(InputError, match="were never measured for the guard apparent age"):
        rejudge(folder, {**policy_of(0.6), "gates": {"age": {"limit": 25}}}, quiet)
    assert rejudge(folder, {**policy_of(0.6), "gates": {"age": {"limit": 25, "without_model": "report"}}}, quiet).pictures == 4
