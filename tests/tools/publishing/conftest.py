"""What the tests of publishing can ask for."""

from __future__ import annotations

import functools

import pytest

from tools.publishing import publisher
from tools.publishing.watermark import mark


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not search each original for a mark that it may carry: that is most of the work, and what follows from it is tested once."""
    monkeypatch.setattr(publisher, "mark", functools.partial(mark, check=False))
