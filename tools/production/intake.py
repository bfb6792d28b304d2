"""Taking pictures in: from the bytes of a picture to its place in approved/ or rejected/, one recorded step after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from evals.judging.gates import gates_in_force, keep_readings
from evals.judging.picture_verdict import Verdict, verdict
from evals.judging.records import Assessment, explain_reason
from lifeos.errors import InputError
from lifeos.picture_names import REPAIRED, format_picture_name
from tools.production.batch_state import BatchState, ScoredFile, original_of
from tools.production.filing import APPROVED, BatchFolder, suffix_of
from tools.production.journal import Journal
from tools.production.plan import Item, Plan
from tools.production.repair_numbers import split_number
from tools.production.thumbnails import write_thumbnail

OnApproved = Callable[[str, int, str], None]
"""Told of each picture that was filed in approved/: its name, the number of its item, and the SHA-256 of its bytes."""


OnRejected = Callable[[Item, str, Verdict], None]
"""Told of each picture that was scored and filed in rejected/: its item, its name, and why."""


class Scorer(Protocol):
    """The part of an Assessor that the intake uses."""

    def assess_bytes(self, data: bytes, path: Path) -> Assessment: ...


class SetUpError(InputError):
    """The workflow saves what nobody here can read, saves nothing, or is refused: every other picture would end alike."""

    def __init__(self, node: str, why: str, fix: str = "have it save PNG, JPEG or WebP, as still pictures") -> None:
        super().__init__(node, f"{why}; the other pictures would be the same, so the batch stops", fix)


def describe_node(graph: Mapping[str, Any], node: str) -> str:
    """`node 9 (SaveImage)`, as far as it is known."""
    content = graph.get(node)
    kind = content.get("class_type", "") if isinstance(content, Mapping) else ""
    return (f"node {node}" if node else "the workflow") + (f" ({kind})" if kind else "")


class Intake:
    """Takes pictures in, scores, judges and files them. `admit` and `finish` may run in several threads at once.

    `state` is brought up to date as pictures pass; `lock` guards it.
    """

    def __init__(
        self,
        plan: Plan,
        folder: BatchFolder,
        journal: Journal,
        state: BatchState,
        scorer: Scorer,
        policy: Mapping[str, Any],
        on_approved: OnApproved = lambda name, index, sha256: None,
    ) -> None:
        self._on_approved = on_approved
        self.on_rejected: OnRejected = lambda item, name, judged: None
        self.plan, self.folder, self.journal, self.state = plan, folder, journal, state
        self.lock = threading.Lock()
        self._scorer, self._policy = scorer, policy
        self._keeps_others = any(gate.needs_others for gate in gates_in_force(policy))
        self._assessed: list[Assessment] = []

    def admit(
        self,
        item: Item,
        pictures: Sequence[bytes],
        *,
        seconds: float | None = None,
        prompt_id: str | None = None,
        nodes: Sequence[str] = (),
        server: str | None = None,
    ) -> None:
        """Store the pictures of an item, then score and file each of them. `nodes` are the ids of those that saved them.

        One that is filed already stays: the item was made again because another of its pictures was lost.
        Raises SetUpError for a picture that was made and cannot be read, where no picture of the batch could be so far.
        """
        names = picture_names(self.plan, item, pictures)
        fresh = [pair for pair in zip(names, pictures, strict=True) if pair[0] not in self.state.filed]
        self.folder.take_in(fresh)
        self._record_download(item, names, seconds, prompt_id, nodes, server)
        for name, data in fresh:
            self._pass(item, name, data)

    def adopt(self, item: Item, names: Sequence[str]) -> None:
        """Take in pictures that a killed run had stored, and not yet recorded."""
        known = self.state.item(item.index)
        self._record_download(item, names, None, known.prompt_id, server=known.server)
        self.finish(item)

    def finish(self, item: Item) -> None:
        """Bring an item that was downloaded to its end: score what has no score, file what has no place."""
        for name in self.state.item(item.index).files:
            place = None if self.state.is_settled(name) else self.folder.place_of(name)
            if place is not None:
                self._pass(item, name, self.folder.path(place, name).read_bytes())

    def _record_download(
        self,
        item: Item,
        names: Sequence[str],
        seconds: float | None,
        prompt_id: str | None,
        nodes: Sequence[str] = (),
        server: str | None = None,
    ) -> None:
        savers = dict(zip(names, nodes, strict=False))
        files = [{"file": name, "node": savers[name]} if savers.get(name) else {"file": name} for name in names]
        parent: dict[str, Any] = {"repairs": original} if (original := original_of(self.state, item.index)) is not None else {}
        told = {"seconds": seconds, "prompt_id": prompt_id, "server": server, **parent}
        self.journal.append("downloaded", item=item.index, files=files, **told)
        with self.lock:
            state = self.state.item(item.index)
            state.files, state.nodes, state.seconds = tuple(names), savers, seconds
            state.failure, state.lost = None, ()

    def _pass(self, item: Item, name: str, data: bytes) -> None:
        approved, judged = self.state.verdicts.get(name), None
        if approved is None:
            assessment = keep_readings(self._scorer.assess_bytes(data, Path(name)), self._policy, self._seen())
            self._check_readable(item, name, assessment)
            judged = verdict(assessment, self._policy)
            approved = judged.approved
            self.journal.append("scored", **scored_fields(item.index, name, assessment, judged, len(data)))
            if self._keeps_others:
                with self.lock:
                    self._assessed.append(assessment)
            with self.lock:
                self.state.scored[name] = ScoredFile(assessment.sha256 or "", assessment.reason, len(data), assessment.dhash)
        write_thumbnail(data, self.folder, name)
        if name in self.state.filed:  # it was away while all others were scored again
            self.folder.refile(name, approved=approved)
        place = self.folder.file(name, approved=approved)
        with self.lock:
            self.state.verdicts[name] = approved
        self._record_filed(item, name, place)
        if judged is not None and not approved:
            self.on_rejected(item, name, judged)

    def _check_readable(self, item: Item, name: str, assessment: Assessment) -> None:
        """A server that makes a picture which cannot be read makes all of them so, unless it has made another before."""
        if item.source is not None or assessment.reason is None:
            return
        with self.lock:
            if any(known.reason is None for known in self.state.scored.values()):
                return
            node = self.state.item(item.index).nodes.get(name, "")
        graph = self.plan.workflows[item.variant] if item.variant < len(self.plan.workflows) else {}
        why = f"saves pictures that cannot be read: {explain_reason(assessment.reason)}"
        raise SetUpError(describe_node(graph, node), why)

    def _seen(self) -> list[Assessment]:
        """The pictures of this run that were assessed before, where a gate looks at them."""
        with self.lock:
            return list(self._assessed)

    def _record_filed(self, item: Item, name: str, place: str) -> None:
        self.journal.append("filed", item=item.index, file=name, place=place)
        with self.lock:
            self.state.filed.add(name)
            self.state.places[name] = place
            known = self.state.scored.get(name)
        if place == APPROVED and known is not None:
            self._on_approved(name, split_number(item.index)[1], known.sha256)


def scored_fields(index: int, name: str, assessment: Assessment, judged: Verdict, size: int) -> dict[str, Any]:
    """What a record holds of a picture that was scored. `size`: of its file, in bytes."""
    return {
        "item": index,
        "file": name,
        "approved": judged.approved,
        "reasons": list(judged.reasons),
        "grounds": [ground.to_json() for ground in judged.grounds],
        "assessment": assessment.to_json(),
        "bytes": size,
    }


def picture_names(plan: Plan, item: Item, pictures: Sequence[bytes]) -> list[str]:
    """The file names of an item's pictures. A second one of the same prompt gets `_2` behind its stem."""
    if item.source is not None:
        return [flat_names(plan.images)[item.index - 1]]
    stem = stem_of(plan, item)
    return [f"{stem}{f'_{number}' if number > 1 else ''}{suffix_of(data)}" for number, data in enumerate(pictures, 1)]


def stem_of(plan: Plan, item: Item) -> str:
    if item.repairs:
        which = f"_{item.repairs}" if item.repairs > 1 else ""
        return f"{stem_of(plan, plan.item(split_number(item.index)[1]))}{which}{REPAIRED}"
    assert item.prompt_id is not None and item.variation is not None and item.seed is not None
    return format_picture_name(
        index=item.index,
        prompt_id=item.prompt_id,
        variation=item.variation,
        seed=item.seed,
        text=plan.prompt_of(item).partition(",")[2] or plan.prompt_of(item),  # the trigger word is the same in all
        config=plan.config_of(item),
        suffix="",
    )


@lru_cache(maxsize=4)  # asked for each picture of a folder
def flat_names(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Names for copies of pictures in one folder, each its own also where case does not count: `sub/a.png` gives `sub__a.png`."""
    taken: set[str] = set()
    names = []
    for source in sources:
        name = source.replace("/", "__")
        stem, dot, suffix = name.rpartition(".")
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}_{number}{dot}{suffix}"
        taken.add(name.casefold())
        names.append(name)
    return tuple(names)


def find_stored(plan: Plan, folder: BatchFolder, items: Sequence[Item]) -> list[tuple[Item, list[str]]]:
    """Items whose pictures lie whole in the incoming folder though no record says so: the program was killed in between."""
    by_stem: dict[str, str] = {path.stem: path.name for path in folder.incoming.iterdir()} if folder.incoming.is_dir() else {}
    found = []
    for item in items if by_stem else ():
        stem = stem_of(plan, item) if item.source is None else Path(flat_names(plan.images)[item.index - 1]).stem
        if stem in by_stem:  # the first is written last: when it is there, all are
            rest = [by_stem[f"{stem}_{number}"] for number in range(2, len(by_stem) + 1) if f"{stem}_{number}" in by_stem]
            found.append((item, [by_stem[stem], *rest]))
    return found
