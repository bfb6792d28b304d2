"""Have sd-scripts' own parser judge the arguments, and its own schema the dataset TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lifeos import foreign
from lifeos.errors import UnavailableError
from tools.trainers.trainer import ParserVerdict
from tools.trainers.trainer_checkout import TrainerCheckout, last_line, run_python

PARSER_SECONDS = 300
"""Importing PyTorch from a network volume for the first time takes minutes."""

PARSER_PROGRAM = """
import importlib, json, sys
task = json.load(sys.stdin)
sys.argv = [task["module"] + ".py"]  # the parser's errors begin with it
answer = {"arguments": None, "dataset": None}
trainer = importlib.import_module(task["module"])
try:
    trainer.setup_parser().parse_args(task["args"])
    answer["arguments"] = "accepted"
except SystemExit:
    print("ANSWER" + json.dumps(answer))
    raise
try:
    from library.config_util import ConfigSanitizer
except ImportError:
    pass
else:
    try:
        ConfigSanitizer(True, True, False, True).sanitize_user_config(task["dataset"])
        answer["dataset"] = "accepted"
    except Exception as error:
        print("ANSWER" + json.dumps(answer))
        raise SystemExit(f"{type(error).__name__}: {error}")
print("ANSWER" + json.dumps(answer))
"""


def ask_parser(checkout: TrainerCheckout, script: str, trainer_args: Sequence[str], dataset_config: Mapping[str, Any]) -> ParserVerdict:
    """Loads no model, reads no picture. Raises UnavailableError if the trainer cannot even be imported."""
    task = {"module": script.removesuffix(".py"), "args": list(trainer_args), "dataset": dataset_config}
    result = run_python(checkout, ["-c", PARSER_PROGRAM], PARSER_SECONDS, json.dumps(task))
    answers = [line for line in result.stdout.splitlines() if line.startswith("ANSWER")]
    if not answers:
        why = f"cannot be started: {last_line(result.stderr) or f'return code {result.returncode}'}"
        raise UnavailableError(
            checkout.folder, why, f"install its requirements for {checkout.python}, or name its Python with --trainer-python"
        )
    answer = foreign.decode(answers[-1].removeprefix("ANSWER"), dict[str, str | None], checkout.python, error=UnavailableError)
    checked = tuple(name for name in ("arguments", "dataset") if answer.get(name))
    return ParserVerdict(checked, "" if result.returncode == 0 else last_line(result.stderr) or f"return code {result.returncode}")
