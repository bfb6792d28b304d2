"""The page of a comparison: what is written, what is never overwritten, and in a real browser its order, filters, swipe and address."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from evals.comparison import pair_pictures
from evals.comparison.picture_pairs import list_pairs
from lifeos.errors import InputError
from tests.browser import Tab
from tests.pages.comparison_scene import PROMPT, compare_in, make_comparison, make_versions

SHOWN = "[...document.querySelectorAll('.pair')].filter(each => !each.hidden).map(each => Number(each.dataset.index)).join()"
CHOOSE = "(s => { s.value = %r; s.dispatchEvent(new Event('change')); })(document.querySelector('#%s'))"
IS_OPEN = "!document.querySelector('.viewer').hidden"


class Links(HTMLParser):
    """The addresses that a page names, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_comparison(tmp_path_factory.mktemp("comparison"))


def test_the_page_says_what_the_report_says_and_names_the_reports(page: Path) -> None:
    links = Links(page)
    small = [each for each in links.addresses if each.startswith("data:image/webp")]
    assert len(small) == 12  # six pairs
    files = [each for each in links.addresses if not each.startswith(("data:", "#"))]
    assert files == ["r.md", "../old/batch_report.html", "../new/batch_report.html"]
    assert all((page.parent / unquote(each)).is_file() for each in files)
    report = page.with_suffix(".md").read_text(encoding="utf-8")
    sentence = re.search(r"\*\*In short:\*\* (.*)", report)
    assert sentence and sentence[1].replace("\\", "") in links.text
    assert PROMPT in links.text and PROMPT not in page.read_text(encoding="utf-8")
    assert "by anna" in links.text and "the gates: approved" in links.text


def test_a_file_that_is_no_page_of_ours_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_versions(tmp_path)
    place = tmp_path / "out" / "r.html"
    place.parent.mkdir()
    place.write_text("my notes", encoding="utf-8")
    compare_in(tmp_path)
    assert place.read_text(encoding="utf-8") == "my notes"
    assert f"{place} is no page of ours and stays as it is: no page is written (--page FILE says where else)" in capsys.readouterr().err
    compare_in(tmp_path, "--page", str(tmp_path / "named.html"))
    assert "Comparison of two versions" in (tmp_path / "named.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"--page: .*r\.md is the report"):
        compare_in(tmp_path, "--page", str(tmp_path / "out" / "r.md"))
    with pytest.raises(InputError, match="--no-page: writes no page, so --page and --open have no use"):
        compare_in(tmp_path, "--no-page", "--open")


def test_many_pictures_lie_beside_the_page_and_leave_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_versions(tmp_path)
    monkeypatch.setattr(pair_pictures, "MOST_IN_ONE_FILE", 11)
    page = compare_in(tmp_path)
    beside = page.with_name("r_small")
    shown = [each for each in Links(page).addresses if each.startswith("r_small/")]
    assert sorted(shown) == sorted(f"r_small/{path.name}" for path in beside.iterdir()) and len(shown) == 12
    (beside / "mine.webp").write_text("kept", encoding="utf-8")
    (tmp_path / "new" / "approved" / "p001_seed0.png").write_bytes(b"another")  # its folder was used again
    page = compare_in(tmp_path)
    assert len(list(beside.iterdir())) == 12 and "another file has its name now" in Links(page).text
    compare_in(tmp_path, "--no-page")
    assert not page.exists() and [path.name for path in beside.iterdir()] == ["mine.webp"]


def test_without_pictures_the_page_has_the_pairs_all_the_same(tmp_path: Path) -> None:
    make_versions(tmp_path)
    (tmp_path / "old").rename(tmp_path / "gone")
    links = Links(compare_in(tmp_path))
    assert "old: none of its pictures is in" in links.text and "--pictures-v1" in links.text
    assert sum(each.startswith("data:image") for each in links.addresses) == 6
    links = Links(compare_in(tmp_path, "--no-pictures"))
    assert not any(each.startswith("data:image") for each in links.addresses) and "#5" in links.text and "--pictures-v1" not in links.text


def test_the_worst_comes_first_and_the_order_and_the_filters_are_kept(tab: Tab, page: Path) -> None:
    tab.go(page.as_uri())
    # a lost face, then -.20, +.01 (prompt 6), +.02, +.05, +.20
    assert tab.ask(SHOWN) == "4,1,6,2,5,3"
    tab.ask(CHOOSE % ("-rank", "sort"))
    assert tab.ask(SHOWN) == "3,5,2,6,1,4"
    tab.ask(CHOOSE % ("-size", "sort"))
    assert tab.ask(SHOWN).startswith("4,") and set(tab.ask(SHOWN)[2:5].split(",")) == {"1", "3"}
    tab.ask(CHOOSE % ("gate.face", "sort"))
    assert tab.ask(SHOWN) == "1,6,2,5,3,4"  # what has no difference of this gate comes last
    tab.ask(CHOOSE % ("rank", "sort"))
    tab.press("2")
    assert tab.ask(SHOWN) == "4,1" and tab.ask("document.querySelector('#shown').textContent") == "2 pairs"
    tab.press("1")
    tab.ask(CHOOSE % ("lost", "verdict"))
    assert tab.ask(SHOWN) == "4,1,5"
    tab.ask(CHOOSE % ("people", "verdict"))
    assert tab.ask(SHOWN) == "5"
    tab.ask(CHOOSE % ("", "verdict"))
    tab.ask(CHOOSE % ("full body", "shot"))
    assert tab.ask(SHOWN) == "4,6,2" and tab.ask("location.hash") == "#shot=full+body"
    assert not any(each.startswith("http") for each in tab.requests)


def test_a_pair_is_looked_at_side_by_side_and_with_the_swipe(tab: Tab, page: Path) -> None:
    tab.go(f"{page.as_uri()}#shot=close-up")
    tab.ask("document.querySelectorAll('.pair:not([hidden]) .frame')[1].click()")
    assert tab.ask(IS_OPEN) and tab.ask("document.querySelector('.viewer h2').textContent") == "prompt 5, seed 0"
    tab.wait("[...document.querySelectorAll('.sight img')].every(each => each.naturalWidth === 80)")
    said = tab.ask("document.querySelector('.side').textContent")
    assert "overall0.570.63+0.05" in said and "old:approved" in said and "by annathe gates: approved" in said
    assert PROMPT in said
    tab.press("v", "ArrowRight")
    assert tab.ask("document.querySelector('.divider').getAttribute('aria-valuetext')") == "52 % old, 48 % new"
    assert tab.ask("location.hash") == "#shot=close-up&swipe=1&at=5&view=5"
    tab.ask("window.before = true")
    tab.call("Page.reload")
    tab.wait(f"!window.before && document.readyState === 'complete' && {IS_OPEN}")
    assert tab.ask("document.querySelectorAll('.divider').length") == 1
    tab.press("k")
    assert tab.ask("document.querySelector('.viewer h2').textContent") == "prompt 1, seed 0"
    tab.press("Escape")
    tab.wait(f"!({IS_OPEN})")
    assert tab.ask(SHOWN) == "1,5,3" and tab.ask("document.activeElement.closest('.pair').dataset.index") == "1"


def test_pairs_are_numbered_in_the_order_of_their_prompts() -> None:
    from evals.comparison.comparing import compare
    from evals.comparison.runs import read_run
    from evals.load_thresholds import load_thresholds
    from tests.evals.comparison.rows import make_row

    scores = [make_row(name, lambda prompt, seed, lost=lost: None if prompt in lost else 0.5) for name, lost in (("a", {1}), ("b", {1, 2}))]
    pairs = list_pairs(compare([read_run(scores[0])], [read_run(scores[1])], load_thresholds()))
    assert [(pair.number, pair.title, pair.direction(0.02)) for pair in pairs[:5]] == [
        (1, "prompt 1, seed 0", "unknown"),
        (2, "prompt 1, seed 1", "unknown"),
        (3, "prompt 2, seed 0", "worse"),
        (4, "prompt 2, seed 1", "worse"),
        (5, "prompt 3, seed 0", "same"),
    ]
