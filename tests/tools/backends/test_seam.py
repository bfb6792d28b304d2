"""A back end is one module and one row in the registry: nothing else knows which there are, and a toy makes a batch from end to end."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifeos.errors import InputError
from lifeos.files import read_text
from tests.checkouts import ROOT
from tests.tools.backends import toy_backend
from tests.tools.backends.toy_backend import MACHINES, ToyBackend, ToyMachine
from tools import generate_batch, production_pipeline
from tools.backends.backend import Backend, BackendOptions
from tools.backends.dispatch import Dispatcher, Job
from tools.backends.registry import BACKENDS, connect_backends, find_opener, open_backends, scheme_of
from tools.cost.spending import OverBudgetError
from tools.stand_in import render_references

MEMBERS = {"tools.backends.comfyui", "tools.backends.comfy_api", "tools.backends.embedded", "tools.backends.serverless"}
KNOWN_OUTSIDE = {
    "tools.backends.address",
    "tools.backends.backend",
    "tools.backends.credentials",
    "tools.backends.dispatch",
    "tools.backends.registry",
    "tools.backends.picture_bytes",
    "tools.backends.server_entry",
    "tools.backends.server_groups",
    "tools.backends.server_list",
}
"""All that anything outside the folder imports of it: a new back end changes none of the four but for its row. (`picture_bytes` knows
formats, and no server; `address` and `credentials` serve whoever asks something of a machine.)"""
PARTS = {
    "tools.backends.dispatched_jobs",
    "tools.backends.lane_state",
    "tools.backends.server_lane",
    "tools.backends.tail_choice",
    "tools.backends.task_pool",
}
"""Of the dispatcher, and where a server is."""


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(read_text(path))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tools.backends"):
            yield node.module if node.module != "tools.backends" else f"tools.backends.{node.names[0].name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("tools.backends"))


def test_a_new_back_end_touches_its_module_and_the_registry() -> None:
    assert set(BACKENDS.values()) == MEMBERS
    outside = {
        path.relative_to(ROOT).as_posix(): found
        for folder in ("tools", "evals", "lifeos")
        for path in (ROOT / folder).rglob("*.py")
        if path.parent != ROOT / "tools" / "backends" and (found := set(imports_of(path)) - KNOWN_OUTSIDE)
    }
    assert outside == {}


@pytest.mark.parametrize("module", sorted(KNOWN_OUTSIDE | PARTS))
def test_what_all_know_knows_no_member(module: str) -> None:
    assert set(imports_of(ROOT / f"{module.replace('.', '/')}.py")) <= KNOWN_OUTSIDE | PARTS


SCHEMES = {
    "host:8188": "http",
    "https://pod.example": "https",
    "embedded": "embedded",
    " WSS://x ": "wss",
    "comfy+https://x": "comfy+https",
    "runpod://abc123": "runpod",
}


@pytest.mark.parametrize(("url", "scheme"), SCHEMES.items())
def test_schemes(url: str, scheme: str) -> None:
    assert scheme_of(url) == scheme


def test_an_unknown_scheme_is_refused_without_its_password() -> None:
    with pytest.raises(InputError) as caught:
        find_opener("htpps://me:secret@host")
    assert str(caught.value) == "--comfy-url host: htpps:// is no back end that is known (did you mean https, http?)"


def test_a_server_that_is_named_twice_is_opened_once() -> None:
    with open_backends(["127.0.0.1:9", "http://127.0.0.1:9/"]) as opened:
        assert [server.url for server in opened] == ["http://127.0.0.1:9"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ToyMachine:
    """The row in the registry, which is all that a new back end adds beside its module."""
    monkeypatch.setitem(BACKENDS, "toy", toy_backend.__name__)
    (picture,) = render_references(tmp_path / "references", 1)
    monkeypatch.setitem(MACHINES, "toy://cloud", ToyMachine(picture.read_bytes()))
    return MACHINES["toy://cloud"]


def production(tmp_path: Path, *more: object) -> int:
    flags = [
        *(
            "--project-root",
            tmp_path,
            "--comfy-url",
            "toy://cloud",
            "--output-dir",
            tmp_path / "batch",
            "--reference-dir",
            tmp_path / "references",
            "--engine",
            "dlib",
        ),
        *(
            "--history-file",
            tmp_path / "history.jsonl",
            "--checkpoint",
            "their_model.safetensors",
            "--prompt",
            "amiranoor",
            "--base-seed",
            7,
        ),
    ]
    return production_pipeline.main([str(flag) for flag in (*flags, *more)])


def test_a_batch_from_prompts_to_approved_pictures(machine: ToyMachine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine.loses_answers = 1
    assert production(tmp_path, "--count", 4, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["counts"]["generated"], document["counts"]["approved"]) == (4, 4)
    assert (len(machine.jobs), machine.most_at_once) == (4, 2)
    assert document["cost"]["usd"] == pytest.approx(4 * (2.0 * 0.01 + 3.0 * 0.002))
    records = [json.loads(line) for line in read_text(tmp_path / "batch" / "journal.jsonl").splitlines()]
    accepted = {record["prompt_id"]: record["handle"] for record in records if record["event"] == "accepted"}
    assert accepted == {ours: theirs for theirs, ours in machine.jobs.items()}


def test_its_cost_is_a_limit(machine: ToyMachine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture takes 8 s by the policy, then 2 s and 3 credits: 0.026 dollars as charged. Two are under way before any has ended."""
    assert production(tmp_path, "--count", 40, "--max-cost", "0.01", "--json") == 1
    assert json.loads(capsys.readouterr().out)["ending_text"] == "--max-cost is less than one picture may cost ($0.08)"
    assert len(machine.jobs) == 0
    assert production(tmp_path, "--count", 40, "--max-cost", "0.2", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert 0 < document["cost"]["usd"] <= 0.2
    assert len(machine.jobs) < 40


def test_what_it_charges_is_in_the_cost_log_once(machine: ToyMachine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0.026 dollars a picture, which no session of the meter counts. What was spent today leaves room for some, and then for none."""
    assert production(tmp_path, "--count", 4, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    log = tmp_path / "tools" / "cost_log.jsonl"
    (row,) = [json.loads(line) for line in read_text(log).splitlines()]
    assert (row["cost_usd"], row["gpu"], row["batch"]) == (document["cost"]["usd"], "toy", document["run_id"])
    assert document["servers"]["by_kind"][0]["usd"] == row["cost_usd"] == 0.104
    with pytest.raises(OverBudgetError) as caught:
        production(tmp_path, "--count", 40, "--max-cost-day", "0.2")
    assert caught.value.why == "$0.10 of $0.20 are spent today (UTC), $0.10 are left, and this needs about $0.94"  # 36 x 0.026
    assert production(tmp_path, "--count", 40, "--max-cost-day", "0.2", "--max-cost", "0.19", "--json") == 0  # it may spend 0.086 more
    document = json.loads(capsys.readouterr().out)
    assert (document["ending"], document["ending_text"]) == ("max_cost", "--max-cost was reached")
    assert sum(json.loads(line)["cost_usd"] for line in read_text(log).splitlines()) == pytest.approx(document["cost"]["usd"])


def test_pictures_without_scores(machine: ToyMachine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--comfy-url", "toy://cloud", "--prompt", "amiranoor", "--images-per-prompt", "3", "--checkpoint", "their_model.safetensors"]
    flags += ["--project-root", str(tmp_path), "--output-dir", str(tmp_path / "out")]
    with pytest.raises(OverBudgetError):  # three pictures of 8 s at 0.01, by the policy's figure
        generate_batch.main([*flags, "--max-cost-day", "0.23"])
    assert generate_batch.main(flags) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    (row,) = [json.loads(line) for line in read_text(tmp_path / "tools" / "cost_log.jsonl").splitlines()]
    assert (row["cost_usd"], row["activity"], row["duration_min"]) == (pytest.approx(3 * 0.026), "generation", 0)


def test_a_prompt_of_a_killed_run_is_found_by_the_machine_s_name_for_it(machine: ToyMachine) -> None:
    machine.jobs["job-1"] = "ours"
    job = Job("1", {}, sent_as="ours", sent_to="toy://cloud", sent_handle="job-1")
    notes: list[str] = []
    with connect_backends(["toy://cloud"], notes.append, BackendOptions()) as connected:
        with Dispatcher(connected.servers, on_note=notes.append) as dispatcher:
            (finished,) = dispatcher.run([job])
    assert (finished.outcome.prompt_id, finished.outcome.kind) == ("ours", "done")
    assert machine.graphs == []
    assert notes == ["toy://cloud: the machine is starting"]


def test_the_toy_is_a_back_end(machine: ToyMachine) -> None:
    assert callable(ToyBackend("toy://cloud").submit)
    toy: Backend = ToyBackend("toy://cloud")  # mypy holds this, too
    assert toy.offers.takes_models is False
