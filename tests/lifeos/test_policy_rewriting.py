"""A row of the policy file is changed in its place: comments, order, line ends and everything else stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lifeos.errors import InputError
from lifeos.policy.rewriting import write_engine_row, write_limits
from lifeos.project import PROJECT_ROOT

ROW = {"stranger": -0.01, "warn": 0.36, "pass": 0.44, "same": 1.0, "model": "123456789012"}
TEXT = "{stranger: -0.01, warn: 0.36, pass: 0.44, same: 1.0, model: '123456789012'}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# top\nface_similarity:\n  engines:  # rows\n    sface: {warn: 0.1}   # mine\n    # behind\n    other: {warn: 0.2}\n\nx: 1\n",
            f"# top\nface_similarity:\n  engines:  # rows\n    sface: {TEXT}   # mine\n    # behind\n    other: {{warn: 0.2}}\n\nx: 1\n",
        ),
        (
            "face_similarity:\n  engines:\n    sface:\n      warn: 0.1\n      pass: 0.2  # old\n\n# next\nx: 1\n",
            f"face_similarity:\n  engines:\n    sface:\n      {TEXT}  # old\n\n# next\nx: 1\n",
        ),
        (
            "face_similarity:\n  engines:\n    a: {warn: 0.1}  # a\n  metric: m\n",
            f"face_similarity:\n  engines:\n    a: {{warn: 0.1}}  # a\n    sface: {TEXT}\n  metric: m\n",
        ),
        ("face_similarity:\n  metric: m  # m\nx: 1", f"face_similarity:\n  metric: m  # m\n  engines: {{sface: {TEXT}}}\nx: 1"),
        ("face_similarity: {engines: {a: {w: 1}}}\n", f"face_similarity: {{engines: {{a: {{w: 1}}, sface: {TEXT}}}}}\n"),
        ("x: 1", f"x: 1\n\nface_similarity:\n  engines:\n    sface: {TEXT}\n"),
        ("", f"face_similarity:\n  engines:\n    sface: {TEXT}\n"),
        (
            "\ufefface_similarity:\r\n  engines:\r\n    ä: {w: 1} # ü\r\n".replace("\ufefface", "\ufeffface"),
            f"\ufeffface_similarity:\r\n  engines:\r\n    ä: {{w: 1}} # ü\r\n    sface: {TEXT}\r\n",
        ),
    ],
    ids=["flow", "block", "new row", "no rows", "all flow", "no section", "empty", "Windows"],
)
def test_only_the_row_changes(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "thresholds.yaml"
    path.write_bytes(before.encode())
    write_engine_row(path, "sface", ROW)
    assert path.read_bytes().decode() == after


def test_the_shipped_file_keeps_its_comments(tmp_path: Path) -> None:
    shipped = (PROJECT_ROOT / "evals" / "thresholds.yaml").read_bytes()
    path = tmp_path / "thresholds.yaml"
    path.write_bytes(shipped)
    write_engine_row(path, "insightface_buffalo_l", ROW)
    write_engine_row(path, "onnx_mine", {**ROW, "input": {"size": 112, "points": [[1.5, 2.0]], "channels": "rgb"}})
    now = path.read_text(encoding="utf-8")
    rows = yaml.safe_load(now)["face_similarity"]["engines"]
    assert rows["insightface_buffalo_l"] == ROW and rows["onnx_mine"]["input"]["points"] == [[1.5, 2.0]]
    kept = [line for line in shipped.decode().splitlines() if line.lstrip().startswith("#") or "  #" in line]
    assert [line for line in now.splitlines() if line.lstrip().startswith("#") or "  #" in line] == kept


def test_what_cannot_be_changed_alone_is_refused(tmp_path: Path) -> None:
    """Another row is written as the same one: both would change, or the file break."""
    path = tmp_path / "thresholds.yaml"
    text = "face_similarity:\n  engines:\n    sface: &row {warn: 0.1}\n    other: *row\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="write this row yourself"):
        write_engine_row(path, "sface", ROW)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a:\n  limit: 0.60   # mine\n  other: 1\n", "a:\n  limit: 0.57   # mine\n  other: 1\n"),
        ("a: {other: 1, limit: 6.0e-1} # x\n", "a: {other: 1, limit: 0.57} # x\n"),
        ("# top\na:\n  other: 1  # o\n\nb: 2\n", "# top\na:\n  other: 1  # o\n  limit: 0.57\n\nb: 2\n"),
        ("b: 2\n", "b: 2\n\na:\n  limit: 0.57\n"),
        ("a:\r\n  limit: 0.6\r\n", "a:\r\n  limit: 0.57\r\n"),
    ],
    ids=["block", "flow", "no key", "no section", "Windows"],
)
def test_only_the_number_of_a_limit_changes(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "thresholds.yaml"
    path.write_bytes(before.encode())
    write_limits(path, {"a.limit": 0.57})
    assert path.read_bytes().decode() == after


def test_several_limits_change_together_in_the_shipped_file(tmp_path: Path) -> None:
    shipped = (PROJECT_ROOT / "evals" / "thresholds.yaml").read_text(encoding="utf-8")
    path = tmp_path / "thresholds.yaml"
    path.write_text(shipped, encoding="utf-8")
    write_limits(path, {"face_similarity.pass_threshold": 0.57, "skin_realism.texture_pass_threshold": 0.525, "gates.alone.limit": 0.5})
    changed = shipped.replace("  pass_threshold: 0.60", "  pass_threshold: 0.57", 1)
    changed = changed.replace("texture_pass_threshold: 0.60", "texture_pass_threshold: 0.525")
    changed = changed.replace("gates: {} ", "gates: {alone: {limit: 0.50}} ")
    assert path.read_text(encoding="utf-8") == changed


def test_a_limit_that_is_written_by_reference_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.yaml"
    text = "a:\n  limit: &x 0.6\n  other: *x\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"write yourself: a\.limit: 0\.57"):
        write_limits(path, {"a.limit": 0.57})
    assert path.read_text(encoding="utf-8") == text
