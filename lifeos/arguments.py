"""The command line that every script shares: one parser class, the types of its values, and the old spellings of its flags."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from lifeos.command_help import HelpFormatter, ValuesInForce, fill_document, text_width
from lifeos.errors import InputError, did_you_mean
from lifeos.project import PROJECT_ROOT, project_version

OLD_SPELLINGS = {
    "--generated": "--generated-dir",
    "--history": "--history-file",
    "--prompts": "--prompts-file",
    "--reference": "--reference-dir",
}
"""What the specification and older versions call a flag -> its name now. Both work in every script that has the flag."""

DURATION_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
DURATION_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([dhms])")
DURATION = re.compile(rf"(?:{DURATION_PART.pattern})+")
LONGEST_DURATION_SECONDS = 366 * 86_400.0


class AskedFor:
    """What the command line of this process asked for that matters when it fails, before any value of it is known."""

    json = False
    prog = ""


class Parser(argparse.ArgumentParser):
    """argparse with our error line, full flag names only, old spellings, `--version`, and defaults with their source in the help.

    The description is the script's docstring. A default that comes from the policy is `None` in the parser, and its help is made by
    `policy_help`. `spellings`: old names of this script's own flags, besides those that all scripts share.
    """

    def __init__(self, doc: str | None, *, spellings: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)  # an abbreviation breaks when a flag is added
        super().__init__(description=doc, **kwargs)
        self.spellings = {**OLD_SPELLINGS, **(spellings or {})}
        self._given: Sequence[str] = ()
        self.register("type", Path, path)
        self.add_argument("--version", action=_ShowVersion)

    def error(self, message: str) -> NoReturn:
        raise InputError(self.prog, message, f"see {self.prog} --help")

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        known, rest = self.parse_known_args(None if args is None else list(args), namespace)
        if rest:
            flags = [name for name in self._option_string_actions if name.startswith("--")]
            hint = did_you_mean(rest[0], flags) if rest[0].startswith("--") else ""
            raise InputError(self.prog, f"unknown argument {rest[0]}", hint or f"see {self.prog} --help")
        return known

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        import sys

        self._given = self._in_new_words(sys.argv[1:] if args is None else list(args))
        AskedFor.prog = self.prog
        AskedFor.json = self._is_given("--json") or self._is_given("--format", "json")
        return super().parse_known_args(self._given, namespace)

    def _in_new_words(self, args: Sequence[str]) -> list[str]:
        """The arguments with old spellings replaced, where this parser knows only the new one."""
        replaced, ended = [], False
        for arg in args:
            ended = ended or arg == "--"
            flag, equals, value = arg.partition("=")
            replaced.append(f"{self.spellings[flag]}{equals}{value}" if not ended and self._is_old(flag) else arg)
        return replaced

    def _is_given(self, flag: str, value: str | None = None) -> bool:
        if flag not in self._option_string_actions:
            return False
        given = list(self._given[: self._given.index("--")] if "--" in self._given else self._given)
        if value is None:
            return flag in given
        return f"{flag}={value}" in given or any(pair == (flag, value) for pair in pairwise(given))

    def _value_of(self, flag: str) -> Path | None:
        """A path flag's value as far as it can be known while `--help` is being printed."""
        for place, arg in enumerate(self._given):
            if arg.startswith(f"{flag}="):
                return Path(arg.partition("=")[2])
            if arg == flag and place + 1 < len(self._given):
                return Path(self._given[place + 1])
        return None

    def format_help(self) -> str:
        file = self._value_of("--thresholds") if "--thresholds" in self._option_string_actions else None
        self._values = ValuesInForce(self._value_of("--project-root") or PROJECT_ROOT, file)
        text = super().format_help()
        old = [f"{old} ({new})" for old, new in self.spellings.items() if self._is_old(old)]
        remarks = [f"Older spellings work too: {', '.join(old)}."] if old else []
        remarks += [self._values.fault] if self._values.fault else []
        return "\n".join([text, *("\n".join(fill_document(remark, text_width())) for remark in remarks), ""]) if remarks else text

    def _is_old(self, flag: str) -> bool:
        """Whether a flag is only another word for one of this parser's."""
        known = self._option_string_actions
        return self.spellings.get(flag, "") in known and flag not in known

    def _get_formatter(self) -> argparse.HelpFormatter:
        return HelpFormatter(self.prog, getattr(self, "_values", None))

    def add_project_root(self) -> None:
        self.add_argument(
            "--project-root", type=Path, default=PROJECT_ROOT, metavar="DIR", help="the checkout (default: the one that holds this script)"
        )

    def add_json(self) -> None:
        self.add_argument("--json", action="store_true", help="print one JSON document on stdout; people's text goes to stderr")

    def add_format(self) -> None:
        """`--format` and `--json` of every check."""
        self.add_argument(
            "--format",
            choices=("text", "json", "github"),
            help="text for people, one JSON document, or text with GitHub annotations and a job summary "
            "(default: github when GITHUB_ACTIONS=true, else text)",
        )
        self.add_json()

    def add_open(self) -> None:
        self.add_argument("--open", action="store_true", help="open the page in your browser")

    def add_skip_install(self) -> None:
        self.add_argument("--skip-install", action="store_true", help="has no effect; scripts never install packages")


class _ShowVersion(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help="print the version of LifeOS and stop")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"{parser.prog} (LifeOS) {project_version()}")
        parser.exit()


def path(text: str) -> Path:
    """A path, with `~` for the home folder also where no shell has replaced it (Windows; `--flag=~/x`)."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def fraction(text: str) -> float:
    """A number from 0 to 1, both included."""
    value = _number(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def between(low: float, high: float) -> Callable[[str], float]:
    """The type of a number within a span, both ends included."""
    if (low, high) == (0.0, 1.0):
        return fraction

    def number(text: str) -> float:
        value = _number(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return number


def non_negative(text: str) -> float:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive_int(text: str) -> int:
    value = whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None


def duration(text: str) -> float:
    """Seconds of a time such as `4h`, `90m`, `1h30m` or `2d`."""
    found = DURATION.fullmatch(text.strip().lower())
    seconds = sum(float(count) * DURATION_UNITS[unit] for count, unit in DURATION_PART.findall(text.lower())) if found else 0.0
    if not 0 < seconds <= LONGEST_DURATION_SECONDS:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no time such as 4h, 90m or 1h30m")
    return seconds


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a finite number")
    return value
