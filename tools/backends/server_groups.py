"""Many servers at once: asked together, and those that are left out of a batch told together, one line for each reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from lifeos.errors import LifeosError, UnavailableError
from tools.backends.backend import Backend

T = TypeVar("T")

MOST_AT_ONCE = 256
"""Threads; each waits for one server."""
NAMED = 3
"""So many servers of a group stand in a line."""
AGAIN = "tried again while the batch runs"


@dataclass(frozen=True, slots=True)
class LeftOutServer:
    """A server that does not take part, why, and how to mend it. `comes_back`: it takes part as soon as that is mended."""

    url: str
    why: str
    fix: str = ""
    comes_back: bool = True

    @classmethod
    def of(cls, url: str, error: LifeosError, *, comes_back: bool = True) -> LeftOutServer:
        return cls(url, error.why, error.fix, comes_back)

    @property
    def error(self) -> UnavailableError:
        return UnavailableError(self.url, self.why, self.fix)


def ask_all(servers: Sequence[Backend], ask: Callable[[Backend], T], seconds: float | None = None) -> list[T | UnavailableError]:
    """The answer of each, in their order, or why there is none; all are asked at once.

    `seconds`: for all together; who has not answered by then goes on in a thread of its own, and nobody hears of it. A single server has
    all the time that its options give it.
    """
    if len(servers) < 2:
        return [_asked(ask, server) for server in servers]
    pool = ThreadPoolExecutor(min(len(servers), MOST_AT_ONCE), thread_name_prefix="ask")
    try:
        futures = [pool.submit(_asked, ask, server) for server in servers]
        wait(futures, seconds)
        return [_answer(future, server, seconds) for future, server in zip(futures, servers, strict=True)]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _asked(ask: Callable[[Backend], T], server: Backend) -> T | UnavailableError:
    try:
        return ask(server)
    except UnavailableError as error:
        return error


def _answer(future: Future[T | UnavailableError], server: Backend, seconds: float | None) -> T | UnavailableError:
    if future.done():
        return future.result()
    return UnavailableError(server.url, f"does not answer within {seconds:g} s", "is it running? start it, or leave it out")


def tell_left_out(left: Iterable[LeftOutServer], total: int) -> list[str]:
    """One line for each reason, the most servers first: `60 of 100 servers: cannot be reached (…): a, b, c and 57 more (start them)`."""
    return [_line(group, total) for group in _grouped(left)]


def none_of(left: Sequence[LeftOutServer], what: str) -> UnavailableError:
    """The refusal where no server is left: in the words of the only one, else one line with all reasons."""
    if len(left) == 1:
        return left[0].error
    groups = _grouped(left)
    why = "; ".join(f"{group[0].why}: {names_of([each.url for each in group])}" for group in groups)
    fixes = dict.fromkeys(group[0].fix for group in groups if group[0].fix)
    return UnavailableError("the servers", f"none of {len(left)} {what}: {why}", "; ".join(fixes))


def names_of(urls: Sequence[str]) -> str:
    more = f" and {len(urls) - NAMED} more" if len(urls) > NAMED + 1 else ""
    return ", ".join(urls[: NAMED if more else NAMED + 1]) + more


def _grouped(left: Iterable[LeftOutServer]) -> list[list[LeftOutServer]]:
    groups: dict[tuple[str, str, bool], list[LeftOutServer]] = {}
    for each in left:
        groups.setdefault((each.why, each.fix, each.comes_back), []).append(each)
    return sorted(groups.values(), key=len, reverse=True)


def _line(group: Sequence[LeftOutServer], total: int) -> str:
    first, urls = group[0], names_of([each.url for each in group])
    told = f"{urls}: {first.why}" if len(group) == 1 else f"{len(group)} of {total} servers: {first.why}: {urls}"
    hints = "; ".join(_hints(first))
    return f"{told} ({hints})" if hints else told


def _hints(first: LeftOutServer) -> Iterator[str]:
    if first.fix:
        yield first.fix
    if first.comes_back:
        yield AGAIN
