"""What every test can ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.allowed_skips import NO_CASES, NO_MODELS
from tests.allowed_skips import pytest_make_collect_report as pytest_make_collect_report
from tests.allowed_skips import pytest_runtest_makereport as pytest_runtest_makereport

# A shell that starts the tests in the background makes them ignore Ctrl-C, and with them every process that they start: a test
# that sends SIGINT would wait for ever. A handler of our own is the default again in a child.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]


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


def _outside_folder(variable: str, why_skipped: str) -> Path:
    """The folder that a variable names. The test is skipped where the variable is unset, and fails where the folder is not there."""
    if variable not in os.environ:
        pytest.skip(why_skipped)
    folder = Path(os.environ[variable]).resolve()
    assert folder.is_dir(), f"{variable}: there is no folder {folder}"
    return folder
