"""The files of a checkout, and how to ask git about it.

A checkout may be a clone, a subfolder of another repository, a submodule, an unpacked archive, or a machine without git.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from lifeos.errors import InputError
from lifeos.project import require_directory

MAX_TEXT_BYTES = 2_000_000
"""No file that people or assistants read is larger; a lock file is 0.3 MB."""
SKIPPED_FOLDERS = frozenset(
    {".git", ".lifeos", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".nox", ".mypy_cache", ".ruff_cache"}
)
MISSING = "missing"
"""The `problem` of a file that is not there."""
OUR_FOLDERS = frozenset(
    {"lifeos", "evals", "tools", "context", "agents", "research", "briefings", "tests", "benchmarks", "wheels", "skills", "docs", ".github"}
)
MADE_BY_RUNS = (
    "evals/eval_history.jsonl",
    "evals/threshold_changes.jsonl",
    "evals/latest_scorecard.json",
    "evals/latest_report.md",
    "evals/comparison_report.*",
    "tools/cost_log.jsonl",
    "tools/guard_log.jsonl",
    "tools/published_register.jsonl",
    "briefings",
    "briefings/*",
    "context/tasks.md",
)
"""Named in the documents and written by runs: absent from a fresh clone, and not judged as documents. What git ignores is known
without being listed."""
GIT_LOCATION = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_NAMESPACE")
"""Set inside a hook; they would make git answer for another repository than the one asked about."""


def is_ci(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this runs on a CI machine: `CI` is set by GitHub, GitLab, CircleCI and most others."""
    return environ.get("CI", "").lower() not in ("", "0", "false", "no") or environ.get("GITHUB_ACTIONS") == "true"


def git_command(*arguments: str) -> list[str]:
    """A git command that changes nothing, runs no hook of the repository and prints paths as they are."""
    return ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *arguments]


def git_environment() -> dict[str, str]:
    environ = {key: value for key, value in os.environ.items() if key not in GIT_LOCATION}
    return environ | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}


def is_made_by_runs(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in MADE_BY_RUNS)


class NoGitError(Exception):
    """Git cannot answer here: `str()` says why."""


def ask_git(root: Path, *arguments: str, text: str | None = None) -> str:
    """What a git command prints. Raises NoGitError where git is missing or `root` is no checkout of it.

    A repository that git refuses to read is an InputError: taking it for "no repository" would turn a check off.
    """
    try:
        done = subprocess.run(
            git_command(*arguments),
            cwd=root,
            env=git_environment(),
            input=(text or "").encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise NoGitError("git is not installed") from None
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "surrogateescape")
    said = done.stderr.decode("utf-8", "replace").strip()
    if "not a git repository" in said:
        raise NoGitError("not a git repository")
    if "dubious ownership" in said:
        raise InputError(root, "git does not trust this folder: another user owns it", f"git config --global --add safe.directory {root}")
    raise InputError(root, f"git {arguments[0]} failed: {said.splitlines()[0] if said else done.returncode}")


@dataclass(frozen=True)
class Document:
    """A text file as read: its text with `\\n` line ends, or what is wrong with it in `problem`, seen at `line`; and its bytes."""

    path: str
    text: str
    problem: str = ""
    line: int = 0
    data: bytes = field(default=b"", repr=False)

    @cached_property
    def lines(self) -> list[str]:
        lines = self.text.split("\n")
        return lines[:-1] if lines[-1] == "" else lines


class Checkout:
    """A project root and its files; each file is read once."""

    def __init__(self, root: Path) -> None:
        self.root = require_directory(root, "--project-root").resolve()
        self._documents: dict[str, Document] = {}

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Every file that git knows, and those not yet added in our folders and at the top, `/`-separated.

        What else lies about untracked (a batch, a dataset, an environment) is nobody's document, and is not even listed.
        """
        ours = [*(folder for folder in sorted(OUR_FOLDERS) if (self.root / folder).is_dir()), ":(glob)*"]
        try:
            listed = ask_git(self.root, "ls-files", "-z", "--cached").split("\0")
            listed += ask_git(self.root, "ls-files", "-z", "--others", "--exclude-standard", "--", *ours).split("\0")
        except NoGitError:
            listed = []
        return tuple(sorted({*listed} - {""}) or self._walk())  # nothing listed: a folder that a repository around it ignores

    def _walk(self) -> list[str]:
        found: list[str] = []
        for parent, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS and not Path(parent, name, "pyvenv.cfg").exists()]
            found += [Path(parent, name).relative_to(self.root).as_posix() for name in names]
        return sorted(found)

    @cached_property
    def folders(self) -> frozenset[str]:
        """Every folder that holds a file, with its parents."""
        found: set[str] = set()
        for path in self.files:
            while path := path.rpartition("/")[0]:
                if path in found:
                    break
                found.add(path)
        return frozenset(found)

    @cached_property
    def present(self) -> frozenset[str]:
        """The files that are on the disk (one deleted but not yet committed is not), and all folders."""
        return frozenset(path for path in self.files if (self.root / path).exists()) | self.folders

    def document(self, path: str) -> Document:
        if path not in self._documents:
            self._documents[path] = read_document(self.root, path)
        return self._documents[path]

    def replace(self, document: Document) -> None:
        """Judge this text in place of the file's: what would hold if it were written."""
        self._documents[document.path] = document

    def ignored(self, paths: list[str]) -> set[str]:
        """Those of the paths that git ignores, whether or not they exist."""
        if not paths:
            return set()
        try:
            matches = ask_git(self.root, "check-ignore", "--stdin", "-z", "--verbose", "--non-matching", text="\0".join(paths) + "\0")
        except (NoGitError, InputError):
            return set()
        fields = matches.split("\0")  # source, line number, pattern, path; the first three empty where nothing matches
        return {path for source, path in zip(fields[0::4], fields[3::4], strict=False) if source}


def read_document(root: Path, path: str) -> Document:
    """Read one text file, UTF-8 with or without a byte order mark. Never raises: what is wrong is said in `problem`."""
    try:
        with open(root / path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Document(path, "", "not a regular file")
            data = file.read(MAX_TEXT_BYTES + 1)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        dangling = (root / path).is_symlink()
        return Document(path, "", "a link to a file that does not exist" if dangling else MISSING)
    except IsADirectoryError:
        return Document(path, "", "a folder, not a file")
    except OSError as error:
        return Document(path, "", f"cannot be read: {error.strerror}")
    if len(data) > MAX_TEXT_BYTES:
        return Document(path, "", f"{size / 1e6:.1f} MB: too large for a text that is read whole")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Document(path, "", "UTF-16, not UTF-8", 1, data)
    if b"\0" in data:
        return Document(path, "", "binary, not text", data[: data.index(b"\0")].count(b"\n") + 1, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Document(path, data.decode("latin-1"), f"not UTF-8 (byte 0x{data[error.start]:02x})", line, data)
    return Document(path, text.replace("\r\n", "\n").replace("\r", "\n"), data=data)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a named pipe would wait for a writer for ever
