"""What every test can ask for."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import capabilities
from tests.allowed_skips import NO_CASES, NO_MODELS
from tests.allowed_skips import pytest_make_collect_report as pytest_make_collect_report
from tests.allowed_skips import pytest_runtest_makereport as pytest_runtest_makereport
from tests.browser import Browser, Tab, find_chromium, running_chromium

# A shell that starts the tests in the background makes them ignore Ctrl-C, and with them every process that they start: a test
# that sends SIGINT would wait for ever. A handler of our own is the default again in a child.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """LIFEOS_TEST_VOLUME: a folder on another volume (exFAT, NTFS, a network's) where the tests work."""
    volume = os.environ.get("LIFEOS_TEST_VOLUME")
    if volume and config.option.basetemp is None:
        config.option.basetemp = Path(volume) / "lifeos-tests"
    # Matplotlib lists the fonts of the machine once, not anew for each test that has a cache folder of its own
    os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "lifeos-tests-matplotlib"))


def pytest_collection_finish() -> None:
    """Ten thousand tests are half a million objects that stay: the garbage collector need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def model_root() -> Path:
    """LIFEOS_TEST_MODELS: a folder with the small real models (`insightface/mini`, YuNet), never part of the project."""
    return _outside_folder("LIFEOS_TEST_MODELS", NO_MODELS)


@pytest.fixture(scope="session")
def cases_root() -> Path:
    """LIFEOS_TEST_CASES: a folder with odd files that others made (pictures, workflows, LoRAs, logs), never part of the project."""
    return _outside_folder("LIFEOS_TEST_CASES", NO_CASES)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of pages."""
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


def _outside_folder(variable: str, why_skipped: str) -> Path:
    """The folder that a variable names. The test is skipped where the variable is unset, and fails where the folder is not there."""
    if variable not in os.environ:
        pytest.skip(why_skipped)
    folder = Path(os.environ[variable]).resolve()
    assert folder.is_dir(), f"{variable}: there is no folder {folder}"
    return folder


@pytest.fixture
def links(tmp_path: Path) -> None:
    _needs(capabilities.can_link(tmp_path), "this volume has no links")


@pytest.fixture
def two_cases(tmp_path: Path) -> None:
    _needs(capabilities.tells_cases_apart(tmp_path), "this volume does not tell A from a")


@pytest.fixture
def names_of_any_bytes(tmp_path: Path) -> None:
    _needs(capabilities.takes_any_name(tmp_path), "this volume takes not every name")


@pytest.fixture
def pipes(tmp_path: Path) -> None:
    _needs(capabilities.can_hold_pipes(tmp_path), "this volume has no pipes")


@pytest.fixture
def permission_bits(tmp_path: Path) -> None:
    _needs(capabilities.keeps_permissions(tmp_path), "this volume keeps no permissions")


def _needs(there: bool, why_skipped: str) -> None:
    if not there:
        pytest.skip(why_skipped)
