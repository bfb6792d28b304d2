"""What the tests of the guards share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evals.portraits import write_references


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_references(tmp_path_factory.mktemp("guards") / "references")
