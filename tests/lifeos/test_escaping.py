"""Text from outside on its way to a terminal, Markdown, HTML and CSV: read back, it is the text and nothing else."""

from __future__ import annotations

import csv
import io
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifeos.escaping import escape_csv, escape_html, escape_line, escape_markdown, escape_markdown_code, escape_terminal

NOT_UTF8 = os.fsdecode(b"caf\xe9.png")
ANY_TEXT = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain × – 日本 🙂", "plain × – 日本 🙂"),
        ("red \x1b[31mtext\x1b[0m", "red \\x1b[31mtext\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("title\x07\x7f", "title\\x07\\x7f"),
        ("two\nlines\r::error::", "two\\nlines\\r::error::"),
        ("gnp.\u202ecod", "gnp.\\u202ecod"),
        (NOT_UTF8, "caf\\xe9.png"),
        ("\ud800", "\\ud800"),
    ],
    ids=["plain", "colour", "C1", "bell and delete", "lines", "direction", "not UTF-8", "lone surrogate"],
)
def test_one_line_of_a_terminal(text: str, line: str) -> None:
    assert escape_line(text) == line


def test_several_lines_of_a_terminal_stay() -> None:
    assert escape_terminal("a\n\tb\x1b]0;title\x07\r") == "a\n\tb\\x1b]0;title\\x07\\r"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("a | b", "a \\| b"),
        ("*bold* _word_ ~gone~", "\\*bold\\* \\_word\\_ \\~gone\\~"),
        ("![x](https://example.org)", "!\\[x\\](https://example.org)"),
        ("`code` \\*", "\\`code\\` \\\\\\*"),
        ("# title", "\\# title"),
        ("> quoted, 1 > 0", "\\> quoted, 1 > 0"),
        ("- item", "\\- item"),
        ("1. first", "1\\. first"),
        ("a & b &lt;", "a &amp; b &amp;lt;"),
        ("v3_step0001.safetensors", "v3_step0001.safetensors"),
        ("$x$", "\\$x\\$"),
        ("two\nlines\t\x1b[0m", "two lines \\\\x1b\\[0m"),
    ],
)
def test_markdown(text: str, cell: str) -> None:
    assert escape_markdown(text) == cell


@given(ANY_TEXT)
def test_markdown_never_breaks_out_of_a_cell(text: str) -> None:
    cell = escape_markdown(text)
    assert "\n" not in cell and "<" not in cell and re.search(r"(?<!\\)(?:\\\\)*\|", cell) is None
    cell.encode("utf-8")


def test_code_in_markdown_ends_where_it_ends() -> None:
    assert escape_markdown_code("a`b|c\n\x1b") == "a'b¦c \\x1b"


def test_html() -> None:
    assert escape_html(f'<b title="x">\'&\x1b {NOT_UTF8}') == "&lt;b title=&quot;x&quot;&gt;&#x27;&amp;\\x1b caf\\xe9.png"


@given(ANY_TEXT)
def test_html_holds_no_tag_and_can_be_written(text: str) -> None:
    assert set("<>\"'").isdisjoint(escape_html(text))
    escape_html(text).encode("utf-8")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (0.5, 0.5),
        (-1, -1),
        ("portrait, -ar 3:2", "portrait, -ar 3:2"),
        ("=1+1", "'=1+1"),
        ("  @SUM(A1)", "'  @SUM(A1)"),
        ("a;=1+1", "a;'=1+1"),
        ('a; "=1+1"', 'a; "\'=1+1"'),
        ("a\n+1", "a\n'+1"),
        ("\t=1", "'\t'=1"),
        ("＝1", "'＝1"),
        ("5-7", "5-7"),
        ("\x1b", "\\x1b"),
        (NOT_UTF8, "caf\\xe9.png"),
    ],
    ids=str,
)
def test_a_csv_cell(value: object, cell: object) -> None:
    assert escape_csv(value) == cell


@given(st.lists(ANY_TEXT, min_size=1, max_size=4), st.sampled_from([",", ";", "\t"]))
def test_no_cell_is_a_formula_however_a_spreadsheet_separates(values: list[str], separator: str) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([escape_csv(value) for value in values])
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        rows = csv.reader(out.getvalue().splitlines(keepends=True), delimiter=separator, quoting=quoting)
        cells = [cell.strip('" ') for row in rows for cell in row]
        if separator != "," or quoting == csv.QUOTE_MINIMAL:
            assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
