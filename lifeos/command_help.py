"""What `--help` prints: a script's docstring and flags in the terminal's width, with the value in force of each and its source.

The policy is loaded only when a help text is printed, so that building a parser costs nothing.
"""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from lifeos.errors import LifeosError

WIDEST = 110
"""Columns of text on a wider terminal: longer lines are hard to read."""
LEAST = 40
"""Columns of text on a narrower one: below this every line would be a word."""
LONGEST_VALUE = 40
BUILT_IN = "built-in"


class PolicyHelp(str):
    """The help of a flag whose default is one or several values of the policy."""

    keys: tuple[str, ...]
    note: str


def policy_help(text: str, *keys: str, note: str = "") -> PolicyHelp:
    """Help for a flag whose default is read from the policy: `policy_help("pass from here", "face_similarity.pass_threshold")`.

    `note` says when another value than the policy's is taken: `with --workflow, the workflow's own`.
    """
    help_text = PolicyHelp(text)
    help_text.keys, help_text.note = keys, note
    return help_text


class ValuesInForce:
    """The values of the policy as a help text shows them; `fault` is one line on why they cannot be shown, else ""."""

    def __init__(self, root: Path | None, file: Path | None = None) -> None:
        """`root`: the checkout; None names the keys alone, for a page that must not change with somebody's policy."""
        self._root, self._file = root, file
        self.fault = ""

    def default(self, help_text: PolicyHelp) -> str:
        """`0.60, face_similarity.pass_threshold, evals/thresholds.yaml:7`; the key alone where the policy cannot be read."""
        shown = "; ".join(self._one(key) for key in help_text.keys)
        return f"{shown}; {help_text.note}" if help_text.note else shown

    def _one(self, key: str) -> str:
        loaded = self._policy
        if loaded is None:
            return f"{key} in evals/thresholds.yaml"
        values, sources, place = loaded
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            return f"off, {key} is not set"
        line = _first_line(key, sources)
        return f"{show_value(value)}, {key}, {f'{place}:{line}' if line else BUILT_IN}"

    @cached_property
    def _policy(self) -> tuple[Mapping[str, Any], Mapping[str, str], str] | None:
        if self._root is None:
            return None
        try:
            from lifeos.policy.loading import POLICY_FILE, load_policy

            file = self._file or self._root / POLICY_FILE
            policy = load_policy(self._root, self._file)
        except ModuleNotFoundError as error:
            self.fault = f"The values in force are not shown: the package {error.name} is not installed (run: python -m lifeos setup)."
            return None
        except (LifeosError, OSError) as error:
            self.fault = f"The values in force are not shown: {error}."
            return None
        if not file.exists():
            self.fault = f"There is no {POLICY_FILE.as_posix()} in {self._root}: the built-in values hold."
        inside = file.is_relative_to(self._root)
        return policy.values, policy.sources, (file.relative_to(self._root) if inside else file).as_posix()


def _first_line(key: str, sources: Mapping[str, str]) -> str:
    """The line of a value in the policy file; of a mapping, the first of its keys that the file gives. "" for built-in values."""
    places = [source for name, source in sources.items() if name == key or name.startswith(f"{key}.")]
    return next((place.rpartition(":")[2] for place in places if place.rpartition(":")[2].isdecimal()), "")


def show_value(value: Any) -> str:
    """A value of the policy on a line of help."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and 0 <= value <= 1 and round(value, 2) == value:
        return f"{value:.2f}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        value = ", ".join(f"{name} {show_value(item)}" for name, item in value.items())
    elif isinstance(value, list | tuple):
        value = ", ".join(map(show_value, value))
    text = " ".join(str(value).split())
    return (text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…") or "empty"


class HelpFormatter(argparse.HelpFormatter):
    """argparse's formatter for our docstrings: paragraphs are filled to the width, examples stay commands that can be pasted."""

    def __init__(self, prog: str, values: ValuesInForce | None = None) -> None:
        super().__init__(prog, max_help_position=30, width=text_width())
        self._values = values

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if isinstance(text, PolicyHelp):
            default = (self._values or ValuesInForce(None)).default(text)
            return f"{text} (default: {default.replace('%', '%%')})"
        silent = action.default in (None, False, "", argparse.SUPPRESS) or action.default == [] or "default" in text
        return text if silent or isinstance(action.default, Path) else f"{text} (default: %(default)s, {BUILT_IN})"

    def start_section(self, heading: str | None) -> None:
        super().start_section("\n".join(textwrap.wrap(heading, self._width - 1, break_on_hyphens=False)) if heading else heading)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """The flags of an option; where they are too many for a line, broken between two of them."""
        text = super()._format_action_invocation(action)
        flags = [flag.replace(" ", "\0") for flag in text.split(", ")]
        lines = textwrap.wrap(", ".join(flags), self._width - self._current_indent, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * self._current_indent).join(lines).replace("\0", " ")

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line if line else "" for line in fill_document(text, width - len(indent)))


def text_width() -> int:
    """The columns that a text may take: the terminal's, or COLUMNS, but neither too many to read nor too few for a word."""
    return max(LEAST, min(WIDEST, shutil.get_terminal_size().columns - 2))


def fill_document(text: str, width: int) -> Iterator[str]:
    """The lines of a docstring in that width: paragraphs filled, indented commands broken only where a shell allows it."""
    paragraph: list[str] = []
    for line in re.sub(r"[ \t]*\\\n[ \t]*", " ", text.strip()).splitlines():
        if line.strip() and not line.startswith((" ", "\t")):
            paragraph.append(line)
            continue
        yield from _fill(paragraph, width)
        paragraph = []
        yield from break_command(line.rstrip(), width) if line.strip() else [""]
    yield from _fill(paragraph, width)


def _fill(paragraph: list[str], width: int) -> list[str]:
    return textwrap.wrap(" ".join(paragraph), width, break_long_words=False, break_on_hyphens=False)


def break_command(line: str, width: int) -> Iterator[str]:
    """An indented command line, broken before a flag with a backslash where it is too long; a comment that follows goes before it."""
    indent = line[: len(line) - len(line.lstrip())]
    command, gap, comment = line.strip().partition("  # ")
    if gap and len(line) > width:
        yield from (f"{indent}# {part}" for part in textwrap.wrap(comment.strip(), max(10, width - len(indent) - 2)))
        line = indent + command.rstrip()
    if len(line) <= width:
        yield line
        return
    said = re.match(r"(\s*\S.*?\S {2,})(\S.*)", line)
    if said:  # a command, and in a column beside it what it does
        yield from textwrap.wrap(line, width, subsequent_indent=" " * min(len(said[1]), width * 2 // 3), break_on_hyphens=False)
        return
    parts = re.split(r" (?=--?[a-z])", line.strip())
    row = indent + parts[0]
    for part in parts[1:]:
        if len(row) + len(part) + 3 <= width:
            row += f" {part}"
        else:
            yield f"{row} \\"
            row = f"{indent}    {part}"
    yield row
