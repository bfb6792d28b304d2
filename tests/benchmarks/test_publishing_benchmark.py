"""The benchmark of publishing: it times the steps that publishing really takes, and says of each label whether it survived."""

from __future__ import annotations

from pathlib import Path

from benchmarks.publishing import CHANGES, LABELLING, Clock, publish_all, render, survival
from tests.tools.publishing.published_batches import told_png
from tools.publishing import publisher


def test_the_steps_of_real_copies_are_timed_and_the_labels_counted(tmp_path: Path) -> None:
    clock, whole = Clock(), publisher.encode
    copies, refused = publish_all(tmp_path, [told_png(1), told_png(2, width=200)], "jpeg", clock)
    assert (len(copies), refused) == (1, 1) and publisher.encode is whole, "nothing is left patched"
    steps = {"decoding the original": 2, "watermark": 2, "files and register": 2}
    steps |= {step: 1 for step in LABELLING if step != "files and register"}
    assert {step: len(values) for step, values in clock.seconds.items()} == steps
    assert all(value >= 0 for values in clock.seconds.values() for value in values)
    found = survival(copies)
    assert found["copied, renamed"] == [1, 1, 1]
    assert found["one byte changed in the middle"][1] == 0
    assert found["saved again as JPEG 90"] == [0, 0, 1]
    assert found["saved again as JPEG 90 by a program that keeps XMP"] == [1, 0, 1]
    assert list(found) == list(CHANGES)


def test_it_is_told_in_words() -> None:
    row = {"refused": 1, "seconds": {"watermark": {"median": 0.3, "longest": 0.5}}}
    document = {"pictures": 2, "formats": {"jpeg": row}, "label_seconds": 0.2, "watermark_seconds": 0.5}
    text = render(document | {"survival": {"copies": 1, "changes": {"copied, renamed": [1, 0, 1]}}})
    assert "labels and verification 200 ms (under 250 wanted)" in text and "jpeg: 1 refused" in text
    assert f"  {'copied, renamed':52}   1    0    1" in text
