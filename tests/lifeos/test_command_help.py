"""Help texts: the value in force and its source, the terminal's width, and examples that stay commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifeos import cli
from lifeos.command_help import break_command, fill_document, show_value
from tests.checkouts import ROOT
from tests.parsers import PARSERS, make_parser


def help_of(*flags: str, key: str = "face_similarity.pass_threshold", note: str = "") -> str:
    parser = cli.Parser("Decides nothing.", prog="script.py")
    parser.add_project_root()
    parser.add_argument("--thresholds", type=Path)
    parser.add_argument("--count", type=int, default=5, help="pictures per prompt")
    parser.add_argument("--limit", help=cli.policy_help("pass from here", key, note=note))
    with pytest.raises(SystemExit):
        parser.parse_args([*flags, "--help"])
    return parser.format_help()


def project(folder: Path, policy: str | None) -> Path:
    (folder / "evals").mkdir()
    if policy is not None:
        (folder / "evals" / "thresholds.yaml").write_text(policy, encoding="utf-8")
    return folder


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "112")


@pytest.mark.parametrize(
    ("policy", "shown", "last"),
    [
        ("# a\nface_similarity:\n  pass_threshold: 0.7\n", "0.70, face_similarity.pass_threshold, evals/thresholds.yaml:3", ""),
        ("skin_realism: {}\n", "0.60, face_similarity.pass_threshold, built-in", ""),
        (None, "0.60, face_similarity.pass_threshold, built-in", "There is no evals/thresholds.yaml in {root}: the built-in values hold."),
        (
            "face_similarity: [\n",
            "face_similarity.pass_threshold in evals/thresholds.yaml",
            "The values in force are not shown: {root}/evals/thresholds.yaml:2: not YAML: did not find expected node content.",
        ),
        (
            "face_similarity:\n  pass_threshold: 7\n",
            "face_similarity.pass_threshold in evals/thresholds.yaml",
            "The values in force are not shown: {root}/evals/thresholds.yaml:2: face_similarity.pass_threshold: 7 is out of range: "
            "a number from 0 to 1 wanted.",
        ),
    ],
    ids=["in the file", "left out of the file", "no file", "not YAML", "out of range"],
)
def test_a_value_and_its_source(policy: str | None, shown: str, last: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path, policy)
    text = help_of("--project-root", str(root))
    assert f"pass from here (default: {shown})" in flat(text)
    assert "pictures per prompt (default: 5, built-in)" in flat(text)
    assert capsys.readouterr().out.replace("\n", "") == text.replace("\n", "")
    assert flat(text).endswith(flat(last.format(root=root)) if last else f"{shown})")


def test_another_policy_file_is_the_one_that_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("face_similarity: {pass_threshold: 0.65}\n", encoding="utf-8")
    assert f"(default: 0.65, face_similarity.pass_threshold, {file.as_posix()}:1)" in flat(help_of(f"--thresholds={file}"))


def test_without_pyyaml_the_help_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    text = flat(help_of("--project-root", str(project(tmp_path, "skin_realism: {}\n"))))
    assert "pass from here (default: face_similarity.pass_threshold in evals/thresholds.yaml)" in text
    assert text.endswith("The values in force are not shown: the package yaml is not installed (run: python -m lifeos setup).")


def test_a_mapping_and_a_note(tmp_path: Path) -> None:
    root = project(tmp_path, "cost:\n  default_gpu: 50 % GPU\n  rates_per_hr: {RTX 4090: 0.5}\n")
    text = flat(help_of("--project-root", str(root), key="cost.rates_per_hr", note="in dollars"))
    assert "(default: RTX 4090 0.50, RTX 3090 0.40, A100 80GB…, cost.rates_per_hr, evals/thresholds.yaml:3; in dollars)" in text
    text = flat(help_of("--project-root", str(root), key="cost.default_gpu"))
    assert "(default: 50 % GPU, cost.default_gpu, evals/thresholds.yaml:2)" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6, "0.60"),
        (0.0357, "0.0357"),
        (5.0, "5"),
        (28, "28"),
        (True, "true"),
        ("", "empty"),
        ([], "empty"),
        (["a", "b"], "a, b"),
        ({"A": 0.85}, "A 0.85"),
        ("x" * 41, "x" * 39 + "…"),
    ],
)
def test_how_a_value_is_shown(value: object, text: str) -> None:
    assert show_value(value) == text


@pytest.mark.parametrize("columns", [70, 80, 200])
def test_every_help_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what cannot be broken, such as a path or a choice between flags, may be longer."""
    monkeypatch.setenv("COLUMNS", str(columns))
    wide = []
    for script in PARSERS:
        for line in make_parser(script).format_help().splitlines():
            if len(line) > columns and len(line.split()) > 2 and " | " not in line:
                wide.append(f"{script}: {line}")
    assert wide == []


def test_paragraphs_are_filled_and_commands_are_not() -> None:
    document = "One two three four\nfive six.\n\n    python x.py --alpha 1 --beta 2  # why so\n    python y.py\n\nSeven."
    assert list(fill_document(document, 24)) == [
        "One two three four five",
        "six.",
        "",
        "    # why so",
        "    python x.py \\",
        "        --alpha 1 \\",
        "        --beta 2",
        "    python y.py",
        "",
        "Seven.",
    ]


def test_what_stands_beside_a_command_is_wrapped_in_its_column() -> None:
    assert list(fill_document("Verbs:\n\n    lifeos demo    from prompts to approved pictures\n    lifeos x       more", 40)) == [
        "Verbs:",
        "",
        "    lifeos demo    from prompts to",
        "                   approved pictures",
        "    lifeos x       more",
    ]


def test_a_command_that_was_broken_is_the_same_command() -> None:
    command = "    python tools/x.py --prompt 'a -b c' --lora v3.safetensors --count 5 --output-dir out"
    rows = list(break_command(command, 40))
    assert max(map(len, rows)) <= 40
    assert re.sub(r" \\\n\s+", " ", "\n".join(rows)) == command


def test_help_prints_at_once() -> None:
    """150 ms on a quiet machine; here only that nothing heavy is imported."""
    heavy = ("numpy", "PIL", "cv2", "onnxruntime", "matplotlib", "msgspec", "requests")
    start_script = "try:\n    runpy.run_path(sys.argv[1], run_name='__main__')\nexcept SystemExit:\n    "
    program = f"import sys, runpy\n{start_script}print('heavy:', *[name for name in sys.argv[3:] if name in sys.modules])"
    start = time.perf_counter()
    for script in ("tools/production_pipeline.py", "evals/compare_versions.py"):
        command = [sys.executable, "-c", program, str(ROOT / script), "--help", *heavy]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, cwd=ROOT, check=True)
        assert done.stdout.splitlines()[-1] == "heavy:", script
    assert time.perf_counter() - start < 20
