"""Taking in a file of decisions: what the report exported, and every way in which such a file can be of no use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError
from tests.tools.reviewing.scenes_of_review import NAMES, make_desk, make_guard_of_face, make_reviewed, written
from tools.production.decisions import read_decisions
from tools.production.filing import BatchFolder
from tools.reviewing.applying import AppliedFile, apply_file
from tools.reviewing.desk import Wish

WHEN = "2026-11-29T10:00:00.000Z"


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return make_reviewed(tmp_path)


def entry(number: int, verdict: str = "approved", **fields: Any) -> dict[str, Any]:
    return {"picture": {"name": NAMES[number - 1], "sha256": ""}, "verdict": verdict, "when": WHEN, "reason": "", **fields}


def export(folder: BatchFolder, *entries: Any, **fields: Any) -> Path:
    document = {"schema": 1, "kind": "lifeos decisions", "batch_id": "b" * 32, "run_id": "batch_001", "protocol_id": "0123456789abcdef"}
    path = folder.root.parent / "decisions.json"
    path.write_text(json.dumps({**document, "reviewer": "anna", "decisions": list(entries), **fields}), encoding="utf-8")
    return path


def apply(folder: BatchFolder, path: Path) -> AppliedFile:
    return apply_file(path, make_desk(folder).batch, "owner")


def test_a_file_is_taken_in_once_however_often_it_is_applied(folder: BatchFolder) -> None:
    path = export(folder, entry(3, reason="light"), entry(1, "rejected"))
    assert (len(apply(folder, path).fresh), apply(folder, path).already) == (2, 2)
    assert written(folder) == ["anna 3 approved", "anna 1 rejected"]
    first = next(read_decisions(folder.root))
    assert (first.origin, first.when, first.reason) == ("report", WHEN, "light")


def test_whose_they_are(folder: BatchFolder) -> None:
    apply(folder, export(folder, entry(1, "rejected", by="ben"), entry(2, "rejected")))
    apply(folder, export(folder, entry(3), reviewer=""))
    assert written(folder) == ["ben 1 rejected", "anna 2 rejected", "owner 3 approved"]


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry(3), entry(3, "rejected")], f"{NAMES[2]} is approved and rejected in the same file: neither counts"),
        ([{**entry(3), "picture": {"name": "other.png"}}], "no picture of this batch is called other.png"),
        ([{**entry(3), "picture": {"name": NAMES[2], "sha256": "f" * 64}}], f"{NAMES[2]} was another picture when it was decided"),
        ([entry(3, "maybe")], "verdict: 'maybe' is not one of the values that are known"),
        ([entry(3, when="noon")], "'noon' is no time with its zone"),
        (["approved"], "an object is wanted, not text"),
        ([entry(4)], f"{NAMES[3]} is gone: somebody deleted it or took it away"),
        ([entry(3, reason="x" * 501)], f"the reason for {NAMES[2]} has 501 letters; at most 500 are kept"),
    ],
)
def test_what_cannot_be_taken_is_named_and_the_rest_is_taken(folder: BatchFolder, entries: list[Any], why: str) -> None:
    (folder.root / "rejected" / NAMES[3]).unlink()
    applied = apply(folder, export(folder, *entries, entry(1, "rejected")))
    assert written(folder) == ["anna 1 rejected"]
    [left_out] = applied.left_out
    assert left_out.why.startswith(why) and f"decision {len(entries)}" in left_out.where


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"batch_id": "c" * 32, "run_id": "batch_002"},
            r"is about batch_002 \(batch cccccccc\); this directory holds batch_001 \(batch bbbbbbbb\)",
        ),
        ({"kind": "something"}, "is no file of decisions of this version"),
        ({"schema": 2}, "is no file of decisions of this version"),
        ({"decisions": 3}, "a list is wanted"),
        ({"reviewer": "a\x1bb"}, "is no name"),
    ],
)  # fmt: skip
def test_a_file_of_no_use_is_one_clear_line_and_nothing_is_taken(folder: BatchFolder, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        apply(folder, export(folder, entry(3), **fields))
    assert written(folder) == []


@pytest.mark.parametrize("kept", [0, 1, 60, 200])
def test_half_a_file_is_one_clear_line_and_nothing_is_taken(folder: BatchFolder, kept: int) -> None:
    path = export(folder, entry(3), entry(1, "rejected"))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="nothing was taken from this one"):
        apply(folder, path)
    assert written(folder) == []


def test_what_the_reviewer_decided_later_stays(folder: BatchFolder) -> None:
    make_desk(folder, "anna").decide([Wish(NAMES[2], "rejected")])
    applied = apply(folder, export(folder, entry(3)))
    assert "anna decided otherwise about" in applied.left_out[0].why and written(folder) == ["anna 3 rejected"]


def test_another_reviewer_s_verdict_stays_beside_it(folder: BatchFolder) -> None:
    make_desk(folder, "ben").decide([Wish(NAMES[2], "rejected")])
    apply(folder, export(folder, entry(3)))
    picture = make_desk(folder).batch.look().pictures[NAMES[2]]
    assert picture.is_disputed and [one.by for one in picture.verdicts] == ["ben", "anna"]


def test_a_guard_needs_a_reason_here_too(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    make_guard_of_face(monkeypatch)
    applied = apply(folder, export(folder, entry(3), entry(6, reason="she agreed")))
    assert [each.why for each in applied.left_out] == [f"face similarity rejects {NAMES[2]}: approving it needs a reason"]
    assert [line.overrules for line in read_decisions(folder.root)] == [("face",)]


def test_another_protocol_is_said_and_the_verdicts_count(folder: BatchFolder) -> None:
    applied = apply(folder, export(folder, entry(3), protocol_id="f" * 16))
    assert len(applied.fresh) == 1 and "another protocol" in applied.remarks[0]


def test_the_log_of_a_copy_is_merged_by_each_reviewer_s_newest_line(folder: BatchFolder) -> None:
    lines = [entry(3, by="anna"), entry(3, "rejected", by="anna"), entry(1, "rejected", by="ben"), entry(2, "rejected", by="ben")]
    lines.append(entry(2, "withdrawn", by="ben"))
    path = folder.root.parent / "decisions.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"picture": {"na', encoding="utf-8")
    applied = apply(folder, path)
    assert written(folder) == ["anna 3 rejected", "ben 1 rejected"]
    assert [each.why for each in applied.left_out] == ["half written"]
