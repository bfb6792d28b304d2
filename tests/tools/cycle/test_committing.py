"""What the commit step takes: declared records and changes of tracked files. Everything else that is new is named and left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lifeos.guardrails.checkout import NoGitError
from tests.checkouts import IDENTITY, git, make_repository, write
from tools.cycle import cycle_record as kept
from tools.cycle.committing import CommitPlan, commit_commands, plan_commit
from tools.cycle.cycle import Cycle, CycleLimits, choose_steps, plan
from tools.cycle.steps import STEPS, CycleSettings, plan_cycle_commit

PEOPLE = {
    "references/face one.png": b"a face",
    "references/face two.png": b"a face",
    "references/face three.png": b"a face",
    "references/notes.txt": "who is who",
    "dataset/img_001.png": b"a face",
    "dataset/img_001.txt": "amiranoor, portrait",
    "out/0001.png": b"a picture",
    "face.jpg": b"a face",
    "evals/.latest_report.md.a1b2c3d4e5f6.tmp": "half a report",
}
RECORDS = {
    "evals/eval_history.jsonl": "{}\n",
    "evals/champion.json": "{}\n",
    "briefings/2026-02-11.md": "# Briefing\n",
    "research/seeds.md": "# Seeds\n",
    "tools/cost_log.jsonl": "{}\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    return make_repository(
        tmp_path / "a project", {"PROGRESS.md": "old\n", "gone.md": "x\n", "moved.md": "a long line that git knows again\n"}
    )


def _run_commit(root: Path, **settings) -> kept.CycleRecord:
    import io
    from datetime import UTC, datetime
    from decimal import Decimal

    from tools.cost.meter import Meter

    meter = Meter(root / "tools/cost_log.jsonl", root / "tools/.cost_session_state.json")
    cycle = Cycle(CycleSettings(root, **settings), CycleLimits(0, 0, Decimal(0)), meter, choose_steps(None, "commit"), io.BytesIO(), print)
    return cycle.run(lambda: datetime.now(UTC), fresh=True)[0]


def _last_commit(root: Path) -> set[str]:
    return set(git(root, "show", "--format=", "--name-only", "--no-renames", "-z", "HEAD").split("\0")) - {""}


def test_people_are_never_committed_and_named(root: Path) -> None:
    write(root, PEOPLE | RECORDS | {"PROGRESS.md": "new\n"})
    record = _run_commit(root)
    assert record.status == kept.DONE
    assert _last_commit(root) == {*RECORDS, "PROGRESS.md"}
    step = record.step("commit")
    assert step is not None
    assert step.artefacts == sorted([*RECORDS, "PROGRESS.md"])
    named = {"references/ (4 files)", "dataset/img_001.png", "out/0001.png", "face.jpg", "evals/.latest_report.md.a1b2c3d4e5f6.tmp"}
    assert named <= set(step.left)


def test_what_somebody_has_staged_is_not_ours(root: Path) -> None:
    """The agent said `git add --all`: its pictures stay staged, and out of the commit."""
    write(root, PEOPLE | RECORDS)
    git(root, "add", "--all", "--force")
    assert _run_commit(root).status == kept.DONE
    assert _last_commit(root) == set(RECORDS)
    assert "face.jpg" in git(root, "diff", "--cached", "--name-only")


def test_deleted_and_renamed_files_of_git_are_changes(root: Path) -> None:
    (root / "gone.md").unlink()
    git(root, "mv", "moved.md", "moved elsewhere.md")
    _run_commit(root)
    assert _last_commit(root) == {"gone.md", "moved.md", "moved elsewhere.md"}
    assert git(root, "status", "--porcelain", "--untracked-files=no") == ""


def test_a_repository_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    git(tmp_path, "init", "--quiet")
    write(tmp_path, PEOPLE | RECORDS)
    assert _run_commit(tmp_path).status == kept.DONE
    assert _last_commit(tmp_path) == set(RECORDS)


def test_a_project_within_a_repository_takes_only_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    outer = make_repository(tmp_path / "outer", {"other.md": "x\n", "project/PROGRESS.md": "old\n"})
    write(
        outer,
        {"other.md": "changed\n", "project/PROGRESS.md": "new\n", "project/evals/champion.json": "{}\n", "evals/champion.json": "{}\n"},
    )
    _run_commit(outer / "project")
    assert _last_commit(outer) == {"project/PROGRESS.md", "project/evals/champion.json"}


def test_nothing_changed_and_no_git_are_skipped(root: Path, tmp_path: Path) -> None:
    git(root, "add", "--all")
    record = _run_commit(root)
    step = record.step("commit")
    assert step is not None and (step.status, step.reason) == (kept.SKIPPED, "nothing has changed that belongs under version control")
    (tmp_path / "plain").mkdir()
    step = _run_commit(tmp_path / "plain").step("commit")
    assert step is not None and (step.status, step.reason) == (kept.SKIPPED, "not a git repository")
    with pytest.raises(NoGitError):
        plan_commit(tmp_path / "plain", [])


def test_a_declared_file_that_git_ignores_stays_out(root: Path) -> None:
    write(root, {".gitignore": "/evals/champion.json\n", "evals/champion.json": "{}\n"})
    assert plan_commit(root, [Path("evals/champion.json")], coming=[Path("evals/champion.json")]).files == ()


@pytest.mark.usefixtures("links")
def test_a_declared_link_is_left(root: Path) -> None:
    write(root, PEOPLE)
    (root / "evals" / "champion.json").symlink_to(root / "face.jpg")
    found = plan_commit(root, [Path("evals/champion.json")])
    assert found.files == () and "evals/champion.json" in found.left


def test_the_dry_run_lists_what_the_run_then_commits(root: Path) -> None:
    """The scorecard is written between the two."""
    write(root, PEOPLE | {"PROGRESS.md": "new\n"})
    settings = CycleSettings(root, generated_dir=root / "out", reference_dir=root / "references")
    steps = tuple(step for step in STEPS if step.name in ("scorecard", "comparison", "commit"))
    told = plan(settings, steps)[-1]
    written = ("evals/eval_history.jsonl", "evals/latest_report.md", "evals/latest_scorecard.json")
    assert told["commits"] == sorted(["PROGRESS.md", *written])
    assert "references/ (4 files)" in told["left"]
    assert _last_commit(root) == {"PROGRESS.md", "gone.md", "moved.md"}
    write(root, dict.fromkeys(written, "{}\n"))
    assert list(plan_cycle_commit(settings).files) == told["commits"]


def test_a_machine_whose_git_knows_no_author_commits_all_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in IDENTITY:
        if name.startswith(("GIT_AUTHOR", "GIT_COMMITTER")):
            monkeypatch.delenv(name)
    git_config = ["git", "config", "user.useConfigOnly", "true"]
    subprocess.run(git_config, cwd=root, check=True)
    write(root, RECORDS)
    assert _run_commit(root).status == kept.DONE
    assert git(root, "log", "-1", "--format=%an").strip() == "LifeOS"


@pytest.mark.usefixtures("names_of_any_bytes")
def test_file_names_are_no_flags_and_no_patterns(root: Path) -> None:
    write(root, {"research/--all.md": "x", "research/[a-z]*.md": "x", "research/ä\tb.md": "x", "research/q.md.png": b"x"})
    _run_commit(root)
    assert _last_commit(root) == {"research/--all.md", "research/[a-z]*.md", "research/ä\tb.md"}


def test_no_command_takes_everything() -> None:
    commands = commit_commands(Path(), CommitPlan(("a",), ("a",)), "message")
    assert [part for command in commands for part in command if part in ("--all", "-A", "-a", ".", "*")] == []
    assert json.dumps(commands).count('"--only"') == 1 and sys.executable not in json.dumps(commands)
