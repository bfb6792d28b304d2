"""Lines, whatever the chunks in which a process's output arrives."""

from __future__ import annotations

import pytest

from tools.training.line_splitter import LineSplitter


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_lines_whatever_the_chunks(size: int) -> None:
    data = "one\rtwo ██\r\nthree 学習\n\nfour".encode()
    splitter = LineSplitter()
    lines = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
    assert lines == ["one", "two ██", "three 学習"]
    assert list(splitter.flush()) == ["four"]


def test_bytes_that_are_no_text() -> None:
    assert list(LineSplitter().feed(b"\xff\xfe\n")) == ["\ufffd\ufffd"]


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    splitter = LineSplitter()
    assert sum(len(line) for _ in range(100) for line in splitter.feed(b"x" * 10_000)) > 900_000
