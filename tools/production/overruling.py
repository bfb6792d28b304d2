"""Guards of publishing: gates that a person overrules only with a reason, which stays in the record of the decision.

A guard asks whether a picture may be published at all (it shows somebody, or copies a training picture), the other gates whether it is
good. A picture that was moved by hand over a guard stays where it was put; until a review adds the reason, reports name it.
"""

from __future__ import annotations

from collections.abc import Iterable

from evals.judging.gates import GATES


def guards_among(groups: Iterable[tuple[str, str, str]]) -> tuple[str, ...]:
    """The guards that reject a picture, by key, of the groups of all reasons against it (`picture_verdict.Reason.group`)."""
    guards = [gate for gate in GATES if gate.is_guard]
    by_name = {gate.subject: gate.key for gate in guards} | {gate.key: gate.key for gate in guards}
    return tuple(dict.fromkeys(by_name[group[0]] for group in groups if group[0] in by_name))


def titles_of(guards: Iterable[str]) -> str:
    """Guards in words."""
    titles = {gate.key: gate.title for gate in GATES}
    return " and ".join(titles.get(key, key.replace("_", " ")) for key in guards)
