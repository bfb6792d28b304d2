"""The documents that are generated from the code."""

from __future__ import annotations

import subprocess
import sys

from lifeos import cli
from lifeos.reference import Page, documents, find_leftovers, render_page
from tests.checkouts import ROOT


def test_generated_documents_say_what_the_code_says() -> None:
    outdated = [path.relative_to(ROOT).as_posix() for path, wanted in documents(ROOT) if path.read_text(encoding="utf-8") != wanted]
    assert outdated == [], "python -m lifeos reference --write"


def test_no_page_is_left_of_a_script_that_is_gone() -> None:
    assert find_leftovers(ROOT) == []


def test_a_page_of_the_reference_has_commands_flags_defaults_and_exit_codes() -> None:
    parser = cli.Parser("", spellings={"--number": "--count"})
    group = parser.add_argument_group("how it is made")
    group.add_argument("--count", "-n", type=int, default=2, metavar="N", help="pictures | of each prompt")
    group.add_argument("--url", metavar="URL", help="the server (repeatable; default: http://127.0.0.1:8188)")
    group.add_argument("--engine", choices=("a", "b"), help="which one")
    document = "Make <pictures>.\n\n    python tools/x.py\n\nExit codes: 0 done · 1 not, as\nit was · 130 interrupted."
    page = render_page(Page("x", "tools/x.py", document, parser))
    assert page.splitlines() == [
        "# x",
        "",
        "<!-- Generated from the script by `python -m lifeos reference --write`. Change the script, not this page. -->",
        "",
        "`tools/x.py`",
        "",
        "Make &lt;pictures>.",
        "",
        "```",
        "python tools/x.py",
        "```",
        "",
        "## How it is made",
        "",
        "| flag | meaning | default |",
        "|---|---|---|",
        "| `--count N`, `-n N` (also `--number`) | pictures \\| of each prompt | 2, built-in |",
        "| `--url URL` | the server (repeatable) | http://127.0.0.1:8188 |",
        "| `--engine {a,b}` | which one |  |",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        "| 0 | done |",
        "| 1 | not, as it was |",
        "| 130 | interrupted |",
    ]


def test_the_reference_needs_no_package() -> None:
    """The launcher runs it in the Python it was started with, which may have nothing: without site-packages it works too."""
    done = subprocess.run([sys.executable, "-S", "-m", "lifeos", "reference"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_script_has_a_page() -> None:
    index = (ROOT / "docs/reference/README.md").read_text(encoding="utf-8")
    scripts = [path for folder in ("evals", "tools") for path in sorted((ROOT / folder).glob("*.py")) if path.stem != "__init__"]
    assert [path.stem for path in scripts if f"[{path.stem}]({path.stem}.md)" not in index] == []
