"""Every page in a real browser: axe finds no fault in it, light and dark, and nothing is wrong in its console."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path

import pytest

from tests.browser import Tab
from tests.pages.product_pages import PAGES, ProductPage


@cache
def axe() -> str:
    """Read from the package as a file: to import it would start Playwright."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None and found.submodule_search_locations
    return (Path(next(iter(found.submodule_search_locations))) / "axe.min.js").read_text(encoding="utf-8")


def violations(tab: Tab, *rules: str) -> list[str]:
    """What axe finds: the rule, and the elements that break it. `rules`: these alone, else all that axe has in force."""
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    if not tab.ask("Boolean(window.axe)"):
        tab.ask(axe() + "; true")
    found = tab.ask(f"axe.run(document, {json.dumps(options)}).then(told => JSON.stringify(told.violations))")
    return [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in json.loads(found) for node in each["nodes"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_axe_finds_nothing(tab: Tab, page: ProductPage, tmp_path: Path) -> None:
    with page.make(tmp_path) as address:
        tab.go(address)
        tab.wait(page.ready)
        found = violations(tab)
        tab.resize(1280, 860, dark=True)
        found += violations(tab, "color-contrast")
        for look in page.looks:
            tab.ask(look.act)
            tab.wait(look.until)
            tab.resize(1280, 860)
            found += violations(tab)
            tab.resize(1280, 860, dark=True)
            found += violations(tab, "color-contrast")
    assert found == []


def test_axe_sees_what_is_wrong(tab: Tab) -> None:
    tab.go("data:text/html,<html lang=en><title>t</title><main><h1>h</h1><img src=data:><p style='color:%23aaa'>pale</p></main>")
    tab.errors.clear()
    assert {each.partition(":")[0] for each in violations(tab)} == {"image-alt", "color-contrast"}
