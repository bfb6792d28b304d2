"""Existing pictures of any name and format, judged, filed and reported: every form of the report is valid and names them all."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evals.judging.run_kinds import DEMO_NOTICE
from lifeos import picture_formats
from lifeos.escaping import escape_csv, escape_html, escape_markdown_code
from tests.capabilities import LINUX, takes_any_name
from tests.evals.portraits import portrait, write_references
from tests.lifeos.odd_pictures import ODD_TAGS, jpeg, jpeg_exif, turned
from tests.lifeos.odd_pictures import exif as exif_block
from tests.tools.production.scenes import finish, make_batch, make_plan
from tools import production_pipeline

NAMES = (
    b"plain.png",
    b"caf\xe9.png",
    b"\xff\xfe.png",
    b"two\nlines.png",
    b"return\rhere.png",
    b"a`b``c.png",
    b"a|b\\|c.png",
    b"# head [x](y) *b* <xx>.png",
    b'=1+1;@SUM(A1),"q".png',
    b"\x1b[31mred\x07.png",
    "写真 \u202egnp.png".encode(),
    b"%41&amp;.png",
)
linux_names = pytest.mark.skipif(not LINUX, reason="file names of any bytes are Linux")


def run(tmp_path: Path, *more: str) -> int:
    folders = ["--images", str(tmp_path / "pictures"), "--reference-dir", str(tmp_path / "refs"), "--output-dir", str(tmp_path / "out")]
    return production_pipeline.main([*folders, "--engine", "dlib", "--history-file", str(tmp_path / "h.jsonl"), *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch of one portrait under each name."""
    work = tmp_path_factory.mktemp("names")
    if not takes_any_name(work):
        pytest.skip("this volume takes not every name")
    write_references(work / "refs")
    (work / "pictures").mkdir()
    for number, name in enumerate(NAMES):
        portrait().resize((400 + 4 * number, 400 + 4 * number)).save(work / "one.png")
        (work / "one.png").rename(work / "pictures" / os.fsdecode(name))
    assert run(work) == 0
    return work


@pytest.fixture(scope="module")
def document(finished: Path) -> Any:
    return json.loads((finished / "out" / "batch_report.json").read_text(encoding="utf-8"))


@linux_names
def test_json_names_every_picture(finished: Path, document: Any) -> None:
    assert Counter(os.fsencode(image["source"]) for image in document["images"]) == Counter(NAMES)
    assert document["counts"]["generated"] == len(NAMES) and document["counts"]["failed"] == 0
    for image in document["images"]:
        assert (finished / "out" / image["place"] / image["file"]).is_file()
    row = json.loads((finished / "h.jsonl").read_text(encoding="utf-8"))
    assert len(row["images"]) == len(NAMES)


@linux_names
def test_csv_has_one_row_for_each(finished: Path, document: Any) -> None:
    with open(finished / "out" / "scores.csv", encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file, strict=True)
    assert len(rows) == len(NAMES) and all(len(row) == len(head) for row in rows)
    column = head.index("source")
    assert [row[column] for row in rows] == [escape_csv(image["source"]) for image in document["images"]]


@linux_names
def test_markdown_tables_keep_their_columns(finished: Path, document: Any) -> None:
    text = (finished / "out" / "batch_report.md").read_bytes().decode("utf-8")
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    width = None
    for line in text.split("\n"):
        if not line.startswith("|"):
            width = None
            continue
        cells = line.replace("\\|", "").count("|")
        width = width or cells
        assert cells == width, line
    for name in document["best"]:
        assert f"`{escape_markdown_code(name)}`" in text


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[bytes] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.links += [unquote_to_bytes(value or "") for name, value in attrs if name == "href" and not (value or "").startswith("#")]


@linux_names
def test_html_links_to_every_picture(finished: Path, document: Any) -> None:
    text = (finished / "out" / "batch_report.html").read_bytes().decode("utf-8")
    page = Page()
    page.feed(text)
    page.close()
    wanted = {os.fsencode(f"{image['place']}/{image['file']}") for image in document["images"]}
    assert wanted <= set(page.links)
    assert "xx" not in page.tags, "a name is no markup"
    for image in document["images"]:
        assert escape_html(image["file"]) in text


@linux_names
def test_the_same_command_goes_on_with_them(finished: Path, document: Any) -> None:
    before = (finished / "out" / "journal.jsonl").read_bytes().count(b'"judged"')
    assert run(finished) == 0
    assert json.loads((finished / "out" / "batch_report.json").read_text(encoding="utf-8"))["counts"] == document["counts"]
    assert (finished / "out" / "journal.jsonl").read_bytes().count(b'"judged"') == before


def fill(work: Path, write: Callable[[Path], object]) -> Path:
    write_references(work / "refs")
    folder = work / "pictures"
    folder.mkdir()
    portrait().resize((500, 500)).save(folder / "ok.png")
    write(folder)
    return work


def test_what_is_left_out_is_in_every_report(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_formats, "has_heif", lambda: False)
    fill(tmp_path, lambda folder: (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic"))
    (tmp_path / "refs" / "ref.heic").write_bytes(b"x")
    portrait().resize((480, 480)).save(tmp_path / "pictures" / "phone.avif")
    assert run(tmp_path, "--dry-run", "--json") == 0
    planned = json.loads(capfd.readouterr().out)
    left_out = [{"file": "IMG_1.HEIC", "why": "HEIC is read where pillow-heif is installed"}]
    assert (planned["pictures"], planned["left_out"]) == (2, left_out)
    assert run(tmp_path, "--dry-run") == 0
    assert "left out: IMG_1.HEIC (HEIC is read where pillow-heif is installed)" in capfd.readouterr().out
    assert run(tmp_path) == 0
    console = "".join(capfd.readouterr())
    assert "warning: 1 left out: IMG_1.HEIC (HEIC is read" in console and "reference ref.heic left out" in console
    document = json.loads((tmp_path / "out" / "batch_report.json").read_text(encoding="utf-8"))
    assert document["left_out"] == left_out
    assert (document["counts"]["left_out"], document["counts"]["generated"]) == (1, 2)
    assert document["references_left_out"] == ["reference ref.heic left out: HEIC is read where pillow-heif is installed"]
    plan = json.loads((tmp_path / "out" / "batch.json").read_text(encoding="utf-8"))
    plan["protocol"] |= {"aggregation": "mean", "id": "0123456789abcdef"}  # as if the version before had made it
    (tmp_path / "out" / "batch.json").write_text(json.dumps(plan), encoding="utf-8")
    portrait().resize((460, 460)).save(tmp_path / "pictures" / "zz.png")
    older = "its pictures were scored in an older way (aggregation mean then, centroid now): all 2 are scored again"
    assert run(tmp_path, "--dry-run") == 0
    assert f"  {older}, so that the batch has one protocol\n" in capfd.readouterr().out
    for page in ("batch_report.md", "batch_report.html"):
        text = (tmp_path / "out" / page).read_text(encoding="utf-8")
        assert "What was left out" in text and "IMG_1.HEIC" in text, page


def test_a_phone_photo_of_odd_tags_is_judged_upright(tmp_path: Path) -> None:
    """Before, it killed the batch, and killed it again on the same command."""
    laid = portrait().resize((500, 500)).rotate(90)  # orientation 6 turns it upright

    def write(folder: Path) -> None:
        for number, tag in enumerate(ODD_TAGS.values()):
            data = jpeg(jpeg_exif(exif_block(turned(6), tag)), image=laid.resize((480 + number, 480 + number)), quality=95)
            (folder / f"phone_{number}.jpg").write_bytes(data)

    fill(tmp_path, write)
    assert run(tmp_path) == 0
    document = json.loads((tmp_path / "out" / "batch_report.json").read_text(encoding="utf-8"))
    assert document["counts"]["generated"] == 1 + len(ODD_TAGS)
    assert document["counts"]["without_face"] == 0


def test_the_collected_pictures_are_judged(tmp_path: Path, cases_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_formats, "has_heif", lambda: False)

    def write(folder: Path) -> None:
        for path in (cases_root / "pictures").rglob("*"):
            if path.is_file():
                (folder / path.name).write_bytes(path.read_bytes())

    fill(tmp_path, write)
    run(tmp_path)
    document = json.loads((tmp_path / "out" / "batch_report.json").read_text(encoding="utf-8"))
    assert [item["file"] for item in document["left_out"]] == ["IMG_0001.HEIC"]
    assert not [image["file"] for image in document["images"] if not image["width"]], "all others are read"


def test_pictures_of_the_demo_are_known_by_their_copies_too(tmp_path: Path) -> None:
    """The folder they were taken from may be gone when the batch is judged again."""
    info = PngInfo()
    info.add_text("rendered_by", DEMO_NOTICE)
    plan = replace(make_plan(), source_dir=str(tmp_path / "gone"), images=("a.png",))
    folder = make_batch(tmp_path, plan, [(0.9, [])])
    [picture] = folder.root.glob("approved/*")
    Image.new("RGB", (64, 96)).save(picture, pnginfo=info)
    assert finish(plan, folder)["scorecard"]["kind"] == "demo"
