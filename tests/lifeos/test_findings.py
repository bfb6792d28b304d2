"""Reports as text, JSON, annotations and summary; nothing in a finding can pose as a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lifeos.errors import InputError
from lifeos.findings import Finding, Report, publish, render_annotations, render_summary, render_text, sort_findings

ERROR = Finding("rule", "wrong", "mend it", path="a/b.md", line=3)
WARNING = Finding("other", "odd", severity="warning", path="a.md")
NOTICE = Finding("far", "by the way", severity="notice")


def test_text() -> None:
    report = Report("check", "3 files", (NOTICE, WARNING, ERROR), ("detail",))
    assert render_text(report) == (
        "check: 3 files\n  detail\nerror: a/b.md:3: wrong (mend it) [rule]\nwarning: a.md: odd [other]\nnotice: by the way [far]\n"
        "FAILED: 1 error, 1 warning, 1 notice"
    )
    assert render_text(Report("check", "all", ())).endswith("passed: nothing found")


def test_warnings_and_notices_pass() -> None:
    assert Report("check", "", (WARNING, NOTICE)).passed
    assert not Report("check", "", (WARNING, ERROR)).passed


def test_errors_come_first_then_by_place() -> None:
    later = Finding("rule", "x", path="a/b.md", line=12)
    assert sort_findings([NOTICE, later, WARNING, ERROR]) == [ERROR, later, WARNING, NOTICE]


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (ERROR, "::error file=a/b.md,line=3,title=rule::wrong (mend it)"),
        (WARNING, "::warning file=a.md,title=other::odd"),
        (NOTICE, "::notice title=far::by the way"),
        (
            Finding("r", "50 % of\n::error::x\r", path="a,b:c%.md", line=1),
            "::error file=a%2Cb%3Ac%25.md,line=1,title=r::50 %25 of\\n::error::x\\r",
        ),
    ],
    ids=["whole", "no line", "no file", "escaped"],
)
def test_annotations(finding: Finding, line: str) -> None:
    assert render_annotations([finding]) == line


def test_summary_escapes_markdown_and_html() -> None:
    text = render_summary(Report("check", "a|b", (Finding("r", "<script>|`x`", "*y*", path="a_b.md", line=1),), ("one\ntwo",)))
    assert text == (
        "### ❌ check\n\na\\|b\n\n    one\\ntwo\n\n| | where | what | how to fix it |\n|---|---|---|---|\n"
        "| ❌ | a_b.md:1 | &lt;script>\\|\\`x\\` | \\*y\\* |\n\n"
    )


def test_a_long_summary_is_cut_and_says_so() -> None:
    report = Report("check", "", tuple(Finding("r", "x", path="a.md", line=line) for line in range(1, 251)))
    rows = render_summary(report).splitlines()
    assert sum(row.startswith("| ❌") for row in rows) == 200
    assert "| | | and 50 more in the log | |" in rows


@pytest.mark.parametrize(
    ("format", "as_json", "environ", "kind"),
    [
        (None, False, {}, "text"),
        (None, False, {"GITHUB_ACTIONS": "true"}, "github"),
        ("text", False, {"GITHUB_ACTIONS": "true"}, "text"),
        ("github", False, {}, "github"),
        (None, True, {"GITHUB_ACTIONS": "true"}, "json"),
        ("json", False, {}, "json"),
    ],
    ids=["here", "GitHub", "forced text", "forced", "JSON wins on GitHub", "format json"],
)
def test_the_format(capsys: pytest.CaptureFixture[str], format: str | None, as_json: bool, environ: dict[str, str], kind: str) -> None:
    assert publish(Report("check", "sum", (ERROR,), data={"more": 1}), format=format, as_json=as_json, environ=environ) == 1
    out = capsys.readouterr().out
    if kind == "json":
        assert json.loads(out) == {
            "schema": 1,
            "check": "check",
            "passed": False,
            "summary": "sum",
            "findings": [{"rule": "rule", "path": "a/b.md", "line": 3, "message": "wrong", "fix": "mend it", "severity": "error"}],
            "more": 1,
        }
    assert ("::error file=a/b.md" in out) is (kind == "github")
    assert out.startswith("check: sum") is (kind != "json")


def test_the_summary_is_appended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "s.md")}
    assert publish(Report("one", "", ()), format=None, as_json=False, environ=environ) == 0
    assert publish(Report("two", "", ()), format=None, as_json=False, environ=environ) == 0
    text = (tmp_path / "s.md").read_text(encoding="utf-8")
    assert (text.count("### ✅ one"), text.count("### ✅ two")) == (1, 1)


def test_a_detail_cannot_be_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    publish(Report("::set-env", "::x", (), ("::add-mask::y", "##[group]z")), format="github", as_json=False, environ={})
    assert [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith(("::", "##["))] == []


def test_json_and_another_format_contradict() -> None:
    with pytest.raises(InputError, match="--json: contradicts --format github"):
        publish(Report("check", "", ()), format="github", as_json=True, environ={})


def test_a_finding_that_holds_for_many_files_names_some_and_keeps_all() -> None:
    finding = Finding(
        "no-caption", "7 pictures have no caption", "write one for each", "warning", files=tuple(f"{n}\x1b.png" for n in range(7))
    )
    shown = "0\\x1b.png, 1\\x1b.png, 2\\x1b.png, 3\\x1b.png, 4\\x1b.png and 2 more"
    assert finding.sentence == f"warning: 7 pictures have no caption: {shown} (write one for each) [no-caption]"
    assert len(finding.to_json()["files"]) == 7
    assert "files" not in ERROR.to_json()


def test_what_is_well_is_shown_and_changes_nothing() -> None:
    report = Report("pod", "ready", (Finding("disk", "9 GB free", severity="ok"), Finding("GPU memory", "none", "rent one", "warning")))
    assert render_text(report).splitlines() == [
        "pod: ready",
        "ok       disk        9 GB free",
        "warning  GPU memory  none",
        "                     -> rent one",
        "passed: 1 warning",
    ]
    assert (report.passed, render_annotations(report.findings)) == (True, "::warning title=GPU memory::none (rent one)")
