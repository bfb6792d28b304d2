"""What the mutation benchmark changes, and that it tells a test that notices from one that does not."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import mutants
from benchmarks.mutants import TESTS, main
from benchmarks.mutations import find_mutations
from lifeos import cli
from tests.checkouts import ROOT


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = a < b", ["x = a <= b"]),
        ("x = a is not None and b", ["x = a is not None or b", "x = a is None and b"]),
        ("x = a + 2 * b", ["x = a + 3 * b", "x = a + 2 / b", "x = a - 2 * b"]),
        ("x = not a", ["x = a"]),
        ("x = True", ["x = False"]),
        ("x = 'text'", []),
        ("x: int = y", []),
        ('"""A docstring."""', []),
        ("x = a if b else c", ["x = a", "x = c"]),
        ("x = [a for a in b if a]", ["x = [a for a in b]"]),
        ("os.fsync(file)", ["pass"]),
        ("self.x = y", ["pass"]),
        ("x = append(event, durable=yes)", ["x = append(event)"]),
        ("with lock:\n    a = b", ["a = b"]),
        ("with open(p) as f:\n    a = b", []),
        ("if a:\n    b = c", ["if True:\n    b = c", "if False:\n    b = c"]),
        ("if TYPE_CHECKING:\n    b = 1", []),
        ("if sys.platform == 'win32':\n    a = 1\nelse:\n    b = 2", ["if sys.platform == 'win32':\n    a = 1\nelse:\n    b = 3"]),
        ("def f() -> 1:\n    return a", ["def f() -> 1:\n    return None"]),
        ("try:\n    a = b\nexcept OSError:\n    a = c", ["try:\n    a = b\nexcept OSError:\n    raise"]),
        ("for a in b:\n    continue", ["for a in b:\n    pass"]),
    ],
)
def test_every_change_of_a_line(source: str, found: list[str]) -> None:
    assert sorted(mutation.source for mutation in find_mutations(source)) == sorted(found)


def test_each_change_stands_alone_and_names_its_line() -> None:
    source = (ROOT / "lifeos" / "locks.py").read_text(encoding="utf-8")
    plain = ast.unparse(ast.parse(source))
    lines = source.splitlines()
    for mutation in find_mutations(source):
        compile(mutation.source, "locks.py", "exec")
        assert mutation.source != plain
        assert lines[mutation.line - 1].strip()
    assert ast.unparse(ast.parse(source)) == plain


def test_every_module_and_test_of_the_table_is_there() -> None:
    assert [path for module, tests in TESTS.items() for path in (module, *tests) if not (ROOT / path).exists()] == []


def test_survivors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "limits.py").write_text("def passes(score):\n    return score >= 5\n\n\ndef loops(n):\n    while n:\n        n -= 1\n")
    (tmp_path / "test_limits.py").write_text(
        "from limits import loops, passes\n\n\ndef test_it():\n    assert passes(9) and not passes(1)\n    loops(2)\n"
    )
    for command in (["init", "-q"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(cli, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(mutants, "SLOWEST_FACTOR", 2.0)
    monkeypatch.setattr(mutants, "SLOWEST_SECONDS", 1.0)
    assert main(["limits.py", "--tests", "test_limits.py", "--json"]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)
    told = {(survivor["line"], survivor["what"]) for survivor in outcome["survivors"]}
    assert {(2, "GtE -> Gt in score >= 5"), (2, "5 -> 6")} <= told
    assert outcome["hung"] >= 1 and outcome["killed"] + len(outcome["survivors"]) == outcome["tried"] == outcome["possible"]
    assert (tmp_path / "limits.py").read_text().startswith("def passes(score):\n    return score >= 5\n")
    assert cli.run(lambda: main(["other.py"])) == 2
