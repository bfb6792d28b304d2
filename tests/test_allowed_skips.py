"""A skip that the table does not allow fails the run, also where several processes run the tests."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests import allowed_skips
from tests.allowed_skips import ALLOWED_SKIPS, NO_MODELS, AllowedSkip, is_allowed
from tests.checkouts import ROOT

CONFTEST = """
from tests.allowed_skips import pytest_make_collect_report, pytest_runtest_makereport
"""

TESTS = f"""
import pytest

def test_runs(): pass

@pytest.mark.skipif(True, reason="{NO_MODELS}")
def test_needs_models(): pass

@pytest.mark.skipif(True, reason="not today")
def test_marked(): pass

@pytest.fixture
def late(): pytest.skip("too late")

def test_of_a_fixture(late): pass

def test_in_its_body(): pytest.skip("half-way")

@pytest.mark.xfail(strict=True)
def test_expected_to_fail(): assert False
"""


def run_sample(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The tests above and a file that is skipped as a whole, in two processes."""
    (folder / "tests").mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "tests" / "test_some.py").write_text(TESTS)
    (folder / "tests" / "test_whole.py").write_text("import pytest\npytest.importorskip('a_module_that_is_not_there')\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {name: value for name, value in os.environ.items() if name != "LIFEOS_TEST_MODELS"} | environ
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-n", "2", "--rootdir", str(folder), str(folder)]
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_only_skips_of_the_table_are_green(tmp_path: Path) -> None:
    done = run_sample(tmp_path)
    assert done.returncode == 1
    told = "was skipped ({}), and tests/allowed_skips.py does not allow that here"
    for test, reason in (("test_marked", "not today"), ("test_of_a_fixture", "too late"), ("test_in_its_body", "half-way")):
        assert f"tests/test_some.py::{test} {told.format(reason)}" in done.stdout
    assert "tests/test_whole.py was skipped (could not import 'a_module_that_is_not_there'" in done.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in done.stdout and "test_needs_models was skipped" not in done.stdout


def test_where_the_variable_is_set_the_tests_that_need_it_must_run(tmp_path: Path) -> None:
    assert f"tests/test_some.py::test_needs_models was skipped ({NO_MODELS})" in run_sample(tmp_path, LIFEOS_TEST_MODELS="anywhere").stdout


@pytest.mark.parametrize(
    ("test", "reason", "here", "allowed"),
    [
        ("tests/a/test_b.py::test_c", "no fork", True, True),
        ("tests/a/test_b.py::test_c[1]", "no fork", True, True),
        ("tests/a/test_b.py::test_c", "no fork", False, False),
        ("tests/a/test_b.py::test_c", "no fork today", True, False),
        ("tests/a/test_other.py::test_c", "no fork", True, False),
    ],
    ids=["in the table", "with parameters", "on another machine", "for another reason", "of another file"],
)
def test_a_row_allows_one_reason_in_its_files(test: str, reason: str, here: bool, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowed_skips, "ALLOWED_SKIPS", (AllowedSkip("tests/a/test_b.py::*", "no fork", here),))
    assert is_allowed(test, reason) is allowed


def test_every_row_of_the_table_is_of_use() -> None:
    """Its reason stands in a test that it fits."""
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    texts["tests/conftest.py"] += NO_MODELS + allowed_skips.NO_CASES  # by their names

    def is_used(row: AllowedSkip) -> bool:
        mine = {path: text for path, text in texts.items() if path.startswith(row.tests.partition("*")[0].removesuffix("::"))}
        return any(row.reason in text for path, text in mine.items() if path != "tests/allowed_skips.py")

    assert [row for row in ALLOWED_SKIPS if not is_used(row)] == []


def reasons_of(path: Path) -> list[str]:
    """The texts that `pytest.skip` and `pytest.mark.skipif` are given in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("skip", "skipif"):
            given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"] or node.args[:1]
            found += [value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return found


def test_every_skip_of_another_system_is_in_the_table() -> None:
    """A row that is missing shows here already, not only on the system that it is for."""
    rows = [(row.tests, row.reason) for row in ALLOWED_SKIPS]
    texts = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "tests").rglob("test_*.py"))}
    missing = [
        f"{name}: {reason}"
        for name, path in texts.items()
        for reason in reasons_of(path)
        if not any(reason == known and fnmatchcase(f"{name}::x", tests) for tests, known in rows)
    ]
    assert missing == []
