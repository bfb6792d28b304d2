"""The house rules that a machine can hold: names, direction of imports, help from anywhere, and nothing of one machine."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from lifeos.files import read_text
from lifeos.guardrails.checkout import Checkout
from lifeos.guardrails.machine_paths import find_machine_paths, find_texts
from tests.checkouts import ROOT

CHECKOUT = Checkout(ROOT)
PYTHON = [path for path in CHECKOUT.files if path.endswith(".py") and (ROOT / path).is_file()]
CODE = [path for path in PYTHON if path.startswith(("lifeos/", "evals/", "tools/"))]
SCRIPTS = [path for path in CODE if re.fullmatch(r"(?:evals|tools)/\w+\.py", path) and "def main(" in read_text(ROOT / path)]
MAY_IMPORT = {"lifeos": {"lifeos"}, "evals": {"evals", "lifeos"}, "tools": {"tools", "evals", "lifeos"}}
DOORS = ("evals/regressions/",)
"""What a regression check guards may lie anywhere, as may what a script at the root of a folder calls."""
DEPENDENCIES = {
    *("yaml", "PIL", "numpy", "requests", "websocket", "insightface", "onnxruntime", "cv2", "dlib", "face_recognition_models", "skimage"),
    *("tqdm", "jinja2", "matplotlib", "msgspec", "aiohttp", "pytest", "hypothesis", "safetensors", "markdown", "scipy"),
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "shared"}


def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_bytes(), filename=path)


@cache
def imports_of(path: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Every import of a module, those within functions and for annotations too."""
    return tuple(node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Import | ast.ImportFrom))


def imported(path: str) -> Iterator[str]:
    for node in imports_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif node.level == 0 and node.module:
            yield node.module


def test_no_module_imports_another_s_tests() -> None:
    """What tests or benchmarks share stands in a module without tests: importing a test module would import its tests along."""
    tests = {path.removesuffix(".py").replace("/", "."): path for path in PYTHON if Path(path).name.startswith("test_")}
    assert len(tests) > 100
    assert [f"{path} imports {name}" for path in PYTHON for name in needed_by(path, tests) if path != tests[name]] == []


def test_there_is_something_to_check() -> None:
    assert len(SCRIPTS) >= 6
    assert {path.partition("/")[0] for path in CODE} == {"lifeos", "evals", "tools"}


def test_all_python_compiles() -> None:
    for path in PYTHON:
        compile((ROOT / path).read_bytes(), path, "exec", dont_inherit=True)


def test_no_module_is_named_like_another_s() -> None:
    taken = sys.stdlib_module_names | DEPENDENCIES
    names = {path: Path(path).parent.name if path.endswith("__init__.py") else Path(path).stem for path in CODE}
    assert sorted(path for path, name in names.items() if name in taken and name != "__main__") == []


def test_no_module_has_a_vague_name() -> None:
    assert sorted(path for path in PYTHON if Path(path).stem in VAGUE or Path(path).parent.name in VAGUE) == []


def test_imports_go_one_way() -> None:
    against = [
        f"{path} imports {name}"
        for path in CODE
        for name in imported(path)
        if (top := name.partition(".")[0]) in (*MAY_IMPORT, "tests", "benchmarks")
        and top not in MAY_IMPORT[path.partition("/")[0]]
        and not (path.startswith(DOORS) or path in SCRIPTS)
    ]
    assert against == []


def test_no_two_modules_have_one_name() -> None:
    """`__init__` and `__main__` say by their folder what they are."""
    places = Counter(Path(path).stem for path in CODE if not Path(path).stem.startswith("__"))
    assert sorted(name for name, count in places.items() if count > 1) == []


def test_no_two_public_classes_have_one_name() -> None:
    classes = Counter(node.name for path in CODE for node in tree_of(path).body if isinstance(node, ast.ClassDef) and node.name[0] != "_")
    twice = {name for name, count in classes.items() if count > 1}
    assert twice == set(), "give the new class a name that says what it is"


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Imports within functions and for annotations count too: they hide a circle, they do not break it."""
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in CODE}
    needs = {name: {found for found in needed_by(path, modules) if found != name} for name, path in modules.items()}
    assert find_circles(needs) == []


def test_a_circle_is_found() -> None:
    assert find_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def needed_by(path: str, modules: Container[str]) -> Iterator[str]:
    """The modules of ours that a module imports anywhere, for its annotations too."""
    for node in imports_of(path):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module else []
        else:
            names = [alias.name for alias in node.names]
        for name in names:
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name:
                yield name


def find_circles(needs: Mapping[str, Set[str]]) -> list[list[str]]:
    """The groups of modules of which each can be reached from each, sorted."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            for name in needs.get(waiting.pop(), ()):
                if name not in found:
                    found.add(name)
                    waiting.append(name)
        return found

    reach = {name: reached(name) for name in needs}
    circles = {name for name in needs if name in reach[name]}
    groups = {tuple(sorted({name} | {other for other in reach[name] if name in reach.get(other, ())})) for name in circles}
    return sorted(map(list, groups))


def test_package_doors_are_light() -> None:
    """An `__init__` imports nothing but the standard library and modules of ours, which keep heavy imports inside functions."""
    ours = {*MAY_IMPORT, *sys.stdlib_module_names}
    doors = [path for path in CODE if path.endswith("__init__.py")]
    assert [f"{path}: {name}" for path in doors for name in imported(path) if name.partition(".")[0] not in ours] == []


@pytest.mark.parametrize("path", SCRIPTS)
def test_a_script_has_the_shape_of_a_script(path: str) -> None:
    text = read_text(ROOT / path)
    document = ast.get_docstring(tree_of(path)) or ""
    assert "Exit codes:" in document
    assert f"python {path}" in document, "a command that works as pasted"
    assert "if not __package__:  # run as a file: import from the repository root, not from this folder" in text
    assert text.rstrip().endswith("raise SystemExit(cli.run(main))")


def test_every_script_has_help_from_an_unrelated_folder(tmp_path: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"COLUMNS": "200"}

    def help_of(path: str) -> tuple[str, int, bool, str]:
        command = [sys.executable, str(ROOT / path), "--help"]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, encoding="utf-8", check=False)
        return path, done.returncode, done.stdout.startswith("usage:"), done.stderr

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(help_of, SCRIPTS))
    assert [answer for answer in answers if answer[1:] != (0, True, "")] == []
    assert list(tmp_path.iterdir()) == []


def test_no_path_of_one_machine_stands_in_the_tree() -> None:
    """In the tests too, as far as somebody's folder goes: they put such paths together from parts."""
    found = [finding for path in find_texts(CHECKOUT) for finding in find_machine_paths(CHECKOUT, CHECKOUT.document(path))]
    personal = re.compile(r"[/\\](?:home|Users|root)[/\\]")
    wrong = [finding for finding in found if not finding.path.startswith("tests/") or personal.search(finding.message)]
    assert [f"{finding.place}: {finding.message}" for finding in wrong] == []


def test_every_text_file_is_utf_8_with_unix_line_ends() -> None:
    listed = subprocess.run(["git", "ls-files", "--eol", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode().split("\0")
    crlf = [line.rpartition("\t")[2] for line in listed if line.startswith(("i/crlf", "i/mixed"))]
    assert crlf == []
    assert [path for path in find_texts(CHECKOUT) if "not UTF-8" in CHECKOUT.document(path).problem] == []
