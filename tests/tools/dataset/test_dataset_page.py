"""The page of a training set: what is found stands at its picture, and the filters show what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from lifeos.errors import EXIT_USAGE
from tests.browser import Tab
from tests.tools.dataset.spoilt_page import make_spoilt, write_spoilt_page
from tools import dataset_manifest
from tools.dataset import dataset_page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spoilt_page(tmp_path_factory.mktemp("dataset"), "--hold-out-file", "none.png")


def told(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="told">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return dict(json.loads(found[1]))


def test_what_was_found_stands_at_its_picture_with_how_to_mend_it(page: Path) -> None:
    pictures = {picture["file"]: picture for picture in told(page)["pictures"]}
    notes = {name: [(note["title"], note["severity"]) for note in picture["notes"]] for name, picture in pictures.items()}
    assert notes == {
        "a.png": [("near duplicate", "warning")],
        "b.jpg": [("near duplicate", "warning")],
        "half.png": [("truncated", "error")],
        "none.png": [("held out", "notice")],
        "small.png": [("upscaled", "warning")],
        "word.png": [("trigger word missing", "warning")],  # found at its caption
    }
    [note] = pictures["a.png"]["notes"]
    assert note["text"] == "b.jpg is nearly a.png" and "keep one of each" in note["fix"]
    assert (pictures["none.png"]["held_out"], pictures["none.png"]["caption"]) == (True, None)
    assert pictures["a.png"]["url"] == "../set/a.png"


def test_each_picture_says_where_the_trainer_puts_it(page: Path) -> None:
    """At 256 the buckets are 64 apart: 96 x 128 covers 192 x 320 by its width, or 256 x 256; nearest in shape is 192 x 256 (0.75)."""
    pictures = {picture["file"]: picture for picture in told(page)["pictures"]}
    assert (pictures["a.png"]["bucket"], pictures["a.png"]["scale"]) == ("256 × 256", 1.0)
    small = pictures["small.png"]
    width, height = (int(side) for side in small["bucket"].split(" × "))
    assert small["scale"] == round(max(width / 96, height / 128), 2) and small["scale"] > 1.25


def test_the_page_is_whole_without_its_script(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    before = text[: text.index('id="told"')]
    for said in (
        "Not fit to train: 1 to mend (truncated).",
        "lonely.txt",
        "&lt;i&gt;somebody&lt;/i&gt; &amp; co",
        "copy or download it again",
    ):
        assert said in before
    assert "<i>somebody" not in text and before.count("data:image/webp") == 5  # the sixth is cut off


def test_more_pictures_than_one_file_holds_have_their_copies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_page, "MOST_IN_ONE_FILE", 2)
    page = write_spoilt_page(tmp_path)
    assert len(list((page.parent / "set_thumbs").glob("*.webp"))) == 5
    assert 'src="set_thumbs/00001.webp"' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dataset-dir", "{set}", "--open"], "--open: opens the page that --html FILE writes (give --html FILE too)"),
        (["--dataset-dir", "{set}", "--html", "{set}/x.html"], "lies inside the set, where small copies beside it would be trained on"),
        (["--verify", "m.json", "--html", "x.html"], "--output, --html, --faces and --strict: belong to --dataset-dir alone"),
    ],
)
def test_a_page_that_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str) -> None:
    folder = make_spoilt(tmp_path / "set")
    assert cli.run(lambda: dataset_manifest.main([flag.format(set=folder) for flag in flags])) == EXIT_USAGE
    assert said in capsys.readouterr().err


def test_filters_pairs_and_back_in_a_browser(tab: Tab, page: Path) -> None:
    tab.go("about:blank")
    tab.go(page.as_uri())
    shown = "[...document.querySelectorAll('.grid .pic:not([hidden]) .name')].map(each => each.textContent).join(' ')"
    tab.ask("document.querySelectorAll('[data-finding]')[0].click()")
    assert tab.ask(shown) == "half.png" and tab.ask("location.hash") == "#finding=0"
    tab.ask("(field => { field.value = 'clean'; field.dispatchEvent(new Event('change')); })(document.querySelector('#show'))")
    assert tab.ask(shown) == ""  # nothing fits both, and the page says so
    assert tab.ask("document.querySelector('#empty').hidden") is False
    tab.ask("(field => { field.value = ''; field.dispatchEvent(new Event('change')); })(document.querySelector('#finding'))")
    tab.ask("document.querySelector('#alike').open = true; document.querySelector('[data-pair]').click()")
    assert tab.ask("[...document.querySelectorAll('.stage .label')].map(each => each.textContent).join()") == "a.png,b.jpg"
    tab.ask("history.back()")
    tab.wait("document.querySelector('.viewer').hidden")
    assert tab.errors == [] and not [each for each in tab.requests if not each.startswith(("file:", "data:", "about:"))]
