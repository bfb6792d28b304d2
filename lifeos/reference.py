"""`python -m lifeos reference --write`: the parts of the documents that follow from the code, written from it.

The table of modules in `CODEX-PHASE3-CHANGES.md` is made of their docstrings. A test fails where a document no longer says what the
code says; the same command without `--write` only tells which.

Exit codes: 0 every document is up to date, or was written · 1 one is not (without --write) · 2 bad usage.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK
from lifeos.files import read_text, write_text

CHANGES = "CODEX-PHASE3-CHANGES.md"
BEGIN, END = "<!-- modules: begin (python -m lifeos reference --write) -->", "<!-- modules: end -->"
CODE_FOLDERS = ("lifeos", "evals", "tools", "benchmarks", "wheels")


def module_tables(root: Path) -> str:
    """A table for each folder of code: every module with the first sentence of its docstring."""
    parts = []
    for folder in sorted({path.parent for top in CODE_FOLDERS for path in (root / top).rglob("*.py")}):
        package = folder / "__init__.py"
        lead = _first_sentence(package) if package.is_file() else ""
        rows = [
            f"| `{path.relative_to(root).as_posix()}` | {_first_sentence(path)} |"
            for path in sorted(folder.glob("*.py"))
            if path != package
        ]
        if rows:
            title = f"### `{folder.relative_to(root).as_posix()}/`"
            parts.append("\n".join([title, *(["", f"{lead}."] if lead else []), "", "| file | purpose |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _first_sentence(path: Path) -> str:
    document = " ".join((ast.get_docstring(ast.parse(read_text(path))) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[^.]{3})[.:] (?=[A-Z])|\.$", document)[0].replace("|", "\\|")


def documents(root: Path) -> Iterator[tuple[Path, str]]:
    """Each document that is generated in whole or in part, with the text that it should hold."""
    path = root / CHANGES
    text = read_text(path)
    head, _, rest = text.partition(BEGIN)
    yield path, f"{head}{BEGIN}\n\n{module_tables(root)}\n\n{END}{rest.partition(END)[2]}"


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument("--write", action="store_true", help="write the documents that are out of date")
    parser.add_project_root()
    args = parser.parse_args(argv)
    outdated = [(path, text) for path, text in documents(args.project_root) if not path.is_file() or read_text(path) != text]
    for path, text in outdated:
        if args.write:
            write_text(path, text)
        print(f"{'written' if args.write else 'out of date'}: {path.relative_to(args.project_root).as_posix()}")
    return EXIT_GATE if outdated and not args.write else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
