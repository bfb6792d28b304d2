"""start_up: which scripts it finds, and what it says of slow and broken ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.start_up import find_commands, find_scripts, main, measure
from lifeos import cli

SCRIPT = '"""A script."""\nimport sys\n\nif __name__ == "__main__":\n    sys.exit({code})\n'


def make_project(root: Path, **scripts: int) -> Path:
    (root / "tools" / "inner").mkdir(parents=True)
    (root / "evals").mkdir()
    (root / "tools" / "module.py").write_text("x = 1\n", encoding="utf-8")
    for name, code in scripts.items():
        (root / "tools" / "inner" / f"{name}.py").write_text(SCRIPT.format(code=code), encoding="utf-8")
    return root


def test_every_script_of_the_project_is_found(project_root: Path) -> None:
    names = {path.relative_to(project_root).as_posix() for path in find_scripts(project_root)}
    assert {"evals/load_thresholds.py", "evals/skin_realism_eval.py", "tools/lifeos_context_budget.py"} <= names
    assert not {"evals/skin/realism.py", "evals/judging/assessor.py"} & names
    assert "python -m lifeos" in find_commands(project_root)


def test_the_fastest_round_counts_and_the_slowest_script_leads() -> None:
    times = {"pass": iter([0.02, 0.01]), "a": iter([0.05, 0.9]), "b": iter([0.2, 0.1])}
    order: list[str] = []

    def run(command: list[str]) -> tuple[float, str]:
        order.append(command[-1])
        return next(times[command[-1]]), "broken" if command[-1] == "b" and len(order) < 4 else ""

    base, found = measure({"a": ["a"], "b": ["b"]}, 2, run)
    assert order == ["pass", "a", "b"] * 2
    assert base == pytest.approx(10.0)
    assert [(item.name, item.milliseconds, item.times_bare) for item in found] == [("b", 100.0, 10.0), ("a", 50.0, 5.0)]
    assert [item.is_within(150) for item in found] == [False, True]  # failed once, then: a failure is never within
    assert [item.is_within(50) for item in found] == [False, False]


@pytest.mark.parametrize(
    ("goal", "codes", "expected", "text"),
    [
        pytest.param("60000", {"good": 0}, 0, "1 of 1 under 60000 ms", id="within"),
        pytest.param("0.01", {"good": 0}, 1, "0 of 1 under 0 ms", id="over"),
        pytest.param("60000", {"bad": 3, "good": 0}, 1, "FAILED: exit code 3", id="broken"),
    ],
)
def test_the_verdict(
    goal: str, codes: dict[str, int], expected: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path, **codes)
    assert cli.run(lambda: main(["--project-root", str(project), "--rounds", "1", "--goal-ms", goal])) == expected
    out = capsys.readouterr().out
    assert text in out
    assert "tools/inner/good.py" in out and "tools/module.py" not in out


def test_a_project_without_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: main(["--project-root", str(make_project(tmp_path))])) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: no scripts in evals/ or tools/ (give --project-root the checkout)\n"


def test_this_python_runs_the_scripts(tmp_path: Path) -> None:
    commands = find_commands(make_project(tmp_path, one=0))
    assert commands == {"tools/inner/one.py": [sys.executable, str(tmp_path / "tools" / "inner" / "one.py"), "--help"]}
