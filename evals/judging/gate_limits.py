"""The limit of every gate on a command line: a flag for each row of the table of gates, made from it.

A limit on the command line wins over the policy's. Its name in the parsed arguments is its policy key, so that what was given is an
override of the policy as it stands.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping

from evals.judging.gates import GATES, Gate
from lifeos import cli


def add_gate_limits(parser: argparse._ActionsContainer, *, subjects: Collection[str] | None = None) -> None:
    """A flag for the limit of each gate; of those with one of these subjects alone (`face`, `skin`) where a script judges no more."""
    for gate in GATES:
        if subjects is None or gate.subject in subjects:
            way = "up to" if gate.lower_is_better else "from"
            text = cli.policy_help(f"a picture passes the gate of {gate.title} {way} this score", gate.limit_key)
            parser.add_argument(gate.flag, dest=gate.limit_key, type=cli.fraction, metavar="X", help=text)


def given_limits(args: argparse.Namespace) -> dict[str, float]:
    """The limits that the command line gave, by policy key; 0 is a limit."""
    return {gate.limit_key: value for gate in GATES if (value := getattr(args, gate.limit_key, None)) is not None}


def limits_to_words(limits: Mapping[str, float]) -> dict[str, float]:
    """Limits as a record of a command keeps them: by the word of their flag, `face_threshold`."""
    return {word_of(gate): limits[gate.limit_key] for gate in GATES if gate.limit_key in limits}


def limits_from_words(saved: Mapping[str, object]) -> dict[str, float]:
    """The limits of a command that a record kept; words that are no gate's are left out."""
    found = {gate.limit_key: saved.get(word_of(gate)) for gate in GATES}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}


def word_of(gate: Gate) -> str:
    return gate.flag.removeprefix("--").replace("-", "_")
