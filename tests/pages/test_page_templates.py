"""A page is written whole, with its document in it, and shown only where there is a screen."""

from __future__ import annotations

import json
import re
import webbrowser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from lifeos.pages import page_templates
from lifeos.pages.opening import open_page
from lifeos.pages.page_templates import write_page
from tests.pages.comparison_scene import compare_in, make_versions
from tools import production_pipeline, run_full_cycle

PAGE = """{% extends "page.html.j2" %}
{% from "macros.j2" import head %}
{% set title = document.name %}
{% block main %}
{{ head("kind", document.name, more | loud) }}
{% endblock %}
"""


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> str:
    made = page_templates.page_environment

    def with_ours() -> jinja2.Environment:
        environment = made()
        environment.loader = jinja2.ChoiceLoader([jinja2.DictLoader({"ours.html.j2": PAGE}), environment.loader or jinja2.DictLoader({})])
        return environment

    monkeypatch.setattr(page_templates, "page_environment", with_ours)
    return "ours.html.j2"


def test_a_page_holds_its_document_and_nothing_that_runs(tmp_path: Path, template: str) -> None:
    document = {"name": "</title><script>alert(1)</script>", "score": None}
    write_page(tmp_path / "new" / "page.html", template, document, filters={"loud": lambda text: text.upper()}, more="a <b>")
    text = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    told = re.search(r'<script type="application/json" id="told">(.*?)</script>', text)
    assert told and json.loads(told[1]) == document
    assert text.count("<script") == 2 and "A &lt;B&gt;" in text and "<title>&lt;/title&gt;" in text


def test_a_page_that_cannot_be_rendered_leaves_the_old_one(tmp_path: Path, template: str) -> None:
    page = tmp_path / "page.html"
    page.write_text("the old one", encoding="utf-8")
    with pytest.raises(jinja2.UndefinedError):
        write_page(page, template, {"name": "a"}, filters={"loud": lambda text: text.upper()})
    assert page.read_text(encoding="utf-8") == "the old one" and list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(
    ("screen", "opens", "asked", "said"),
    [
        pytest.param("", True, [], True, id="no screen"),
        pytest.param(":0", True, ["it"], False, id="a screen"),
        pytest.param(":0", False, ["it"], True, id="no browser"),
    ],
)
def test_a_page_is_opened_where_there_is_a_screen(
    screen: str,
    opens: bool,
    asked: list[str],
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("BROWSER", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", screen)
    seen: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: seen.append(address) or opens)
    page = tmp_path / "a page.html"
    open_page(page)
    assert seen == [page.as_uri() for _ in asked] and "a%20page.html" in page.as_uri()
    line = f"no browser can be opened here; the page is {page.resolve()}\n"
    assert capsys.readouterr().err == (line if said else "")


def test_commands_that_write_a_page_open_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    make_versions(tmp_path)
    page = compare_in(tmp_path, "--open", "--no-pictures")
    assert f"no browser can be opened here; the page is {page}" in capsys.readouterr().err
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "lifeos_preflight.py").write_text("raise SystemExit(0)", encoding="utf-8")
    assert run_full_cycle.main(["--project-root", str(tmp_path), "--only", "preflight", "--open"]) == 0
    assert f"no browser can be opened here; the page is {tmp_path / 'cycle_report.html'}" in capsys.readouterr().err
    outcome: Any = SimpleNamespace(folder=SimpleNamespace(root=tmp_path), exit_code=1)
    args = production_pipeline.build_parser().parse_args(["--output-dir", str(tmp_path), "--open"])
    assert production_pipeline.tell(args, "the end", outcome) == 1
    assert f"no browser can be opened here; the page is {tmp_path / 'batch_report.html'}" in capsys.readouterr().err
