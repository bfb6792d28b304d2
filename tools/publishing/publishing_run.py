"""Bring published/ of a batch up to date: a copy of each approved picture, none of any other, and the text that goes with them.

The same command again goes on where it stopped: a copy that is there, whole and made with the same settings stays; one that is missing,
was changed or was made with other settings is made again under its old id. A copy of a picture that is no longer approved, of which the
name is another now, or that somebody changed, is moved to `.work/withdrawn`: nothing is deleted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lifeos import environment, files, locks
from lifeos.counting import counted, verb
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError
from lifeos.file_names import stored_name
from lifeos.images import is_picture_name, read_picture
from lifeos.progress import track
from tools.production.batch_state import BatchState
from tools.production.filing import BatchFolder, check_writable
from tools.production.journal import JOURNAL_FILE, read_state
from tools.production.overruling import titles_of
from tools.production.plan import PLAN_FILE, Plan, read_plan
from tools.production.rejudging import policy_in_force
from tools.production.repair_numbers import split_number
from tools.production.results import read_results
from tools.production.settling import Settled, settle_decisions
from tools.publishing.disclosure import disclosure_text, is_disclosure
from tools.publishing.publisher import (
    PUBLISHED,
    STAGED,
    BatchIdentity,
    NotPublishedError,
    Original,
    PublishedCopy,
    Publisher,
    Signing,
    open_signing,
)
from tools.publishing.publishing_settings import PublishingSettings
from tools.publishing.register import Publication, batch_place

WITHDRAWN = ".work/withdrawn"
README = "README.txt"
NAMED_WITHDRAWN = 5
EMBEDDED_SOFTWARE, GENERATED_SOFTWARE = "LifeOS demo server", "ComfyUI"


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy that was there already."""

    original: str
    publication: Publication


@dataclass(slots=True)
class PublishingResult:
    """What became of each approved picture, and of each other file in published/."""

    root: Path
    published: list[PublishedCopy] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Approved pictures that have no copy, and why."""
    withdrawn: list[tuple[str, str]] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    """Pictures in published/ that are none of its copies."""
    credentials: str = ""
    """What is to be said of content credentials for all copies: that they are off, say."""
    notice: str = ""
    """What the server says of its pictures: that no image model made them. Empty for a real one."""

    @property
    def exit_code(self) -> int:
        return EXIT_GATE if self.refused or self.strangers else EXIT_OK

    def to_json(self) -> dict[str, Any]:
        return {
            "published_dir": str(self.root / PUBLISHED),
            "counts": {
                "approved": len(self.published) + len(self.kept) + len(self.refused),
                "published": len(self.published),
                "kept": len(self.kept),
                "refused": len(self.refused),
                "withdrawn": len(self.withdrawn),
                "strangers": len(self.strangers),
            },
            "content_credentials": self.credentials,
            "engine_notice": self.notice or None,
            "published": [_row(copy.original, copy.publication) | {"carries": list(copy.report.carries)} for copy in self.published],
            "kept": [_row(each.original, each.publication) for each in self.kept],
            "refused": [{"picture": name, "why": why} for name, why in self.refused],
            "withdrawn": [{"file": name, "why": why} for name, why in self.withdrawn],
            "strangers": self.strangers,
        }


def _row(original: str, publication: Publication) -> dict[str, Any]:
    return {
        "picture": original,
        "file": publication.file,
        "sha256": publication.sha256,
        "format": publication.format,
        "labels": dict(publication.labels),
        "certificate": publication.certificate,
    }


def identity_of(plan: Plan, folder: BatchFolder, root: Path, ai_system: str = "") -> BatchIdentity:
    """What the copies of a batch have in common. `root`: of the project."""
    made_by = "" if not plan.generates else EMBEDDED_SOFTWARE if plan.engine_notice else GENERATED_SOFTWARE
    return BatchIdentity(plan.batch_id, plan.run_id, batch_place(folder.root, root), ai_system or made_by, plan.prompts)


class PublisherMaker:
    """Makes the publishers of batches with the same settings. `root`: of the project. `own_folder`: of a self-made certificate, else in
    LIFEOS_HOME."""

    def __init__(
        self,
        policy: Mapping[str, Any],
        settings: PublishingSettings,
        root: Path,
        note: Callable[[str], None],
        own_folder: Path | None = None,
    ) -> None:
        self.policy, self.settings, self._root, self._note = policy, settings, root, note
        self._own_folder = own_folder or environment.home() / "signing"

    @cached_property
    def signing(self) -> Signing:
        """Opened and tried out once. Raises UnavailableError without the packages, InputError for what cannot sign."""
        return open_signing(self.settings, self._own_folder, self._note)

    def open(self) -> None:
        """Try out what signs, before there is a batch. Raises as `signing`."""
        _ = self.signing

    def make(self, plan: Plan, folder: BatchFolder) -> Publisher:
        credits = self.settings.credits
        software = " ".join(part for part in (credits.ai_system, credits.ai_system_version) if part)
        batch = identity_of(plan, folder, self._root, software)
        return Publisher(folder.root, self.settings, batch, self.signing, self._note)


def publish_batch(output: Path, maker: PublisherMaker, note: Callable[[str], None]) -> PublishingResult:
    """Publish the approved pictures of the batch in a directory. Raises InputError where there is none, LockedError where one runs."""
    folder = BatchFolder(output)
    check_writable(output)
    if not (output / PLAN_FILE).exists():
        raise InputError(output, "there is no batch here", "name the --output-dir of tools/production_pipeline.py")
    with locks.hold(folder.lock, str(output)):
        plan = read_plan(output)
        assert plan is not None
        publisher = maker.make(plan, folder)
        state = read_state(output / JOURNAL_FILE, note)
        settled = settle_decisions(folder, state, note)
        held_back = find_held_back(plan, folder, state, settled, maker.policy, note)
        result = bring_up_to_date(folder, publisher, state, settled, held_back)
        result.notice = plan.engine_notice or ""
        return result


def bring_up_to_date(
    folder: BatchFolder, publisher: Publisher, state: BatchState, settled: Settled, held_back: Mapping[str, str] = MappingProxyType({})
) -> PublishingResult:
    """Publish what is missing and take out what does not belong. `held_back`: approved pictures that may not be published, and why.

    The caller holds the directory's lock.
    """
    shutil.rmtree(folder.root / STAGED, ignore_errors=True)  # what a killed run left
    result = PublishingResult(folder.root, credentials=describe_signing(publisher))
    approved = find_originals(folder, state, settled)
    result.refused += [(original.name, held_back[original.name]) for original in approved if original.name in held_back]
    originals = [original for original in approved if original.name not in held_back]
    current: dict[str, str] = {}
    for original in track(originals, "publishing", unit="picture"):
        _publish_one(publisher, original, result, current)
    _take_out(folder, publisher, state, {original.name for original in originals}, current, result)
    _write_disclosure(folder.root / PUBLISHED / README, publisher.settings.languages)
    return result


def _write_disclosure(path: Path, languages: Sequence[str]) -> None:
    """A text that somebody wrote or changed stays as it is."""
    text = disclosure_text(languages)
    before = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    if before != text and (not before or is_disclosure(before)):
        files.write_text(path, text)


def find_held_back(
    plan: Plan, folder: BatchFolder, state: BatchState, settled: Settled, policy: Mapping[str, Any], note: Callable[[str], None]
) -> dict[str, str]:
    """The pictures that a person approved against a guard of publishing without saying why; and what is to be done."""
    if not any(decision.approved and not decision.reason for decision in settled.decisions.values()):
        return {}
    results = read_results(plan, folder, state, settled, policy_in_force(policy, plan, state), note)
    return {
        picture.file: f"{titles_of(picture.guards_against)} rejects it, and whoever approved it gave no reason (give one: tools/review.py)"
        for picture in results.pictures
        if picture.lacks_reason
    }


def describe_signing(publisher: Publisher) -> str:
    """Content credentials of all copies, in words."""
    if publisher.writer is None:
        return "off by policy (publishing.content_credentials: false): the copies carry XMP and the watermark only"
    identity = publisher.writer.identity
    if identity.is_self_made:
        return "signed with a self-made certificate: whoever checks sees that a copy is unchanged, and a signer unknown to platforms"
    return f"signed as {identity.name}, until {identity.expires:%Y-%m-%d}"


def find_originals(folder: BatchFolder, state: BatchState, settled: Settled) -> list[Original]:
    """The approved pictures that are there, in the order of their numbers."""
    numbers = {name: split_number(index)[1] for index, item in state.items.items() for name in item.files}
    names = sorted(settled.found.paths, key=lambda name: (numbers.get(name, 0), name))
    return [
        Original(name, folder.root / settled.found.paths[name], state.scored[name].sha256, numbers.get(name, 0))
        for name in names
        if name in state.scored and settled.approves(name, state.approves(name))
    ]


def _publish_one(publisher: Publisher, original: Original, result: PublishingResult, current: dict[str, str]) -> None:
    if original.path.parent == publisher.root / PUBLISHED:
        why = "the original itself lies in published/, with its prompt: move it to approved/"
        result.refused.append((original.name, why))
        return
    known = publisher.find_current(original)
    if known is not None and known.file not in current:
        current[known.file] = original.name
        result.kept.append(Kept(original.name, known))
        return
    try:
        copy = publisher.publish(original, taken=current)
    except NotPublishedError as error:
        result.refused.append((original.name, error.why + (f" ({error.fix})" if error.fix else "")))
        return
    current[copy.publication.file] = original.name
    result.published.append(copy)


def _take_out(
    folder: BatchFolder, publisher: Publisher, state: BatchState, approved: set[str], current: Mapping[str, str], result: PublishingResult
) -> None:
    """Everything in published/ that is no copy of an approved picture: what we made is withdrawn, what we did not is named."""
    made = _made_before(publisher)
    for path in _other_files(folder.root / PUBLISHED, current):
        name = made.get(path.name) or _name_by_mark(publisher, path)
        if name is None:
            if is_picture_name(path) and _is_stranger(path, state, result):
                result.strangers.append(stored_name(path.name))
            continue
        why = "an older copy" if name in approved else f"{name} is not approved any more"
        files.move(path, _free_name(folder.root / WITHDRAWN / path.name))
        result.withdrawn.append((stored_name(path.name), why))


def _other_files(published: Path, current: Mapping[str, str]) -> list[Path]:
    if not published.is_dir():
        return []
    return sorted(path for path in published.iterdir() if path.is_file() and path.name not in {*current, README} and path.name[:1] != ".")


def _made_before(publisher: Publisher) -> dict[str, str]:
    """File -> picture, of all copies of this batch that were ever recorded."""
    own = [entry for entry in publisher.register.entries() if entry.picture.identity[1] == publisher.batch.key]
    return {line.publication.file: entry.picture.name for entry in own for line in entry.published}


def _name_by_mark(publisher: Publisher, path: Path) -> str | None:
    """The picture of this batch whose id a file carries: a run was killed before it could record its copy, or somebody renamed one."""
    if not is_picture_name(path):
        return None
    from tools.publishing.watermark import read

    try:
        reading = read(read_picture(path).rgb)
    except InputError:
        return None
    entries = publisher.register.find(reading.id) if reading is not None else ()
    return next((entry.picture.name for entry in entries if entry.picture.identity[1] == publisher.batch.key), None)


def _is_stranger(path: Path, state: BatchState, result: PublishingResult) -> bool:
    """An original of this batch was named with the pictures already."""
    return path.name not in state.scored and all(path.name != name for name, _ in result.refused)


def _free_name(path: Path) -> Path:
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
        number += 1
    return free


def render_result(result: PublishingResult) -> str:
    """What a person reads at the end."""
    fresh, kept = len(result.published), len(result.kept)
    total = fresh + kept + len(result.refused)
    lines = [f"published {fresh + kept} of {counted(total, 'approved picture')}: {result.root / PUBLISHED}"]
    if kept:
        lines.append(f"  {counted(kept, 'copy', 'copies')} {verb(kept, 'was', 'were')} there already")
    if result.notice:
        lines.append(f"demo pictures: {result.notice}")
    lines += [f"content credentials: {result.credentials}", *_facts(result.published)]
    lines += [f"not published: {name}: {why}" for name, why in result.refused]
    lines += [f"taken out: {name}: {why}" for name, why in result.withdrawn[:NAMED_WITHDRAWN]]
    if result.withdrawn:
        more = len(result.withdrawn) - NAMED_WITHDRAWN
        lines.append(f"  {f'and {more} more; ' if more > 0 else ''}what was taken out lies in {result.root / WITHDRAWN}")
    lines += [
        f"not one of the labelled copies: {PUBLISHED}/{name} (move it away before you upload the folder)" for name in result.strangers
    ]
    return "\n".join(lines)


def _facts(copies: Iterable[PublishedCopy]) -> list[str]:
    """What was found in the copies when they were read back, each sentence once with its number."""
    seen: dict[str, int] = {}
    carried: dict[str, int] = {}
    for copy in copies:
        for label in copy.report.labels:
            told = f"{label.name}: {label.told}" if label.name != "watermark" else "watermark: the id was read back"
            seen[told] = seen.get(told, 0) + 1
        left = ", ".join(copy.report.carries)
        carried[left] = carried.get(left, 0) + 1
    return [f"  {counted(number, 'copy', 'copies')}: {told}" for told, number in seen.items()] + [
        f"  {counted(number, 'copy', 'copies')} {verb(number, 'carries', 'carry')} beside the pixels: {left}"
        for left, number in carried.items()
    ]
