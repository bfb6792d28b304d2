"""What the launcher asks an environment before it counts as made: what must be there works, and so does what need not be there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from lifeos.probe import probe


def test_this_environment_works_and_ran_a_model() -> None:
    said = probe()
    assert said["broken"] == {} and said["provider"] in said["providers"]
    assert {"numpy", "opencv-python-headless", "onnxruntime"} <= set(said["versions"])


def test_an_environment_without_dlib_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if "dlib" in name else find(name, package))
    said = probe()
    assert said["broken"] == {} and "dlib-bin" not in said["versions"]


def test_dlib_that_is_there_and_does_not_load_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dlib.py").write_text("raise ImportError('libstdc++.so.6: version GLIBCXX_3.4.32 not found')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: dict[str, Any] = {name: module for name, module in sys.modules.items() if name != "dlib"}
    monkeypatch.setattr(sys, "modules", modules)
    assert probe()["broken"] == {"dlib-bin": "libstdc++.so.6: version GLIBCXX_3.4.32 not found"}
