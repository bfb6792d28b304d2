"""Age by commit date, and honesty where git cannot know it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifeos import cli
from lifeos.guardrails import commit_dates as history
from lifeos.guardrails.checkout import Checkout, is_ci
from lifeos.guardrails.freshness import check_freshness
from lifeos.policy.defaults import DEFAULTS
from tests.capabilities import POSIX
from tests.checkouts import DAY, ROOT, commit, git, make_repository, small_project, write
from tools import lifeos_freshness_check

FILES = [{"path": "CLAUDE.md", "refresh": "read it"}, {"path": "research/*.md", "refresh": "search again"}]
UNKNOWN = "its age is unknown: this clone is shallow and its last commit lies before the cut"
UNSHALLOW = "git fetch --unshallow; on GitHub Actions: actions/checkout with fetch-depth: 0"


@pytest.fixture(autouse=True)
def _not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def check(root: Path, max_age_days: float = 14, *, in_ci: bool = False) -> list[str]:
    report = check_freshness(Checkout(root), FILES, max_age_days, now=time.time(), in_ci=in_ci)
    return [f"{finding.severity} {finding.place}: {finding.text}".strip() for finding in report.findings]


@pytest.mark.parametrize(
    ("days", "stale"), [(0, False), (13.9, False), (15, True), (400, True)], ids=["today", "just fresh", "15 days", "a year"]
)
def test_age_is_that_of_the_last_commit(tmp_path: Path, days: float, stale: bool) -> None:
    root = small_project(tmp_path, days_ago=days)
    os.utime(root / "CLAUDE.md")  # a checkout sets it to now: it must not count
    commit(root, {"research/one.md": "# Two\n"})
    wanted = [f"error CLAUDE.md:1: last committed {days:.1f} days ago, 14 allowed (refresh it: read it)"]
    assert check(root) == (wanted if stale else [])


def test_a_pattern_is_as_fresh_as_its_newest_match(tmp_path: Path) -> None:
    root = small_project(tmp_path, {"research/old.md": "x\n"}, days_ago=30)
    commit(root, {"CLAUDE.md": "x\n"})
    assert check(root) == ["error research/old.md:1: last committed 30.0 days ago, 14 allowed (refresh it: search again)"]
    commit(root, {"research/new.md": "x\n"}, days_ago=2)
    assert check(root) == []


def test_changes_not_committed_count_by_their_time(tmp_path: Path) -> None:
    root = small_project(tmp_path, days_ago=30)
    write(root, {"CLAUDE.md": "changed\n", "research/new.md": "untracked\n"})
    assert check(root) == []
    old = time.time() - 20 * DAY
    os.utime(root / "CLAUDE.md", (old, old))
    message = "changed and not yet committed: last edited 20.0 days ago, 14 allowed (refresh it: read it)"
    assert check(root) == [f"error CLAUDE.md:1: {message}"]


def test_a_missing_file_fails(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    (root / "CLAUDE.md").unlink()
    message = "missing: a watched file that does not exist (refresh it: read it; or take it out of freshness.files)"
    assert check(root) == [f"error CLAUDE.md: {message}"]
    commit(root)
    assert check(root) == [f"error CLAUDE.md: {message}"]


def test_a_merge_does_not_date_what_it_only_brings(tmp_path: Path) -> None:
    root = small_project(tmp_path, days_ago=40)
    git(root, "checkout", "-q", "-b", "side")
    commit(root, {"CLAUDE.md": "side\n"}, days_ago=30)
    git(root, "checkout", "-q", "main")
    commit(root, {"research/one.md": "main\n"}, days_ago=20)
    git(root, "merge", "-q", "--no-ff", "-m", "merge", "side")
    assert [line.split(":")[0] for line in check(root)] == ["error CLAUDE.md", "error research/one.md"]


def test_a_conflict_resolved_in_a_merge_is_a_change(tmp_path: Path) -> None:
    root = small_project(tmp_path, days_ago=40)
    git(root, "checkout", "-q", "-b", "side")
    commit(root, {"CLAUDE.md": "side\n"}, days_ago=30)
    git(root, "checkout", "-q", "main")
    commit(root, {"CLAUDE.md": "main\n", "research/one.md": "x\n"}, days_ago=20)
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "side")
    commit(root, {"CLAUDE.md": "both\n"}, days_ago=1)
    assert [line.split(":")[0] for line in check(root)] == ["error research/one.md"]


def shallow_clone(source: Path, target: Path, depth: int) -> Path:
    git(source.parent, "clone", "-q", "--depth", str(depth), source.as_uri(), str(target))
    return target


def test_depth_1_fails(tmp_path: Path) -> None:
    source = small_project(tmp_path / "source")
    commit(source, {"other.txt": "x\n"})
    found = check(shallow_clone(source, tmp_path / "clone", 1), in_ci=True)
    assert found == [
        f"error CLAUDE.md:1: {UNKNOWN} ({UNSHALLOW})",
        f"error research/one.md:1: {UNKNOWN} ({UNSHALLOW})",
        "warning : this clone is shallow: only commits after the cut date a file (git fetch --unshallow)",
    ]


def test_a_shallow_clone_dates_what_changed_after_its_cut(tmp_path: Path) -> None:
    source = small_project(tmp_path / "source")
    commit(source)
    commit(source, {"CLAUDE.md": "x\n"}, days_ago=3)
    found = check(shallow_clone(source, tmp_path / "clone", 2))
    assert [line.partition(":")[0] for line in found] == ["error research/one.md", "warning "]


def test_a_worktree_of_a_shallow_clone_is_shallow(tmp_path: Path) -> None:
    source = small_project(tmp_path / "source")
    commit(source, {"other.txt": "x\n"})
    clone = shallow_clone(source, tmp_path / "clone", 1)
    git(clone, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert check(tmp_path / "tree")[0] == f"error CLAUDE.md:1: {UNKNOWN} ({UNSHALLOW})"


def test_a_shallow_clone_whose_cut_is_too_old_is_stale(tmp_path: Path) -> None:
    source = small_project(tmp_path / "source", days_ago=30)
    found = check(shallow_clone(source, tmp_path / "clone", 1))
    assert found[0] == "error CLAUDE.md:1: last committed at least 30.0 days ago, 14 allowed (refresh it: read it)"


def test_outside_git_the_files_time_counts_except_in_ci(tmp_path: Path) -> None:
    write(tmp_path, {"CLAUDE.md": "x\n", "research/one.md": "x\n"})
    assert check(tmp_path) == ["warning : not a git repository: judged by modification times, which a copy resets"]
    why = "its age is unknown: not a git repository, and a CI machine has just written it (check it out with git)"
    assert check(tmp_path, in_ci=True) == [f"error CLAUDE.md:1: {why}", f"error research/one.md:1: {why}"]
    old = time.time() - 15 * DAY
    os.utime(tmp_path / "CLAUDE.md", (old, old))
    assert check(tmp_path)[0] == "error CLAUDE.md:1: last edited 15.0 days ago, 14 allowed (refresh it: read it)"


def test_without_the_git_command_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_project(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing here"))
    assert check(root) == ["warning : git is not installed: judged by modification times, which a copy resets"]


def test_detached_head_subfolder_submodule_and_worktree(tmp_path: Path) -> None:
    inner = small_project(tmp_path / "inner", days_ago=15)
    stale = ["error CLAUDE.md:1: last committed 15.0 days ago, 14 allowed (refresh it: read it)"]
    commit(inner, {"research/one.md": "new\n"})
    git(inner, "checkout", "-q", "--detach")
    assert check(inner) == stale
    git(inner, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert check(tmp_path / "tree") == stale
    outer = make_repository(tmp_path / "outer", {"a": "x"})
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner), "sub")
    git(outer, "commit", "-q", "-m", "submodule")
    assert check(outer / "sub") == stale
    mono = make_repository(tmp_path / "mono", {"project/CLAUDE.md": "x\n", "project/research/a.md": "x\n"}, days_ago=15)
    commit(mono, {"project/research/a.md": "y\n", "CLAUDE.md": "another one\n"})
    assert check(mono / "project") == stale
    write(mono, {"project/CLAUDE.md": "changed, not committed\n"})
    assert check(mono / "project") == []


def test_a_sparse_checkout_still_knows_the_dates(tmp_path: Path) -> None:
    root = small_project(tmp_path, days_ago=15)
    commit(root, {"research/one.md": "new\n"})
    git(root, "sparse-checkout", "set", "--no-cone", "/CLAUDE.md", "/evals/")
    assert not (root / "research").exists()
    assert check(root) == ["error CLAUDE.md:1: last committed 15.0 days ago, 14 allowed (refresh it: read it)"]


def test_a_repository_without_commits(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, {"CLAUDE.md": "x\n", "research/one.md": "x\n"})
    assert check(tmp_path) == []
    assert [line.partition(":")[0] for line in check(tmp_path, -1)] == ["error CLAUDE.md", "error research/one.md"]


def test_a_repository_that_git_distrusts_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = small_project(tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own test switch
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert cli.run(lambda: lifeos_freshness_check.main(["--project-root", str(root)])) == 2
    why = "git does not trust this folder: another user owns it"
    assert capsys.readouterr().err == f"error: {root}: {why} (git config --global --add safe.directory {root})\n"


def test_a_hook_s_environment_does_not_lead_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = small_project(tmp_path / "other", days_ago=30)
    root = small_project(tmp_path / "root")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert check(root) == []


def test_a_date_in_the_future_is_a_wrong_clock(tmp_path: Path) -> None:
    root = small_project(tmp_path, days_ago=-3)
    commit(root, {"research/one.md": "x\n"})
    assert check(root) == ["error CLAUDE.md:1: last committed 3.0 days in the future (set the clock, then commit it again)"]


def test_an_empty_list_watches_nothing_and_fails(tmp_path: Path) -> None:
    report = check_freshness(Checkout(small_project(tmp_path)), [], 14, now=0.0, in_ci=False)
    assert [finding.message for finding in report.findings] == ["freshness.files is empty: nothing is watched"]


def test_the_walk_ends_with_the_last_file_found(tmp_path: Path) -> None:
    root = small_project(tmp_path, days_ago=9)
    for number in range(5):
        commit(root, {"a.txt": f"{number}\n"}, days_ago=5)
    found = history.read_history(root, ["CLAUDE.md", "a.txt", "absent.md"])
    assert {path: change.source for path, change in found.changes.items()} == {
        "CLAUDE.md": "commit",
        "a.txt": "commit",
        "absent.md": "missing",
    }


@pytest.mark.parametrize(
    ("environ", "arguments", "code", "limit"),
    [
        ({}, [], 1, 7),
        ({"CI": "true"}, [], 0, 14),
        ({"CI": "false"}, [], 1, 7),
        ({"GITHUB_ACTIONS": "true"}, [], 0, 14),
        ({"CI": "true"}, ["--max-age-days", "9"], 1, 9),
        ({}, ["--max-age-days", "0"], 1, 0),
        ({}, ["--max-age-days", "10.5"], 0, 10.5),
    ],
    ids=["here: 7", "CI: 14", "CI=false", "GitHub", "flag over CI", "zero is a value", "fraction"],
)
def test_the_limit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    arguments: list[str],
    code: int,
    limit: float,
) -> None:
    root = small_project(tmp_path, days_ago=10)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert lifeos_freshness_check.main(["--project-root", str(root), "--json", *arguments]) == code
    assert json.loads(capsys.readouterr().out)["max_age_days"] == limit


def test_skip_in_ci_is_loud_and_only_in_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = small_project(tmp_path, days_ago=99)
    assert lifeos_freshness_check.main(["--project-root", str(root), "--skip-in-ci"]) == 1
    monkeypatch.setenv("CI", "1")
    capsys.readouterr()
    assert lifeos_freshness_check.main(["--project-root", str(root), "--skip-in-ci"]) == 0
    message = "skipped: this is a CI machine and --skip-in-ci was given; the age of no file was judged"
    assert f"warning: {message}" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "wanted"), [("true", True), ("1", True), ("", False), ("0", False), ("False", False)])
def test_what_counts_as_ci(value: str, wanted: bool) -> None:
    assert is_ci({"CI": value}) is wanted


def test_github_annotations_and_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = small_project(tmp_path, days_ago=15)
    commit(root, {"research/one.md": "x\n"})
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert lifeos_freshness_check.main(["--project-root", str(root)]) == 1
    out = capsys.readouterr().out
    assert "::error file=CLAUDE.md,line=1,title=freshness::last committed 15.0 days ago, 14 allowed (refresh it: read it)\n" in out
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "| ❌ | CLAUDE.md:1 | last committed 15.0 days ago, 14 allowed | refresh it: read it |" in summary


@pytest.mark.skipif(not POSIX or os.geteuid() == 0, reason="needs a folder that it may not write")
def test_a_read_only_checkout(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    for path in [root, *root.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o555)
    try:
        assert check(root) == []
    finally:
        for path in [root, *root.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o700)


def test_git_changes_nothing(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    os.utime(root / "CLAUDE.md", (1_700_000_000, 1_700_000_000))  # the index is out of date now: a plain `git status` would write it
    before = (root / ".git" / "index").read_bytes()
    check(root)
    assert (root / ".git" / "index").read_bytes() == before


def test_it_runs_from_anywhere(tmp_path: Path) -> None:
    root = small_project(tmp_path / "with space")
    script = ROOT / "tools" / "lifeos_freshness_check.py"
    assert shutil.which("git")
    done = subprocess.run(
        [sys.executable, str(script), "--project-root", str(root)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "mode", "fresh"),
    [
        pytest.param(b"# Memory\r\n\r\nRead `context/goals.md`.\r\n", 0o644, False, id="other line ends"),
        pytest.param(b"# Memory\n\nRead `context/goals.md`.\n", 0o755, False, id="another mode"),
        pytest.param(b"# Memory\r\n\r\nRead `context/goals.md`.\r\n", 0o755, False, id="both"),
        pytest.param(b"# Memory\n\nRead `context/goals.md` first.\n", 0o644, True, id="an edit"),
        pytest.param(b"# Memory\r\n\r\nRead `context/goals.md` first.\r\n", 0o755, True, id="an edit with other line ends"),
    ],
)
@pytest.mark.parametrize("staged", [False, True])
def test_a_mode_and_line_ends_are_no_edit(tmp_path: Path, text: bytes, mode: int, fresh: bool, staged: bool) -> None:
    """A stale file that was only touched would have been fresh."""
    root = small_project(tmp_path / "project", days_ago=15)
    (root / "CLAUDE.md").write_bytes(text)
    (root / "CLAUDE.md").chmod(mode)
    if staged:
        git(root, "add", "CLAUDE.md")
    stale = [finding for finding in check(root) if "CLAUDE.md" in finding]
    assert stale == ([] if fresh else ["error CLAUDE.md:1: last committed 15.0 days ago, 14 allowed (refresh it: read it)"])


def test_a_commit_of_a_mode_and_line_ends_is_no_edit_either(tmp_path: Path) -> None:
    """Somebody normalised the line ends of all files yesterday: what they say is as old as before."""
    root = small_project(tmp_path / "project", days_ago=15)
    old = (root / "CLAUDE.md").read_bytes()
    (root / "CLAUDE.md").write_bytes(old.replace(b"\n", b"\r\n"))
    (root / "CLAUDE.md").chmod(0o755)
    commit(root, days_ago=2)
    (root / "CLAUDE.md").write_bytes(old)
    commit(root, days_ago=1)
    assert [finding for finding in check(root) if "CLAUDE.md" in finding] == [
        "error CLAUDE.md:1: last committed 15.0 days ago, 14 allowed (refresh it: read it)"
    ]


def test_every_refresh_of_the_policy_ends_in_a_commit_of_that_file() -> None:
    """The age is that of the last commit: running something that changes nothing refreshes nothing."""
    assert [entry["path"] for entry in DEFAULTS["freshness"]["files"] if not entry["refresh"].endswith("commit")] == []
