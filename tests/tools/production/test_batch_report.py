"""The reports: numbers that add up, and prompts that stay data in Markdown, HTML and spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lifeos.escaping import escape_markdown
from tests.tools.production.scenes import NASTY, ROWS, finish, make_batch, make_plan
from tools.production import report_html


def test_the_numbers_add_up(tmp_path: Path) -> None:
    document = finish(make_plan(), make_batch(tmp_path, make_plan(), ROWS))
    counts = document["counts"]
    assert (counts["generated"], counts["approved"], counts["rejected"], counts["without_face"]) == (4, 2, 2, 1)
    assert document["means"]["approved"]["face_similarity"] == 0.8  # (0.9 + 0.7) / 2
    assert document["means"]["all"]["face_similarity"] == 0.7  # (0.9 + 0.7 + 0.5) / 3: a missing face is not 0
    assert document["seconds"]["generating"] == 32.0 and document["seconds"]["per_picture"] == 8.0
    assert sum(row["generated"] for row in document["per_prompt"]) == sum(row["generated"] for row in document["per_shot"]) == 4
    assert document["reasons"] == {"face similarity below 0.60": 1, "no face found": 1}
    assert document["best"][0].startswith("0001_") and document["worst"][0].startswith("0003_")
    # 0.75 x 0.9 + 0.25 x 0.8, weights of the policy
    assert document["images"][0]["overall"] == 0.875
    assert document["images"][3]["overall"] is None
    # face 0.7 and skin 0.8 (of three): 0.75 x 0.7 + 0.25 x 0.8 = 0.725, grade B from 0.70
    assert document["scorecard"]["eval_scores"]["overall_grade"] == "B"
    assert json.loads((tmp_path / "batch" / "batch_report.json").read_text(encoding="utf-8")) == document


@pytest.mark.parametrize(
    ("rows", "why", "fields", "sentence"),
    [
        pytest.param(ROWS, "complete", {}, "2 of 4 pictures may be published. All pictures together have grade B. Most", id="some"),
        pytest.param(
            ROWS[3:],
            "complete",
            {},
            "0 of 1 picture may be published. Most frequent reason for rejection: no face found (1 picture).",
            id="none",
        ),
        pytest.param([], "max_cost", {}, "There is no picture yet: --max-cost was reached.", id="nothing"),
        pytest.param(
            ROWS, "max_images", {"target_approved": 5}, "3 fewer than the 5 that you asked for: --max-images was reached.", id="target"
        ),
        pytest.param(
            ROWS[2:], "max_cost", {}, "(1 picture). The batch is not complete: --max-cost was reached.", id="none, stopped by its cost"
        ),
        pytest.param(ROWS, "max_images", {}, "The batch is not complete: --max-images was reached.", id="stopped by its number"),
        pytest.param(
            ROWS[2:], "max_images", {"target_approved": 5}, "5 fewer than the 5 that you asked for: --max-images", id="none of a target"
        ),
        pytest.param(ROWS, "interrupted", {}, "The batch is not complete: it was interrupted; the same command continues.", id="stopped"),
    ],
)
def test_the_judgement_is_a_plain_sentence(tmp_path: Path, rows: Any, why: str, fields: dict[str, Any], sentence: str) -> None:
    plan = make_plan(**fields)
    assert sentence in finish(plan, make_batch(tmp_path, plan, rows), why=why)["judgement"]


def test_prompts_stay_text_in_markdown(tmp_path: Path) -> None:
    plan = make_plan(prompts=(NASTY, "two"))
    finish(plan, make_batch(tmp_path, plan, ROWS))
    text = (tmp_path / "batch" / "batch_report.md").read_text(encoding="utf-8")
    assert "<script" not in text and "<img" not in text
    assert "\\*\\*bold\\*\\*" in text and "\\[a\\](javascript:b)" in text and "\\`c\\`" in text
    row = next(line for line in text.splitlines() if "alert" in line and line.startswith("| 1 "))
    assert row.replace("\\|", "").count("|") == 7  # six cells: the prompt's own bar ends none


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("a_b.safetensors", "a_b.safetensors"), ("_x_", "\\_x\\_"), ("a\nb", "a b"), ("<b>&", "&lt;b>&amp;"), ("\\", "\\\\")],
)
def test_escape_markdown(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


class Page(HTMLParser):
    """Collects the tags of a page, the attributes that could run code or load something, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.odd: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        loads = ("src", "href")
        self.odd += [pair for pair in attrs if pair[0].startswith("on") or (pair[0] in loads and ":" in (pair[1] or "").split("/")[0])]

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def test_prompts_stay_text_in_html_and_nothing_is_loaded(tmp_path: Path) -> None:
    plan = make_plan(prompts=(NASTY, NASTY))
    finish(plan, make_batch(tmp_path, plan, ROWS))
    page = read_page(tmp_path / "batch" / "batch_report.html")
    assert page.tags.count("script") == 2 and page.tags.count("img") == 4 and "iframe" not in page.tags
    assert len(page.odd) >= 4 and all(value is not None and value.startswith("data:image/webp;base64,") for _, value in page.odd)
    assert '<script>alert("x")</script>' in page.text
    assert "Find" in page.text and "2 of 4 pictures may be published" in page.text


def test_the_demo_notice_is_wherever_its_pictures_are(tmp_path: Path) -> None:
    plan = make_plan(engine_notice="Rendered by a demo.")
    document = finish(plan, make_batch(tmp_path, plan, ROWS))
    assert document["engine_notice"] == "Rendered by a demo."
    for name in ("batch_report.md", "batch_report.html"):
        assert "Rendered by a demo." in (tmp_path / "batch" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("prompt", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)"])
def test_no_cell_of_the_csv_is_a_formula(tmp_path: Path, prompt: str) -> None:
    plan = make_plan(prompts=(prompt, prompt))
    finish(plan, make_batch(tmp_path, plan, ROWS))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "batch" / "scores.csv").read_text(encoding="utf-8"))))
    assert [row["prompt"] for row in rows] == [f"'{prompt}"] * 4
    assert rows[0]["face"] == "0.9" and rows[3]["face"] == "" and rows[3]["reasons"] == "no face found"


def test_the_history_gets_one_row_however_often_the_batch_is_continued(tmp_path: Path) -> None:
    plan, history = make_plan(), tmp_path / "history.jsonl"
    folder = make_batch(tmp_path, plan, ROWS)
    finish(plan, folder, why="interrupted", history=history)
    assert not history.exists()
    finish(plan, folder, history=history)
    lines = [line for line in (folder.root / "journal.jsonl").read_text().splitlines() if '"recorded"' not in line]
    (folder.root / "journal.jsonl").write_text("\n".join(lines) + "\n")  # killed between the row and its record
    finish(plan, folder, history=history)
    rows = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    assert [(row["run_id"], row["batch_id"], len(row["images"])) for row in rows] == [("batch_001", "b" * 32, 4)]
    assert rows[0]["eval_scores"]["best_config"] == "amiranoor_v3"


def test_a_batch_that_grew_gets_a_row_that_supersedes_the_first(tmp_path: Path) -> None:
    """Two pictures failed, the batch was recorded, a later run made them: the newest row of the run tells of all four."""
    plan, history = make_plan(), tmp_path / "history.jsonl"
    folder = make_batch(tmp_path, plan, ROWS)
    journal = folder.root / "journal.jsonl"
    whole = journal.read_text(encoding="utf-8").splitlines()
    later = [line for line in whole if json.loads(line).get("item") in (3, 4)]
    journal.write_text("\n".join(line for line in whole if line not in later) + "\n", encoding="utf-8")
    finish(plan, folder, history=history)
    with open(journal, "a", encoding="utf-8") as file:
        file.write("\n".join(later) + "\n")
    for _ in range(2):
        finish(plan, folder, history=history)
    rows = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    assert [(row["run_id"], len(row["images"]), row.get("supersedes")) for row in rows] == [
        ("batch_001", 2, None),
        ("batch_001", 4, rows[0]["timestamp"]),
    ]


def test_pictures_that_were_moved_are_shown_where_they_are(tmp_path: Path) -> None:
    plan = make_plan()
    folder = make_batch(tmp_path, plan, ROWS)
    name = "0003_p001_v01_seed3_x.png"
    (folder.root / "rejected" / name).rename(folder.root / "approved" / name)
    document = finish(plan, folder)
    assert document["counts"]["moved_by_hand"] == 1
    assert (document["images"][2]["verdict"], document["images"][2]["place"]) == ("approved", "approved")
    assert f'href="approved/{name}"' in (folder.root / "batch_report.html").read_text(encoding="utf-8")


def test_floor_ceiling_and_warnings_stand_in_every_report(tmp_path: Path) -> None:
    warnings = ["only 3 references with a face: five or more are steadier", "reference <b>.png is far less like the others"]
    likeness = {"strangers": 0.021, "references": 0.784, "warnings": warnings}
    plan = make_plan(likeness=likeness)
    folder = make_batch(tmp_path, plan, ROWS)
    document = finish(plan, folder)
    mean = document["means"]["all"]["face_similarity"]
    assert mean == 0.7  # .9, .7 and .5; one has no face
    assert document["likeness"] == {"strangers": 0.021, "references": 0.784} and document["warnings"] == warnings
    line = "Face similarity of all pictures 0.70: strangers 0.02, your references among themselves 0.78."
    markdown, html = ((folder.root / f"batch_report.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))
    assert line in markdown and line in html
    assert "**Before you trust this**\n\n- only 3 references" in markdown and f"- {escape_markdown(warnings[1])}" in markdown
    assert "Before you trust this.</strong> only 3 references" in html and "<b>.png" not in html


def test_a_batch_of_before_has_no_floor_and_says_nothing(tmp_path: Path) -> None:
    folder = make_batch(tmp_path, make_plan(), ROWS)
    document = finish(make_plan(), folder)
    assert (document["likeness"], document["warnings"]) == (None, [])
    assert "strangers" not in (folder.root / "batch_report.md").read_text(encoding="utf-8")


def test_small_copies_that_nobody_needs_are_removed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_batch(tmp_path, make_plan(), ROWS)
    thumbs = folder.root / "thumbs"
    monkeypatch.setattr(report_html, "MOST_IN_ONE_FILE", 3)
    finish(make_plan(), folder)
    names = sorted(path.name for path in thumbs.iterdir())
    assert len(names) == 4 and all(name.endswith(".png.webp") for name in names)
    ours, theirs = b"RIFF a small copy", b"a picture of somebody"
    for place in (folder.thumbnails, thumbs):
        (place / "0009_gone.png.webp").write_bytes(ours)
        (place / "0008_gone.png.jpg").write_bytes(ours)
        (place / "holiday.jpg").write_bytes(theirs)
    (thumbs / "0008_gone.png.jpg").write_bytes(theirs)  # another than ours, by the same name
    (thumbs / "notes.txt").write_bytes(theirs)
    finish(make_plan(), folder)
    assert sorted(path.name for path in thumbs.iterdir()) == sorted([*names, "0008_gone.png.jpg", "holiday.jpg", "notes.txt"])
    assert sorted(path.name for path in folder.thumbnails.iterdir()) == sorted([*names, "holiday.jpg"])
    monkeypatch.setattr(report_html, "MOST_IN_ONE_FILE", 500)  # the copies stand in the page again
    finish(make_plan(), folder)
    assert sorted(path.name for path in thumbs.iterdir()) == ["0008_gone.png.jpg", "holiday.jpg", "notes.txt"]


def test_a_small_copy_of_before_is_used_where_the_picture_is_gone(tmp_path: Path) -> None:
    folder = make_batch(tmp_path, make_plan(), ROWS)
    older = folder.thumbnails / "0001_p001_v01_seed1_x.png.jpg"
    Image.new("RGB", (20, 30), (9, 9, 9)).save(older, "JPEG")
    (folder.root / "approved" / "0001_p001_v01_seed1_x.png").unlink()
    finish(make_plan(), folder)
    page = (folder.root / "batch_report.html").read_text(encoding="utf-8")
    assert older.is_file() and page.count("data:image/jpeg") == 1 and page.count("data:image/webp") == 3
