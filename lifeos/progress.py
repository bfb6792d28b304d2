"""Progress for people: a bar with rate and time left, on stderr, only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TypeVar

from lifeos.escaping import escape_terminal
from lifeos.printing import note

T = TypeVar("T")
PLAIN_WIDTH = 80
"""Of a terminal that does not say how wide it is, as in many containers: tqdm would take it for one without room."""


class Progress:
    """A bar while the body runs: `with Progress(total, "scoring", unit="picture") as bar: bar.advance(approved=3)`.

    Off a terminal nothing is printed and tqdm is not imported. With `estimates=False` it tells no time left: the caller does.
    """

    def __init__(self, total: int | None, title: str, *, unit: str = "it", initial: int = 0, estimates: bool = True) -> None:
        self._bar: Any = None
        if sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            width = {"dynamic_ncols": True} if _has_width() else {"ncols": PLAIN_WIDTH}
            form = {} if estimates else {"bar_format": "{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"}
            self._bar = tqdm(total=total, desc=title, unit=unit, initial=initial, file=sys.stderr, smoothing=0.1, **width, **form)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int = 1, **fields: object) -> None:
        """Count on, and show `fields` (numbers, short words) behind the rate."""
        if self._bar is None:
            return
        if fields:
            self._bar.set_postfix({key: str(value) for key, value in fields.items()}, refresh=False)
        self._bar.update(count)

    def note(self, message: str) -> None:
        """A line above the bar, or plainly on stderr where there is none."""
        if self._bar is None:
            note(message)
        else:
            self._bar.write(escape_terminal(message), file=sys.stderr)


def _has_width() -> bool:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def track(items: Iterable[T], title: str, *, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """`items`, with a bar that advances as they are taken."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(total, title, unit=unit) as bar:
        for item in items:
            yield item
            bar.advance()
