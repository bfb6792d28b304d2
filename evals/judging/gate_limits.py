"""The limit of every gate on a command line, and the folder of those that need one: flags made from the table of gates.

A limit on the command line wins over the policy's. Its name in the parsed arguments is its policy key, so that what was given is an
override of the policy as it stands.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path

from evals.judging.gates import GATES
from lifeos import cli

GivenValue = float | str
"""A limit, or the path of a folder."""


def add_gate_limits(parser: argparse._ActionsContainer, *, subjects: Collection[str] | None = None) -> None:
    """A flag for the limit of each gate; of those with one of these subjects alone (`face`, `skin`) where a script judges no more."""
    for gate in GATES:
        if subjects is None or gate.subject in subjects:
            way = "up to" if gate.lower_is_better else "from"
            text = cli.policy_help(f"a picture passes the gate of {gate.title} {way} this score", gate.limit_key)
            parser.add_argument(gate.flag, dest=gate.limit_key, type=cli.between(*gate.span), metavar="X", help=text)
            if gate.folder is not None:
                help_text = cli.policy_help(gate.folder.help, gate.folder.key)
                parser.add_argument(gate.folder.flag, dest=gate.folder.key, type=Path, metavar="DIR", help=help_text)


def given_limits(args: argparse.Namespace) -> dict[str, GivenValue]:
    """The limits and folders that the command line gave, by policy key; 0 is a limit. Folders are absolute."""
    given = {key: getattr(args, key, None) for key in _words()}
    return {key: str(value.resolve()) if isinstance(value, Path) else value for key, value in given.items() if value is not None}


def limits_to_words(limits: Mapping[str, GivenValue]) -> dict[str, GivenValue]:
    """Limits as a record of a command keeps them: by the word of their flag, `face_threshold`."""
    return {word: limits[key] for key, word in _words().items() if key in limits}


def limits_from_words(saved: Mapping[str, object]) -> dict[str, GivenValue]:
    """The limits of a command that a record kept; words that are no gate's are left out."""
    folders = {gate.folder.key for gate in GATES if gate.folder is not None}
    found: dict[str, GivenValue] = {}
    for key, word in _words().items():
        value = saved.get(word)
        if key in folders and isinstance(value, str):
            found[key] = value
        elif key not in folders and isinstance(value, int | float):
            found[key] = float(value)
    return found


def _words() -> dict[str, str]:
    """Policy key -> the word of its flag."""
    flags = {gate.limit_key: gate.flag for gate in GATES} | {gate.folder.key: gate.folder.flag for gate in GATES if gate.folder is not None}
    return {key: flag.removeprefix("--").replace("-", "_") for key, flag in flags.items()}
