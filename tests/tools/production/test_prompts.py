"""Prompt files as people save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifeos.errors import InputError
from tools.production.prompts import BUILT_IN, read_prompts, shorten

LONG = "amiranoor, " + "x" * 9_989


@pytest.mark.parametrize(
    ("data", "prompts"),
    [
        pytest.param(b"one\ntwo\n", ["one", "two"], id="plain"),
        pytest.param(b"\xef\xbb\xbfone\r\ntwo\r\n", ["one", "two"], id="byte-order-mark-and-crlf"),
        pytest.param(b"one\rtwo", ["one", "two"], id="old-mac-line-ends"),
        pytest.param(
            b"\n\n  one  \n\t\n# a comment\n  # another\ntwo # not a comment", ["one", "two # not a comment"], id="blank-and-comments"
        ),
        pytest.param("a café, 😀, naïve".encode(), ["a café, 😀, naïve"], id="emoji"),
        pytest.param(b"one\x0ctwo", None, id="form-feed-is-a-control-character"),
        pytest.param("one\u2028still one".encode(), ["one\u2028still one"], id="line-separator-is-text"),
        pytest.param(LONG.encode(), [LONG], id="10000-characters"),
        pytest.param(b"# <b>|`$(rm -rf)`\n<script>alert(1)</script> | **x**", ["<script>alert(1)</script> | **x**"], id="markup"),
        pytest.param(b"same\nsame", ["same", "same"], id="twice-is-twice"),
        pytest.param(b"one\0two", None, id="nul"),
    ],
)
def test_read_prompts(tmp_path: Path, data: bytes, prompts: list[str] | None) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    if prompts is None:
        with pytest.raises(InputError, match=r"prompts\.txt:1: a control character"):
            read_prompts(path)
    else:
        assert read_prompts(path) == prompts


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# only a comment\n", b"\xef\xbb\xbf"], ids=["empty", "blank", "comments", "mark-alone"])
def test_a_file_without_prompts_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_prompts(path)
    assert str(caught.value) == f"{path}: holds no prompt (write one prompt a line; lines that begin with # are comments)"


def test_the_built_in_prompts_are_those_of_the_specification() -> None:
    assert len(BUILT_IN) == 10
    assert BUILT_IN[0] == "amiranoor, candid photo at outdoor cafe, golden hour, shot on Canon 5D 85mm, shallow dof"
    assert BUILT_IN[9] == "amiranoor, poolside, bright midday sun, swimwear, vacation candid"


def test_shorten() -> None:
    assert shorten("a  b\nc", 10) == "a b c"
    assert shorten("abcdefghij", 5) == "abcd…"
