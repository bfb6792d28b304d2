"""A batch that grows: more pictures of each prompt, more prompts, a higher target, new pictures in the folder of `--images`.

What was planned before keeps its number, seed, name and score; only what is new is made. Everything else that differs is refused:
pictures that are made or judged in another way belong in another batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from lifeos.counting import counted
from lifeos.files import sha256_file
from tools.production.batch_state import BatchState
from tools.production.plan import Plan, Stage, check_same
from tools.production.stopping import Note

NAMED = 3


def grown_from(saved: Plan, wanted: Plan) -> Plan:
    """The wanted plan, in the order of the saved one: what is in both keeps its place, what is new comes behind it.

    Where a prompt of the saved plan is not wanted any more, the prompts stay as wanted: that is another batch, and `check_growth` says so.
    """
    if saved.generates != wanted.generates:
        return wanted
    if not all(plan.lora_file is not None and plan.lora_file.sha256 for plan in (saved, wanted)):
        # a file that comes later says nothing of the pictures before
        wanted = replace(wanted, lora_file=saved.lora_file)
    if not wanted.generates:
        return replace(wanted, images=(*saved.images, *_added(saved.images, wanted.images)))
    if saved.target_approved is not None and wanted.target_approved is not None:
        wanted = replace(wanted, count=saved.count)  # a target ignores it
    if not Counter(saved.prompts) - Counter(wanted.prompts):
        wanted = replace(wanted, prompts=(*saved.prompts, *_added(saved.prompts, wanted.prompts)))
    before, now = Stage(len(saved.prompts), saved.count), Stage(len(wanted.prompts), wanted.count)
    return replace(wanted, stages=saved.stages if before == now else (*saved.stages, before))


def _added(saved: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """What is wanted and not there, in the order in which it is wanted; a text that is wanted twice and there once is added once."""
    there, added = Counter(saved), []
    for text in wanted:
        if there[text] > 0:
            there[text] -= 1
        else:
            added.append(text)
    return tuple(added)


def check_growth(output_dir: Path, saved: Plan, plan: Plan) -> list[str]:
    """What the plan asks for beyond the saved one, in words; empty where it is the same batch.

    Raises InputError that names what differs where it is another.
    """
    news: list[str] = []
    as_before = plan
    if _begins_with(plan.images, saved.images):
        news.append(f"{counted(len(plan.images) - len(saved.images), 'new picture')} in {plan.source_dir}")
        as_before = replace(as_before, images=saved.images)
    if _begins_with(plan.prompts, saved.prompts) and saved.target_approved is None:
        news.append(counted(len(plan.prompts) - len(saved.prompts), "new prompt"))
        as_before = replace(as_before, prompts=saved.prompts)
    if plan.count > saved.count:
        news.append(f"{counted(plan.count, 'picture')} of each prompt instead of {saved.count}")
        as_before = replace(as_before, count=saved.count)
    if plan.target_approved is not None and plan.target_approved > (saved.target_approved or 0) and plan.generates:
        before = "" if saved.target_approved is None else f" instead of {saved.target_approved}"
        news.append(f"until {plan.target_approved} are approved{before}")
        as_before = replace(as_before, target_approved=saved.target_approved)
    if saved.repair is None and plan.repair is not None:
        news.append(f"what only the face or skin gate rejects is repaired by {plan.repair.workflow_name}")
        as_before = replace(as_before, repair=None)
    check_same(output_dir, saved, as_before)
    return news


def _begins_with(longer: Sequence[str], shorter: Sequence[str]) -> bool:
    return len(longer) > len(shorter) and tuple(longer[: len(shorter)]) == tuple(shorter)


def say_changed_sources(plan: Plan, state: BatchState, note: Note) -> None:
    """Name the existing pictures that are gone, or are others now, since they were judged: their copies and scores stay."""
    if plan.source_dir is None:
        return
    folder, begun = Path(plan.source_dir), datetime.fromisoformat(plan.created).timestamp()
    gone, changed = [], []
    for index, item in sorted(state.items.items()):
        if not item.is_made or index > len(plan.images):
            continue
        source, scored = folder / plan.images[index - 1], state.scored.get(item.files[0])
        try:
            if source.stat().st_mtime > begun and scored is not None and sha256_file(source) != scored.sha256:
                changed.append(source.name)
        except OSError:
            gone.append(source.name)
    if gone:
        note(f"{_some(gone)} no longer in {folder}; copies and scores stay")
    if changed:
        note(f"warning: {_some(changed)} changed in {folder} since they were judged; copies and scores stay. Judge them under other names")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{counted(len(names), 'picture')} ({', '.join(names[:NAMED])}{more})"
