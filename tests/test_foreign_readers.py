"""Every reader of a file or an answer that others made ends in a result or in one of our errors, whatever it holds.

What other tests throw at their own readers is not repeated here: the policy, workflows, trainers' files, the client, the cost log.
LIFEOS_TEST_EXAMPLES says how many examples each reader gets.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import struct
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals import compare_versions, leaderboard
from evals.comparison.comparing import compare
from evals.comparison.memorisation import read_training_set
from evals.comparison.promotion import check_promotion, read_champion
from evals.comparison.rendering import render
from evals.comparison.run_pictures import with_batch_facts
from evals.comparison.runs import read_run
from evals.load_thresholds import load_thresholds
from evals.scorecards import card_inputs
from lifeos import cli, doctor, files, locks
from lifeos.errors import EXIT_INTERNAL
from tests.checkouts import ROOT
from tests.evals.comparison.rows import make_row, steady
from tests.examples import EXAMPLES
from tests.fuzzing import foreign_bytes, foreign_lines, only_our_errors
from tests.tools.production.scenes import make_plan
from tools import dataset_manifest, lora_info, production_pipeline
from tools.cost import billing
from tools.cycle import cycle_record
from tools.pod_health_check import check_model_file
from tools.production.batch_state import BatchState
from tools.production.filing import BatchFolder
from tools.production.history_row import record_once
from tools.sweep.running import Sweep, check_begun
from tools.sweep.sweep_report import record_runs

SAMPLES = ROOT / "tests" / "data" / "version_before"
POLICY = load_thresholds()


def document(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))


def rows(name: str) -> list[Any]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def run(script: Any, *arguments: object) -> None:
    """A whole command: it may fail, with one line for the user."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = cli.run(lambda: script.main([str(argument) for argument in arguments]))
    assert code != EXIT_INTERNAL, said.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def rank(folder: Path, data: bytes) -> None:
    run(leaderboard, "--history-file", write(folder / "h.jsonl", data), "--output", folder / "out.md")


def compare_runs(folder: Path, data: bytes) -> None:
    whole = b"".join(json.dumps(make_row(name, steady(0.6))).encode() + b"\n" for name in ("one", "two"))
    history = write(folder / "h.jsonl", whole + data)
    for names in (["one", "two"], ["one", "v3"]):
        flags = ["--no-pictures", "--output", folder / "out.md", "--champion", folder / "no_champion.json"]
        run(compare_versions, "--history-file", history, "--v1", names[0], "--v2", names[1], *flags)


def append_to_history(folder: Path, data: bytes) -> None:
    history = write(folder / "h.jsonl", data)
    batch = BatchFolder(folder / "batch")
    batch.prepare()
    row = make_row("batch_001", steady(0.6), batch_id="b" * 32)
    record_once(make_plan(), batch, BatchState(), row, history, lambda text: None)


def judge_again(folder: Path, name: str, data: bytes) -> None:
    """The batch of the samples with another `batch.json` or journal: it is read, judged, filed and reported."""
    batch = folder / "batch"
    shutil.rmtree(batch, ignore_errors=True)
    batch.mkdir()
    for kept in ("batch.json", "journal.jsonl"):
        shutil.copyfile(SAMPLES / "finished_batch" / kept, batch / kept)
    write(batch / name, data)
    run(production_pipeline, "--rejudge", "--output-dir", batch, "--history-file", folder / "h.jsonl", "--face-threshold", "0.7")


def crown(folder: Path, data: bytes) -> None:
    champion = read_champion(write(folder / "champion.json", data))
    check_promotion(compare([read_run(make_row("a", steady(0.6)))], [read_run(make_row("b", steady(0.7)))], POLICY), champion)


def verify_manifest(folder: Path, data: bytes) -> None:
    path = write(folder / "m.json", data)
    run(dataset_manifest, "--verify", path)
    run(dataset_manifest, "--compare", path, SAMPLES / "training" / "dataset_manifest.json")
    run(lora_info, SAMPLES / "training" / "v3-step00000005.safetensors", "--manifest", path)


def name_manifest(folder: Path, data: bytes) -> None:
    path = write(folder / "m.json", data)
    for read in (card_inputs.read_manifest, read_training_set):
        only_our_errors(lambda read=read: read(path))  # type: ignore[misc]


def continue_sweep(folder: Path, data: bytes) -> None:
    write(folder / "sweep.json", data)
    sweep = mock.create_autospec(Sweep, instance=True)
    sweep.to_json.return_value = {"schema": 1}
    sweep.request = mock.Mock(output_dir=folder)
    sweep.configs, sweep.run_id = (), "s"
    only_our_errors(lambda: check_begun(folder, sweep))
    only_our_errors(lambda: record_runs(sweep, mock.Mock(shots=[]), POLICY, folder / "h.jsonl", "2026-11-20T10:00:00Z"))


def continue_cycle(folder: Path, data: bytes) -> None:
    write(folder / "2026-11-20" / cycle_record.RECORD_NAME, data)
    with contextlib.redirect_stderr(io.StringIO()):
        found = cycle_record.find_unfinished(folder)
    if found is not None:
        cycle_record.render(found[1], {step.name: step.name for step in found[1].steps})


def take_facts(folder: Path, data: bytes) -> None:
    """What a batch's report says is shown beside its run."""
    write(folder / "batch_report.json", data)
    first, second = (with_batch_facts(read_run(make_row(name, steady(0.6))), folder) for name in ("batch", "other"))
    render(compare([first], [second], POLICY))


def read_bill(folder: Path, data: bytes) -> None:
    with mock.patch.object(billing.web, "get", return_value=data), mock.patch.dict("os.environ", {"RUNPOD_API_KEY": "key"}):
        billed = billing.fetch_bill(date(2026, 2, 1), date(2026, 2, 28))
    differences = billing.compare_bill(SAMPLES / "cost" / "cost_log.jsonl", billed, date(2026, 2, 1), date(2026, 2, 28))
    billing.render_differences(differences)


def take_lock(folder: Path, data: bytes) -> None:
    with locks.hold(write(folder / "lock", data), "batch"):
        pass


def ask_comfyui(folder: Path, data: bytes) -> None:
    answer = contextlib.nullcontext(io.BytesIO(data))
    with mock.patch("urllib.request.urlopen", return_value=answer), mock.patch("lifeos.web.get", return_value=data):
        doctor.examine_comfyui("http://127.0.0.1:9")


def weigh_model(folder: Path, data: bytes) -> None:
    check_model_file(write(folder / "m.safetensors", struct.pack("<Q", len(data)) + data))


CYCLE = {
    "schema": 1, "cycle_id": "c", "fingerprint": "f", "started": "2026-11-20T10:00:00Z", "status": "failed", "cost_usd": "0.5",
    "steps": [{"name": "agent", "status": "failed", "reason": "x", "seconds": 1.5, "artefacts": ["a"], "log": "a.log"}],
}  # fmt: skip
BILL = [{"podId": "pod1", "time": "2026-02-11T00:00:00Z", "amount": 11.10, "timeBilledMs": 5}]
HEADER = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}}
STATS = {"system": {"comfyui_version": "0.8.0"}, "devices": []}
OWNER = {"pid": 1, "host": "another", "since": "2026-01-01"}
HISTORY = rows("eval_history.jsonl")
MANIFEST = document("training/dataset_manifest.json")

READERS: dict[str, tuple[st.SearchStrategy[bytes], Callable[[Path, bytes], object], int]] = {
    "history: leaderboard": (foreign_lines(*HISTORY), rank, 5),
    "history: comparison": (foreign_lines(*HISTORY), compare_runs, 20),
    "history: a batch's own row": (foreign_lines({**HISTORY[0], "batch_id": "b" * 32}), append_to_history, 1),
    "batch.json": (
        foreign_bytes(document("finished_batch/batch.json")),
        lambda folder, data: judge_again(folder, "batch.json", data),
        5,
    ),
    "journal": (
        foreign_lines(*rows("finished_batch/journal.jsonl")),
        lambda folder, data: judge_again(folder, "journal.jsonl", (SAMPLES / "finished_batch/journal.jsonl").read_bytes() + data),
        5,
    ),
    "champion": (foreign_bytes(document("champion.json")), crown, 1),
    "manifest": (foreign_bytes(MANIFEST), verify_manifest, 2),
    "manifest of a scorecard and of training pictures": (foreign_bytes(MANIFEST), name_manifest, 1),
    "training parameters": (
        foreign_bytes({"network_dim": 32, "learning_rate": 1e-4}),
        lambda folder, data: card_inputs.read_training_params(str(write(folder / "p.json", data))),
        1,
    ),
    "batch.json of a scored folder": (
        foreign_bytes(document("finished_batch/batch.json")),
        lambda folder, data: card_inputs.read_batch_config(write(folder / "batch.json", data).parent),
        1,
    ),
    "sweep.json": (foreign_bytes(document("killed_sweep/sweep.json")), continue_sweep, 1),
    "cycle record": (foreign_bytes(CYCLE), continue_cycle, 1),
    "batch report of a run": (foreign_bytes({**document("finished_batch/batch_report.json"), "run_id": "batch"}), take_facts, 5),
    "RunPod's bill": (foreign_bytes(BILL), read_bill, 1),
    "a lock's owner": (foreign_bytes(OWNER), take_lock, 1),
    "doctor's question": (foreign_bytes(STATS), ask_comfyui, 1),
    "a model file's header": (foreign_bytes(HEADER), weigh_model, 1),
    "JSON": (foreign_bytes({"a": 1}), lambda folder, data: files.read_json(write(folder / "a.json", data)), 1),
    "JSON Lines": (foreign_lines({"a": 1}), lambda folder, data: list(files.read_records(write(folder / "a.jsonl", data), str)), 1),
}
"""What it holds, its reader, and how many times slower it is than the quick ones: it gets so many fewer examples."""


@pytest.mark.parametrize(("data", "read", "slower"), READERS.values(), ids=READERS)
def test_whatever_it_holds(data: st.SearchStrategy[bytes], read: Callable[[Path, bytes], object], slower: int, tmp_path: Path) -> None:
    folder = tmp_path / "foreign"

    @settings(max_examples=EXAMPLES // slower, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data)
    def try_it(content: bytes) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        only_our_errors(lambda: read(folder, content))

    try_it()
