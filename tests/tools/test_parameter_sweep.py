"""A sweep end to end: the real runner, the embedded server over its socket, the real dlib engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.compare_versions import main as compare_main
from lifeos import cli
from tools.parameter_sweep import main
from tools.stand_in import render_references, start_embedded_server
from tools.stand_in.server import EmbeddedServer

LORAS = ("--lora", "amiranoor_v3-step0500.safetensors", "--lora", "amiranoor_v3-step2000.safetensors")
PROMPTS = ("amiranoor, close up portrait", "amiranoor, park bench", "amiranoor, cafe")
SMALL = ("--width", "320", "--height", "448", "--steps", "20", "--engine", "dlib", "--skip-health-check", "--base-seed", "5")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with start_embedded_server() as running:
        yield running


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    render_references(folder, 3)
    return folder


def sweep(folder: Path, server: EmbeddedServer, references: Path, *flags: str, strengths: str = "0.8,1.3") -> int:
    prompts = [part for prompt in PROMPTS for part in ("--prompt", prompt)]
    paths = ["--output-dir", str(folder / "sw"), "--reference-dir", str(references), "--history-file", str(folder / "h.jsonl")]
    argv = [*LORAS, "--strengths", strengths, *prompts, *SMALL, "--comfy-url", server.url, *paths, *flags]
    return cli.run(lambda: main(argv))


def test_sweep_end_to_end(tmp_path: Path, server: EmbeddedServer, references: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # four configurations on one prompt each, then the three best on two
    assert sweep(tmp_path, server, references, "--max-images", "11", "--json", "--baseline", "step500_str1.30") == 0
    document = json.loads(capsys.readouterr().out)
    made = len(server.executed)
    assert document["images"] <= 11
    assert document["chosen"] == "step2000_str0.80"  # what the embedded server renders best
    assert len(document["ranking"]) == 4
    assert any(entry["config"] == "step500_str1.30" and entry["pictures"] > 1 for entry in document["ranking"])  # never dropped
    report = (tmp_path / "sw" / "sweep_report.md").read_text(encoding="utf-8")
    assert "These are demo pictures, which recommend nothing for a LoRA. Of real ones it would read: Use step2000_str0.80" in report
    page = (tmp_path / "sw" / "sweep_report.html").read_text(encoding="utf-8")
    assert page.index("Of real ones it would read: Use step2000_str0.80") < page.index("Demo pictures.")
    assert page.count('<li class="pic') == document["images"] == page.count("data:image/webp;base64,")
    assert "](heat_map.png)" in report and (tmp_path / "sw" / "heat_map.png").read_bytes()[:4] == b"\x89PNG"
    assert "no evidence about any LoRA" in report  # the embedded server says what it is
    floor, ceiling = (document["likeness"][name] for name in ("strangers", "references"))
    face = next(entry["means"]["face"] for entry in document["ranking"] if entry["config"] == document["chosen"])
    among = f"strangers {floor:.2f}, your references among themselves {ceiling:.2f}"
    assert f"Face similarity of step2000_str0.80 {face:.2f}: {among}." in report and floor < face
    few = "only 3 references with a face: five or more are steadier"
    assert few in document["warnings"] and f"**Before you trust this**\n\n- {few}" in report
    rows = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["run_id"] for row in rows} == {f"sw_{name}" for name in document_names(document)}

    # the same command again makes nothing and records nothing
    assert sweep(tmp_path, server, references, "--max-images", "11", "--json", "--baseline", "step500_str1.30") == 0
    assert json.loads(capsys.readouterr().out) == document
    assert len(server.executed) == made
    assert len((tmp_path / "h.jsonl").read_text(encoding="utf-8").splitlines()) == len(rows)

    # another sweep into the same folder is refused
    assert sweep(tmp_path, server, references, strengths="0.8,1.0") == 2
    assert "holds another sweep: configs, rungs, baseline differ" in capsys.readouterr().err

    # its runs can be compared, and scored again from their pictures
    names = ["--v1", "sw_step500_str1.30", "--v2", "sw_step2000_str0.80"]
    argv = ["--history", str(tmp_path / "h.jsonl"), *names, "--output", str(tmp_path / "r.md"), "--champion", str(tmp_path / "c.json")]
    again = [*argv, "--json", "--rescore", "--engine", "dlib", "--reference-dir", str(references)]
    assert cli.run(lambda: compare_main([*argv, "--json", "--no-pictures"])) == 0
    before = json.loads(capsys.readouterr().out)
    assert cli.run(lambda: compare_main(again)) == 0
    after = json.loads(capsys.readouterr().out)
    assert after["pictures"][-1] == "r_contact_sheet.png"
    for key in ("face", "skin"):
        assert after["metrics"][key]["estimate"]["difference"] == pytest.approx(before["metrics"][key]["estimate"]["difference"], abs=1e-4)


def document_names(document: dict[str, list[dict[str, str]]]) -> list[str]:
    return [entry["config"] for entry in document["ranking"]]


def test_a_sweep_that_was_refused_leaves_its_folder_free(
    tmp_path: Path, server: EmbeddedServer, references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error in a sampler is found when the server is asked. The corrected command is another sweep, into the same folder."""
    assert sweep(tmp_path, server, references, "--samplers", "eulr") == 2
    assert "eulr" in capsys.readouterr().err
    assert sweep(tmp_path, server, references, "--samplers", "euler", strengths="0.8") == 0


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--baseline", "step2000_str0.90"], "error: --baseline: step2000_str0.90 is not one of the 4 configurations (did you mean "),
        (["--max-images", "3"], "error: --max-images: 3 pictures cannot show 4 configurations (give 4 or more)"),
        (["--lora", "nobody.safetensors"], "nobody.safetensors"),
        (["--samplers", "eulr"], "eulr"),
        (["--cfgs", "5,x"], "x"),
    ],
    ids=["baseline", "budget", "lora", "sampler", "number"],
)
def test_bad_designs_are_refused_before_anything_is_made(
    tmp_path: Path, server: EmbeddedServer, references: Path, capsys: pytest.CaptureFixture[str], flags: list[str], error: str
) -> None:
    assert sweep(tmp_path, server, references, *flags) == 2
    assert error in capsys.readouterr().err
    assert not (tmp_path / "h.jsonl").exists()


def test_dry_run_prints_the_design_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [*LORAS, "--strengths", "0.6,0.8,1.0", "--output-dir", str(tmp_path / "sw"), "--dry-run", "--rate-per-hr", "0.9", "--json"]
    assert cli.run(lambda: main(argv)) == 0
    document = json.loads(capsys.readouterr().out)
    # 6 configurations x 10 built-in prompts at 8 s: 480 s at $0.90 an hour
    assert (document["images"], document["seconds"], document["usd"]) == (60, 480, 0.12)
    assert not (tmp_path / "sw").exists()
