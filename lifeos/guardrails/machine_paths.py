"""Absolute paths of somebody's machine: true for one person for a while, stale for everyone else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lifeos.findings import Finding
from lifeos.guardrails.checkout import Checkout, Document, is_made_by_runs

RULE = "machine-path"
HINTS = ("/home/", "/Users/", "/root/", "/mnt/", "/var/folders/", ":\\", ":/")
"""Literals of which each path below holds one: looked for first, since `in` is far faster than a search."""
MACHINE_PATH = re.compile(
    r"""(?<![\w.$}~)\]/-])(?:
        /(?:home|Users)/(?!(?:YOU|USER|USERNAME|NAME)\b)[A-Za-z0-9_][\w.-]*   # a person's folder; <you> and $USER do not match
      | /root/[\w.]
      | /mnt/[a-z]/(?:Users|home|[\w-]+/)                                     # a Windows drive in WSL
      | /(?:private/)?var/folders/\w
      | (?<!\w)[A-Za-z]:(?:\\\\?|/)(?:Users|home|Documents|[A-Za-z][\w.\ -]*(?:\\\\?|/))(?![/])
    )[\w./\\-]*""",
    re.VERBOSE,
)
TEXT_SUFFIXES = (".md", ".py", ".yaml", ".yml", ".toml", ".json", ".jsonl", ".txt", ".in", ".cfg", ".ini", ".sh", ".csv", ".html", ".js")

DATA_SUFFIXES = (".json", ".jsonl", ".csv", ".html")


def find_texts(checkout: Checkout) -> list[str]:
    """The text files of the checkout by their names; lock files hold nothing but hashes."""
    return [
        path for path in checkout.files if path.endswith(TEXT_SUFFIXES) and not (path.startswith("requirements") and path.endswith(".txt"))
    ]


def check_machine_paths(checkout: Checkout) -> list[Finding]:
    """Every such path in documents, code and settings, except in tests, which plant them.

    Data is left alone: a manifest or a history says where things lay, and that is a fact.
    """
    judged = [
        path
        for path in find_texts(checkout)
        if not path.startswith("tests/") and not path.endswith(DATA_SUFFIXES) and not is_made_by_runs(path)
    ]
    return [finding for path in judged for finding in find_machine_paths(checkout, checkout.document(path))]


def find_machine_paths(checkout: Checkout, document: Document) -> Iterator[Finding]:
    if not any(hint in document.text for hint in HINTS):
        return
    for number, line in enumerate(document.lines, 1):
        for match in MACHINE_PATH.finditer(line) if any(hint in line for hint in HINTS) else ():
            path = match.group(0).rstrip(".")
            ours = _ours(checkout, path)
            fix = (
                f"write {ours}, relative to the checkout"
                if ours
                else "write it relative to the checkout, or with a placeholder such as <folder>"
            )
            yield Finding(RULE, f"{path} is a path of one machine", fix, path=document.path, line=number)


def _ours(checkout: Checkout, path: str) -> str:
    """The file or folder of this checkout that the end of an absolute path names, or ""."""
    parts = re.split(r"[/\\]+", path)
    tails = ("/".join(parts[start:]) for start in range(1, len(parts)))
    return next((tail for tail in tails if tail in checkout.files or tail in checkout.folders), "")
