"""The page of a review, and the report's large view, in a real browser: keys, touch, Back, a killed server, and nobody else is asked."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser import Tab
from tests.tools.production.scenes import finish
from tests.tools.reviewing.scenes_of_review import (
    NAMES,
    TOKEN,
    Caller,
    kills,
    make_desk,
    make_guard_of_face,
    make_reviewed,
    plan_of,
    running,
    serving,
    written,
)
from tools.production.filing import BatchFolder
from tools.reviewing.applying import apply_file

OPEN = "!document.querySelector('.viewer').hidden"
NAMELESS = """[...document.querySelectorAll('button, a[href], input, select, textarea')].filter(each => each.offsetParent !== null
    && !(each.getAttribute('aria-label') || each.textContent.trim() || each.labels && each.labels.length)).length"""
CATCH_EXPORT = """URL.createObjectURL = blob => { blob.text().then(text => { window.exported = text; }); return 'about:blank#'; };
    HTMLAnchorElement.prototype.click = () => {}"""


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return make_reviewed(tmp_path)


def enter(tab: Tab, caller: Caller, pictures: int = 6, token: str = TOKEN) -> None:
    tab.go(f"http://127.0.0.1:{caller.port}/?token={token}")
    tab.wait(f"document.querySelectorAll('.card').length === {pictures}")


def viewed(tab: Tab) -> int:
    """The number of the picture in the large view; 0 while it is closed."""
    return int(tab.ask(f"{OPEN} ? Number(document.querySelector('#viewer-title').textContent.slice(0, 4)) : 0"))


def wait_for(tab: Tab, number: int) -> None:
    title = "document.querySelector('#viewer-title').textContent"
    tab.wait(f"{OPEN} && Number({title}.slice(0, 4)) === {number}")


def test_three_are_overruled_by_keyboard_and_undone_to_the_beginning(tab: Tab, folder: BatchFolder) -> None:
    with serving(make_desk(folder)) as caller:
        enter(tab, caller)
        tab.press("n")
        wait_for(tab, 5)
        for key, following in (("x", 2), ("x", 3), ("a", 1)):
            tab.press(key)
            wait_for(tab, following)
        assert written(folder) == ["owner 5 rejected", "owner 2 rejected", "owner 3 approved"]
        tab.press("Escape")
        tab.wait(f"!({OPEN})")
        assert tab.ask("document.querySelector('#progress').textContent") == "3 of 6 pictures decided."
        tab.go(tab.ask("location.href"))
        tab.wait(
            "document.querySelectorAll('.card.mine-rejected').length === 2 && document.querySelectorAll('.card.mine-approved').length === 1"
        )
        for left in (2, 1, 0):
            tab.press("u")
            tab.wait(f"document.querySelector('#progress').textContent.startsWith('{left} of 6')")
        assert tab.ask("document.querySelector('#undo').disabled") is True
    assert [line.partition(" ")[2] for line in written(folder)[3:]] == ["3 withdrawn undo", "2 withdrawn undo", "5 withdrawn undo"]
    assert {urlsplit(address).netloc for address in tab.requests} == {f"127.0.0.1:{caller.port}"}
    assert not any(TOKEN in address for address in tab.requests[3:])  # it is in the first address alone


def test_back_keeps_filter_and_place(tab: Tab, folder: BatchFolder) -> None:
    with serving(make_desk(folder)) as caller:
        enter(tab, caller)
        tab.press("5")
        tab.wait("document.querySelectorAll('.card').length === 3")
        tab.press("ArrowRight", "ArrowRight", "Enter")
        wait_for(tab, 2)
        tab.press("ArrowRight")
        wait_for(tab, 1)
        tab.ask("history.back()")
        tab.wait(f"!({OPEN})")
        assert tab.ask("location.hash") == "#show=approved"
        assert tab.ask("document.activeElement.dataset.name") == NAMES[0]
        tab.ask("history.forward()")
        wait_for(tab, 1)
        tab.call("Page.reload")
        wait_for(tab, 1)
        tab.press("Escape")
        tab.wait("document.querySelectorAll('.card').length === 3")


def test_looks_at_pixels_face_skin_reference_and_keys(tab: Tab, folder: BatchFolder) -> None:
    with serving(make_desk(folder)) as caller:
        enter(tab, caller)
        tab.press("n")
        wait_for(tab, 5)
        tab.press("z")
        tab.wait("document.querySelector('.mat').offsetWidth === 64")  # one screen pixel for each of the picture's 64
        tab.press("z")
        tab.wait("document.querySelector('.mat').offsetWidth === 128 && document.querySelector('.sight.pixels')")
        tab.press("z", "f", "s", "c")
        tab.wait("document.querySelectorAll('.sight rect').length === 1 && document.querySelectorAll('.sight polygon').length === 2")
        tab.wait("[...document.querySelectorAll('.sight img')].map(image => image.naturalWidth).join() === '64,40'")
        tab.press("?")
        assert "undo your last step" in tab.wait("document.querySelector('.sheet dl').textContent")
        tab.press("Escape")
        assert viewed(tab) == 5
        tab.press("r")
        tab.wait("document.activeElement.id === 'reason'")
        tab.type("six fingers <b>")
        tab.press("Enter")
        wait_for(tab, 2)
        tab.press("ArrowLeft")
        wait_for(tab, 5)
        assert "Your reason: six fingers <b>" in tab.ask("document.querySelector('.side').textContent")


def test_a_guard_is_overruled_with_a_typed_reason_alone(tab: Tab, folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    make_guard_of_face(monkeypatch)
    with serving(make_desk(folder)) as caller:
        enter(tab, caller)
        tab.press("n", "ArrowRight", "ArrowRight")
        wait_for(tab, 3)
        tab.press("a")
        tab.wait("document.activeElement.id === 'reason'")
        assert "face similarity rejects it" in tab.ask("document.querySelector('.sheet').textContent")
        tab.press("Enter")
        assert written(folder) == []
        tab.type("she agreed")
        tab.press("Enter")
        wait_for(tab, 1)
        assert written(folder) == ["owner 3 approved"]
        assert any("422" in error for error in tab.errors)  # a browser reports every refusal
        tab.errors.clear()


def test_the_best_of_a_group_is_kept(tab: Tab, folder: BatchFolder) -> None:
    desk = make_desk(folder)
    desk.batch._grouped = ((), ((NAMES[0], NAMES[1], NAMES[4]),))
    with serving(desk) as caller:
        enter(tab, caller)
        tab.press("n")
        wait_for(tab, 5)
        tab.press("d")
        tab.wait("document.querySelectorAll('.pane').length === 3")
        tab.press("2")
        tab.wait("[...document.querySelectorAll('.pane b')].map(each => each.textContent).join() === 'rejected,approved,rejected'")
        assert sorted(written(folder)) == ["owner 1 rejected", "owner 2 approved", "owner 5 rejected"]
        tab.press("u")
        tab.wait("document.querySelectorAll('.pane b').length === 0")


def test_by_touch_on_a_phone_in_the_dark(tab: Tab, folder: BatchFolder) -> None:
    tab.resize(390, 800, phone=True, dark=True)
    with serving(make_desk(folder)) as caller:
        enter(tab, caller)
        assert tab.ask("document.documentElement.scrollWidth") == 390
        tab.ask("document.querySelector('.card').scrollIntoView({ block: 'center' })")
        tab.tap(".card")
        wait_for(tab, 5)
        assert tab.ask("document.documentElement.scrollWidth") == 390
        assert tab.ask("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 19)"
        tab.tap(".deciding .yes")
        wait_for(tab, 2)
        assert written(folder) == ["owner 5 approved"]


def test_everything_that_can_be_pressed_has_a_name_and_focus_shows(tab: Tab, folder: BatchFolder) -> None:
    with serving(make_desk(folder)) as caller:
        enter(tab, caller)
        unseen = "[...document.querySelectorAll('img')].filter(each => !each.hasAttribute('alt')).length"
        assert (tab.ask(NAMELESS), tab.ask(unseen)) == (0, 0)
        tab.press("j")
        assert tab.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        tab.press("n")
        wait_for(tab, 5)
        assert (tab.ask(NAMELESS), tab.ask(unseen)) == (0, 0)
        for _ in range(40):
            tab.press("Tab")
        assert tab.ask("document.querySelector('.viewer').contains(document.activeElement)") is True


def test_blind_shows_no_verdict_and_no_score(tab: Tab, folder: BatchFolder) -> None:
    with serving(make_desk(folder, "anna", blind=True, sample=4)) as caller:
        enter(tab, caller, 4)
        tab.press("n")
        tab.wait(OPEN)
        shown = tab.ask("document.querySelector('.side').innerText + document.querySelector('main').textContent")
        assert "gates" not in shown and "0.6" not in shown and "Approved" not in shown and "Rejected" not in shown
        assert "blind · sample of 4" in shown


@kills
@pytest.mark.usefixtures("permission_bits")  # the address is kept where its owner alone may read it
def test_a_killed_server_loses_nothing_and_the_page_goes_on(tab: Tab, folder: BatchFolder) -> None:
    with running(folder) as (process, caller, told):
        enter(tab, caller, token=told["address"].rpartition("=")[2])
        tab.press("n")
        wait_for(tab, 5)
        tab.press("x")
        wait_for(tab, 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        tab.press("x")
        tab.wait("document.querySelector('.toast.bad') && document.querySelector('.toast').textContent.includes('not saved')")
        assert viewed(tab) == 2  # it does not go on with what is not saved
    assert written(folder) == ["owner 5 rejected"]
    with running(folder):
        tab.wait("!document.querySelector('.toast').hidden && document.querySelector('.toast').textContent === 'the server is back'")
        tab.press("x")
        wait_for(tab, 3)
        tab.call("Page.reload")
        wait_for(tab, 3)
        assert written(folder) == ["owner 5 rejected", "owner 2 rejected"]
    assert all("ERR_" in error or "Failed to load" in error or "Failed to fetch" in error for error in tab.errors)
    tab.errors.clear()


def test_what_a_running_batch_makes_appears(tab: Tab, folder: BatchFolder) -> None:
    from tests.tools.reviewing.scenes_of_review import add_picture
    from tools.production.journal import JOURNAL_FILE, Journal

    with serving(make_desk(folder)) as caller:
        enter(tab, caller)
        journal = Journal(folder.root / JOURNAL_FILE)
        add_picture(folder, journal, 7, 0.8)
        journal.close()
        tab.wait("document.querySelectorAll('.card').length === 7")


# The report of a batch, from a file


@pytest.fixture
def report(folder: BatchFolder) -> str:
    finish(plan_of(folder.root.parent), folder)
    return (folder.root / "batch_report.html").as_uri()


def test_the_report_has_the_same_keys_and_exports_what_review_takes_in(tab: Tab, folder: BatchFolder, report: str) -> None:
    tab.go(report)
    tab.ask("localStorage.clear()")
    tab.go(report)
    tab.ask("document.querySelector('.frame').focus()")
    tab.press("Enter")
    wait_for(tab, 1)
    tab.press("x")
    wait_for(tab, 2)
    tab.press("ArrowRight", "a", "u", "a", "Escape")
    tab.wait(f"!({OPEN})")
    tab.go(report)  # what was decided stays in the browser
    tab.wait("document.querySelector('#export').textContent === 'Export 2 decisions'")
    tab.ask(CATCH_EXPORT)
    tab.ask("document.querySelector('#export').click()")
    tab.wait("document.activeElement.id === 'reviewer'")
    tab.type("anna")
    tab.press("Enter")
    path = folder.root.parent / "exported.json"
    path.write_text(tab.wait("window.exported"), encoding="utf-8")
    applied = apply_file(path, make_desk(folder).batch, "owner")
    assert written(folder) == ["anna 1 rejected", "anna 3 approved"] and applied.left_out == ()
    assert [each.origin for each in applied.fresh] == ["report", "report"]
    assert {urlsplit(address).scheme for address in tab.requests} <= {"file", "data", "about"}


def test_the_report_too_wants_a_reason_against_a_guard(tab: Tab, folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    make_guard_of_face(monkeypatch)
    finish(plan_of(folder.root.parent), folder)
    tab.go((folder.root / "batch_report.html").as_uri())
    tab.ask("localStorage.clear()")
    tab.ask("document.querySelectorAll('.frame')[2].click()")
    wait_for(tab, 3)
    tab.press("a")
    tab.wait("document.activeElement.id === 'reason'")
    tab.type("she agreed")
    tab.press("Enter")
    tab.wait("document.querySelector('#export').textContent === 'Export 1 decision'")


def test_back_from_the_report_s_large_view_keeps_its_filters(tab: Tab, report: str) -> None:
    tab.go(report)
    tab.press("3")
    tab.wait("location.hash === '#show=rejected'")
    tab.ask("[...document.querySelectorAll('.pic')].find(each => !each.hidden).querySelector('.frame').click()")
    wait_for(tab, 3)
    tab.press("ArrowRight")
    wait_for(tab, 4)
    tab.ask("history.back()")
    tab.wait(f"!({OPEN})")
    assert tab.ask("[...document.querySelectorAll('.pic')].filter(each => !each.hidden).length") == 3
