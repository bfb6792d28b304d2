"""What a cycle commits: the records that its steps declare, and changes of files that git has already. Nothing else, ever.

`git add --all` would commit whatever lies about: pictures, references, other people's faces. So a new file is committed only if a step
declares it; every other one is named and left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from lifeos.counting import counted
from lifeos.errors import InputError
from lifeos.guardrails.checkout import Checkout, NoGitError, ask_git

NO_AUTHOR = ("-c", "user.name=LifeOS", "-c", "user.email=lifeos@localhost")
"""For a machine whose git knows no author: a cycle must not fail there in its last step."""

GROUPED = 4
"""So many new files of one folder are named together."""


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """Paths relative to the project, `/`-separated. `new` are those of `files` that git does not have yet.

    `left` names the new files that nobody declared; a folder of them is one entry, with their number.
    """

    files: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def plan_commit(root: Path, declared: Iterable[Path | None], coming: Iterable[Path | None] = ()) -> CommitPlan:
    """What would be committed now. `declared` may hold patterns (`briefings/*.md`); `coming` are files that steps are about to write.

    Raises NoGitError where there is no git, InputError for a repository that git refuses to read.
    """
    patterns = _within(root, declared)
    others = _listed(root, "ls-files", "-z", "--others", "--exclude-standard")
    wanted = _listed(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *map(_pathspec, patterns)) if patterns else set()
    changed, staged = _changes(root)
    wanted |= {path for path in staged if any(PurePath(path).match(pattern) for pattern in patterns)}
    wanted = {path for path in wanted if not (root / path).is_symlink()}  # a link leads to what nobody has looked at
    expected = _within(root, coming)
    soon = {*expected} - Checkout(root).ignored(expected)
    files = {*changed, *wanted, *soon}
    known = _listed(root, "ls-files", "-z", "--cached")
    return CommitPlan(tuple(sorted(files)), tuple(sorted((wanted | soon) - known)), _group((others | staged) - files))


def commit_commands(root: Path, plan: CommitPlan, message: str) -> list[list[str]]:
    """The git commands of a plan; none for an empty one. What somebody has staged besides stays staged."""
    if not plan.files:
        return []
    git = ["git", "--literal-pathspecs", *([] if _has_author(root) else NO_AUTHOR)]
    add = [[*git, "add", "--", *plan.new]] if plan.new else []
    return [*add, [*git, "commit", "--only", "--message", message, "--", *plan.files]]


def _changes(root: Path) -> tuple[set[str], set[str]]:
    """Paths of the last commit that are different now, and paths that somebody has added to the index since."""
    try:
        ask_git(root, "rev-parse", "--quiet", "--verify", "HEAD")
    except InputError:  # no commit yet
        return set(), _listed(root, "ls-files", "-z", "--cached")
    told = ask_git(root, "diff", "--name-status", "-z", "--relative", "--find-renames", "--ignore-submodules=dirty", "HEAD").split("\0")
    changed: set[str] = set()
    staged: set[str] = set()
    fields = iter(told)
    for status in fields:
        if not status:
            continue
        path = next(fields)
        if status == "A":
            staged.add(path)
            continue
        changed.add(path)
        if status[0] in "RC":
            changed.add(next(fields))
    return changed, staged


def _listed(root: Path, *arguments: str) -> set[str]:
    return {path for path in ask_git(root, *arguments).split("\0") if path}


def _within(root: Path, paths: Iterable[Path | None]) -> list[str]:
    """The paths that lie in the project, relative to it."""
    real = root.resolve()
    inside = (Path(real, path) for path in paths if path is not None)
    return [path.relative_to(real).as_posix() for path in inside if path.is_relative_to(real) and ".." not in path.parts]


def _pathspec(pattern: str) -> str:
    return f":(glob){pattern}" if "*" in pattern else f":(literal){pattern}"


def _group(paths: set[str]) -> tuple[str, ...]:
    folders = Counter(path.rpartition("/")[0] for path in paths)
    many = {folder: count for folder, count in folders.items() if folder and count >= GROUPED}
    alone = [path for path in paths if path.rpartition("/")[0] not in many]
    return tuple(sorted([*alone, *(f"{folder}/ ({counted(count, 'file')})" for folder, count in many.items())]))


def _has_author(root: Path) -> bool:
    try:
        return bool(ask_git(root, "var", "GIT_COMMITTER_IDENT"))
    except (NoGitError, InputError):
        return False
