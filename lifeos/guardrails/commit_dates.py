"""When files last changed: by commit date, and honest where git cannot know.

A checkout sets every file's mtime to now, and in a clone of depth 1 git answers HEAD's date for every file. So a date counts
only if the commit's own parents are here: in a shallow clone a commit at the border "adds" every file and dates none.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lifeos.errors import InputError
from lifeos.guardrails.checkout import NoGitError, ask_git, git_command, git_environment

Source = Literal["commit", "uncommitted", "file", "border", "missing"]


@dataclass(frozen=True, slots=True)
class LastChange:
    """When a file last changed, in seconds since 1970, and how that is known.

    `commit`: the date of its last commit. `uncommitted`: it has changes not committed, so its modification time. `file`: there
    is no git, so its modification time. `border`: the history was cut off before its last commit: `when` is no earlier than
    the truth. `missing`: there is no such file. A file that a sparse checkout leaves out has its commit's date.
    """

    when: float
    source: Source


@dataclass(frozen=True, slots=True)
class History:
    """The last changes of some files. `without_git` says why git could not be asked, `shallow` that the history is cut off."""

    changes: dict[str, LastChange]
    without_git: str = ""
    shallow: bool = False


def read_history(root: Path, paths: list[str]) -> History:
    """The last change of each path (relative to `root`, `/`-separated)."""
    try:
        asked = ask_git(root, "rev-parse", "--is-inside-work-tree", "--is-shallow-repository", "--git-common-dir", "--show-prefix")
    except NoGitError as reason:
        return History({path: _by_file(root, path, "file") for path in paths}, without_git=str(reason))
    inside, shallow, common, prefix = asked.split("\n")[:4]
    if inside != "true":
        return History({path: _by_file(root, path, "file") for path in paths}, without_git="not inside a work tree")
    border = frozenset(_read_border(root / common)) if shallow == "true" else frozenset()
    changed = _changed(root, prefix, paths) if paths else set()
    commits = _last_commits(root, [path for path in paths if path not in changed])
    changes = {}
    for path in paths:
        if path not in commits:  # changed, untracked, or ignored
            changes[path] = _by_file(root, path, "uncommitted")
        else:
            commit, when = commits[path]
            changes[path] = LastChange(when, "border" if commit in border else "commit")
    return History(changes, shallow=shallow == "true")


def _by_file(root: Path, path: str, source: Source) -> LastChange:
    file = root / path
    return LastChange(file.stat().st_mtime, source) if file.is_file() else LastChange(0.0, "missing")


def _read_border(common: Path) -> list[str]:
    try:
        return (common / "shallow").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []


def _changed(root: Path, prefix: str, paths: list[str]) -> set[str]:
    """The paths whose content in the index or work tree differs from HEAD, among them files deleted by hand."""
    listed = ask_git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *_literal(paths))
    return {entry[3:].removeprefix(prefix) for entry in listed.split("\0") if entry}


def _literal(paths: list[str]) -> list[str]:
    return [f":(literal){path}" for path in paths]


def _last_commits(root: Path, paths: list[str]) -> dict[str, tuple[str, float]]:
    """Hash and committer date of the newest commit that changed each path: one walk, left as soon as all are found."""
    found: dict[str, tuple[str, float]] = {}
    wanted = set(paths)
    if not wanted:
        return found
    # -c: a merge counts only for what it changed against all of its parents, such as a conflict resolved by hand
    command = git_command("log", "-c", "--format=%x01%H %ct", "--name-only", "--no-renames", "--relative", "--", *_literal(paths))
    with subprocess.Popen(command, cwd=root, env=git_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        commit, when = "", 0.0
        for raw in process.stdout:
            line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
            if line.startswith("\x01"):
                commit, _, seconds = line[1:].partition(" ")
                when = float(seconds)
            elif line in wanted and line not in found:
                found[line] = (commit, when)
                if len(found) == len(wanted):
                    process.kill()
                    return found
        said = process.stderr.read().decode("utf-8", "replace").strip()
    if process.returncode and "does not have any commits yet" not in said:
        raise InputError(root, f"git log failed: {said.splitlines()[0] if said else process.returncode}")
    return found
