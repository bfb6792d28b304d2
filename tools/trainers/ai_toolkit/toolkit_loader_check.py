"""Have ai-toolkit's own loader read the YAML, and its configuration classes take what stands in it.

The classes take any key, and ignore what they do not know. So each of our keys is looked for in the source of the class that it is for.
"""

from __future__ import annotations

from tools.trainers.trainer import ParserVerdict, TrainingPlan
from tools.trainers.trainer_checkout import TrainerCheckout, ask_program

LOADER_PROGRAM = """
import inspect, json, os, sys, tempfile
task = json.load(sys.stdin)
sys.path.insert(0, os.getcwd())
answer = {}
def end(fault):
    print("ANSWER" + json.dumps(answer))
    raise SystemExit(fault)
from toolkit.config import get_config
with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8", delete=False) as file:
    file.write(task["text"])
try:
    config = get_config(file.name)
except Exception as error:
    end(f"{type(error).__name__}: {error}")
finally:
    os.unlink(file.name)
if json.loads(json.dumps(config["config"])) != task["document"]["config"]:
    end("the loader reads another configuration than was written")
answer["the configuration"] = "accepted"
from toolkit import config_modules as modules
process = config["config"]["process"][0]
places = [os.path.join("jobs", "process", name + ".py") for name in ("BaseProcess", "BaseTrainProcess", "BaseSDTrainProcess")]
source = "".join(open(place, encoding="utf-8").read() for place in places)
for key in process:
    if f"'{key}'" not in source and f'"{key}"' not in source and key != "type":
        end(f"the process knows no {key}")
try:
    made = {name: getattr(modules, kind)(**process[name]) for name, kind in task["kinds"].items()}
    datasets = [modules.DatasetConfig(**each) for each in modules.preprocess_dataset_raw_config(process["datasets"])]
    modules.validate_configs(made["train"], made["model"], made["save"], datasets)
except Exception as error:
    end(f"{type(error).__name__}: {error}")
for name, kind, tables in [(n, k, [process[n]]) for n, k in task["kinds"].items()] + [("datasets", "DatasetConfig", process["datasets"])]:
    text = inspect.getsource(getattr(modules, kind))
    for key in {key for table in tables for key in table}:
        if f"'{key}'" not in text and f'"{key}"' not in text:
            end(f"{name} knows no {key}: it would be ignored")
answer["its classes"] = "accepted"
print("ANSWER" + json.dumps(answer))
"""

KINDS = {"network": "NetworkConfig", "save": "SaveConfig", "train": "TrainConfig", "model": "ModelConfig"}


def ask_loader(checkout: TrainerCheckout, plan: TrainingPlan) -> ParserVerdict:
    """Loads no model, reads no picture. Raises UnavailableError if the trainer cannot even be imported."""
    task = {"text": plan.files[0].text, "document": plan.files[0].document, "kinds": KINDS}
    answer, fault = ask_program(checkout, LOADER_PROGRAM, task)
    return ParserVerdict(tuple(answer), fault)
