"""Git repositories for tests: a small project, and a full copy of this checkout with a history of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from lifeos.guardrails.checkout import Checkout, git_environment

ROOT = Path(__file__).resolve().parents[1]
DAY = 86_400
IDENTITY = {
    "GIT_AUTHOR_NAME": "tests",
    "GIT_AUTHOR_EMAIL": "tests@example.org",
    "GIT_COMMITTER_NAME": "tests",
    "GIT_COMMITTER_EMAIL": "tests@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
POLICY = """\
context_budget:
  also_counted: []
freshness:
  files:
    - {path: CLAUDE.md, refresh: "read it"}
    - {path: "research/*.md", refresh: "search again"}
"""


def git(root: Path, *arguments: str, days_ago: float = 0.0) -> str:
    """Run git in `root`; commits carry a date that lies `days_ago`."""
    when = f"{int(time.time() - days_ago * DAY)} +0000"
    environ = git_environment() | IDENTITY | {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    return subprocess.run(["git", *arguments], cwd=root, env=environ, check=True, capture_output=True, text=True).stdout


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def commit(root: Path, files: dict[str, str | bytes] | None = None, *, days_ago: float = 0.0) -> None:
    """Write files and commit everything."""
    write(root, files or {})
    git(root, "add", "--all", "--force")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "change", days_ago=days_ago)


def make_repository(root: Path, files: dict[str, str | bytes], *, days_ago: float = 0.0) -> Path:
    """A repository with one commit."""
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "--quiet", "--initial-branch", "main")
    commit(root, files, days_ago=days_ago)
    return root


def small_project(root: Path, files: dict[str, str | bytes] | None = None, *, days_ago: float = 0.0) -> Path:
    """The files that the context checks look for, and a policy that watches two of them."""
    text: dict[str, str | bytes] = {
        "CLAUDE.md": "# Memory\n\nRead `context/goals.md`.\n",
        "context/goals.md": "# Goals\n\n1. One.\n",
        "context/patterns.md": "# Patterns\n\n- One.\n",
        "context/session-learnings.md": "# Session learnings\n\n- One.\n",
        "research/one.md": "# One\n",
        "evals/thresholds.yaml": POLICY,
    }
    return make_repository(root, text | (files or {}), days_ago=days_ago)


def copy_checkout(target: Path) -> Path:
    """This checkout as it is on the disk, ignored files left out, as a repository with one commit of now."""
    for name in Checkout(ROOT).files:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return make_repository(target, {})
