"""One reviewer at work on a batch: what is decided becomes a line on the disk before anybody is told that it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lifeos.errors import InputError
from tools.production.decisions import REVIEW, DecidedPicture, Decision, Verdict, writing
from tools.production.journal import now_text
from tools.production.overruling import titles_of
from tools.production.results import PictureResult
from tools.reviewing.reviewed_batch import ReviewedBatch, Snapshot
from tools.reviewing.sampling import ReviewSample, open_sample
from tools.reviewing.undoing import find_steps, undo_lines

MOST_LETTERS = 500
MOST_AT_ONCE = 200
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to say of a picture, as the page sends it."""

    name: str
    verdict: Verdict
    reason: str = ""


class RefusedError(InputError):
    """A wish that cannot be written down. `picture` is the one that it is about; `guards` wait for a reason."""

    def __init__(self, picture: str, why: str, fix: str = "", guards: tuple[str, ...] = ()) -> None:
        self.picture, self.guards = picture, guards
        super().__init__(picture, why, fix)


def check_reviewer(name: str) -> str:
    """A reviewer's name as it is recorded. Raises InputError for one that no report could show."""
    clean = " ".join(name.split())
    if not clean or not clean.isprintable() or len(clean) > LONGEST_NAME:
        raise InputError("--reviewer", f"{name[:80]!r} is no name: 1 to {LONGEST_NAME} letters on one line are wanted", "give another")
    return clean


class ReviewDesk:
    """Writes down what `reviewer` decides. May be asked from any thread; other programs may write to the same batch meanwhile."""

    def __init__(self, batch: ReviewedBatch, reviewer: str, *, blind: bool = False, sample: int | None = None) -> None:
        self.batch, self.reviewer, self.blind = batch, check_reviewer(reviewer), blind
        self.on_change: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self.sample: ReviewSample | None = None
        if sample is not None:
            found = batch.look()
            with writing(batch.folder.root):
                there = {name: picture for name, picture in found.pictures.items() if name not in found.settled.gone}
                self.sample = open_sample(batch.folder.root, found.plan.batch_id, sample, there, found.policy)

    def asked(self, found: Snapshot) -> Mapping[str, PictureResult]:
        """The pictures of this review: all that are there, or those of the sample in its order."""
        there = {name: picture for name, picture in found.pictures.items() if name not in found.settled.gone}
        if self.sample is None:
            return there
        return {each.name: there[each.name] for each in self.sample.pictures if each.name in there}

    def own_verdicts(self, found: Snapshot) -> dict[str, Decision]:
        """What the reviewer says of each picture; in a sample only what was said of it as a part of one."""
        own: dict[str, Decision] = {}
        for name, each in found.settled.verdicts.items():
            mine = [one for one in each if one.by == self.reviewer and (self.sample is None or one.sample is not None)]
            if mine:
                own[name] = max(mine, key=lambda one: one.when)
        return own

    def decide(self, wishes: Sequence[Wish]) -> list[str]:
        """Write down what is wanted of some pictures, as one step. Returns the names of those about which something is new.

        Raises RefusedError, and writes nothing, where one of them cannot be decided so.
        """
        if not 0 < len(wishes) <= MOST_AT_ONCE:
            raise InputError("the request", f"is about {len(wishes)} pictures; 1 to {MOST_AT_ONCE} are taken at once")
        self.batch.look()  # which refuses where the batch was moved away: nothing is begun in its place
        with self._lock, writing(self.batch.folder.root) as append:
            found = self.batch.look()
            own = self.own_verdicts(found)
            when = self._now(found)
            lines = [line for wish in wishes if (line := self._line(found, own.get(wish.name), wish, when)) is not None]
            append(lines)
        if lines:
            self.on_change()
        return [line.picture.name for line in lines]

    def undo(self) -> list[str]:
        """Take back the reviewer's newest step. Returns the names of its pictures; none where there is nothing left to take back."""
        self.batch.look()
        with self._lock, writing(self.batch.folder.root) as append:
            found = self.batch.look()
            steps = find_steps(found.lines, self.reviewer)
            if not steps:
                return []
            stands = [one for each in found.settled.verdicts.values() for one in each if one.by == self.reviewer]
            lines = undo_lines(steps[-1], stands, self._now(found))
            append(lines)
        self.on_change()
        return [line.picture.name for line in lines]

    def count_steps(self, found: Snapshot) -> int:
        """How many steps can be undone."""
        return len(find_steps(found.lines, self.reviewer))

    def _line(self, found: Snapshot, before: Decision | None, wish: Wish, when: str) -> Decision | None:
        """The line for a wish; None where it says what stands already."""
        picture = found.pictures.get(wish.name)
        if picture is None:
            raise RefusedError(wish.name, "no scored picture of this batch has that name", "load the page again")
        if wish.name in found.settled.gone:
            raise RefusedError(wish.name, "is gone: somebody deleted it or took it away", "put it back, or leave it out")
        line = replace(self._verdict(picture, wish), when=when)
        if line.withdrawn:
            return None if before is None else replace(before, when=when, withdrawn=True, undo=False, reason="", overrules=())
        return None if before is not None and line.says_the_same(before) else line

    def _verdict(self, picture: PictureResult, wish: Wish) -> Decision:
        approved, reason = wish.verdict == "approved", " ".join(wish.reason.split())
        if len(reason) > MOST_LETTERS:
            raise RefusedError(wish.name, f"its reason has {len(reason)} letters; at most {MOST_LETTERS} are kept")
        # who does not see what a guard found does not overrule it: that verdict serves calibration alone
        opinion = self.blind and (bool(picture.guards_against) or picture.copy is not None)
        overrules = picture.guards_against if approved and not opinion else ()
        if overrules and not reason:
            raise RefusedError(wish.name, f"{titles_of(overrules)} rejects it", "approving it needs a reason", overrules)
        return Decision(
            DecidedPicture(picture.file, picture.assessment.sha256 or ""),
            approved,
            self.reviewer,
            origin=REVIEW,
            reason=reason,
            withdrawn=wish.verdict == "withdrawn",
            overrules=overrules,
            blind=self.blind,
            sample=self.sample.mark_of(picture.file) if self.sample is not None else None,
            opinion=opinion,
        )

    def _now(self, found: Snapshot) -> str:
        """The time of a step: later than that of every one before, so that a step is known by it."""
        now = now_text()
        latest = max((line.when for line in found.lines if line.by == self.reviewer and line.origin == REVIEW), default="")
        if now > latest:
            return now
        later = datetime.fromisoformat(latest) + timedelta(milliseconds=1)
        return later.isoformat(timespec="milliseconds").replace("+00:00", "Z")
