"""What several reviewers decide: their verdicts stay apart, can be taken back, and are marked as theirs in reports and history."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.comparison.runs import read_run
from evals.judging import gates
from evals.judging.records import Assessment
from lifeos.files import append_record, read_records
from tests.tools.production.scenes import ROWS, HashScorer, finish, make_batch, make_plan, run
from tools.production.budget import Limits
from tools.production.decisions import DecidedPicture, Decision, SampleMark, read_decisions, stand, writing
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.plan import write_plan
from tools.production.settling import settle_decisions
from tools.stand_in.server import EmbeddedServer

NAMES = [f"{index:04d}_p001_v01_seed{index}_x.png" for index in (1, 2, 3, 4)]
"""Of ROWS: the first two are approved (0.9, 0.7), the third (0.5) and the fourth (no face) rejected."""


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    batch = make_batch(tmp_path, make_plan(), ROWS)
    write_plan(batch.root, make_plan())
    return batch


def say(folder: BatchFolder, number: int, approved: bool | None, by: str = "anna", **fields: Any) -> None:
    """A reviewer's line about a picture; None takes the verdict back."""
    picture = DecidedPicture(NAMES[number - 1], f"{number * 0x1111:064x}")
    with writing(folder.root) as append:
        append([Decision(picture, approved is True, by, "2026-11-29T10:00:00Z", "review", withdrawn=approved is None, **fields)])


def places(folder: BatchFolder) -> str:
    """Where the four pictures lie, after what was decided has been carried out: `aarr` is as the gates want it."""
    settle_decisions(folder, read_state(folder.root / JOURNAL_FILE))
    return "".join("a" if (folder.root / "approved" / name).exists() else "r" for name in NAMES)


def test_the_newest_verdict_of_several_reviewers_counts_and_each_stays(folder: BatchFolder) -> None:
    say(folder, 3, True, "anna", reason="good light")
    say(folder, 3, False, "ben")
    assert places(folder) == "aarr"
    say(folder, 3, True, "anna")
    assert places(folder) == "aaar"
    image = finish(make_plan(), folder)["images"][2]
    assert [(one["by"], one["verdict"]) for one in image["verdicts"]] == [("ben", "rejected"), ("anna", "approved")]
    assert image["decision"]["by"] == "anna" and image["verdict"] == "approved"


def test_a_verdict_that_is_taken_back_leaves_the_other_reviewers_then_the_gates(folder: BatchFolder) -> None:
    say(folder, 3, True, "anna")
    say(folder, 3, True, "ben")
    say(folder, 3, None, "ben")
    assert places(folder) == "aaar"
    say(folder, 3, None, "anna")
    assert places(folder) == "aarr"
    assert places(folder) == "aarr"
    assert [record.data["from"] for record in read_records(folder.root / "decisions.jsonl")] == ["review"] * 4  # no move by hand was seen
    assert finish(make_plan(), folder)["counts"]["decided"] == 0


def test_killed_after_a_release_nobody_is_said_to_have_moved_the_picture(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    say(folder, 3, True)
    assert places(folder) == "aaar"
    say(folder, 3, None)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Journal, "append", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        places(folder)
    assert places(folder) == "aarr"
    assert len(list(read_decisions(folder.root))) == 2


def test_a_picture_moved_by_hand_after_it_was_released_is_a_decision(folder: BatchFolder) -> None:
    say(folder, 3, True)
    say(folder, 3, None)
    places(folder)
    (folder.root / "rejected" / NAMES[2]).rename(folder.root / "approved" / NAMES[2])
    assert places(folder) == "aaar"
    assert list(read_decisions(folder.root))[-1].origin == "move"


def test_an_opinion_moves_nothing_and_takes_nothing_back(folder: BatchFolder) -> None:
    say(folder, 1, False)
    say(folder, 1, True, opinion=True, blind=True)
    say(folder, 3, True, opinion=True, blind=True)
    assert places(folder) == "rarr"
    document = finish(make_plan(), folder)
    assert document["counts"]["decided"] == 1 and document["images"][2]["decision"] is None
    assert [one["opinion"] for one in document["images"][2]["verdicts"]] == [True]
    say(folder, 3, None, opinion=True)
    assert places(folder) == "rarr"


def test_what_stands_is_each_reviewers_newest_verdict() -> None:
    def one(by: str, approved: bool, **fields: Any) -> Decision:
        return Decision(DecidedPicture("a"), approved, by, **fields)

    standing = stand([one("anna", True), one("ben", False), one("anna", False), one("ben", False, withdrawn=True)])
    assert [(each.by, each.approved) for each in standing.verdicts["a"]] == [("anna", False)]
    assert standing.in_force["a"].by == "anna" and not standing.released
    assert stand([one("anna", True), one("anna", True, withdrawn=True)]).released == {"a"}
    assert not stand([one("anna", True, opinion=True), one("anna", True, opinion=True, withdrawn=True)]).released


def test_all_fields_of_a_decision_are_read_back(folder: BatchFolder) -> None:
    mark = SampleMark(40, True, 4.5)
    say(folder, 1, True, reason="it is her sister", overrules=("memorised",), blind=True, sample=mark, undo=True, opinion=True)
    [decision] = read_decisions(folder.root)
    assert (decision.reason, decision.overrules, decision.sample) == ("it is her sister", ("memorised",), mark)
    assert decision.blind and decision.undo and decision.opinion and not decision.withdrawn


def test_a_weight_of_nothing_is_named(folder: BatchFolder) -> None:
    say(folder, 1, True, sample=SampleMark(2, True, 1.0))
    path = folder.root / "decisions.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"weight": 1.0', '"weight": 0'), encoding="utf-8")
    warnings: list[str] = []
    assert list(read_decisions(folder.root, warnings.append)) == []
    assert "a weight above 0" in warnings[0]


def test_reports_tell_who_said_what(folder: BatchFolder) -> None:
    say(folder, 3, False, "ben", reason="the hand")
    say(folder, 3, True, "anna", reason="good | light")
    document = finish(make_plan(), folder)
    assert document["counts"]["disputed"] == 1
    assert "Reviewers disagree about 1 picture; the newest verdict counts." in document["judgement"]
    text = (folder.root / "batch_report.md").read_text(encoding="utf-8")
    assert r"anna, in review, 2026-11-29: good \| light<br>rejected before: ben, in review, 2026-11-29: the hand |" in text
    rows = list(csv.DictReader(io.StringIO((folder.root / "scores.csv").read_text(encoding="utf-8"))))
    assert [row["reviewers"] for row in rows] == ["", "", "ben rejected; anna approved", ""]


def test_a_guard_that_was_overruled_without_a_reason_is_named(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate of the third picture takes the place of a guard."""
    guard = replace(gates.GATES[0], key="memorised", title="memorised", is_guard=True)
    monkeypatch.setattr("tools.production.overruling.GATES", (guard, *gates.GATES[1:]))
    monkeypatch.setattr("tools.production.results._reasons", lambda *_, **__: (("too near",), (("memorised", "below", ""),)))
    say(folder, 3, True)
    document = finish(make_plan(), folder)
    assert document["images"][2]["guards"] == ["memorised"] and document["counts"]["without_reason"] == 1
    assert "1 picture approved against a guard of publishing: the reason is missing." in document["judgement"]
    assert f"the reason why {gates.gate_of('memorised').title} is overruled is missing" in (folder.root / "batch_report.md").read_text(
        encoding="utf-8"
    )
    say(folder, 3, True, reason="that photo is ours")
    assert finish(make_plan(), folder)["counts"]["without_reason"] == 0


def test_history_and_comparison_follow_and_say_whose_verdict_it_is(folder: BatchFolder, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    finish(make_plan(), folder, history=history)
    say(folder, 3, True)
    say(folder, 1, False)
    for _ in range(2):
        finish(make_plan(), folder, history=history)
    first, second = (record.data for record in read_records(history))  # once for what was decided, however often it is reported
    assert second["supersedes"] == first["timestamp"]
    told = [(entry["approved"], entry.get("gates_approved"), entry.get("decided_by")) for entry in second["images"]]
    assert told == [(False, True, "anna"), (True, None, None), (True, False, "anna"), (False, None, None)]
    run = read_run(second)
    assert run.decided_line == "2 pictures were decided by people: 1 of them approved and 1 rejected against the gates"
    assert read_run(first).decided_line == ""
    for number in (1, 3):
        say(folder, number, None)
    finish(make_plan(), folder, history=history)
    assert [entry["approved"] for entry in list(read_records(history))[-1].data["images"]] == [True, True, False, False]


class ReviewedWhileMade(HashScorer):
    """Somebody rejects the first five pictures in a review, while the following ones are scored."""

    def __init__(self, folder: BatchFolder) -> None:
        super().__init__(least=0.7)
        self.folder, self.rejected = folder, set[str]()

    def assess_bytes(self, data: bytes, path: Path) -> Assessment:
        there = sorted(path.name for path in (self.folder.root / "approved").iterdir() if path.name not in self.rejected)
        if there and len(self.rejected) < 5:
            self.rejected.add(there[0])
            with writing(self.folder.root) as append:
                append([Decision(DecidedPicture(there[0]), False, "anna", origin="review")])
        return super().assess_bytes(data, path)


def test_what_is_rejected_while_a_target_is_made_is_made_up_for(tmp_path: Path, embedded_server: Callable[..., EmbeddedServer]) -> None:
    """All pictures pass the gates: without the review four and those that are queued would do, and few of them would be left."""
    folder, plan = BatchFolder(tmp_path / "batch"), make_plan(target_approved=4, count=1)
    end = run(folder, plan, embedded_server(), scorer=ReviewedWhileMade(folder), limits=Limits(max_images=50), queue_ahead=1)
    assert end.why == "target"
    counts = finish(plan, folder, why=end.why)["counts"]
    assert counts["rejected_by_hand"] == 5 and counts["approved"] >= 4


def test_a_comparison_says_what_people_decided(folder: BatchFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from evals import compare_versions

    history = tmp_path / "history.jsonl"
    finish(make_plan(), folder, history=history)
    [before] = [record.data for record in read_records(history)]
    append_record(history, {**before, "run_id": "as_the_gates_want_it"})
    say(folder, 3, True)
    finish(make_plan(), folder, history=history)
    output = str(tmp_path / "report.md")
    compare_versions.main(["--history-file", str(history), "--v1", "as_the_gates_want_it", "--v2", "batch_001", "--output", output])
    text = Path(output).read_text(encoding="utf-8")
    assert "batch_001: 1 picture was decided by people: 1 of them approved and 0 rejected against the gates." in text.replace("\\_", "_")
    assert "| Approved | 50 %" in text and "| 75 %" in text
