"""Batches, sweeps, histories, cost logs and trainings of version 3.0.0: today's scripts continue them with the same decisions and numbers.

`tests/data/version_before/` holds the samples (its README.md says how each was made) and `expected.json`: for each case a table of
what is looked at, and what version 3.0.0 gave. If a later version gives another number on purpose, the row keeps the old one and
says why: `{"what": …, "is": NEW, "was": OLD, "reason": …}`. A row with `"never": true` must not change.

Only command lines are used: nothing inside the packages is imported. Set LIFEOS_SAMPLES_CHECKOUT to a checkout of 3.0.0 to run its
scripts instead and see that it passes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.capabilities import POSIX
from tests.tools.trainers.checkpoints import write_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CHECKOUT = Path(os.environ.get("LIFEOS_SAMPLES_CHECKOUT", ROOT))
SAMPLES = ROOT / "tests" / "data" / "version_before"
TRAINER = ROOT / "tests" / "trainer_standin"
PLACE_THEN = "/workspace/version_before"
"""The folder in which the samples were made, as their files name it."""

WITHOUT_PROJECT = ("tools/lora_info.py",)
"""They take no --project-root."""

HOLDS_PATHS = (".json", ".jsonl", ".toml")
PATIENCE_SECONDS = 120
EXACT = 1e-6
FAILURES = (AssertionError, LookupError, TypeError, ValueError, StopIteration, OSError, subprocess.SubprocessError)
"""What a case may end with: a script that failed, or a document without what is looked for."""

pytestmark = pytest.mark.skipif(not POSIX, reason="the samples were made on a Linux pod, and hold its paths")

Seen = dict[str, Any]
EXPECTED: dict[str, list[dict[str, Any]]] = json.loads((SAMPLES / "expected.json").read_text(encoding="utf-8"))
CASES: dict[str, Callable[[Sample], Seen]] = {}


@dataclass(frozen=True, slots=True)
class Done:
    """How a script ended. `document` is the JSON that it printed, empty if it printed none."""

    code: int
    out: str
    err: str
    document: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """A folder of its own for one case."""

    folder: Path

    def take(self, *names: str) -> Path:
        """Copy samples here, and replace the path in their files by this folder's. Manifests are hashed, so they are left alone."""
        for name in names:
            source, copy = SAMPLES / name, self.folder / name
            if source.is_dir():
                shutil.copytree(source, copy)
            else:
                shutil.copyfile(source, copy)
            for path in [copy, *copy.rglob("*")]:
                if path.suffix in HOLDS_PATHS and not path.name.startswith("dataset_manifest"):
                    path.write_bytes(path.read_bytes().replace(PLACE_THEN.encode(), str(self.folder).encode()))
        return self.folder

    def run(self, script: str, *arguments: object) -> Done:
        """Run a script as a person would, without any model, cache or setting of this machine's user."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STANDIN_", "RUNPOD_", "PYTHON"))}
        own = {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / ".cache"), "LIFEOS_MODELS": str(self.folder / "no_models")}
        (self.folder / "no_models").mkdir(exist_ok=True)
        root = () if script in WITHOUT_PROJECT else ("--project-root", self.folder)
        command = [sys.executable, str(CHECKOUT / script), *(str(argument) for argument in (*root, *arguments))]
        done = subprocess.run(
            command, cwd=self.folder, env=kept | own, capture_output=True, encoding="utf-8", timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode in (0, 1), f"{script} ended with {done.returncode}:\n{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr, json.loads(done.stdout) if "--json" in arguments else {})


def case(name: str) -> Callable[[Callable[[Sample], Seen]], Callable[[Sample], Seen]]:
    def add(function: Callable[[Sample], Seen]) -> Callable[[Sample], Seen]:
        CASES[name] = function
        return function

    return add


# what the cases look at


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def count_events(journal: Path, event: str) -> int:
    return sum(record["event"] == event for record in read_lines(journal))


def hashes(folder: Path) -> dict[str, str]:
    """The pictures below a folder by name, wherever they lie in it."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}


def is_kept(before: dict[str, str], folder: Path) -> bool:
    """Whether every picture that was there still is, byte for byte."""
    now = hashes(folder)
    return bool(before) and all(now.get(name) == digest for name, digest in before.items())


def places(folder: Path) -> dict[str, list[str]]:
    return {name: sorted(path.name.split("_", 1)[0] for path in (folder / name).glob("*.png")) for name in ("approved", "rejected")}


def of_batch(document: dict[str, Any]) -> Seen:
    counts = ("planned", "generated", "approved", "rejected", "failed", "without_face")
    seen: Seen = {f"pictures {name}": document["counts"][name] for name in counts}
    for name, means in document["means"].items():
        seen |= {f"mean of {name}: {key}": means[key] for key in ("face_similarity", "skin_realism")}
    for row in document["images"]:
        number = row["file"].split("_", 1)[0]
        seen |= {f"picture {number}: {key}": row[key] for key in ("verdict", "face", "skin", "seed")}
        seen[f"picture {number}: reasons"] = len(row["reasons"])
    return seen


def of_row(row: dict[str, Any], name: str = "history row") -> Seen:
    """The scorecard's numbers in a row of the history."""
    scores = ("face_similarity_mean", "skin_realism_mean", "overall_score", "overall_grade", "promotion_recommended")
    counts = ("images_evaluated", "images_without_face")
    return {f"{name}: {key}": row["eval_scores"][key] for key in (*scores, *counts)} | {f"{name}: protocol": row["protocol_id"]}


def of_comparison(document: dict[str, Any]) -> Seen:
    seen: Seen = {key: document[key] for key in ("verdict", "regressed", "pairs", "prompts", "paired_by", "champion")}
    for key, metric in document["metrics"].items():
        estimate = metric["estimate"] or {}
        seen |= {f"{key}: {name}": metric[name] for name in ("v1", "v2", "verdict")}
        seen |= {f"{key}: {name}": estimate.get(name) for name in ("difference", "low", "high", "pairs")}
    seen |= {f"grade of {side}": document[side]["grade"] for side in ("v1", "v2")}
    seen["grade: verdict"] = document["grade"]["verdict"]
    seen["may be promoted"] = document["promotion"]["passed"]
    return seen


def of_table(report: str, first_cells: Sequence[str]) -> Seen:
    """Rows of the report's first table, by their first cell."""
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in report.splitlines() if line.startswith("|")]
    return {f"report: {name}": next(cells[1:] for cells in lines if cells[0] == name) for name in first_cells}


def flat_costs(document: dict[str, Any]) -> Seen:
    seen: Seen = {f"total {key}": document["total"][key] for key in ("sessions", "hours", "usd")}
    for group in ("by_tag", "by_gpu", "by_day", "by_lora_version"):
        seen |= {f"{group} {name or 'none'}: usd": sums["usd"] for name, sums in document[group].items()}
    return seen | {"idle share": document["idle_share"], "open sessions": len(document["open_sessions"])}


# batches and sweeps: the old command, word for word but for the folders


def judging(folder: Path) -> list[object]:
    sizes = ["--width", 128, "--height", 176, "--steps", 20, "--engine", "dlib", "--skip-health-check"]
    return [*sizes, "--reference-dir", folder / "references", "--model-root", folder / "no_models", "--comfy-url", "embedded"]


def batch_command(folder: Path, name: str, seed: int) -> list[object]:
    made = ["--lora", "amiranoor_v3.safetensors", "--prompts", folder / "prompts.txt", "--count", 3, "--base-seed", seed]
    return [*made, "--output-dir", folder / name, "--history-file", folder / f"{name}_history.jsonl", *judging(folder), "--json"]


@case("a finished batch, repeated")
def repeat_finished_batch(sample: Sample) -> Seen:
    folder = sample.take("references", "prompts.txt", "finished_batch", "finished_batch_history.jsonl")
    batch, history = folder / "finished_batch", folder / "finished_batch_history.jsonl"
    before, rows, table = hashes(batch), history.read_bytes(), (batch / "scores.csv").read_text(encoding="utf-8")
    done = sample.run("tools/production_pipeline.py", *batch_command(folder, "finished_batch", 7))
    with open(batch / "scores.csv", encoding="utf-8", newline="") as file:
        now = {row["file"]: row for row in csv.DictReader(file)}
    then = {row["file"]: row for row in csv.DictReader(table.splitlines())}
    return {
        "exit code": done.code,
        **of_batch(done.document),
        "submitted in all": count_events(batch / "journal.jsonl", "submitted"),
        "pictures are kept": is_kept(before, batch),
        "history is as it was": history.read_bytes() == rows,
        "scores.csv: pictures whose scores changed": sum(
            any(now[name][key] != then[name][key] for key in ("verdict", "face", "skin", "texture", "color", "cosine", "sha256"))
            for name in then
        ),
        **of_row(done.document["scorecard"], "scorecard made again"),
        **of_row(read_lines(history)[0]),
    }


@case("a finished batch, named by its folder alone")
def resume_finished_batch(sample: Sample) -> Seen:
    folder = sample.take("references", "prompts.txt", "finished_batch", "finished_batch_history.jsonl")
    flags = ["--history-file", folder / "finished_batch_history.jsonl", "--comfy-url", "embedded", "--model-root", folder / "no_models"]
    done = sample.run("tools/production_pipeline.py", "--resume", "--output-dir", folder / "finished_batch", *flags, "--json")
    journal = folder / "finished_batch" / "journal.jsonl"
    return {
        "exit code": done.code,
        **{f"pictures {name}": done.document["counts"][name] for name in ("approved", "rejected")},
        "submitted in all": count_events(journal, "submitted"),
        "rows in the history": len(read_lines(folder / "finished_batch_history.jsonl")),
    }


@case("a killed batch, continued")
def continue_killed_batch(sample: Sample) -> Seen:
    """Two pictures were filed, the third lay in the incoming folder unscored, two more were on a server that is gone."""
    folder = sample.take("references", "prompts.txt", "killed_batch")
    before = hashes(folder / "killed_batch")
    done = sample.run("tools/production_pipeline.py", *batch_command(folder, "killed_batch", 21))
    rows = read_lines(folder / "killed_batch_history.jsonl")
    return {
        "exit code": done.code,
        **of_batch(done.document),
        **{f"in {place}/": numbers for place, numbers in places(folder / "killed_batch").items()},
        "submitted in all": count_events(folder / "killed_batch" / "journal.jsonl", "submitted"),
        "pictures of before": len(before),
        "pictures of before are kept": is_kept(before, folder / "killed_batch"),
        "rows in the history": len(rows),
        **of_row(rows[-1]),
    }


@case("a killed sweep, continued")
def continue_killed_sweep(sample: Sample) -> Seen:
    """Its first round was finished; in the second one picture was filed, one not yet, two were on a server that is gone."""
    folder = sample.take("references", "killed_sweep")
    sweep, before = folder / "killed_sweep", hashes(folder / "killed_sweep")
    loras = ["--lora", "amiranoor_v3-step0500.safetensors", "--lora", "amiranoor_v3-step2000.safetensors", "--strengths", "0.8,1.3"]
    prompts = ("amiranoor, close up portrait", "amiranoor, park bench", "amiranoor, cafe")
    flags = [*(part for prompt in prompts for part in ("--prompt", prompt)), "--base-seed", 5, "--max-images", 11]
    paths = ["--output-dir", sweep, "--history-file", folder / "killed_sweep_history.jsonl", "--baseline", "step500_str1.30"]
    document = (done := sample.run("tools/parameter_sweep.py", *loras, *flags, *paths, *judging(folder), "--json")).document
    seen: Seen = {"exit code": done.code}
    seen |= {key: document[key] for key in ("ended", "chosen", "images", "baseline_verdict")}
    for place, entry in enumerate(document["ranking"], 1):
        seen |= {f"place {place}: {key}": entry[key] for key in ("config", "score", "pictures", "approved", "may_be_best")}
        seen[f"place {place}: behind"] = (entry["behind"] or {}).get("difference")
    for row in read_lines(folder / "killed_sweep_history.jsonl"):
        seen[f"history row {row['run_id']}: overall_score"] = row["eval_scores"]["overall_score"]
        seen[f"history row {row['run_id']}: overall_grade"] = row["eval_scores"]["overall_grade"]
    for rung in ("rung_1", "rung_2"):
        seen[f"submitted in {rung}"] = count_events(sweep / rung / "journal.jsonl", "submitted")
    return seen | {"pictures of before": len(before), "pictures of before are kept": is_kept(before, sweep)}


# the history


def compare(sample: Sample, first: str, second: str, *flags: object) -> tuple[Done, str]:
    folder = sample.take("eval_history.jsonl", "champion.json")
    files = ["--history", folder / "eval_history.jsonl", "--output", folder / "report.md", "--champion", folder / "champion.json"]
    done = sample.run("evals/compare_versions.py", *files, "--v1", first, "--v2", second, "--no-pictures", "--json", *flags)
    return done, (folder / "report.md").read_text(encoding="utf-8")


@case("two runs, compared")
def compare_runs(sample: Sample) -> Seen:
    done, report = compare(sample, "v2_sweep", "v3_sweep")
    table = of_table(report, ("Face Similarity (mean)", "Skin Realism (mean)", "Overall Grade", "Best Config"))
    return {"exit code": done.code, **of_comparison(done.document), **table}


@case("a row by hand with a score alone, compared")
def compare_row_by_hand(sample: Sample) -> Seen:
    done, report = compare(sample, "v1_by_hand", "v3_sweep")
    return {"exit code": done.code, **of_comparison(done.document), **of_table(report, ("Face Similarity (mean)", "Overall Grade"))}


@case("a row by hand with a number as text, compared")
def compare_row_with_text(sample: Sample) -> Seen:
    done, report = compare(sample, "v1_second", "v3_sweep")
    return {"exit code": done.code, **of_comparison(done.document), **of_table(report, ("Face Similarity (mean)", "Overall Grade"))}


@case("a worse run, put up against the champion")
def promote_a_worse_run(sample: Sample) -> Seen:
    done, _ = compare(sample, "v3_sweep", "v2_sweep", "--promote")
    champion = json.loads((sample.folder / "champion.json").read_text(encoding="utf-8"))
    checks = {f"check {check['check']}": check["outcome"] for check in done.document["promotion"]["checks"]}
    return {"exit code": done.code, "verdict": done.document["verdict"], "champion": champion["run_id"], **checks}


@case("a better run, put up against the champion")
def promote_over_the_champion(sample: Sample) -> Seen:
    """The old champion's record becomes the first of the former ones."""
    folder = sample.take("champion.json")
    record = json.loads((folder / "champion.json").read_text(encoding="utf-8"))
    history = sample.take("eval_history.jsonl") / "eval_history.jsonl"
    better = next(row for row in read_lines(history) if row["run_id"] == "v3_sweep") | {"run_id": "v4_sweep", "lora_version": "v4"}
    with open(history, "a", encoding="utf-8") as file:
        file.write(json.dumps(better) + "\n")
    files = ["--history", history, "--output", folder / "report.md", "--champion", folder / "champion.json", "--no-pictures", "--json"]
    done = sample.run("evals/compare_versions.py", *files, "--v1", "v2_sweep", "--v2", "v4_sweep", "--promote")
    now = json.loads((folder / "champion.json").read_text(encoding="utf-8"))
    return {
        "exit code": done.code,
        **{f"champion: {key}": now[key] for key in ("run_id", "lora_version", "grade", "images", "best_config", "protocol_id")},
        **{f"champion: {key} score": value for key, value in now["scores"].items()},
        **{f"evidence: {key}": now["evidence"][key] for key in ("verdict", "difference", "confidence", "pairs")},
        "former champions": [former["run_id"] for former in now["former"]],
        "former champion since": now["former"][0]["since"] == record["since"],
        "former champion's grade": now["former"][0]["grade"],
    }


@case("the leaderboard")
def rank_all_runs(sample: Sample) -> Seen:
    folder = sample.take("eval_history.jsonl")
    flags = ["--history", folder / "eval_history.jsonl", "--output", folder / "leaderboard.md", "--no-pictures", "--json"]
    document = (done := sample.run("evals/leaderboard.py", *flags)).document
    seen: Seen = {"exit code": done.code} | {key: document[key] for key in ("unranked", "damaged", "replaced")}
    for board in document["boards"]:
        name = board["protocol_id"]
        seen[f"{name}: runs"] = board["runs"]
        for entry in board["ranking"]:
            place = f"{name}, place {entry['place']}"
            seen |= {f"{place}: {key}": entry[key] for key in ("run_id", "grade", "images", "approved")}
            seen |= {f"{place}: {key} mean": (entry[key] or {}).get("mean") for key in ("overall", "face", "skin")}
            seen |= {f"{place}: overall {end}": entry["overall"][end] for end in ("low", "high")}
    return seen


@case("the pictures of a batch, scored again")
def score_pictures_again(sample: Sample) -> Seen:
    folder = sample.take("references", "finished_batch", "eval_history.jsonl")
    history, before = folder / "eval_history.jsonl", (folder / "eval_history.jsonl").read_bytes()
    paths = ["--generated", folder / "finished_batch", "--reference", folder / "references", "--history-file", history]
    files = ["--output-json", folder / "card.json", "--latest-report", folder / "report.md", "--model-root", folder / "no_models"]
    done = sample.run("evals/scorecard.py", *paths, *files, "--engine", "dlib", "--run-id", "again", "--lora-version", "v3")
    row = read_lines(history)[-1]
    return {
        "exit code": done.code,
        "history before is as it was": history.read_bytes().startswith(before),
        **of_row(row),
        **{f"picture {image['seed']}: {key}": image[key] for image in row["images"] for key in ("face", "skin", "approved", "shot_type")},
    }


# the cost log


def cost_files(sample: Sample) -> list[object]:
    folder = sample.take("cost")
    return ["--log-file", folder / "cost" / "cost_log.jsonl", "--state-file", folder / "cost" / "cost_session_state.json"]


@case("the cost report")
def report_costs(sample: Sample) -> Seen:
    files = [*cost_files(sample), "--action", "report", "--pictures", sample.take("training") / "training"]
    done = sample.run("tools/runpod_cost_tracker.py", *files, "--json")
    february = sample.run("tools/runpod_cost_tracker.py", *files, "--since", "2026-02-01", "--until", "2026-02-28", "--json").document
    text = sample.run("tools/runpod_cost_tracker.py", *files, "--since", "2026-01-01").out
    costs = {f"training {one['name']}: {key}": one[key] for one in done.document["trainings"] for key in ("steps", "usd")}
    return {
        "exit code": done.code,
        **flat_costs(done.document),
        **costs,
        "february: sessions": february["total"]["sessions"],
        "february: usd": february["total"]["usd"],
        "text: total cost": re.findall(r"Total cost: \$([\d.]+)", text),
    }


@case("an open session, closed at its last heartbeat")
def close_open_session(sample: Sample) -> Seen:
    files = cost_files(sample)
    opened = sample.run("tools/runpod_cost_tracker.py", *files, "--action", "status", "--json").document["open"]
    log = sample.folder / "cost" / "cost_log.jsonl"
    before = log.read_bytes()
    row = (done := sample.run("tools/runpod_cost_tracker.py", *files, "--action", "stop", "--at-last-heartbeat", "--json")).document
    keys = ("session_id", "start", "end", "duration_min", "activity", "cost_usd", "gpu", "rate_per_hr", "lora_version", "end_is")
    after = sample.run("tools/runpod_cost_tracker.py", *files, "--action", "report", "--json").document
    return {
        "exit code": done.code,
        "open before": [session["session_id"] for session in opened],
        **{f"row: {key}": row[key] for key in keys},
        "log before is as it was": log.read_bytes().startswith(before),
        **{f"afterwards: {key}": value for key, value in flat_costs(after).items() if key.startswith(("total", "open"))},
    }


# datasets and training


@case("a dataset and its manifest")
def verify_dataset(sample: Sample) -> Seen:
    folder = sample.take("dataset", "dataset_manifest.json")
    check = ["--verify", folder / "dataset_manifest.json", "--dataset-dir", folder / "dataset", "--json"]
    same = sample.run("tools/dataset_manifest.py", *check)
    made = sample.run("tools/dataset_manifest.py", "--dataset-dir", folder / "dataset", "--output", folder / "m.json", "--resolution", 256)
    again = json.loads((folder / "m.json").read_text(encoding="utf-8"))
    then = json.loads((folder / "dataset_manifest.json").read_text(encoding="utf-8"))
    pictures = folder / "dataset" / "2_amiranoor woman"
    (pictures / "img_001.txt").write_text("amiranoor, changed\n", encoding="utf-8")
    (pictures / "img_002.png").unlink()
    other = sample.run("tools/dataset_manifest.py", *check)
    return {
        "exit code": same.code,
        **{key: same.document[key] for key in ("same", "checked", "dataset_id")},
        "made again: exit code": made.code,
        "made again: dataset_id": again["dataset_id"],
        "made again: images are the same": again["images"] == then["images"],
        "changed: exit code": other.code,
        **{f"changed: {key}": other.document[key] for key in ("same", "missing", "extra", "changed")},
    }


@case("two manifests, compared")
def compare_manifests(sample: Sample) -> Seen:
    folder = sample.take("dataset_manifest.json", "dataset_manifest_before.json")
    names = [folder / "dataset_manifest_before.json", folder / "dataset_manifest.json"]
    document = (done := sample.run("tools/dataset_manifest.py", "--compare", *names, "--json")).document
    keys = ("same", "images_old", "images_new", "images_added", "images_removed", "images_changed", "images_renamed", "repeats_changed")
    return {
        "exit code": done.code,
        **{key: document[key] for key in (*keys, "resolution_changes")},
        "captions_changed": [[change["filename"], change["old"], change["new"]] for change in document["captions_changed"]],
    }


@case("a LoRA and the manifest of its dataset")
def read_lora(sample: Sample) -> Seen:
    folder = sample.take("training") / "training"
    lora = folder / "v3-step00000010.safetensors"
    done = sample.run("tools/lora_info.py", lora, "--manifest", folder / "dataset_manifest.json", "--json")
    found = done.document["loras"][0]
    params = ("network_dim", "network_alpha", "optimizer", "learning_rate", "steps", "max_train_steps", "train_images", "seed")
    return {
        "exit code": done.code,
        **{key: found["params"][key] for key in (*params, "dataset_id", "dataset_manifest_hash")},
        "run_id": found["run_id"],
        "manifest matches": found["dataset"]["matches"],
    }


@case("a killed training, resumed")
def resume_training(sample: Sample) -> Seen:
    """Killed while it wrote the state of step 15: that of step 10 is the last whole one."""
    folder = sample.take("training", "dataset")
    write_checkpoint(folder / "base.safetensors")
    output = folder / "training"
    before = {path.name: path.read_bytes() for path in output.glob("*.safetensors")}
    machine = ["--sd-scripts-dir", TRAINER, "--trainer-python", sys.executable, "--base-model", folder / "base.safetensors"]
    run = ["--output-dir", output, "--train-data-dir", folder / "dataset", "--output-name", "v3", "--resolution", 256]
    steps = ["--train-batch-size", 1, "--max-train-steps", 20, "--save-every-n-steps", 5]
    record = (done := sample.run("tools/retrain_lora_v3.py", *machine, *run, *steps, "--resume", "--json")).document
    return {
        "exit code": done.code,
        **{key: record[key] for key in ("run_id", "state", "first_step", "steps", "max_train_steps", "returncode", "failure")},
        **{key: record[key] for key in ("dataset_id", "rate_per_hr", "gpu", "loss")},
        "resumed_from": Path(record["resumed_from"]).name,
        "LoRA files": [item["file"] for item in record["lora_files"]],
        "checkpoints kept": sorted(
            name for name in ("v3-step00000005.safetensors", "v3-step00000010.safetensors") if (output / name).read_bytes() == before[name]
        ),
        "steps in loss.csv": len((output / "loss.csv").read_text(encoding="utf-8").splitlines()) - 1,
    }


# the table


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seen]:
    """Give what a case shows. Each case is run once for all of its rows; if it fails, every row of it says why."""
    known: dict[str, Seen | Exception] = {}

    def run_once(name: str) -> Seen:
        if name not in known:
            try:
                known[name] = CASES[name](Sample(tmp_path_factory.mktemp("sample")))
            except FAILURES as error:
                known[name] = error
        found = known[name]
        if isinstance(found, Exception):
            raise found
        return found

    return run_once


ROWS = [pytest.param(name, row, id=f"{name} - {row['what']}") for name, rows in EXPECTED.items() for row in rows]


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_as_version_3_0_0(name: str, row: dict[str, Any], look: Callable[[str], Seen]) -> None:
    found, wanted = look(name)[row["what"]], row["is"]
    if isinstance(wanted, float) and isinstance(found, int | float):
        wanted = pytest.approx(wanted, abs=row.get("within", EXACT))
    assert found == wanted


@pytest.mark.parametrize("name", CASES)
def test_all_that_is_seen_has_a_row(name: str, look: Callable[[str], Seen]) -> None:
    assert sorted(look(name)) == sorted(row["what"] for row in EXPECTED[name])


def test_what_changed_says_why() -> None:
    rows = [row for rows in EXPECTED.values() for row in rows]
    assert [row for row in rows if ("was" in row) != bool(row.get("reason"))] == []
    assert [row for row in rows if "was" in row and row.get("never")] == []
