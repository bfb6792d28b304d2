"""The comparison as a page: what was found with drawn intervals, and the pairs of pictures side by side, those that lost most first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.comparison import wording
from evals.comparison.comparing import Side, VersionComparison
from evals.comparison.config_details import describe_run
from evals.comparison.interval_bars import result_rows, slice_table
from evals.comparison.pair_pictures import PairedPicture, clear_small, show_pairs
from evals.comparison.picture_pairs import PicturePair, count_decided, count_directions, describe_verdict, gates_of_pairs, list_pairs
from evals.comparison.promotion import PromotionGate
from evals.comparison.rendering import percent, signed
from evals.comparison.run_pictures import find_batch_report, find_run_pictures, read_prompts, why_missing
from lifeos.errors import InputError
from lifeos.pages.beside import address_from
from lifeos.pages.page_templates import is_page_of_ours, write_page

TEMPLATE = "comparison.html.j2"
NOT_SHOWN = (PairedPicture(), PairedPicture())
FURTHEST = 1e9
"""Stands in the page's data for a score that was lost or found, which no number of JSON is."""


def clear_place(report: Path, named: Path | None, note: Callable[[str], None]) -> Path | None:
    """Where the page goes, free of the page of an earlier comparison; None, with a note, where somebody else's file has its name.

    Raises InputError for a named page that would replace the report.
    """
    if named is not None and named.resolve() == report.resolve():
        raise InputError("--page", f"{named} is the report", "name another file")
    page = named or report.with_suffix(".html")
    if page == report:
        page = report.with_name(f"{report.stem}_page.html")
    if not page.exists():
        return page
    if page.is_file() and is_page_of_ours(page):
        page.unlink()
        clear_small(page)
    elif named is None:
        note(f"{page} is no page of ours and stays as it is: no page is written (--page FILE says where else)")
        return None
    return page


def write_comparison_page(
    page: Path,
    document: Mapping[str, Any],
    comparison: VersionComparison,
    gate: PromotionGate,
    folders: Sequence[Path | None],
    *,
    report: Path,
    when: str,
    with_pictures: bool = True,
) -> None:
    """Write it, and its small copies beside it where they are many.

    `document`: what the JSON says; `folders`: where the pictures of either version are, None for where their rows say.
    """
    pairs, policy = list_pairs(comparison), comparison.policy
    sides = list(zip((comparison.first, comparison.second), folders, ("--pictures-v1", "--pictures-v2"), strict=True))
    found = [find_run_pictures(side.runs[0], folder) for side, folder, _ in sides]
    shown = show_pairs(pairs, found, page) if with_pictures else {}
    lacks = [why_missing(side.runs[0], files, flag) for (side, _, flag), files in zip(sides, found, strict=True)]
    prompts = [read_prompts(side.runs[0], folder) for side, folder, _ in sides]
    told = [_pair(pair, shown.get(pair.number, NOT_SHOWN), prompts, comparison) for pair in pairs]
    gates = [{"key": gate.key, "title": gate.title, "lower": gate.lower_is_better} for gate in gates_of_pairs(pairs, policy)]
    slices = (("By shot type", "shot", comparison.by_shot), ("By configuration", "configuration", comparison.by_config))
    least = policy["comparison"]["minimum_effect"]
    write_page(
        page,
        TEMPLATE,
        document,
        page_data={"names": [side.name for side, _, _ in sides], "gates": gates, "pairs": told},
        filters={"signed": signed},
        guards=comparison.guards,
        gate=gate,
        results=result_rows(comparison),
        confidence=percent(policy["comparison"]["confidence"]),
        least=least,
        pairing=wording.pairing_sentence(comparison),
        claim=wording.claim(comparison),
        slices=[slice_table(*each, comparison) for each in slices if each[2]],
        sides=[_side(side, page, folder) for side, folder, _ in sides],
        pairs=[(each, shown.get(each["index"])) for each in told],
        counts=count_directions(pairs, least),
        decided=count_decided(pairs),
        missing=[line for line in lacks if line] if with_pictures and pairs else [],
        report=address_from(page, report),
        when=when,
    )


def _side(side: Side, page: Path, folder: Path | None) -> dict[str, Any]:
    """A version as the page names it, with the reports of its batches where they are at hand."""
    reports = [(run.run_id, find_batch_report(run, folder)) for run in side.runs]
    return {
        "name": side.name,
        "version": side.version,
        "grade": side.grade,
        "overall": side.numbers.overall,
        "images": side.images,
        "faceless": side.faceless,
        "shortfall": side.numbers.shortfall,
        "training": list(dict.fromkeys(describe_run(run) for run in side.runs)),
        "reports": [(run_id, address_from(page, path)) for run_id, path in reports if path is not None],
        "decided": [f"{run.run_id}: {run.decided_line}" for run in side.runs if run.decided_line],
    }


def _pair(
    pair: PicturePair, shown: tuple[PairedPicture, PairedPicture], prompts: Sequence[Mapping[str, str]], comparison: VersionComparison
) -> dict[str, Any]:
    """One pair as the page's script has it: of two things the first version's comes first."""
    policy = comparison.policy
    both = (pair.first, pair.second)
    texts = [known.get(picture.prompt_id or "", "") for known, picture in zip(prompts, both, strict=True)]
    rank = pair.rank
    return {
        "index": pair.number,
        "name": str(pair.number),
        "title": pair.title,
        "prompts": list(dict.fromkeys(text for text in texts if text)),
        "shot": pair.first.shot or pair.second.shot,
        "configs": [picture.config for picture in both],
        "files": [picture.file for picture in both],
        "urls": [each.full for each in shown],
        "overall": [pair.first_overall, pair.second_overall],
        "change": pair.change,
        "rank": None if rank is None else max(-FURTHEST, min(FURTHEST, rank)),
        "direction": pair.direction(policy["comparison"]["minimum_effect"]),
        "scores": {each.key: [picture.scores.get(each.key) for picture in both] for each in gates_of_pairs([pair], policy)},
        "verdicts": [describe_verdict(picture, policy) for picture in both],
    }
