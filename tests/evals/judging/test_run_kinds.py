"""What says something about a LoRA, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evals.judging.run_kinds import DEMO_NOTICE, DEMO_WORDS, are_demo_pictures, kind_of_row
from tools.stand_in.notice import NOTICE


def test_the_words_are_those_of_the_demo_server() -> None:
    """The evals cannot import the server, so its words are written twice."""
    assert NOTICE.startswith(DEMO_WORDS) and DEMO_NOTICE.startswith(DEMO_WORDS)


@pytest.mark.parametrize(
    ("kind", "notes", "found"),
    [
        (None, "", ""),
        (None, NOTICE, "demo"),
        (None, f"after {NOTICE}", ""),
        ("sorting", NOTICE, "sorting"),
        (7, "", ""),
        ("made elsewhere", "", "made elsewhere"),
    ],
)
def test_the_kind_of_a_row(kind: object, notes: str, found: str) -> None:
    assert kind_of_row(kind, notes) == found


def test_demo_pictures_say_so_themselves(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("rendered_by", NOTICE)
    Image.new("RGB", (8, 8)).save(tmp_path / "demo.png", pnginfo=texts)
    Image.new("RGB", (8, 8)).save(tmp_path / "real.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    assert are_demo_pictures([tmp_path / name for name in ("real.png", "torn.png", "demo.png")])
    assert not are_demo_pictures([tmp_path / name for name in ("real.png", "torn.png", "none.png", "x.jpg")])
