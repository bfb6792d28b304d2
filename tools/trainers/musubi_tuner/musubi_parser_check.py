"""Have musubi-tuner's own parsers judge the arguments of all processes, and its own schema the dataset TOML."""

from __future__ import annotations

from tools.trainers.musubi_tuner.musubi_processes import SOURCES
from tools.trainers.trainer import ParserVerdict, TrainingPlan
from tools.trainers.trainer_checkout import TrainerCheckout, ask_program

PARSER_PROGRAM = """
import argparse, importlib, json, sys
task = json.load(sys.stdin)
sys.path.insert(0, task["sources"])
answer = {}
class Parsed(Exception):
    pass
try:
    import torch
    if not torch.cuda.is_available():  # the modules of Wan ask which GPU it is as soon as they are imported
        torch.cuda.current_device = lambda: 0
except (ImportError, AttributeError):
    pass
parse = argparse.ArgumentParser.parse_args
def parse_and_end(self, *args, **kwargs):
    parse(self, *args, **kwargs)
    raise Parsed
for process in task["processes"]:
    module = importlib.import_module(process["module"])
    sys.argv = [process["module"], *process["args"]]
    argparse.ArgumentParser.parse_args = parse_and_end
    try:
        module.main()
    except Parsed:
        answer[process["name"]] = "accepted"
    except SystemExit:
        print("ANSWER" + json.dumps(answer))
        raise
    finally:
        argparse.ArgumentParser.parse_args = parse
from musubi_tuner.dataset.config_utils import ConfigSanitizer
try:
    ConfigSanitizer().sanitize_user_config(task["dataset"])
    answer["dataset"] = "accepted"
except Exception as error:
    print("ANSWER" + json.dumps(answer))
    raise SystemExit(f"{type(error).__name__}: {error}")
print("ANSWER" + json.dumps(answer))
"""
"""Each module's own `main`, ended as soon as its parser has accepted."""


def ask_parser(checkout: TrainerCheckout, plan: TrainingPlan) -> ParserVerdict:
    """Loads no model, reads no picture. Raises UnavailableError if the trainer cannot even be imported."""
    processes = []
    for process in plan.processes:
        mark = "--module" if "--module" in process.argv else "-m"
        start = process.argv.index(mark) + 1
        processes.append({"name": process.name, "module": process.argv[start], "args": list(process.argv[start + 1 :])})
    task = {"sources": str(checkout.folder / SOURCES), "processes": processes, "dataset": plan.files[0].document}
    answer, fault = ask_program(checkout, PARSER_PROGRAM, task)
    checked = [f"the arguments for {process.name}" for process in plan.processes if process.name in answer]
    checked += ["the dataset"] if "dataset" in answer else []
    return ParserVerdict(tuple(checked), fault)
