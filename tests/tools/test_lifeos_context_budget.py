"""The size of the context layer: budgets, totals, imports, and files that cannot be measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from lifeos.guardrails.checkout import Checkout, Document
from lifeos.guardrails.context_budget import check_context_budget, estimate_tokens, find_loaded, measure, rank_cuts
from tests.checkouts import ROOT, small_project, write
from tools import lifeos_context_budget

BUDGET = {
    "claude_md_max_lines": 120,
    "goals_max_lines": 10,
    "patterns_max_lines": 10,
    "session_learnings_max_lines": 80,
    "total_max_lines": 220,
    "also_counted": [],
    "long_line_characters": 400,
}


def check(root: Path, **changes: Any) -> list[str]:
    report = check_context_budget(Checkout(root), BUDGET | changes)
    return [f"{finding.severity} {finding.place}: {finding.text}" for finding in report.findings]


def test_small_layer_passes_with_its_numbers(tmp_path: Path) -> None:
    report = check_context_budget(Checkout(small_project(tmp_path)), BUDGET)
    assert report.passed
    assert report.data["total_lines"] == 12  # four files of three lines
    # 35, 17, 19 and 26 bytes are 9, 5, 5 and 7 tokens of 4 bytes, 26 in all
    assert [(file["estimated_tokens"], file["share"]) for file in report.data["files"]] == [
        (9, 0.3462),
        (5, 0.1923),
        (5, 0.1923),
        (7, 0.2692),
    ]


@pytest.mark.parametrize(("lines", "over"), [(10, False), (11, True)], ids=["at the budget", "a line over"])
def test_a_line_over_the_budget_is_named(tmp_path: Path, lines: int, over: bool) -> None:
    text = "".join(f"- {number}\n" for number in range(lines))
    root = small_project(tmp_path, {"context/goals.md": text})
    wanted = ['error context/goals.md:11: 11 lines, 10 allowed (cut 1 line, first in "(top)" at context/goals.md:1, 11 lines)']
    assert check(root) == (wanted if over else [])


@pytest.mark.parametrize(
    ("text", "lines"),
    [("", 0), ("a", 1), ("a\n", 1), ("a\n\n", 2), ("a\r\nb\r\n", 2), ("a\rb", 2), ("a\x0cb\u2028c\n", 1)],
    ids=["empty", "no end", "one", "blank counts", "crlf", "old mac", "form feed is no line end"],
)
def test_lines_are_counted_as_editors_do(tmp_path: Path, text: str, lines: int) -> None:
    root = small_project(tmp_path, {"CLAUDE.md": text})
    assert len(Checkout(root).document("CLAUDE.md").lines) == lines


def test_total_and_what_to_cut_first(tmp_path: Path) -> None:
    long = "# Learnings\n\n## Short\n\n- a\n\n## Long\n\n" + "".join(f"- something learnt, number {number}\n" for number in range(20))
    root = small_project(tmp_path, {"context/session-learnings.md": long})
    message = 'the context layer has 37 lines, 30 allowed (cut 7 lines, first in "Long" at context/session-learnings.md:7, 22 lines)'
    assert check(root, total_max_lines=30) == [f"error context/session-learnings.md:7: {message}"]


def test_cuts_come_first_from_files_over_their_own_budget() -> None:
    small = measure(Document("a.md", "# A\nx\nx\n"), 2)
    large = measure(Document("b.md", "# B\n" + "much text " * 50), None)
    assert [part.path for part in rank_cuts([large, small])] == ["a.md", "b.md"]


def test_headings_in_code_are_no_parts() -> None:
    parts = measure(Document("a.md", "# A\n```\n# no heading\n```\n## B\nx\n"), None).parts
    assert [(part.line, part.heading, part.lines) for part in parts] == [(1, "A", 4), (5, "B", 2)]


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("four", 1), ("fives", 2), ("ä" * 4, 2)], ids=["none", "4 bytes", "5 bytes", "8 bytes"]
)
def test_tokens_are_estimated_from_bytes(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_what_claude_md_imports_counts(tmp_path: Path) -> None:
    memory = "Read @context/extra.md and `@context/not-this.md`, mail me@context/goals.md\n```\n@context/nor-this.md\n```\n"
    files: dict[str, str | bytes] = {
        "CLAUDE.md": memory,
        "context/extra.md": "@deep/more.md\n",
        "context/deep/more.md": "x\n@../extra.md\n",
    }
    root = small_project(tmp_path, files | {"context/not-this.md": "x", "context/nor-this.md": "x"})
    assert find_loaded(Checkout(root), [])[4:] == ["context/extra.md", "context/deep/more.md"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "error context/goals.md: missing: its size cannot be judged (write it as UTF-8 text)"),
        (b"", "error context/goals.md: empty (write it, or the assistant starts without it)"),
        (b"  \n\n", "error context/goals.md: empty (write it, or the assistant starts without it)"),
        (b"# A\n\0\x01", "error context/goals.md:2: binary, not text: its size cannot be judged (write it as UTF-8 text)"),
        (
            "# Größe\n".encode("latin-1"),
            "error context/goals.md:1: not UTF-8 (byte 0xf6): its size cannot be judged (write it as UTF-8 text)",
        ),
        ("# A\n".encode("utf-16"), "error context/goals.md:1: UTF-16, not UTF-8: its size cannot be judged (write it as UTF-8 text)"),
        (
            b"x" * 50_000_000,
            "error context/goals.md: 50.0 MB: too large for a text that is read whole: its size cannot be judged (write it as UTF-8 text)",
        ),
    ],
    ids=["missing", "empty", "blank", "binary", "latin-1", "utf-16", "50 MB"],
)
def test_a_file_that_cannot_be_measured_fails(tmp_path: Path, content: bytes | None, message: str) -> None:
    root = small_project(tmp_path)
    (root / "context/goals.md").unlink()
    if content is not None:
        write(root, {"context/goals.md": content})
    assert check(root) == [message]


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert check(small_project(tmp_path, {"context/goals.md": "\ufeff# Goals\r\n"})) == []


def test_a_long_line_is_a_warning(tmp_path: Path) -> None:
    root = small_project(tmp_path, {"context/patterns.md": "# P\n" + "x" * 401 + "\n"})
    assert check(root) == ["warning context/patterns.md:2: a line of 401 characters, about 101 tokens (say it in under 400)"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 0), (["--total-max", "12"], 0), (["--total-max", "11"], 1), (["--total-max", "0"], 1)],
    ids=["policy", "exactly", "one less", "zero is a value"],
)
def test_total_max_overrides_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> None:
    root = small_project(tmp_path)
    assert lifeos_context_budget.main(["--project-root", str(root), "--json", *arguments]) == code
    assert json.loads(capsys.readouterr().out)["passed"] is (code == 0)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("context_budget: {goals_max_lines: ten}", 'thresholds.yaml:1: context_budget.goals_max_lines: the text "ten" found'),
        (
            "context_budget: {goal_max_lines: 3}",
            "thresholds.yaml:1: context_budget.goal_max_lines: unknown key: did you mean goals_max_lines",
        ),
        ("context_budget: ]", "thresholds.yaml:1: not YAML"),
    ],
    ids=["type", "unknown key", "no YAML"],
)
def test_a_bad_policy_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str, message: str) -> None:
    root = small_project(tmp_path, {"evals/thresholds.yaml": policy})
    assert cli.run(lambda: lifeos_context_budget.main(["--project-root", str(root)])) == 2
    assert message in capsys.readouterr().err


def test_a_fault_of_another_section_is_not_ours(tmp_path: Path) -> None:
    root = small_project(tmp_path, {"evals/thresholds.yaml": "face_similarity: {pass_threshold: 7}\ncontext_budget: {also_counted: []}\n"})
    assert lifeos_context_budget.main(["--project-root", str(root)]) == 0


def test_no_such_root_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "no"
    assert cli.run(lambda: lifeos_context_budget.main(["--project-root", str(missing)])) == 2
    assert capsys.readouterr().err == f"error: {missing}: no such directory (give --project-root an existing directory)\n"


def test_it_runs_from_anywhere_on_a_path_with_spaces_and_umlauts(tmp_path: Path) -> None:
    root = small_project(tmp_path / "ein Größen test")
    script = ROOT / "tools" / "lifeos_context_budget.py"
    done = subprocess.run(
        [sys.executable, str(script), "--project-root", str(root)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 files, 12 of 220 lines" in done.stdout
