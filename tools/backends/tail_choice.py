"""Which server makes what at the end of a batch, when some stand idle and slow ones still hold work. Pure functions on measured paces.

A pace is the seconds between two ends of a server by the clock, while it had something to do: one that runs several prompts at once
has a quicker pace than its prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

MARGIN = 1.2
"""A prompt is moved, or made a second time, only where the other server would need less than what is left divided by this."""

PRECISION = 1e-4
"""Of the time at which the last prompt is done."""


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A server with `held` prompts. `pace`: seconds a prompt, None before its first. `since`: seconds since its last end, or since it
    was given the first of those that it holds."""

    url: str
    held: int
    pace: float | None
    since: float = 0.0

    @property
    def assumed_pace(self) -> float:
        """What has run for a while, and nothing is known of it, will take as long again."""
        return self.pace if self.pace is not None else 2 * self.since

    def left(self, place: int) -> float:
        """Seconds until the prompt at a place, from 0, ends. One that is overdue takes as long again as it is overdue."""
        return abs(self.assumed_pace - self.since) + place * self.assumed_pace

    @property
    def next_end(self) -> float:
        """Seconds until one prompt more would be done, behind those that it holds."""
        return self.left(self.held - 1) + self.assumed_pace if self.held else self.assumed_pace


def last_end(loads: Iterable[LaneLoad], waiting: int) -> float:
    """Seconds until the last of the `waiting` prompts is done, each being made where it is done first. A server should take one only
    where it would have it done by then. Infinite where nothing is known of any server."""
    known = [(load.next_end - load.assumed_pace, load.assumed_pace) for load in loads if load.pace]
    if not known or waiting <= 0:
        return math.inf
    low, high = 0.0, min(drained + pace * waiting for drained, pace in known)
    while high - low > high * PRECISION:
        middle = (low + high) / 2
        done = sum(math.floor((middle - drained) / pace) for drained, pace in known if middle > drained)
        low, high = (low, middle) if done >= waiting else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class HeldPrompt:
    """A prompt on a server, and the seconds until it is expected to end there."""

    prompt_id: str
    server: str
    left: float


def choose_prompt(
    lane: LaneLoad, takers: Iterable[LaneLoad], held: Iterable[HeldPrompt], suits: Callable[[str, str], bool] = lambda url, prompt_id: True
) -> HeldPrompt | None:
    """The prompt that an idle server should make, None where nothing is gained by it.

    The quickest of the `takers`, busy ones among them, is for the prompt that would end last, the next for the next: so a server leaves
    to a quicker one what that will have done earlier. `suits(url, prompt_id)`: whether a server may have a prompt.
    """
    quick_first = sorted((taker for taker in takers if taker.pace is not None), key=lambda taker: (taker.next_end, taker.url))
    late_first: Sequence[HeldPrompt] = sorted(held, key=lambda prompt: (-prompt.left, prompt.prompt_id))
    given: set[str] = set()
    for taker in quick_first:
        chosen = next(
            (
                prompt
                for prompt in late_first
                if prompt.prompt_id not in given and prompt.server != taker.url and suits(taker.url, prompt.prompt_id)
            ),
            None,
        )
        if chosen is not None and taker.next_end * MARGIN >= chosen.left:
            chosen = None
        if taker.url == lane.url:
            return chosen
        if chosen is not None:
            given.add(chosen.prompt_id)
    return None
