"""A browser for the pages: one for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import Browser, Tab, find_chromium, running_chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("there is no Chromium on this machine")
    with running_chromium(tmp_path_factory.mktemp("chromium"), executable) as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """A tab of a desktop's size; an error in its console fails the test."""
    tab = browser.new_tab()
    tab.call("Page.bringToFront")  # a page behind another draws nothing
    tab.resize(1280, 860)
    yield tab
    assert tab.errors == []
    tab.close()
