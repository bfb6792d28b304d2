"""What people decide about pictures: moved by hand, decided in another program, deleted; and that every report tells it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from evals.load_thresholds import load_thresholds
from lifeos import locks
from lifeos.files import read_records
from tests.tools.production.scenes import ROWS, finish, make_batch, make_plan
from tools.production import decisions
from tools.production.decisions import DecidedPicture, Decision, read_decisions, writing
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal, read_state
from tools.production.plan import write_plan
from tools.production.rejudging import rejudge, render_rejudged
from tools.production.settling import Settled, settle_decisions
from tools.production.whereabouts import Whereabouts

NAMES = [f"{index:04d}_p001_v01_seed{index}_x.png" for index in (1, 2, 3, 4)]
"""Of ROWS: the first two are approved (0.9, 0.7), the third (0.5) and the fourth (no face) rejected."""


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    batch = make_batch(tmp_path, make_plan(), ROWS)
    write_plan(batch.root, make_plan())
    return batch


def move(folder: BatchFolder, number: int, source: str, target: str, name: str = "") -> None:
    (folder.root / target).mkdir(parents=True, exist_ok=True)
    (folder.root / source / NAMES[number - 1]).rename(folder.root / target / (name or NAMES[number - 1]))


def settle(folder: BatchFolder, notes: list[str] | None = None) -> dict[str, bool]:
    """Number of a picture -> whether it is approved, of those about which somebody decided."""
    settled = settle_decisions(folder, read_state(folder.root / JOURNAL_FILE), (notes if notes is not None else []).append)
    return {name[:4].lstrip("0"): decision.approved for name, decision in settled.decisions.items()}


def written(folder: BatchFolder) -> list[tuple[str, str, str, str]]:
    lines = [record.data for record in read_records(folder.root / "decisions.jsonl")] if (folder.root / "decisions.jsonl").exists() else []
    return [(line["picture"]["name"][:4].lstrip("0"), line["verdict"], line["by"], line["from"]) for line in lines]


def test_nothing_is_written_where_nobody_moved_anything(folder: BatchFolder) -> None:
    before = (folder.root / JOURNAL_FILE).read_bytes()
    assert settle(folder) == {}
    assert not (folder.root / "decisions.jsonl").exists()
    assert (folder.root / JOURNAL_FILE).read_bytes() == before


def test_a_moved_picture_is_a_decision_that_is_written_once(folder: BatchFolder) -> None:
    move(folder, 2, "approved", "rejected")
    move(folder, 3, "rejected", "approved")
    notes: list[str] = []
    for _ in range(3):
        assert settle(folder, notes) == {"2": False, "3": True}
    assert written(folder) == [("2", "rejected", "owner", "move"), ("3", "approved", "owner", "move")]
    [line] = notes
    assert line.startswith("2 pictures moved by hand: 1 into approved, 1 into rejected; written down as the owner's decision in ")


def test_a_line_of_the_file_is_as_documented(folder: BatchFolder) -> None:
    move(folder, 3, "rejected", "approved")
    settle(folder)
    [record] = read_records(folder.root / "decisions.jsonl")
    assert record.data.pop("when").endswith("Z")
    picture = {"name": NAMES[2], "sha256": f"{3 * 0x1111:064x}"}
    assert record.data == {"schema": 1, "picture": picture, "verdict": "approved", "by": "owner", "from": "move", "reason": ""}


def test_deciding_back_and_again_is_written_each_time(folder: BatchFolder) -> None:
    for source, target in (("rejected", "approved"), ("approved", "rejected"), ("rejected", "approved")):
        move(folder, 3, source, target)
        assert settle(folder) == {"3": target == "approved"}
    assert [verdict for _, verdict, _, _ in written(folder)] == ["approved", "rejected", "approved"]


def test_a_folder_inside_counts_as_the_folder(folder: BatchFolder) -> None:
    """Putting an approved picture with the best confirms it; a rejected one in there is approved."""
    move(folder, 1, "approved", "approved/best")
    move(folder, 3, "rejected", "approved/best")
    move(folder, 2, "approved", "rejected/hands/bad")
    assert settle(folder) == {"1": True, "2": False, "3": True}
    document = finish(make_plan(), folder)
    assert [image["path"] for image in document["images"][:3]] == [
        f"approved/best/{NAMES[0]}", f"rejected/hands/bad/{NAMES[1]}", f"approved/best/{NAMES[2]}",
    ]  # fmt: skip
    assert f'href="approved/best/{NAMES[0]}"' in (folder.root / "batch_report.html").read_text(encoding="utf-8")


def test_a_picture_itself_in_published_was_approved(folder: BatchFolder) -> None:
    assign_real_digests(folder)
    move(folder, 3, "rejected", "published")
    (folder.root / "published" / NAMES[0]).write_bytes(b"a labelled copy, whose original stays where it is")
    assert settle(folder) == {"3": True}


def test_a_renamed_picture_is_known_by_its_bytes(folder: BatchFolder) -> None:
    assign_real_digests(folder)
    move(folder, 3, "rejected", "approved", "cover.png")
    assert settle(folder) == {"3": True}
    document = finish(make_plan(), folder)
    assert (document["counts"]["deleted"], document["images"][2]["path"]) == (0, "approved/cover.png")


@pytest.mark.parametrize(("size_is_known", "hashed"), [(True, set()), (False, {NAMES[0], "mine.jpg"})])
def test_where_one_is_gone_only_files_of_its_size_are_read_for_it(
    folder: BatchFolder, monkeypatch: pytest.MonkeyPatch, size_is_known: bool, hashed: set[str]
) -> None:
    """Else a deleted picture would have every command read a folder of thousands of published copies."""
    assign_real_digests(folder, sizes=size_is_known)
    (folder.root / "rejected" / NAMES[3]).unlink()
    (folder.root / "published").mkdir()
    (folder.root / "published" / NAMES[0]).write_bytes(b"a copy with a label")
    (folder.root / "approved" / "mine.jpg").write_bytes(b"whatever")
    read: set[str] = set()
    sha256_file = decisions.files.sha256_file
    monkeypatch.setattr(decisions.files, "sha256_file", lambda path: (read.add(path.name), sha256_file(path))[1])
    assert finish(make_plan(), folder)["deleted"] == [NAMES[3]]
    assert read == hashed


def test_a_picture_of_somebody_else_is_named_once_and_not_counted(folder: BatchFolder, names_of_any_bytes: None) -> None:
    """A caption beside a picture is none; a picture of the batch under another name is no stranger either."""
    assign_real_digests(folder)
    move(folder, 1, "approved", "approved", "cover.png")
    (folder.root / "approved" / "mine\n.jpg").write_bytes(b"whatever")
    (folder.root / "approved" / "mine.txt").write_text("a woman")
    notes: list[str] = []
    settle(folder, notes)
    assert notes == ["warning: 1 picture is not of this batch, and not counted: approved/mine\\n.jpg"]
    document = finish(make_plan(), folder)
    assert document["left_out"] == [{"file": "approved/mine\n.jpg", "why": "not of this batch"}]
    assert (document["counts"]["left_out"], document["counts"]["approved"]) == (1, 2)


def assign_real_digests(folder: BatchFolder, *, sizes: bool = True) -> None:
    """The scene's assessments have made-up digests: give them those of the files, and their sizes."""
    import hashlib

    journal = folder.root / JOURNAL_FILE
    records = [record.data for record in read_records(journal)]
    for record in records:
        if record["event"] == "scored":
            [path] = folder.root.glob(f"*/{record['file']}")
            record["assessment"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            record |= {"bytes": path.stat().st_size} if sizes else {}
    journal.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


def test_every_report_follows_the_decision_and_says_whose_it_is(folder: BatchFolder) -> None:
    move(folder, 1, "approved", "rejected")
    move(folder, 3, "rejected", "approved")
    move(folder, 4, "rejected", "approved")
    document = finish(make_plan(), folder)
    counts = document["counts"]
    assert (counts["approved"], counts["rejected"], counts["generated"]) == (3, 1, 4)
    assert (counts["moved_by_hand"], counts["approved_by_hand"], counts["rejected_by_hand"]) == (3, 2, 1)
    assert document["judgement"].startswith("3 of 4 pictures may be published.")
    assert "Decided by hand against the gates: 2 approved, 1 rejected." in document["judgement"]
    assert [(image["verdict"], image["gates_verdict"]) for image in document["images"]] == [
        ("rejected", "approved"), ("approved", "approved"), ("approved", "rejected"), ("approved", "rejected"),
    ]  # fmt: skip
    assert document["images"][0]["reasons"] == ["rejected by the owner"]
    assert (document["images"][2]["reasons"], document["images"][2]["overruled"]) == ([], ["face similarity 0.50 is below 0.60"])
    assert document["images"][2]["decision"]["by"] == "owner" and document["images"][1]["decision"] is None
    assert document["reasons"] == {"rejected by the owner": 1}
    assert document["means"]["approved"]["face_similarity"] == 0.6  # (0.7 + 0.5) / 2; the fourth has no face
    assert sum(row["approved"] for row in document["per_prompt"]) == sum(row["approved"] for row in document["per_shot"]) == 3

    rows = list(csv.DictReader(io.StringIO((folder.root / "scores.csv").read_text(encoding="utf-8"))))
    assert [(row["verdict"], row["gates_verdict"], row["decided_by"]) for row in rows] == [
        ("rejected", "approved", "owner"), ("approved", "approved", ""),
        ("approved", "rejected", "owner"), ("approved", "rejected", "owner"),
    ]  # fmt: skip
    text = (folder.root / "batch_report.md").read_text(encoding="utf-8")
    assert "| Approved | 3 |" in text and "| Decided by hand | 3 (2 of them approved and 1 rejected against the gates) |" in text
    assert f"| `{NAMES[2]}` | approved | rejected | the owner, by moving it, " in text
    page = (folder.root / "batch_report.html").read_text(encoding="utf-8")
    assert '<button type="button" data-show="approved" aria-pressed="false">Approved 3</button>' in page
    assert page.count('<li class="pic approved">') == 3


def test_deleted_pictures_are_counted_and_named(folder: BatchFolder) -> None:
    (folder.root / "approved" / NAMES[0]).unlink()
    (folder.root / "rejected" / NAMES[3]).unlink()
    document = finish(make_plan(), folder)
    counts = document["counts"]
    assert (counts["approved"], counts["rejected"], counts["deleted"], counts["generated"], counts["moved_by_hand"]) == (1, 1, 2, 4, 0)
    assert document["deleted"] == [NAMES[0], NAMES[3]]
    assert [image["verdict"] for image in document["images"]] == ["deleted", "approved", "rejected", "deleted"]
    assert document["judgement"].startswith("1 of 4 pictures may be published.")
    assert "2 pictures were deleted or taken away." in document["judgement"]
    assert NAMES[0] not in document["best"]
    assert document["means"]["approved"]["pictures"] == 1 and document["means"]["all"]["pictures"] == 4
    assert (document["per_shot"][0]["approved"], document["per_shot"][0]["rejected"], document["per_shot"][0]["deleted"]) == (1, 1, 1)
    text = (folder.root / "batch_report.md").read_text(encoding="utf-8")
    assert "| Deleted or taken away | 2 |" in text and f"| `{NAMES[3]}` |" in text.partition("## Deleted")[2]
    assert not (folder.root / "decisions.jsonl").exists()


def test_a_deleted_picture_that_is_put_back_is_what_it_was(folder: BatchFolder) -> None:
    (folder.root / "approved" / NAMES[0]).rename(folder.root.parent / "bin.png")
    assert finish(make_plan(), folder)["counts"]["deleted"] == 1
    (folder.root.parent / "bin.png").rename(folder.root / "approved" / NAMES[0])
    document = finish(make_plan(), folder)
    assert (document["counts"]["deleted"], document["counts"]["decided"], document["counts"]["approved"]) == (0, 0, 2)


def test_a_decision_wins_over_every_policy(folder: BatchFolder) -> None:
    move(folder, 2, "approved", "rejected")
    move(folder, 3, "rejected", "approved")
    for limit in (0.1, 0.95, 0.6):
        changed = rejudge(folder, load_thresholds(overrides={"face_similarity.pass_threshold": limit}), lambda text: None)
        assert changed.kept_by_hand == 2
        assert (folder.root / "rejected" / NAMES[1]).exists() and (folder.root / "approved" / NAMES[2]).exists()
    assert written(folder) == [("2", "rejected", "owner", "move"), ("3", "approved", "owner", "move")]


def test_judging_again_counts_what_it_moved(folder: BatchFolder) -> None:
    """Of four gate verdicts two change at 0.95; of these pictures one is decided by hand, and one was deleted."""
    move(folder, 2, "approved", "rejected")
    strict = load_thresholds(overrides={"face_similarity.pass_threshold": 0.95})
    mild = load_thresholds(overrides={"face_similarity.pass_threshold": 0.6})
    changed = rejudge(folder, strict, lambda text: None)
    assert (changed.now_approved, changed.now_rejected, changed.kept_by_hand) == (0, 1, 1)
    assert "0 rejected pictures are now approved, 1 approved one is now rejected" in render_rejudged(changed)
    (folder.root / "rejected" / NAMES[0]).unlink()
    changed = rejudge(folder, mild, lambda text: None)
    assert (changed.now_approved, changed.now_rejected) == (0, 0)


def test_what_judging_again_moves_is_nobodys_decision(folder: BatchFolder) -> None:
    for limit in (0.95, 0.1):
        rejudge(folder, load_thresholds(overrides={"face_similarity.pass_threshold": limit}), lambda text: None)
        assert settle(folder) == {}
    assert not (folder.root / "decisions.jsonl").exists()


def decide(folder: BatchFolder, number: int, verdict: str, **more: Any) -> None:
    """As another program writes it."""
    record = {
        "picture": {"name": NAMES[number - 1], "sha256": f"{number * 0x1111:064x}"},
        "verdict": verdict,
        "by": "anna",
        "from": "review",
    }
    with open(folder.root / "decisions.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(record | more) + "\n")


def test_what_another_program_decided_is_carried_out(folder: BatchFolder) -> None:
    decide(folder, 1, "rejected", reason="six fingers", when="2026-11-29T10:00:00+01:00")
    decide(folder, 2, "approved")
    notes: list[str] = []
    assert settle(folder, notes) == {"1": False, "2": True}
    assert notes == ["1 picture moved as decisions.jsonl says"]
    assert (folder.root / "rejected" / NAMES[0]).exists() and not (folder.root / "approved" / NAMES[0]).exists()
    document = finish(make_plan(), folder)
    assert document["images"][0]["reasons"] == ["rejected by anna: six fingers"]
    assert document["counts"]["moved_by_hand"] == 0 and document["counts"]["decided"] == 2
    assert len(written(folder)) == 2  # our own move of the picture is no decision


def test_moving_it_back_after_a_review_decides_anew(folder: BatchFolder) -> None:
    decide(folder, 1, "rejected")
    settle(folder)
    move(folder, 1, "rejected", "approved")
    assert settle(folder) == {"1": True}
    assert written(folder)[-1] == ("1", "approved", "owner", "move")


def test_a_decision_about_other_bytes_does_not_count(folder: BatchFolder) -> None:
    decide(folder, 1, "rejected", picture={"name": NAMES[0], "sha256": "f" * 64})
    decide(folder, 2, "rejected", picture={"name": NAMES[1]})
    decide(folder, 3, "approved", picture={"name": "another.png"})
    notes: list[str] = []
    assert settle(folder, notes) == {"2": False}
    path = folder.root / "decisions.jsonl"
    assert notes[:2] == [
        f"{path}: the decision about {NAMES[0]} is not counted (its bytes were others when it was decided)",
        f"{path}: the decision about another.png is not counted (no picture of this batch has that name)",
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"picture": {"name": "0001', "torn by a crash?"),
        ("no json\n", "not JSON: Expecting value (line 1, column 1)"),
        ('{"picture": {"name": "a"}}\n', "the key verdict is missing"),
        ('{"picture": {"name": "a"}, "verdict": "maybe"}\n', "'maybe' is not one of the values that are known"),
        ('{"picture": "a", "verdict": "approved"}\n', "an object is wanted, not text"),
        ('{"picture": {"name": ""}, "verdict": "approved"}\n', "it names no picture"),
        ('{"picture": {"name": "a"}, "verdict": "approved", "when": "noon"}\n', "'noon' is no time with its zone"),
        ('{"picture": {"name": "a"}, "verdict": "approved", "when": "2026-11-29T10:00"}\n', "'2026-11-29T10:00' is no time with its zone"),
        ('{"schema": 2, "picture": {"name": "a"}, "verdict": "approved"}\n', "schema 2 found, 1 wanted"),
    ],
)  # fmt: skip
def test_a_damaged_line_is_one_clear_line(folder: BatchFolder, line: str, why: str) -> None:
    decide(folder, 1, "rejected")
    with open(folder.root / "decisions.jsonl", "a", encoding="utf-8") as file:
        file.write(line)
    warnings: list[str] = []
    found = [decision.picture.name for decision in read_decisions(folder.root, warnings.append)]
    assert found == [NAMES[0]]
    assert warnings == [f"{folder.root / 'decisions.jsonl'}:2: this decision is not counted ({why})"]
    move(folder, 3, "rejected", "approved")
    assert settle(folder) == {"1": False, "3": True}  # and the next is written on a line of its own


def test_a_picture_in_both_places_keeps_its_verdict_and_is_named(folder: BatchFolder) -> None:
    (folder.root / "approved" / NAMES[2]).write_bytes((folder.root / "rejected" / NAMES[2]).read_bytes())
    notes: list[str] = []
    assert settle(folder, notes) == {}
    assert notes == [f"warning: {NAMES[2]} lies in approved/ and in rejected/: remove one of the two"]
    image = finish(make_plan(), folder)["images"][2]
    assert (image["verdict"], image["path"]) == ("rejected", f"rejected/{NAMES[2]}")


@pytest.mark.parametrize(
    ("decided", "gone", "verdict", "approved"),
    [
        (None, False, True, True),
        (None, False, False, False),
        (True, False, False, True),
        (False, False, True, False),
        (True, True, True, False),
        (None, True, True, False),
    ],
)
def test_a_picture_counts_as_approved_by_a_person_else_by_the_gates_and_only_if_it_is_there(
    decided: bool | None, gone: bool, verdict: bool, approved: bool
) -> None:
    made = {} if decided is None else {"a": Decision(DecidedPicture("a"), decided)}
    assert Settled(made, Whereabouts({}), frozenset({"a"} if gone else ())).approves("a", verdict) is approved


@pytest.mark.parametrize("step", ["decision", "placed"])
def test_killed_between_two_steps_the_next_command_does_the_rest(folder: BatchFolder, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    move(folder, 2, "approved", "rejected")
    decide(folder, 3, "approved")

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if step == "decision":
            patched.setattr(decisions.files, "append_record", die)
        else:
            patched.setattr(Journal, "append", die)
        settle(folder)
    assert settle(folder) == {"2": False, "3": True}
    assert sorted(written(folder)) == [("2", "rejected", "owner", "move"), ("3", "approved", "anna", "review")]
    assert (folder.root / "approved" / NAMES[2]).exists()
    state = read_state(folder.root / JOURNAL_FILE)
    assert {NAMES[1]: "rejected", NAMES[2]: "approved"}.items() <= state.places.items()


def test_a_review_writes_while_a_batch_holds_its_directory(folder: BatchFolder) -> None:
    with locks.hold(folder.lock, str(folder.root)), writing(folder.root) as append:
        append([Decision(DecidedPicture(NAMES[0]), False, "anna", "2026-11-29T10:00:00Z", "review", "")])
    assert written(folder) == [("1", "rejected", "anna", "review")]


def test_time_between_two_commands_is_nobodys(folder: BatchFolder) -> None:
    before = read_state(folder.root / JOURNAL_FILE).sessions[-1].last
    move(folder, 2, "approved", "rejected")
    settle(folder)
    assert read_state(folder.root / JOURNAL_FILE).sessions[-1].last == before


def test_a_batch_of_an_older_journal_has_no_decisions_of_its_own(folder: BatchFolder) -> None:
    """Records without a place: where the verdict put a picture is where it was."""
    lines = [json.loads(line) for line in (folder.root / JOURNAL_FILE).read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line.pop("place", None)
    (folder.root / JOURNAL_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert settle(folder) == {}
    move(folder, 2, "approved", "rejected")
    assert settle(folder) == {"2": False}


def test_the_report_alone_writes_decisions_down(folder: BatchFolder) -> None:
    move(folder, 2, "approved", "rejected")
    finish(make_plan(), folder)
    assert written(folder) == [("2", "rejected", "owner", "move")]
