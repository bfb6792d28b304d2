"""What pages share, in a real browser: charts by keys, the heat map, the swipe, and the address that keeps what is chosen."""

from __future__ import annotations

import pytest

from tests.browser import Tab
from tests.pages.parts_page import write_parts

FOCUSED = "document.activeElement.getAttribute('aria-label') || document.activeElement.title"
DIVIDER = "document.querySelector('.divider').getAttribute('aria-valuetext')"
IS_OPEN = "!document.querySelector('.viewer').hidden"
DRAG = """(() => {
  const mat = document.querySelector('.mat'), box = mat.getBoundingClientRect();
  const at = share => ({ clientX: box.x + share * box.width, clientY: box.y + 9 });
  const touch = { pointerId: 1, isPrimary: true, pointerType: 'touch', bubbles: true };
  for (const [kind, share] of [['pointerdown', .5], ['pointermove', .25], ['pointerup', .25]])
    mat.dispatchEvent(new PointerEvent(kind, { ...touch, ...at(share) }));
})()"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_parts(tmp_path_factory.mktemp("parts")).as_uri()


def go(tab: Tab, address: str) -> None:
    tab.go("about:blank")
    tab.go(address)


def test_a_line_chart_is_read_and_chosen_by_keys(tab: Tab, address: str) -> None:
    go(tab, address)
    tab.wait("document.querySelectorAll('#steps .point').length === 7")  # the eighth has no value
    tab.ask("document.querySelector('#steps .point[tabindex=\"0\"]').focus()")
    assert tab.ask(FOCUSED) == "strength 0.7, step 500: 0.41 (0.37 to 0.46), 12 pictures"
    tab.press("ArrowRight", "ArrowRight")
    assert tab.ask("document.querySelector('#steps .reading').textContent").startswith("strength 0.7, step 1500: 0.66")
    tab.press("ArrowDown", "ArrowLeft")  # the other line, over the point that has no value
    assert tab.ask(FOCUSED).startswith("strength <b>1.0</b>, step 500: 0.50")
    tab.press("Enter")
    assert tab.ask("chosen.join()") == "strength <b>1.0</b> 500"
    assert tab.ask("[...document.querySelectorAll('#steps tbody tr')].map(row => row.children[2].textContent).join(' ')") == (
        "0.41 0.58 0.66 0.62 0.50 – 0.71 0.60"
    )
    assert tab.ask("[...document.querySelectorAll('#steps polyline')].map(each => each.points.length).join()") == "4,2"
    # a missing value breaks the line; an interval that stands alone is a whisker, others a band
    assert tab.ask("['polyline', '.band', '.whisker'].map(each => document.querySelectorAll('#steps ' + each).length).join()") == "2,1,2"
    tab.resize(600, 800)
    tab.wait("document.querySelector('#steps svg.lines').viewBox.baseVal.width < 600")
    assert tab.ask(FOCUSED).startswith("strength <b>1.0</b>, step 500")


def test_a_heat_map_is_a_table_whose_cells_are_chosen_by_keys(tab: Tab, address: str) -> None:
    go(tab, address)
    shares = "[...document.querySelectorAll('.heat tbody td')].map(cell => cell.style.getPropertyValue('--share')).join(' ')"
    assert tab.ask(shares) == "0.0% 29.0%  45.2% 71.0%  61.3% 100.0% 93.5%"  # (value - .41) / .31
    tab.ask("document.querySelector('.heat button[tabindex=\"0\"]').focus()")
    tab.press("ArrowRight", "ArrowRight")  # nothing stands in the third
    assert tab.ask(FOCUSED) == "step 500, strength 0.8"
    tab.ask("document.querySelectorAll('.heat button')[4].focus()")
    tab.press("ArrowRight", "Enter")
    assert tab.ask("chosen.join()") == "2,1: 0.72"


def test_the_divider_moves_by_keys_and_by_touch(tab: Tab, address: str) -> None:
    go(tab, address)
    tab.ask("document.querySelector('#look').click()")
    assert tab.ask("[...document.querySelectorAll('.stage .label')].map(each => each.textContent).join()") == "v2,v3"
    tab.press("v")
    assert tab.ask(DIVIDER) == "50 % v2, 50 % v3"
    tab.press("ArrowLeft", "ArrowLeft")
    assert tab.ask(DIVIDER) == "46 % v2, 54 % v3"
    tab.press("j")  # the next pair keeps the divider, where it is and under the keys
    assert tab.ask("document.querySelector('.viewer h2').textContent") == "two"
    tab.press("ArrowRight")
    assert tab.ask(DIVIDER) == "48 % v2, 52 % v3"
    tab.ask(DRAG)
    assert tab.ask(DIVIDER) == "25 % v2, 75 % v3"
    assert tab.ask("document.querySelector('.viewer h2').textContent") == "two"  # the touch moved no picture on
    tab.press("v")
    assert tab.ask("document.querySelectorAll('.stage .sight').length") == 2
    tab.press("a", "x", "u", "n")  # nothing is decided on a page to look at
    assert tab.ask("document.querySelector('.toast').hidden")


def test_the_address_keeps_what_is_chosen(tab: Tab, address: str) -> None:
    go(tab, address)
    tab.ask("(s => { s.value = 'two'; s.dispatchEvent(new Event('change')); })(document.querySelector('#kind'))")
    tab.ask("document.querySelector('#more').open = true")
    tab.wait("location.hash === '#kind=two&open=more'")
    tab.ask("document.querySelector('#look').click()")
    assert tab.ask("location.hash") == "#kind=two&open=more&view=1" and tab.ask(IS_OPEN)
    tab.press("Escape")
    tab.wait(f"!({IS_OPEN})")
    go(tab, f"{address}#kind=two&open=more&view=2&odd=1")
    assert (
        tab.ask("document.querySelector('#kind').value") == "two" and tab.ask("document.querySelector('#more').open") and tab.ask(IS_OPEN)
    )
    go(tab, f"{address}#kind=nothing&view=99")
    assert tab.ask("document.querySelector('#kind').value") == "" and not tab.ask(IS_OPEN)
    assert all(each.startswith(("file:", "about:")) for each in tab.requests)
