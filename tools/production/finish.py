"""The end of a run of a batch: scorecard, one row in the history, and the reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.judging.inputs import left_out_document
from evals.judging.records import Assessment
from evals.judging.run_kinds import DEMO, SORTING, are_demo_pictures
from evals.scorecards.card import Scorecard, build_scorecard
from evals.scorecards.card_inputs import Manifest
from lifeos import files
from lifeos.file_names import stored_path
from lifeos.picture_names import format_config
from tools.production import report_document, report_html, report_text
from tools.production.batch_state import BatchState
from tools.production.choices import left_out_of
from tools.production.filing import BatchFolder
from tools.production.history_row import mark_decided, record_once
from tools.production.journal import JOURNAL_FILE, now_text, read_state
from tools.production.plan import Plan
from tools.production.resemblance import find_marked
from tools.production.results import BatchResults, PictureResult, read_results
from tools.production.runner import BatchEnd
from tools.production.settling import STRANGER, Settled, settle_decisions
from tools.production.stopping import Note

ENDED_EARLY = ("interrupted", "error", "max_cost")
"""Endings after which the batch goes on: its row in the history waits until then."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is needed beside the plan to finish a batch. `history_file` None records nothing."""

    policy: Mapping[str, Any]
    settings: Mapping[str, Any]
    history_file: Path | None
    manifest: Manifest | None = None
    provider: str = ""
    references_left_out: tuple[str, ...] = ()
    """A sentence for each file of the reference folder that could not be used."""


def finish_batch(
    plan: Plan, folder: BatchFolder, end: BatchEnd, ending: Ending, note: Note, publishing: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the reports, record the scorecard, and return the report document. `publishing`: what was published."""
    state = read_state(folder.root / JOURNAL_FILE)
    settled = settle_decisions(folder, state, note, on_warning=lambda text: None)  # whoever came here has told
    results = mark_alike(read_results(plan, folder, state, settled, ending.policy), folder, state, settled)
    card = make_scorecard(plan, folder, results, ending) if results.pictures else None
    row = {**mark_decided(card.history_row(), results.own), "batch_id": plan.batch_id} if card is not None else None
    if row is not None and end.why not in ENDED_EARLY and ending.history_file is not None:
        record_once(plan, folder, state, row, ending.history_file, note)
    document = report_document.build_document(
        plan, results, state, ending.policy, why=end.why, scorecard=_without_images(row, card), settings=ending.settings
    )
    document["left_out"] = left_out_document(left_out_of(plan.source_dir, plan.reference_dir), Path(plan.source_dir or ""))
    document["left_out"] += [{"file": stored_path(Path(path)), "why": STRANGER} for path in settled.found.strangers]
    document["references_left_out"] = list(ending.references_left_out)
    document["publishing"] = publishing
    document["counts"]["left_out"] = len(document["left_out"])
    write_reports(document, folder)
    if end.why not in ENDED_EARLY:
        folder.remove_empty_work()
    return document


def mark_alike(results: BatchResults, folder: BatchFolder, state: BatchState, settled: Settled) -> BatchResults:
    """The results, with those of the approved pictures marked that are nearly the same as one before them."""
    configs = {picture.file: picture.config for picture in results.pictures if picture.approved}
    like = find_marked(folder, state, settled, configs)
    return replace(results, pictures=[replace(picture, like=like.get(picture.file)) for picture in results.pictures])


def make_scorecard(plan: Plan, folder: BatchFolder, results: BatchResults, ending: Ending) -> Scorecard:
    """The scorecard of the LoRA's own pictures: what a second graph made of them says nothing of the LoRA, and would spoil comparisons."""
    pictures = results.own
    configs = {picture.file: config_of(plan, picture) for picture in pictures}

    def config(assessment: Assessment) -> str | None:
        return configs.get(assessment.file)

    return build_scorecard(
        [picture.assessment for picture in pictures],
        ending.policy,
        run_id=plan.run_id,
        lora_version=plan.lora_version,
        timestamp=now_text()[:19] + "Z",
        protocol=plan.protocol,
        config_of=config,
        training_params=plan.training_params,
        manifest=ending.manifest,
        notes=plan.engine_notice or "",
        generated_dir=folder.root,
        reference_dir=Path(plan.reference_dir),
        provider=ending.provider,
        kind=kind_of(plan, folder, results),
        copies={picture.file: picture.copy for picture in pictures if picture.copy is not None},
    )


def kind_of(plan: Plan, folder: BatchFolder, results: BatchResults) -> str:
    """`sorting` for existing pictures that nobody gave a run id: they are kept in the history, and are no opponent of a LoRA's run."""
    if plan.generates:
        return ""
    if are_demo_pictures(folder.root / picture.path for picture in results.pictures if picture.path is not None):
        return DEMO
    return "" if plan.command.get("run_id") else SORTING


def config_of(plan: Plan, picture: PictureResult) -> str | None:
    """The configuration of a picture: by name, else by the LoRA and strength that all pictures of its variant share."""
    if picture.config or not plan.variants:
        return picture.config or None
    settings = plan.variants[plan.item(picture.index).variant].settings
    return format_config(settings.lora, settings.lora_strength)


def write_reports(document: dict[str, Any], folder: BatchFolder) -> None:
    files.write_json(folder.root / "batch_report.json", document)
    files.write_text(folder.root / "batch_report.md", report_text.render_markdown(document))
    files.write_text(folder.root / "scores.csv", report_text.render_csv(document))
    with files.replacing(folder.root / "batch_report.html") as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as out:
        for part in report_html.render_html(document, folder):
            out.write(part)


def _without_images(row: dict[str, Any] | None, card: Scorecard | None) -> dict[str, Any] | None:
    if row is None or card is None:
        return None
    kept = {key: value for key, value in row.items() if key not in ("images", "protocol")}
    return {**kept, "sameness": {**row["sameness"], "line": card.sameness.line, "scene_line": card.sameness.scene_line}}
