"""A small training set with something of everything, and its page."""

from __future__ import annotations

from pathlib import Path

from tests.tools.dataset.sets import make_picture
from tools import dataset_manifest


def make_spoilt(folder: Path) -> Path:
    """`a` is sound; `b` is nearly the same as `a`; `small` is enlarged; `none` has no caption, `<i>` no trigger word; `half` is cut off."""
    make_picture(folder / "a.png", seed=1, size=(256, 256))
    make_picture(folder / "b.jpg", seed=1, size=(256, 256), quality=90)
    make_picture(folder / "small.png", seed=2, size=(96, 128))
    make_picture(folder / "none.png", seed=3, size=(256, 256))
    make_picture(folder / "word.png", seed=4, size=(256, 256))
    whole = make_picture(folder / "half.png", seed=5, size=(256, 256)).read_bytes()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    for name in ("a", "b", "small", "half"):
        (folder / f"{name}.txt").write_text(f"amiranoor, view {name}\n", encoding="utf-8")
    (folder / "word.txt").write_text("<i>somebody</i> & co\n", encoding="utf-8")
    (folder / "lonely.txt").write_text("amiranoor\n", encoding="utf-8")
    return folder


def write_spoilt_page(folder: Path, *more: str) -> Path:
    page = folder / "page" / "set.html"
    flags = ("--trigger-word", "amiranoor", "--resolution", "256", "--no-cache", "--created", "2026-11-30T00:00:00Z")
    dataset_manifest.main(["--dataset-dir", str(make_spoilt(folder / "set")), "--html", str(page), *flags, *more])
    return page
