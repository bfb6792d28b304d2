"""The page of a batch in a real browser: limits that are moved, filters, the pose map, and the address that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evals.judging.gates import GATES
from lifeos.pages.columns import pack_rows
from lifeos.pages.page_templates import json_in_page
from lifeos.pages.terms import TERMS
from tests.browser import Tab
from tests.tools.production.scenes import finish
from tests.tools.reviewing.scenes_of_review import NAMES, make_reviewed, plan_of
from tools.production import report_html
from tools.production.decisions import DECISIONS_FILE
from tools.production.filing import BatchFolder
from tools.production.viewed_batch import viewed_pictures

SHOWN = "[...document.querySelectorAll('.pic')].filter(each => !each.hidden).map(each => Number(each.dataset.index)).join()"
SAID = "document.querySelector('#limit-face-says').textContent"
MOVE = "(s => { s.value = %s; s.dispatchEvent(new Event('input', { bubbles: true })); })(document.querySelector('#limit-face'))"


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    folder = make_reviewed(tmp_path)
    finish(plan_of(tmp_path), folder)
    return folder


def address(folder: BatchFolder, state: str = "") -> str:
    return (folder.root / "batch_report.html").as_uri() + state


def load_again(tab: Tab) -> None:
    tab.ask("window.before = true")
    tab.call("Page.reload")
    tab.wait("!window.before && document.readyState === 'complete'")


def test_a_moved_limit_says_how_many_would_pass_and_changes_nothing(tab: Tab, folder: BatchFolder) -> None:
    before = {path.name: path.read_bytes() for path in folder.root.iterdir() if path.is_file()}
    tab.go(address(folder))
    tab.ask("document.querySelector('#limits').open = true")
    assert tab.wait("document.querySelector('#would').textContent") == "3 of 6 pictures pass the gates with the limits in force."
    tab.ask(MOVE % 0.5)
    assert tab.ask(SAID) == "at 0.5: 1 more"
    tab.ask(MOVE % 0)
    assert tab.ask(SAID) == "at 0: 2 more"  # no limit approves the picture without a face
    tab.ask(MOVE % 0.8)
    assert tab.ask(SAID) == "at 0.8: 2 fewer"
    assert tab.ask("document.querySelector('#would').textContent") == (
        "With all limits as set here, 1 of 6 pictures would pass the gates: 2 fewer than now."
    )
    tab.ask("document.querySelector('#only-moved').click()")
    assert tab.ask(SHOWN) == "2,5"
    load_again(tab)
    assert tab.wait(SAID) == "at 0.8: 2 fewer" and tab.ask(SHOWN) == "2,5"
    tab.ask("document.querySelector('#reset-limits').click(); document.querySelector('#only-moved').click()")
    assert tab.ask(SAID) == "" and tab.ask(SHOWN) == "1,2,3,4,5,6"
    assert {path.name: path.read_bytes() for path in folder.root.iterdir() if path.is_file()} == before
    assert {urlsplit(each).scheme for each in tab.requests} <= {"file", "data"}


def test_a_limit_moves_by_keyboard_and_by_pointer(tab: Tab, folder: BatchFolder) -> None:
    tab.go(address(folder, "#open=limits"))
    tab.wait("document.querySelector('#limits').open")
    tab.ask("document.querySelector('#limit-face').focus()")
    tab.press("ArrowRight", "ArrowRight")
    assert tab.wait(SAID) == "at 0.62: 1 fewer"
    assert tab.ask("document.querySelector('#limit-face').getAttribute('aria-valuetext')") == "at 0.62: 1 fewer"
    x, y = tab.ask("(b => [b.x + b.width * .3, b.y + 30])(document.querySelector('.gauge svg').getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    tab.wait(f"{SAID} === 'at 0.3: 1 more'")


def test_filters_stay_in_the_address_and_back_returns_to_them(tab: Tab, folder: BatchFolder) -> None:
    tab.go(address(folder, "#open=poses&by=face&show=rejected&sort=-overall"))
    tab.wait("document.querySelectorAll('#map circle').length > 0")
    assert tab.ask(SHOWN) == "3,6"
    assert tab.ask("document.querySelectorAll('#map circle:not(.away)').length") == 2
    tab.ask("document.querySelector('#map circle:not(.away)').dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    tab.wait("!document.querySelector('.viewer').hidden && document.querySelector('#viewer-title').textContent.startsWith('0003')")
    load_again(tab)
    tab.wait("document.querySelector('.viewer') && !document.querySelector('.viewer').hidden")
    tab.ask("history.back()")
    tab.wait("document.querySelector('.viewer').hidden")
    assert tab.ask(SHOWN) == "3,6" and tab.ask("document.querySelector('#poses').open") is True


def test_filters_by_person(tab: Tab, tmp_path: Path, folder: BatchFolder) -> None:
    from tests.tools.reviewing.scenes_of_review import make_desk
    from tools.reviewing.desk import Wish

    make_desk(folder, "anna").decide([Wish(NAMES[0], "rejected", "hand")])
    assert (folder.root / DECISIONS_FILE).is_file()
    finish(plan_of(tmp_path), folder)
    tab.go(address(folder))
    for value, shown in (("by anna", "1"), ("hand", "1"), ("gates", "2,3,4,5,6"), ("disputed", "")):
        tab.ask(f"(s => {{ s.value = '{value}'; s.dispatchEvent(new Event('change')); }})(document.querySelector('#who'))")
        assert tab.ask(SHOWN) == shown


def test_a_term_is_explained_to_the_keyboard_and_all_panels_are_printed(tab: Tab, folder: BatchFolder) -> None:
    tab.go(address(folder, "#open=limits"))
    tip = "getComputedStyle(document.querySelector('.gauge .tip')).display"
    assert tab.wait(tip) == "none"
    tab.ask("document.querySelector('.gauge .term').focus()")
    assert tab.ask(tip) == "block"
    tab.press("Escape")
    assert tab.ask(tip) == "none"
    tab.ask("dispatchEvent(new Event('beforeprint'))")
    assert tab.ask("[...document.querySelectorAll('details.panel')].every(each => each.open)") is True
    tab.ask("dispatchEvent(new Event('afterprint'))")
    assert tab.ask("[...document.querySelectorAll('details.panel')].filter(each => each.open).map(each => each.id).join()") == "limits"


def test_small_copies_of_a_large_batch_lie_beside_the_page(tab: Tab, folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_html, "MOST_IN_ONE_FILE", 5)
    (folder.root / "thumbs").mkdir()
    (folder.root / "thumbs" / f"{NAMES[0]}.webp").write_bytes(b"RIFF left half written")
    finish(plan_of(folder.root.parent), folder)
    assert "data:image" not in (folder.root / "batch_report.html").read_text(encoding="utf-8")
    tab.go(address(folder))
    tab.ask("document.querySelector('.pic img').scrollIntoView()")
    tab.wait("document.querySelector('.pic img').naturalWidth > 0")
    assert sorted(path.name for path in (folder.root / "thumbs").iterdir()) == [f"{name}.webp" for name in NAMES]


def test_what_stands_below_a_picture_of_a_large_batch_is_built_when_it_comes_near(tab: Tab, folder: BatchFolder) -> None:
    page = folder.root / "batch_report.html"
    text = page.read_text(encoding="utf-8")
    few = text.replace("MOST_AT_ONCE = 500", "MOST_AT_ONCE = 5").replace("ROWS = 3", "ROWS = 1").replace("1200px 0px", "0px")
    assert few.count("MOST_AT_ONCE = 5;") == few.count("ROWS = 1;") == few.count('"0px"') == 1
    page.write_text(few, encoding="utf-8")
    tab.resize(390, 500, phone=True)  # two columns: three blocks
    tab.go(address(folder))
    bodies = "[...document.querySelectorAll('.block')].map(each => each.querySelectorAll('.body').length).join()"
    assert tab.ask(bodies) == "0,0,0"
    tab.ask("document.querySelector('.block').scrollIntoView()")
    assert tab.wait(f"(told => told.startsWith('2') && told)({bodies})").endswith(",0")
    tab.ask("document.querySelector('.block:last-child').scrollIntoView()")
    tab.wait(f"{bodies}.endsWith('2')")
    tab.ask("dispatchEvent(new Event('beforeprint'))")
    assert tab.ask(bodies) == "2,2,2"
    tab.resize(1280, 860)
    tab.wait(f"{bodies} === '5,1'")


def test_rows_come_out_of_the_page_as_they_went_in_and_meters_show_the_span_of_a_gate(tab: Tab, folder: BatchFolder) -> None:
    rows: list[dict[str, Any]] = [
        {"all": 1, "text": text, "scores.face": face, "scores.age": None, "list": [text]}
        for text, face in (("a prompt that two share " * 3, 0.5), ("a prompt that two share " * 3, None), ("</script><b>", 0.25))
    ]
    packed = pack_rows(rows)
    assert packed["columns"]["all"] == {"all": 1} and packed["columns"]["text"]["at"] == [0, 0, 1]
    tab.go(address(folder))
    wanted = [{"all": 1, "text": row["text"], "scores": {"face": row["scores.face"], "age": None}, "list": row["list"]} for row in rows]
    assert tab.ask(f"unpackRows({json_in_page(packed)})") == wanted
    assert tab.ask("unpackRows({ count: 0, columns: {} })") == []
    meter = "meterOf({ low: 0, high: 80, limit: 20, lower: %s }, %s).firstElementChild"
    assert tab.ask(f"(m => [m.style.width, m.className])({meter % ('false', 40)})") == ["50%", ""]
    assert tab.ask(f"(m => [m.style.width, m.className])({meter % ('true', 100)})") == ["100%", "low"]
    assert tab.ask(f"(m => [m.style.width, m.className])({meter % ('false', 'null')})") == ["0px", ""]


def test_it_fits_a_phone(tab: Tab, folder: BatchFolder) -> None:
    tab.resize(390, 800, phone=True, dark=True)
    tab.go(address(folder, "#open=limits+poses+tables"))
    tab.wait("document.querySelectorAll('#map circle').length > 0")
    assert tab.ask("document.documentElement.scrollWidth") == 390


def test_two_fingers_zoom_and_one_moves_the_picture(tab: Tab, folder: BatchFolder) -> None:
    def touch(kind: str, *points: tuple[int, int]) -> None:
        tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y, "id": name} for name, (x, y) in enumerate(points)])

    tab.resize(390, 800, phone=True)
    tab.go(address(folder, "#view=1"))
    tab.wait("document.querySelector('.sight .mat') && document.querySelector('.sight').clientHeight > 200")
    whole = tab.wait("document.querySelector('.mat').offsetWidth")
    touch("touchStart", (170, 300), (220, 300))
    for step in range(1, 6):
        touch("touchMove", (170 - 10 * step, 300), (220 + 10 * step, 300))
    touch("touchEnd")
    assert tab.wait(f"(w => w > {whole} && w)(document.querySelector('.mat').offsetWidth)") == pytest.approx(3 * whole, rel=0.02)
    assert tab.ask("document.querySelector('#viewer-title').textContent") == NAMES[0]  # it was no swipe
    before = tab.ask("document.querySelector('.sight').scrollLeft")
    touch("touchStart", (250, 300))
    for step in range(1, 9):
        touch("touchMove", (250 - 20 * step, 300))
    touch("touchEnd")
    assert tab.wait(f"(left => left > {before} + 50 && left)(document.querySelector('.sight').scrollLeft)")
    assert tab.ask("document.querySelector('#viewer-title').textContent") == NAMES[0]
    touch("touchStart", (50, 300), (350, 300))
    touch("touchMove", (190, 300), (210, 300))
    touch("touchEnd")
    tab.wait(f"document.querySelector('.mat').offsetWidth === {whole}")


def test_every_gate_is_explained() -> None:
    assert [gate.key for gate in GATES if gate.key not in TERMS] == []


@pytest.mark.parametrize(
    ("fields", "stuck"),
    [
        ({"gates_verdict": "approved"}, False),
        ({"face": 0.5, "reasons": ["face"]}, False),
        ({"face": 0.5, "reasons": ["face", "the same file as another"]}, True),
        ({"face": None, "reasons": ["no face found"]}, True),
        ({"face": 0.5, "overruled": ["face"]}, False),
        ({"face": 0.59996, "reasons": ["the same file as another"]}, True),  # 0.6000 at four decimals: it passes the limit
    ],
)
def test_what_no_limit_moves_is_stuck(folder: BatchFolder, fields: dict[str, Any], stuck: bool) -> None:
    document = finish(plan_of(folder.root.parent), folder)
    document["images"][0] |= {"gates_verdict": "rejected", **fields}
    assert viewed_pictures(document)[0]["stuck"] is stuck
