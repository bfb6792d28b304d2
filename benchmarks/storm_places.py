"""What a storm of kills strikes: the folder a script works in, its commands, and what has to hold of the files it leaves."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[1]
TIME = re.compile(r"[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}(?:\.[0-9]+)?Z")

Kept = dict[str, str]
"""Name -> what is known of it: a digest of its bytes, or its words."""


@dataclass(slots=True)
class Place:
    """A folder in which one script works. `options` are the flags of the storm; `server` makes its pictures, if it makes any."""

    root: Path
    options: Namespace
    server: EmbeddedServer | None = None

    @property
    def url(self) -> str:
        return self.server.url if self.server is not None else ""

    @property
    def executed(self) -> int:
        """How many prompts the server has run."""
        return len(self.server.executed) if self.server is not None else 0


@dataclass(frozen=True, slots=True)
class Step:
    """One command, begun again until it ends by itself with one of `codes`."""

    argv: Callable[[Place], list[str]]
    codes: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Target:
    """A script to strike, and what has to hold.

    After each kill: what `kept` finds is never lost or changed later, and `find_faults` finds nothing. When the last command has ended
    by itself: `result` is that of an undisturbed run. `kills_a_round` of them strike one folder; then the next begins.
    """

    name: str
    prepare: Callable[[Place], None]
    steps: tuple[Step, ...]
    kept: Callable[[Place], Kept]
    result: Callable[[Place], Kept]
    find_faults: Callable[[Place], list[str]] = lambda place: []
    after_kill: Callable[[Place], None] = lambda place: None
    kills_a_round: int = 3
    serves: bool = False
    """Whether it needs a server; then it is killed once for each three pictures of a batch."""

    def kills_in_round(self, options: Namespace) -> int:
        return max(1, options.pictures // 3) if self.serves else self.kills_a_round


def script(name: str, flags: Mapping[str, object], *more: str) -> list[str]:
    """The command line of a script of this checkout. A flag whose value is None is left out, a list repeats it."""
    given = [(flag, each) for flag, value in flags.items() for each in (value if isinstance(value, list) else [value])]
    return [sys.executable, str(ROOT / name), *(text for flag, value in given if value is not None for text in (flag, str(value))), *more]


def engine_flags(options: Namespace) -> dict[str, object]:
    files = {"--model-root": options.model_root, "--face-model": options.face_model}
    places = {flag: path.resolve() if path else None for flag, path in files.items()}
    return {"--engine": options.engine, "--model-pack": options.model_pack, **places}


def digests(root: Path, paths: Iterable[Path]) -> Kept:
    """Path in `root` -> SHA-256 of the files that are there. Temporary files do not count."""
    files = (path for path in sorted(paths) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def filed(folder: Path) -> Kept:
    """`approved/NAME` or `rejected/NAME` -> SHA-256, of a batch and of the batches in it."""
    return digests(folder, (path for place in ("approved", "rejected") for path in folder.rglob(f"{place}/*")))


def read_words(place: Place, name: str) -> str:
    """A file's text without its points in time and the folder's own path, which differ between two runs. Empty where there is none."""
    path = place.root / name
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return TIME.sub("TIME", text.replace(place.root.as_posix(), "FOLDER"))


def read_whole(path: Path) -> list[dict[str, Any]]:
    """The rows of a log. Raises ValueError for a line that is no JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def find_torn(*paths: Path) -> list[str]:
    """Files that are there and no JSON (`.jsonl`: a line of them is not)."""
    torn = []
    for path in paths:
        try:
            if path.suffix == ".jsonl":
                read_whole(path)
            elif path.exists():
                json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            torn.append(f"{path.name} is not whole: {error}")
    return torn


def find_doubles(names: Iterable[object], what: str) -> list[str]:
    return [f"{what} {name} is there {count} times" for name, count in Counter(map(str, names)).items() if count > 1]
