"""The regressions, each fault planted in a copy of this checkout, and the four commands as CI runs them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals import known_failures
from evals.regressions import training
from evals.regressions.dependencies import parse_requirements
from evals.regressions.flag_cases import FLAG_CASES
from evals.regressions.regression import REGRESSIONS, Project, regression
from lifeos import cli
from lifeos.findings import Finding
from lifeos.guardrails.checkout import Checkout, Document
from tests.checkouts import ROOT, commit, copy_checkout, git
from tools import lifeos_context_budget, lifeos_freshness_check, lifeos_preflight
from tools.trainers.sd_scripts.conflicts import find_conflicts

COMMANDS = [
    ["evals/known_failures.py", "--project-root", "."],
    ["tools/lifeos_context_budget.py", "--project-root", "."],
    ["tools/lifeos_preflight.py", "--project-root", "."],
    ["tools/lifeos_freshness_check.py", "--project-root", ".", "--max-age-days", "14"],
]
CHECKS: dict[str, Callable[[list[str]], int]] = {
    "known failures": known_failures.main,
    "context budget": lifeos_context_budget.main,
    "preflight": lifeos_preflight.main,
    "freshness": lifeos_freshness_check.main,
}


@pytest.fixture(autouse=True)
def _in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("shipped") / "LifeOS ümlaut")


@pytest.fixture(scope="module")
def shipped_errors(shipped: Path) -> set[tuple[str, str, str, int]]:
    return errors_of(shipped)


@pytest.fixture
def clone(shipped: Path, shipped_errors: object, tmp_path: Path) -> Path:
    """A full clone that may be broken, with the memory of what compiled and passed in its source."""
    git(tmp_path, "clone", "-q", "--no-hardlinks", str(shipped), "clone")
    shutil.copytree(shipped / ".lifeos", tmp_path / "clone" / ".lifeos")
    return tmp_path / "clone"


def errors_of(root: Path) -> set[tuple[str, str, str, int]]:
    """(check, rule or regression, path, line) of every error of the four checks."""
    found = set()
    for check, main in CHECKS.items():
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = main(["--project-root", str(root), "--json", *(["--max-age-days", "14"] if check == "freshness" else [])])
        report = json.loads(out.getvalue())
        wrong = [item for item in report["findings"] if item["severity"] == "error"]
        assert (code == 0) is report["passed"] is (wrong == [])
        found |= {(check, item["rule"], item["path"], item["line"]) for item in wrong}
    return found


def test_the_shipped_tree_passes_every_check(shipped_errors: set[tuple[str, str, str, int]]) -> None:
    assert shipped_errors == set()


def edit(root: Path, path: str, old: str, new: str) -> int:
    """Replace the first `old`, commit, and return its line."""
    text = (root / path).read_text(encoding="utf-8")
    assert old in text
    (root / path).write_text(text.replace(old, new, 1), encoding="utf-8", newline="\n")
    commit(root)
    return text[: text.index(old)].count("\n") + 1


def plant_line_over_budget(root: Path) -> set[tuple[str, str, str, int]]:
    commit(root, {"context/goals.md": "# Goals\n\n" + "- one more\n" * 9})
    place = ("context-budget", "context/goals.md", 11)
    return {("known failures", *place), ("context budget", *place)}


def plant_stale_path(root: Path) -> set[tuple[str, str, str, int]]:
    line = edit(root, "context/patterns.md", "# Patterns\n", "# Patterns\n\nSee /home/" + "someone/LifeOS/context/goals.md.\n") + 2
    return {(check, "machine-path", "context/patterns.md", line) for check in ("known failures", "preflight")}


def plant_renamed_file(root: Path) -> set[tuple[str, str, str, int]]:
    git(root, "mv", "research/trainer.md", "research/sd-scripts.md")
    commit(root)
    wrong = set()
    for path in Checkout(root).files:
        if path.endswith(".md") and not path.startswith("tests/"):
            lines = (root / path).read_text(encoding="utf-8").splitlines()
            wrong |= {(path, number) for number, line in enumerate(lines, 1) if "`research/trainer.md`" in line}
    assert wrong
    return {(check, "broken-reference", *place) for place in wrong for check in ("known failures", "preflight")}


def plant_old_file(root: Path) -> set[tuple[str, str, str, int]]:
    git(root, "commit", "-q", "--amend", "--no-edit", "--date", "2020-01-01", days_ago=15)
    every = {path for path in Checkout(root).files if path != "PROGRESS.md"}
    for path in every & {"CLAUDE.md", "context/session-learnings.md", "context/projects/pistachio/context.md", "research/metrics.md"}:
        (root / path).write_text((root / path).read_text(encoding="utf-8") + "\n", encoding="utf-8", newline="\n")
    commit(root)
    return {("freshness", "freshness", "PROGRESS.md", 1)}


def plant_syntax_error(root: Path) -> set[tuple[str, str, str, int]]:
    line = edit(root, "tools/lifeos_preflight.py", "def build_parser() -> cli.Parser:", "def build_parser( -> cli.Parser:")
    return {("known failures", "script_syntax_test", "tools/lifeos_preflight.py", line)}


def plant_threshold_out_of_range(root: Path) -> set[tuple[str, str, str, int]]:
    line = edit(root, "evals/thresholds.yaml", "pass_threshold: 0.60", "pass_threshold: 1.60")
    return {("known failures", "threshold_policy_test", "evals/thresholds.yaml", line)}


def plant_missing_threshold(root: Path) -> set[tuple[str, str, str, int]]:
    line = edit(root, "evals/thresholds.yaml", "  warn_threshold: 0.50\n", "")
    return {("known failures", "threshold_policy_test", "evals/thresholds.yaml", line - 1)}


def plant_loose_pin(root: Path) -> set[tuple[str, str, str, int]]:
    line = edit(root, "requirements.in", "insightface==2.1", "insightface>=2.1")
    return {("known failures", "dependency_chain_test", "requirements.in", line)}


def plant_other_pin(root: Path) -> set[tuple[str, str, str, int]]:
    line = edit(root, "requirements-gpu.txt", "onnxruntime-gpu==1.26.0", "onnxruntime-gpu==1.27.0")
    return {("known failures", "dependency_chain_test", "requirements-gpu.txt", line)}


def plant_changed_image(root: Path) -> set[tuple[str, str, str, int]]:
    from evals.regressions.training import _write_dataset

    _write_dataset(root / "images", (10, 200))
    script = root / "tools/dataset_manifest.py"
    output = root / "lora_output" / "dataset_manifest.json"
    output.parent.mkdir()
    arguments = ["--dataset-dir", str(root / "images"), "--output", str(output), "--no-cache"]
    subprocess.run([sys.executable, str(script), *arguments], check=True, capture_output=True)
    outcome = known_failures.run_regressions(Project(Checkout(root)), ["dataset_manifest_test"])[0]
    assert outcome.findings == ()
    data = bytearray((root / "images/200.png").read_bytes())
    data[-20] ^= 1
    (root / "images/200.png").write_bytes(data)
    lines = output.read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if '"200.png"' in text)
    return {("known failures", "dataset_manifest_test", "lora_output/dataset_manifest.json", line)}


def plant_bad_flag(root: Path) -> set[tuple[str, str, str, int]]:
    line = edit(root, "tools/trainers/sd_scripts/command.py", '"--sdpa"', '"--xformers"')
    return {("known failures", "training_flags_test", "tools/trainers/sd_scripts/command.py", line)}


PLANTS = [
    *(plant_line_over_budget, plant_stale_path, plant_renamed_file, plant_old_file, plant_syntax_error, plant_threshold_out_of_range),
    *(plant_missing_threshold, plant_loose_pin, plant_other_pin, plant_changed_image, plant_bad_flag),
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__.removeprefix("plant_"))
def test_a_planted_fault_makes_exactly_its_check_fail(
    shipped_errors: set[tuple[str, str, str, int]], clone: Path, plant: Callable[[Path], set[tuple[str, str, str, int]]]
) -> None:
    wanted = plant(clone)
    assert errors_of(clone) - shipped_errors == wanted


def bare_python(folder: Path) -> Path:
    """A Python that has PyYAML and nothing else."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    asked = subprocess.run([str(python), "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True, text=True, check=True)
    packages = Path(asked.stdout.strip())
    for module in ("yaml", "_yaml"):
        source = Path(yaml.__file__).parents[1] / module
        if source.is_dir():
            shutil.copytree(source, packages / module)
    return python


def run_as_ci(root: Path, python: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL", "GITHUB"))} | {"CI": "true"}
    return subprocess.run([str(python), *command], cwd=root, env=environ, capture_output=True, text=True, encoding="utf-8", check=False)


def test_the_four_commands_run_in_a_fresh_clone_with_pyyaml_alone(
    shipped: Path, shipped_errors: set[tuple[str, str, str, int]], tmp_path: Path, links: None
) -> None:
    git(tmp_path, "clone", "-q", shipped.as_uri(), "clone")
    python = bare_python(tmp_path / "bare")
    assert subprocess.run([str(python), "-c", "import numpy"], capture_output=True, check=False).returncode == 1
    done = [run_as_ci(tmp_path / "clone", python, command) for command in COMMANDS]
    expected = {check for check, *_ in shipped_errors}
    assert [answer.stderr for answer in done] == [""] * 4
    assert [answer.returncode for answer in done] == [int(check in expected) for check in CHECKS], done
    status = git(tmp_path / "clone", "status", "--porcelain", "--untracked-files=all")
    assert status == "", "the checks leave nothing behind that git sees"


def test_without_pyyaml_it_is_exit_3_and_says_how_to_get_it(shipped: Path, tmp_path: Path, links: None) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name != "nt")
    python = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    for command in COMMANDS:
        answer = run_as_ci(shipped, python, command)
        assert (answer.returncode, answer.stdout) == (3, "")
        assert answer.stderr.startswith("error: yaml: the package yaml is not installed for ")


def test_freshness_fails_in_a_clone_of_depth_1(shipped: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth", "1", shipped.as_uri(), "clone")
    answer = run_as_ci(tmp_path / "clone", Path(sys.executable), COMMANDS[3])
    assert answer.returncode == 1
    assert "error: CLAUDE.md:1: its age is unknown: this clone is shallow and its last commit lies before the cut" in answer.stdout
    skipped = run_as_ci(tmp_path / "clone", Path(sys.executable), [*COMMANDS[3], "--skip-in-ci"])
    assert skipped.returncode == 0
    assert "warning: skipped" in skipped.stdout


def test_list_and_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert known_failures.main(["--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed.pop("schema") == 1
    assert set(listed) >= {
        *("threshold_policy_test", "dataset_manifest_test", "dependency_chain_test", "training_flags_test"),
        *("stale_references_test", "context_budget_test", "script_syntax_test"),
    }
    assert all(text.endswith(".") for text in listed.values())
    assert known_failures.main(["--only", "threshold_policy_test", "--json"]) == 0
    assert [test["name"] for test in json.loads(capsys.readouterr().out)["tests"]] == ["threshold_policy_test"]


def test_an_unknown_name_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: known_failures.main(["--only", "treshold_policy_test"])) == 2
    assert capsys.readouterr().err.startswith("error: --only treshold_policy_test: no such regression (did you mean threshold_policy_test")


@pytest.fixture
def _registry() -> Iterator[None]:
    before = dict(REGRESSIONS)
    yield
    REGRESSIONS.clear()
    REGRESSIONS.update(before)


@pytest.mark.usefixtures("_registry")
def test_a_new_regression_is_one_function(capsys: pytest.CaptureFixture[str]) -> None:
    @regression
    def new_test(project: Project) -> Iterator[Finding]:
        """It came back."""
        yield Finding("new_test", "again", path="README.md", line=3)

    assert known_failures.main(["--only", "new_test"]) == 1
    out = capsys.readouterr().out
    assert "FAILED new_test" in out
    assert "error: README.md:3: again [new_test]" in out


@pytest.mark.usefixtures("_registry")
def test_a_crash_is_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    @regression
    def crash_test(project: Project) -> Iterator[Finding]:
        """It crashes."""
        raise ZeroDivisionError
        yield

    assert cli.run(lambda: known_failures.main(["--only", "crash_test"])) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("case", FLAG_CASES, ids=lambda case: case.name)
def test_each_training_conflict_is_recognised(case: object) -> None:
    from evals.regressions.flag_cases import FlagCase

    assert isinstance(case, FlagCase)
    assert case.flag in [conflict.rule for conflict in find_conflicts(case.command(), case.config())]


@pytest.mark.parametrize(
    ("judge", "messages"),
    [
        (lambda argv, config: [], [f"not recognised any more: {case.name} ({case.flag})" for case in FLAG_CASES]),
        (
            lambda argv, config: [Finding(case.flag, "no") for case in FLAG_CASES],
            [f"a command without conflicts is refused: {case.flag}: no" for case in FLAG_CASES],
        ),
    ],
    ids=["blind", "refuses all"],
)
def test_a_judge_that_lost_its_sight_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, judge: Callable[[list[str], dict[str, Any]], list[Finding]], messages: list[str]
) -> None:
    monkeypatch.setattr(training, "find_conflicts", judge)
    assert [finding.message for finding in training._check_judge()] == messages


HASH = "0" * 64


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a==1.0\n", [(1, "a", "1.0", 0)]),
        (
            f"# x\n\nA_b.C==1.0 ; python_version > '3' \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{HASH}\n    # via x\n",
            [(3, "a-b-c", "1.0", 2)],
        ),
        ("a[x,y] == 1.0  # why\n", [(1, "a", "1.0", 0)]),
        ("a>=1.0\nb\nc==1.*\nd~=1.0\ne==1,<2\n", [(1, "a", "", 0), (2, "b", "", 0), (3, "c", "", 0), (4, "d", "", 0), (5, "e", "", 0)]),
        ("a @ https://example.org/a.whl\n", [(1, "a", "", 0)]),
        ("-r other.txt\n--find-links wheels\n-e .\n", []),
        ("a==1.26.0+gpu\n", [(1, "a", "1.26.0+gpu", 0)]),
    ],
    ids=["pin", "lock entry", "extras", "loose", "address", "options", "local version"],
)
def test_requirements_are_read_as_pip_does(text: str, wanted: list[tuple[int, str, str, int]]) -> None:
    found = [(item.line, item.name, item.version, len(item.hashes)) for item in parse_requirements(Document("requirements.txt", text))]
    assert found == wanted


def dependency_findings(root: Path, changes: dict[str, tuple[str, str]]) -> list[str]:
    for path in [*ROOT.glob("requirements*"), *ROOT.glob("wheels/*/*.whl")]:
        target = root / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for name, (old, new) in changes.items():
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new), encoding="utf-8")
    outcome = known_failures.run_regressions(Project(Checkout(root)), ["dependency_chain_test"])[0]
    return [f"{finding.path}: {finding.message}" for finding in outcome.findings]


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({}, []),
        (
            {"requirements.txt": ("\nonnxruntime==1.26.0", "\nonnxruntime-gpu==1.26.0")},
            ["requirements.txt: onnxruntime-gpu overwrites onnxruntime"],
        ),
        ({"requirements-gpu.txt": ("\nonnxruntime==1.26.0+gpu", "\nonnxruntime==1.26.0")}, ["vanishes"]),
        ({"requirements.txt": ("\npyyaml==6.0.3", "\npyyaml==6.0.2")}, ["requirements.in: pyyaml is 6.0.3 here and 6.0.2"]),
        ({"requirements.txt": ("\nopencv-python==5.0.0.93+headless", "\nopencv-python==5.0.0.93")}, ["requirements.in: opencv-python is"]),
    ],
    ids=["as shipped", "the pair in one lock", "the CPU build on the pod", "a lock behind its source", "the X build"],
)
def test_the_dependency_chain(tmp_path: Path, changes: dict[str, tuple[str, str]], messages: list[str]) -> None:
    found = dependency_findings(tmp_path, changes)
    assert bool(found) is bool(messages)
    for message in messages:
        assert any(message in line for line in found), found


def test_a_wheel_whose_bytes_changed(tmp_path: Path) -> None:
    assert dependency_findings(tmp_path, {}) == []
    wheel = next((tmp_path / "wheels/gpu").glob("*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    outcome = known_failures.run_regressions(Project(Checkout(tmp_path)), ["dependency_chain_test"])[0]
    assert [finding.message for finding in outcome.findings] == [f"wheels/gpu/{wheel.name} is not the wheel that the lock pins"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("pytest=={version}", []),
        ("pytest==0.1", ["pytest {version} is installed, 0.1 is pinned"]),
        ("no-such-package==1.0", ["no-such-package==1.0 is not installed"]),
    ],
    ids=["as pinned", "another version", "missing"],
)
def test_strict_runtime_deps_looks_at_this_python(tmp_path: Path, line: str, wanted: list[str]) -> None:
    version = importlib.metadata.version("pytest")
    locked = line.format(version=version)
    (tmp_path / "requirements.in").write_text(f"{locked}\n")
    (tmp_path / "requirements.txt").write_text(f"{locked} \\\n    --hash=sha256:{'0' * 64}\n")
    told = {
        strict: known_failures.run_regressions(Project(Checkout(tmp_path), strict_runtime_deps=strict), ["dependency_chain_test"])[0]
        for strict in (False, True)
    }
    more = {finding.message for finding in told[True].findings} - {finding.message for finding in told[False].findings}
    assert more == {message.format(version=version) for message in wanted}


def test_compiling_is_remembered_by_content_not_by_time(tmp_path: Path) -> None:
    script = tmp_path / "tools" / "a.py"
    script.parent.mkdir()
    script.write_text("x = 1\n", encoding="utf-8")
    stamp = time.time() - 100
    os.utime(script, (stamp, stamp))

    def messages() -> list[str]:
        outcome = known_failures.run_regressions(Project(Checkout(tmp_path)), ["script_syntax_test"])[0]
        return [finding.message for finding in outcome.findings]

    assert messages() == []
    assert (tmp_path / ".lifeos/compiled.json").exists()
    script.write_text("x = (\n", encoding="utf-8")
    os.utime(script, (stamp, stamp))  # the same time and the same size
    assert messages() == ["SyntaxError: '(' was never closed"]
    (tmp_path / ".lifeos/compiled.json").write_text("{torn", encoding="utf-8")
    assert messages() == ["SyntaxError: '(' was never closed"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"x = \0\n", "null bytes"),
        (b"\xff\xfe", "unicode"),
        (b"# coding: nonsense\n", "unknown encoding"),
        (b"(" * 5000, "too many nested"),
    ],
    ids=["null", "not UTF-8", "unknown encoding", "nested"],
)
def test_odd_sources_are_findings(tmp_path: Path, source: bytes, message: str) -> None:
    (tmp_path / "a.py").write_bytes(source)
    outcome = known_failures.run_regressions(Project(Checkout(tmp_path)), ["script_syntax_test"])[0]
    assert len(outcome.findings) == 1
    assert message in outcome.findings[0].message.lower()


def test_a_missing_dataset_is_said_and_fails_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "out").mkdir(parents=True)
    shutil.copytree(ROOT / "lifeos", root / "lifeos", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("evals", "tools"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    from evals.regressions.training import _write_dataset

    _write_dataset(root / "images", (10, 200))
    arguments = ["--dataset-dir", str(root / "images"), "--output", str(root / "out/dataset_manifest.json"), "--no-cache"]
    subprocess.run([sys.executable, str(root / "tools/dataset_manifest.py"), *arguments], check=True, capture_output=True)
    (root / "images").rename(root / "moved")
    outcome = known_failures.run_regressions(Project(Checkout(root)), ["dataset_manifest_test"])[0]
    assert [(item.severity, item.path, item.fix) for item in outcome.findings] == [
        ("warning", "out/dataset_manifest.json", "verify it where the images are")
    ]
    (root / "out/dataset_manifest.json").write_text("{", encoding="utf-8")
    outcome = known_failures.run_regressions(Project(Checkout(root)), ["dataset_manifest_test"])[0]
    assert [item.severity for item in outcome.findings] == ["error"]
