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


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A server with `held` prompts. `pace`: seconds a prompt, None before its first. `since`: seconds since its last end, or since it
    was given the first of those that it holds."""

    url: str
    held: int
    pace: float | None
    since: float = 0.0

    @property
    def is_known(self) -> bool:
        return self.pace is not None or self.held > 0

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


def is_needed(lane: LaneLoad, others: Iterable[LaneLoad], waiting: int) -> bool:
    """Whether a server should take one of the `waiting` prompts: not where the others end all of them before it would end one.

    Of servers that would end one at the same moment the first by name is needed, so that there always is one.
    """
    if not lane.is_known:
        return True
    end, taken = lane.next_end, 0
    for other in others:
        if other.pace is None:
            continue
        spare = end - (other.next_end - other.pace)
        if spare > 0 and other.pace > 0:
            wins_ties = other.url < lane.url
            taken += math.floor(spare / other.pace) if wins_ties else math.ceil(spare / other.pace) - 1
        if taken >= waiting:
            return False
    return True


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
