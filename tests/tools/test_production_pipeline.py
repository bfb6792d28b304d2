"""The command: each exit code, what is refused, what is chosen, and the whole way on a real socket with a real face engine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lifeos import cli, locks
from tests.capabilities import POSIX
from tools import production_pipeline
from tools.cost.meter import LOG_FILE, STATE_FILE, Meter
from tools.stand_in import render_references

if TYPE_CHECKING:
    from tools.stand_in.server import EmbeddedServer

    StartServer = Callable[..., EmbeddedServer]

SCRIPT = Path(production_pipeline.__file__).resolve()
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    render_references(folder, 2)
    return folder


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def error(self) -> str:
        """The one error line; there must be exactly one."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


def run(*arguments: object) -> Result:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(lambda: production_pipeline.main([str(argument) for argument in arguments]))
    return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture
def common(tmp_path: Path, references: Path) -> list[object]:
    """Flags of every small batch here: a project of its own, dlib, small pictures."""
    return [
        *("--output-dir", tmp_path / "batch", "--reference-dir", references, "--engine", "dlib", "--base-seed", 7),
        *("--width", 384, "--height", 576, "--history-file", tmp_path / "history.jsonl", "--lora", "amiranoor_v3.safetensors"),
    ]


def images_command(tmp_path: Path, references: Path) -> list[object]:
    return [
        *("--images", tmp_path / "pictures", "--reference-dir", references, "--engine", "dlib"),
        *("--output-dir", tmp_path / "out", "--history-file", tmp_path / "history.jsonl"),
    ]


def test_prompts_become_approved_pictures(tmp_path: Path, common: list[object], embedded_server: StartServer) -> None:
    server = embedded_server()
    command = [*common, "--comfy-url", server.url, "--prompt", "amiranoor, close up portrait", "--count", 2, "--json"]
    first = run(*command)
    assert first.code == 0, first.err
    document = json.loads(first.out)
    counts = document["counts"]
    assert counts["generated"] == counts["approved"] + counts["rejected"] == 2 and counts["approved"] >= 1
    assert document["settings"]["lora"] == "amiranoor_v3.safetensors" and document["settings"]["width"] == 384
    assert "embedded demo server" in document["engine_notice"]
    assert {path.name for path in (tmp_path / "batch").iterdir()} == {
        ".work", "approved", "rejected", "batch.json", "journal.jsonl", "scores.csv",
        "batch_report.md", "batch_report.json", "batch_report.html",
    }  # fmt: skip
    assert len(server.executed) == 2
    again = run(*command)
    assert again.code == 0 and len(server.executed) == 2
    (row,) = (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert (json.loads(row)["kind"], json.loads(row)["eval_scores"]["promotion_recommended"]) == ("demo", False)

    other = run(*command, "--cfg", 9)
    assert other.code == 2
    assert "holds another batch: cfg: 5.0 there, 9.0 now" in other.error
    resumed = run("--resume", "--output-dir", tmp_path / "batch")  # it knows the server and the history file too
    assert resumed.code == 0, resumed.err
    assert len(server.executed) == 2


def test_existing_pictures_are_sorted(tmp_path: Path, references: Path) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    with Image.open(references / "reference_01.png") as portrait:
        portrait.resize((416, 608)).save(source / "good.png")
    Image.new("RGB", (200, 300), (90, 120, 200)).save(source / "empty.png")
    (source / "broken.png").write_bytes(b"\x89PNG")
    result = run(*images_command(tmp_path, references), "--face-threshold", "0", "--skin-threshold", 0.0, "--json")
    assert result.code == 0, result.err
    rows = {row["file"]: row for row in json.loads(result.out)["images"]}
    assert rows["empty.png"]["reasons"] == ["no face found"]
    assert rows["broken.png"]["verdict"] == "rejected"
    assert (tmp_path / "out" / rows["good.png"]["place"] / "good.png").read_bytes() == (source / "good.png").read_bytes()
    assert json.loads((tmp_path / "out" / "batch.json").read_text(encoding="utf-8"))["policy"]["face_similarity"]["pass_threshold"] == 0.0
    row = json.loads((tmp_path / "history.jsonl").read_text(encoding="utf-8"))
    assert (row["kind"], row["eval_scores"]["promotion_recommended"]) == ("sorting", False)  # nobody gave it a run id

    Image.new("RGB", (20, 30)).save(source / "later.png")
    grown = run(*images_command(tmp_path, references), "--face-threshold", "0", "--skin-threshold", 0.0, "--json")
    assert grown.code == 0 and json.loads(grown.out)["counts"]["generated"] == 4
    changed = run(*images_command(tmp_path, references), "--face-threshold", "0.1", "--skin-threshold", 0.0)
    assert changed.code == 2 and "face_similarity.pass_threshold: 0.0 there, 0.1 now" in changed.error


def test_nothing_approved_is_1(tmp_path: Path, references: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "pictures" / "black.png")
    result = run(*images_command(tmp_path, references))
    assert result.code == 1
    assert result.out.startswith("0 of 1 picture may be published")


def refused(tmp_path: Path, references: Path) -> list[tuple[str, list[object], int, str]]:
    """(id, flags beside the output directory, exit code, part of the one error line)."""
    (tmp_path / "prompts.txt").write_text("# nothing\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "faceless").mkdir()
    Image.new("RGB", (64, 64), (10, 200, 10)).save(tmp_path / "faceless" / "green.png")
    ui = tmp_path / "ui.json"
    ui.write_text('{"nodes": [], "links": []}', encoding="utf-8")
    generate: list[object] = ["--comfy-url", "embedded", "--reference-dir", references, "--engine", "dlib"]
    return [
        ("no server", ["--comfy-url", NOWHERE, "--reference-dir", references], 3, NOWHERE),
        ("no prompts", [*generate, "--prompts", tmp_path / "prompts.txt"], 2, "prompts.txt: holds no prompt"),
        ("no prompt file", [*generate, "--prompts", tmp_path / "none.txt"], 2, "none.txt: no such file"),
        ("both prompts", [*generate, "--prompts", tmp_path / "prompts.txt", "--prompt", "x"], 2, "--prompt: given beside --prompts"),
        ("no such LoRA", [*generate, "--lora", "amiranor_v3.safetensors"], 2, "amiranoor_v3.safetensors"),
        ("no such sampler", [*generate, "--sampler", "eulr"], 2, "'eulr'"),
        ("odd width", [*generate, "--width", 833], 2, "a multiple of 8 is wanted"),
        ("UI workflow", [*generate, "--workflow", ui], 2, "ui.json"),
        ("no reference folder", ["--comfy-url", "embedded", "--reference-dir", tmp_path / "none"], 2, "none: no such directory"),
        (
            "no face in any",
            ["--comfy-url", "embedded", "--reference-dir", tmp_path / "faceless", "--engine", "dlib"],
            2,
            "(give --reference-dir",
        ),
        ("no picture", ["--images", tmp_path / "empty", "--reference-dir", references], 2, "empty: no pictures in it"),
        ("no folder", ["--images", tmp_path / "none", "--reference-dir", references], 2, "none: no such directory"),
        ("its own output", ["--images", tmp_path, "--reference-dir", references], 2, "choose an --output-dir beside it"),
        ("images and prompts", ["--images", tmp_path / "faceless", "--prompt", "x"], 2, "--prompt: has no use with --images"),
        ("zero pictures", [*generate, "--count", 0], 2, "0 is not 1 or more"),
        ("target over limit", [*generate, "--target-approved", 5, "--max-images", 4], 2, "4 pictures cannot hold 5 approved ones"),
        ("nothing to resume", ["--resume"], 2, "there is no batch to resume"),
        ("no such flag", ["--promts", "x"], 2, "did you mean --prompt, --prompts-file"),
        ("strength alone", [*generate, "--lora-strength", 0.5], 2, "--lora-strength: given without --lora"),
    ]


def test_what_is_refused_is_one_clear_line(tmp_path: Path, references: Path) -> None:
    for name, flags, code, part in refused(tmp_path, references):
        result = run("--output-dir", tmp_path / "batch", "--history-file", tmp_path / "h.jsonl", *flags)
        assert (result.code, part in result.error) == (code, True), f"{name}: {result.err}"
        assert not (tmp_path / "batch" / "batch.json").exists(), name
    assert not (tmp_path / "h.jsonl").exists()


def test_an_output_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = run("--output-dir", tmp_path / "file" / "batch", "--comfy-url", NOWHERE)
    assert result.code == 2 and "is a file, not a directory" in result.error


@pytest.mark.parametrize("flags", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_read_only_output_directory(tmp_path: Path, flags: list[object]) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        tmp_path.chmod(0o700)
        pytest.skip("nothing is read-only to this user, such as root")
    try:
        result = run("--output-dir", tmp_path / "new" / "batch", "--comfy-url", NOWHERE, *flags)
    finally:
        tmp_path.chmod(0o700)
    assert result.code == 2 and f"{tmp_path} may not be written" in result.error


def test_a_folder_with_pictures_of_no_batch_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "batch" / "approved").mkdir(parents=True)
    (tmp_path / "batch" / "approved" / "mine.png").write_bytes(b"x")
    result = run("--output-dir", tmp_path / "batch", "--comfy-url", "embedded")
    assert result.code == 2 and "approved hold files, but there is no batch.json" in result.error


def test_another_run_in_the_directory_is_4(tmp_path: Path, common: list[object]) -> None:
    with locks.hold(tmp_path / "batch" / ".work" / "lock", "test"):
        result = run(*common, "--comfy-url", "embedded")
    assert result.code == 4 and f"in use by process {os.getpid()}" in result.error


def test_a_dry_run_touches_nothing_and_needs_no_server(tmp_path: Path, common: list[object]) -> None:
    result = run(*common, "--comfy-url", NOWHERE, "--dry-run", "--count", 5, "--json")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert document["pictures"] == 50
    wanted = {"seconds": 400.0, "usd": 0.0667, "rate_per_hr": 0.6, "servers": 1}  # 50 x 8 s; 400 / 3600 x 0.60
    assert {key: document["estimate"][key] for key in wanted} == wanted
    assert len(document["unchecked"]) == 1 and NOWHERE in document["unchecked"][0]
    values = [value for node in document["workflow"].values() for value in node["inputs"].values() if not isinstance(value, list)]
    assert "amiranoor_v3.safetensors" in values and 384 in values and document["prompts"][0] in values
    assert not (tmp_path / "batch").exists() and not (tmp_path / "history.jsonl").exists()
    text = run(*common, "--comfy-url", NOWHERE, "--dry-run")
    assert "would begin batch batch" in text.out and "not checked:" in text.out and '"class_type": "KSampler"' in text.out


def test_settings_reach_the_server(tmp_path: Path, common: list[object], embedded_server: StartServer) -> None:
    server = embedded_server()
    flags = ["--cfg", 7.5, "--sampler", "euler", "--scheduler", "normal", "--steps", 3, "--lora-strength", 0.35, "--negative-prompt", "no"]
    assert run(*common, "--comfy-url", server.url, "--prompt", "amiranoor, beach", *flags).code in (0, 1)
    picture = next((tmp_path / "batch").glob("*/0001_*.png"))
    with Image.open(picture) as opened:
        sent: dict[str, Any] = json.loads(opened.info["prompt"])
    sampler = next(node["inputs"] for node in sent.values() if node["class_type"] == "KSampler")
    assert [sampler[key] for key in ("seed", "steps", "cfg", "sampler_name", "scheduler")] == [7, 3, 7.5, "euler", "normal"]
    lora = next(node["inputs"] for node in sent.values() if node["class_type"] == "LoraLoader")
    assert (lora["lora_name"], lora["strength_model"], lora["strength_clip"]) == ("amiranoor_v3.safetensors", 0.35, 0.35)


def test_a_dead_server_leaves_its_work_to_the_others(tmp_path: Path, common: list[object], embedded_server: StartServer) -> None:
    result = run(
        *common, "--project-root", tmp_path, "--comfy-url", NOWHERE, "--comfy-url", embedded_server().url, "--prompt", "amiranoor, cafe"
    )
    assert result.code in (0, 1)
    assert f"going on without {NOWHERE}" in result.err


@pytest.mark.skipif(not POSIX, reason="signals are sent as POSIX does")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_stops_cleanly_and_the_same_command_continues(
    tmp_path: Path, common: list[object], embedded_server: StartServer, number: signal.Signals
) -> None:
    server = embedded_server(seconds_per_picture=0.4)
    command = [sys.executable, str(SCRIPT), *map(str, common), "--comfy-url", server.url, "--prompt", "amiranoor, cafe", "--count", "8"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "batch" / "journal.jsonl"
    until = time.monotonic() + 60
    while not (journal.exists() and '"filed"' in journal.read_text()) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    made = len(list((tmp_path / "batch").glob("*/0*.png")))
    assert 1 <= made < 8
    assert "The batch is not complete" in (tmp_path / "batch" / "batch_report.md").read_text(encoding="utf-8")
    assert run(*common, "--comfy-url", server.url, "--prompt", "amiranoor, cafe", "--count", 8).code in (0, 1)
    assert len(list((tmp_path / "batch").glob("*/0*.png"))) == 8


def test_help_from_another_folder(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, str(SCRIPT), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "--target-approved" in result.stdout


def test_a_batch_is_a_sign_of_life_for_an_open_cost_session(tmp_path: Path, common: list[object], embedded_server: StartServer) -> None:
    meter = Meter(tmp_path / LOG_FILE, tmp_path / STATE_FILE)
    meter.start("generation", "RTX 4090", Decimal("0.60"))
    state = json.loads(meter.state_file.read_text(encoding="utf-8"))
    state["open"][0]["last_heartbeat"] = "2026-01-01T00:00:00Z"
    meter.state_file.write_text(json.dumps(state), encoding="utf-8")
    done = run(*common, "--project-root", tmp_path, "--comfy-url", embedded_server().url, "--prompt", "amiranoor, portrait")
    assert done.code in (0, 1), done.err
    assert meter.open_sessions()[0].last_heartbeat > "2026-01-01T00:00:00Z"


def test_prompts_of_a_killed_run_are_followed_and_said_to_be_ours(
    tmp_path: Path, common: list[object], embedded_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves prompts on the server: the next run of the command finds them by its journal, and warns of nobody else's."""
    server = embedded_server(seconds_per_picture=1.5)
    command = [*map(str, common), "--comfy-url", server.url, "--prompt", "amiranoor, close up portrait", "--count", "3"]
    process = subprocess.Popen([sys.executable, str(SCRIPT), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while server.counters["accepted"] < 3:
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    monkeypatch.setattr("tools.pod_health_check.STALL_SECONDS", 0.1)
    again = run(*command)
    assert "busy" not in again.err
    assert "of 3 pictures may be published" in again.out
    assert server.counters["accepted"] == 3
