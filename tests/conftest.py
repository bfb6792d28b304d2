"""What every test can ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

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
    """A folder with the small real models (`insightface/mini`, YuNet), never part of the project.

    Named by LIFEOS_TEST_MODELS, else `shared/models` in or beside the checkout.
    """
    named = os.environ.get("LIFEOS_TEST_MODELS")
    places = [Path(named)] if named else [ROOT / "shared" / "models", ROOT.parent / "shared" / "models"]
    for place in places:
        if (place / "insightface" / "mini").is_dir():
            return place
    pytest.skip("the small face models are not here: set LIFEOS_TEST_MODELS to their folder")
