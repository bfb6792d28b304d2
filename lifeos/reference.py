"""Writes the parts of the documents that follow from the code: the reference of every script, and the table of modules.

`docs/reference/` has one page for each script, made from its docstring and its flags; the table of modules in
`CODEX-PHASE3-CHANGES.md` is made from the modules' docstrings. A test fails when a page no longer matches the code. Without
`--write` this command only lists the pages that are out of date.

    python -m lifeos reference --write

Exit codes: 0 every page is up to date, or was written · 1 a page is out of date (without --write) · 2 bad usage.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK
from lifeos.files import read_text, write_text

CHANGES = "CODEX-PHASE3-CHANGES.md"
TRAINING_GUIDE = "docs/guides/training.md"
BEGIN, END = "<!-- {}: begin (python -m lifeos reference --write) -->", "<!-- {}: end -->"
CODE_FOLDERS = ("lifeos", "evals", "tools", "benchmarks", "wheels")

REFERENCE = "docs/reference"
GENERATED = "<!-- Generated from the script by `python -m lifeos reference --write`. Change the script, not this page. -->"
LAUNCHER = "lifeos/__main__.py"
LAUNCHER_VERBS = ("setup", "doctor", "reference", "completion")
"""Verbs of the launcher that have flags of their own; each is a module of `lifeos` with a `build_parser`."""
DEFAULT = re.compile(r"(?:(; )|\()default: ((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")
GROUP_TITLES = {"options": "General", "positional arguments": "Arguments"}
EXIT_CODE = re.compile(r"(?:^|·)\s*(\d+)\s+")


@dataclass(frozen=True, slots=True)
class Page:
    """What one page of the reference is made of: the command as typed, its file, its docstring and its parser (the launcher has none)."""

    name: str
    file: str
    document: str
    parser: argparse.ArgumentParser | None


def documents(root: Path) -> Iterator[tuple[Path, str]]:
    """Each document that is generated in whole or in part, with the text that it should hold."""
    for file, name, render in ((CHANGES, "modules", module_tables), (TRAINING_GUIDE, "trainers", trainer_table)):
        if (root / file).is_file():
            yield root / file, _with_part(read_text(root / file), name, render(root))
    pages = list(find_pages(root))
    for page in pages:
        yield root / REFERENCE / f"{page.name}.md", render_page(page)
    yield root / REFERENCE / "README.md", render_index(pages)


def find_leftovers(root: Path) -> list[Path]:
    """Generated pages of scripts that are gone."""
    wanted = {path for path, _ in documents(root)}
    return [path for path in sorted((root / REFERENCE).glob("*.md")) if path not in wanted and GENERATED in read_text(path)]


def _with_part(text: str, name: str, part: str) -> str:
    """A document with what is generated of it between its two marks."""
    begin, end = BEGIN.format(name), END.format(name)
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n\n{part}\n\n{end}{rest.partition(end)[2]}"


def trainer_table(_: Path) -> str:
    """Which trainer trains which family."""
    table: str = importlib.import_module("tools.trainers.trainer_table").render_table()
    return table


def module_tables(root: Path) -> str:
    """A table for each folder of code: every module with the first sentence of its docstring."""
    parts = []
    for folder in sorted({path.parent for top in CODE_FOLDERS for path in (root / top).rglob("*.py")}):
        package = folder / "__init__.py"
        lead = _first_sentence(_docstring(package)) if package.is_file() else ""
        rows = [
            f"| `{path.relative_to(root).as_posix()}` | {_cell(_first_sentence(_docstring(path)))} |"
            for path in sorted(folder.glob("*.py"))
            if path != package
        ]
        if rows:
            title = f"### `{folder.relative_to(root).as_posix()}/`"
            parts.append("\n".join([title, *(["", f"{lead}."] if lead else []), "", "| file | purpose |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def find_pages(root: Path) -> Iterator[Page]:
    """The launcher, its verbs that have flags, then every script of evals/ and tools/."""
    yield Page("lifeos", LAUNCHER, _docstring(root / LAUNCHER), None)
    for verb in LAUNCHER_VERBS:
        if (root / "lifeos" / f"{verb}.py").is_file():
            yield _page(verb, f"lifeos/{verb}.py", root)
    for folder in ("evals", "tools"):
        for path in sorted((root / folder).glob("*.py")):
            if "def build_parser(" in read_text(path):
                yield _page(path.stem, f"{folder}/{path.name}", root)


def _page(name: str, file: str, root: Path) -> Page:
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    return Page(name, file, _docstring(root / file), module.build_parser())


def render_page(page: Page) -> str:
    """One script as Markdown: what it does, commands, flags by group, exit codes."""
    body, _, codes = page.document.partition("Exit codes:")
    parts = [f"# {page.name}", GENERATED, f"`{page.file}`", *_paragraphs(body)]
    if page.parser is not None:
        for group in page.parser._action_groups:
            rows = [_row(page.parser, action) for action in group._group_actions if action.default is not argparse.SUPPRESS]
            if rows:
                title = {"options": "General", "positional arguments": "Arguments"}.get(
                    group.title or "", _sentence_case(group.title or "")
                )
                note = [f"{_sentence_case(group.description)}."] if group.description else []
                parts += [f"## {title}", *note, "\n".join(["| flag | meaning | default |", "|---|---|---|", *rows])]
    if codes:
        parts += ["## Exit codes", _exit_codes(codes)]
    return "\n\n".join(parts) + "\n"


def render_index(pages: list[Page]) -> str:
    """The list of all pages, with the first sentence of each."""
    rows = [f"| [{page.name}]({page.name}.md) | `{page.file}` | {_cell(_first_sentence(page.document))} |" for page in pages]
    lead = (
        "Every command with its flags, defaults and exit codes. `python -m lifeos NAME` runs a script in the project's environment;\n"
        "`--help` prints the same text. The file formats are described in [formats](formats.md)."
    )
    return "\n\n".join(["# Reference", GENERATED, lead, "\n".join(["| name | file | what it does |", "|---|---|---|", *rows])]) + "\n"


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = " ".join(parser._get_formatter()._expand_help(action).split()) if action.help else ""
    found = DEFAULT.search(text)
    default = found.group(2) if found else ""
    meaning = f"{text[: found.start()].rstrip()}{')' if found.group(1) else ''}{text[found.end() :]}" if found else text
    return f"| {_flag(parser, action)} | {_cell(meaning)} | {_cell(default)} |"


def _flag(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """`--lora NAME`, or `--action {start,stop}`; every spelling of it, the older ones too."""
    if action.nargs == 0:
        value = ""
    elif action.metavar is not None:
        value = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    elif action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = action.dest.upper()
    if action.nargs in ("?", "*"):
        value = f"[{value}]"
    spellings = getattr(parser, "spellings", {})
    older = [old for old, new in spellings.items() if new in action.option_strings and old not in parser._option_string_actions]
    shown = ", ".join(f"`{f'{option} {value}'.strip()}`" for option in action.option_strings or [""])
    return f"{shown} (also {', '.join(f'`{old}`' for old in older)})" if older else shown


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring; indented ones are commands."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.splitlines()
        if all(line.startswith("    ") for line in lines):
            yield "\n".join(["```", *(line[4:] for line in lines), "```"])
        else:
            yield _escape("\n".join(line.strip() for line in lines))


def _exit_codes(text: str) -> str:
    """`0 done · 1 not` as a table; a sentence where it is one."""
    flat = " ".join(text.split())
    starts = list(EXIT_CODE.finditer(flat))
    if not starts:
        return _escape(_sentence_case(flat))
    ends = [*(match.start() for match in starts[1:]), len(flat)]
    rows = [f"| {match.group(1)} | {_cell(flat[match.end() : end].strip().rstrip('.'))} |" for match, end in zip(starts, ends, strict=True)]
    lead = [_escape(flat[: starts[0].start()].strip()), ""] if starts[0].start() else []
    return "\n".join([*lead, "| code | meaning |", "|---|---|", *rows])


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(read_text(path))) or ""


def _first_sentence(document: str) -> str:
    text = " ".join(document.split("\n\n")[0].split())
    return re.split(r"(?<=[^.]{3})[.:] (?=[A-Z])|\.$", text)[0]


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _escape(text: str) -> str:
    """Angle brackets would be taken for HTML; what stands in backticks is left alone."""
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in re.split(r"(`[^`\n]+`)", text))


def _cell(text: str) -> str:
    return _escape(text).replace("|", "\\|")


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "--write", action="store_true", help="write the pages that are out of date, and remove those of scripts that are gone"
    )
    parser.add_project_root()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    root: Path = args.project_root
    outdated = [(path, text) for path, text in documents(root) if not path.is_file() or read_text(path) != text]
    leftovers = find_leftovers(root)
    for path, text in outdated:
        if args.write:
            write_text(path, text)
        cli.say(f"{'written' if args.write else 'out of date'}: {path.relative_to(root).as_posix()}")
    for path in leftovers:
        if args.write:
            path.unlink()
        cli.say(f"{'removed' if args.write else 'of no script any more'}: {path.relative_to(root).as_posix()}")
    return EXIT_GATE if (outdated or leftovers) and not args.write else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
