"""The scripts that make or judge pictures, as targets of a storm: the embedded server is real, and counts what it is asked for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.storm_places import (
    Kept,
    Place,
    Step,
    Target,
    digests,
    engine_flags,
    filed,
    find_doubles,
    find_torn,
    read_whole,
    read_words,
    script,
)

PLACES = ("cafe", "park", "beach", "street", "garden", "rooftop", "studio")
HISTORY = "history.jsonl"
LORA = "amiranoor_v3.safetensors"
JUDGED_PICTURES = 6
"""Pictures of a batch that is only judged: its kills strike the judging and the writing, not the making."""


def prepare_pictures(place: Place) -> None:
    from tools.stand_in import render_references

    render_references(place.root / "references", 3)
    write_prompts(place, place.options.pictures)


def write_prompts(place: Place, count: int) -> None:
    lines = [f"amiranoor, {PLACES[number % len(PLACES)]}, candid photo number {number}" for number in range(count)]
    (place.root / "prompts.txt").write_text("\n".join(lines), encoding="utf-8")


def pipeline(place: Place, *more: str, lora: str = LORA) -> list[str]:
    flags = {"--prompts": "prompts.txt", "--count": 1, "--lora": lora, "--base-seed": 7, "--width": 512, "--height": 640}
    flags |= {"--comfy-url": place.url, "--reference-dir": "references", "--output-dir": "batch", "--run-id": "storm"}
    return script("tools/production_pipeline.py", {**flags, "--history-file": HISTORY, **engine_flags(place.options)}, *more)


def prepare_repairing(place: Place) -> None:
    from tests.tools.production.repair_graphs import GRAPH

    prepare_pictures(place)
    (place.root / "repair.json").write_text(json.dumps(GRAPH), encoding="utf-8")


def repairing(place: Place) -> list[str]:
    """A LoRA of which many pictures are rejected, and a second graph for them."""
    return pipeline(place, "--repair-workflow", "repair.json", lora="amiranoor_v2.safetensors")


def generate(place: Place) -> list[str]:
    flags = {"--prompts-file": "prompts.txt", "--output-dir": "batch", "--base-seed": 7, "--width": 512, "--height": 640}
    return script("tools/generate_batch.py", {**flags, "--lora": LORA, "--comfy-url": place.url})


def sweep(place: Place) -> list[str]:
    flags: dict[str, object] = {"--lora": ["amiranoor_v3-step0500.safetensors", "amiranoor_v3-step2000.safetensors"]}
    flags |= {"--prompts-file": "prompts.txt", "--base-seed": 5, "--width": 320, "--height": 448, "--steps": 20, "--comfy-url": place.url}
    flags |= {"--output-dir": "batch", "--reference-dir": "references", "--history-file": HISTORY}
    return script("tools/parameter_sweep.py", {**flags, **engine_flags(place.options)}, "--skip-health-check")


def prepare_sweep(place: Place) -> None:
    prepare_pictures(place)
    write_prompts(place, max(2, place.options.pictures // 2))  # of each of the two checkpoints


def prepare_batch(place: Place) -> None:
    """A finished batch of a few pictures."""
    from tools.stand_in import start_embedded_server

    prepare_pictures(place)
    write_prompts(place, JUDGED_PICTURES)
    with start_embedded_server() as place.server:
        done = subprocess.run(pipeline(place), cwd=place.root, capture_output=True, text=True, check=False)
    place.server = None
    if done.returncode:
        raise RuntimeError(f"the batch to judge could not be made: {done.stderr}")


def rejudge(place: Place) -> list[str]:
    flags = {"--output-dir": "batch", "--face-threshold": "0.99", "--history-file": HISTORY}
    return script("tools/production_pipeline.py", flags, "--rejudge")


def prepare_scorecard(place: Place) -> None:
    prepare_batch(place)
    folder = place.root / "generated"
    folder.mkdir()
    for path in (place.root / "batch").rglob("*.png"):
        if path.parent.name in ("approved", "rejected"):
            path.rename(folder / path.name)
    (place.root / HISTORY).unlink()


def scorecard(place: Place) -> list[str]:
    flags = {"--generated-dir": "generated", "--reference-dir": "references", "--run-id": "storm", "--history-file": HISTORY}
    files = {"--output-json": "card.json", "--latest-report": "report.md"}
    return script("evals/scorecard.py", {**flags, **files, **engine_flags(place.options)})


def made(place: Place) -> Kept:
    return digests(place.root, (place.root / "batch").glob("*.png"))


def in_one_place(place: Place) -> Kept:
    """Name -> digest, wherever the picture lies: a new verdict moves it."""
    return {Path(name).name: digest for name, digest in filed(place.root / "batch").items()}


def find_in_two(place: Place) -> list[str]:
    return find_doubles((Path(path).name for path in filed(place.root / "batch")), "picture")


def find_torn_records(place: Place) -> list[str]:
    return find_torn(place.root / HISTORY, place.root / "batch" / "batch_report.json", place.root / "card.json")


def rows(place: Place) -> Kept:
    """How many rows each run has in the history."""
    found: dict[str, int] = {}
    for row in read_whole(place.root / HISTORY):
        found[row["run_id"]] = found.get(row["run_id"], 0) + 1
    return {f"rows of {name}": str(count) for name, count in found.items()}


def batch_result(place: Place) -> Kept:
    return {**filed(place.root / "batch"), **rows(place), "prompts run on the server": str(place.executed)}


def sweep_result(place: Place) -> Kept:
    ranking = [line for line in read_words(place, "batch/sweep_report.md").splitlines() if line.startswith("|")]
    return {**batch_result(place), "ranking": "\n".join(ranking)}


def card_result(place: Place) -> Kept:
    return {**rows(place), **{name: read_words(place, name) for name in ("card.json", "report.md", HISTORY)}}


BATCH_TARGETS = (
    Target(
        "production_pipeline",
        prepare_pictures,
        (Step(pipeline, (0, 1)),),
        kept=lambda place: filed(place.root / "batch"),
        result=batch_result,
        find_faults=lambda place: find_torn_records(place) + find_in_two(place),
        serves=True,
    ),
    Target(
        "repairing",
        prepare_repairing,
        (Step(repairing, (0, 1)),),
        kept=lambda place: filed(place.root / "batch"),
        result=batch_result,
        find_faults=lambda place: find_torn_records(place) + find_in_two(place),
        serves=True,
    ),
    Target(
        "generate_batch",
        prepare_pictures,
        (Step(generate),),
        kept=made,
        result=lambda place: {**made(place), "prompts run on the server": str(place.executed)},
        serves=True,
    ),
    Target(
        "parameter_sweep",
        prepare_sweep,
        (Step(sweep),),
        kept=lambda place: filed(place.root / "batch"),
        result=sweep_result,
        find_faults=find_torn_records,
        serves=True,
    ),
    Target(
        "rejudge",
        prepare_batch,
        (Step(rejudge, (0, 1)),),
        kept=in_one_place,
        result=batch_result,
        find_faults=find_torn_records,
    ),
    Target(
        "scorecard",
        prepare_scorecard,
        (Step(scorecard),),
        kept=lambda place: digests(place.root, (place.root / "generated").iterdir()),
        result=card_result,
        find_faults=find_torn_records,
    ),
)
