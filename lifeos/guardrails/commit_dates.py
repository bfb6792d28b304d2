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

MOST_TOUCHES = 50
"""So many commits of a file that changed only its mode or line ends are looked past."""

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
            commit, when = _last_edit(root, path, *commits[path], border)
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
    """The paths whose content in the index or work tree differs from HEAD, among them files deleted by hand.

    Another file mode (a copy from Windows, a `chmod`) or other line ends (an editor, `core.autocrlf`) are nobody's work on a file.
    """
    listed = ask_git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *_literal(paths))
    found = {entry[3:].removeprefix(prefix): entry[:2] for entry in listed.split("\0") if entry}
    return {path for path, state in found.items() if not ("M" in state and _reads_the_same(root, path))}


def _last_edit(root: Path, path: str, commit: str, when: float, border: frozenset[str]) -> tuple[str, float]:
    """The newest commit up to this one that changed what the file says, and not only its mode or its line ends."""
    for _ in range(MOST_TOUCHES):
        if commit in border:
            break
        try:
            said = [_unix(ask_git(root, "show", f"{which}:./{path}")) for which in (commit, f"{commit}^")]
        except (NoGitError, InputError):  # it was not there before
            break
        earlier = _last_commits(root, [path], f"{commit}^") if said[0] == said[1] else {}
        if path not in earlier:
            break
        commit, when = earlier[path]
    return commit, when


def _reads_the_same(root: Path, path: str) -> bool:
    """Whether a changed file still says what it says in HEAD, line for line."""
    try:
        committed = ask_git(root, "show", f"HEAD:./{path}")
        now = (root / path).read_bytes().decode("utf-8", "surrogateescape")
    except (NoGitError, InputError, OSError):
        return False
    return not (root / path).is_symlink() and _unix(committed) == _unix(now)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


def _literal(paths: list[str]) -> list[str]:
    return [f":(literal){path}" for path in paths]


def _last_commits(root: Path, paths: list[str], start: str = "") -> dict[str, tuple[str, float]]:
    """Hash and committer date of the newest commit, from `start` (default: HEAD) on, that changed each path. One walk, left early."""
    found: dict[str, tuple[str, float]] = {}
    wanted = set(paths)
    if not wanted:
        return found
    # -c: a merge counts only for what it changed against all of its parents, such as a conflict resolved by hand
    command = git_command(
        "log", "-c", "--format=%x01%H %ct", "--name-only", "--no-renames", "--relative", *filter(None, [start]), "--", *_literal(paths)
    )
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
