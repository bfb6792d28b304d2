"""Have sd-scripts' own parser judge the arguments, and its own schema the dataset TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.trainers.trainer import ParserVerdict
from tools.trainers.trainer_checkout import TrainerCheckout, ask_program

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
    answer, fault = ask_program(checkout, PARSER_PROGRAM, task)
    checked = tuple(name for name in ("arguments", "dataset") if answer.get(name))
    return ParserVerdict(checked, fault)
