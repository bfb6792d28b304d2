"""What a check of a training set says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lifeos.escaping import escape_line

Level = Literal["error", "warning", "notice"]
NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Notice:
    """One kind of finding and every file it holds for. An `error` would stop or spoil the training, a `warning` makes it worse than
    it could be, a `notice` is good to know."""

    check: str
    level: Level
    message: str
    files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"check": self.check, "level": self.level, "message": self.message, "files": list(self.files)}

    @property
    def text(self) -> str:
        if not self.files:
            return f"{self.level}: {self.message}"
        shown = ", ".join(escape_line(name) for name in self.files[:NAMES_SHOWN])
        more = f" and {len(self.files) - NAMES_SHOWN} more" if len(self.files) > NAMES_SHOWN else ""
        return f"{self.level}: {self.message}: {shown}{more}"


def is_unfit(notices: Iterable[Notice], *, strict: bool) -> bool:
    """Whether to say no: to errors, with `strict` to warnings too."""
    return any(notice.level == "error" or (strict and notice.level == "warning") for notice in notices)
