"""Stands in for ostris' ai-toolkit 0.12.26: its configuration, its bar, its files and how it ends, without a GPU.

What it does was observed on the real trainer, which trained a shrunken Flux.1 on a CPU: the bar of tqdm whose loss is set before the step
is counted, files of 9 digits that are saved in the step of that number (counted from 0), `optimizer.pt` after each, and "Job stopped" at
Ctrl-C. From its code: that it goes on by itself from the newest file that begins with the name of its process, and its errors.

Environment: as in `tests/trainer_standin/sdxl_train_network.py`, from which files and failures are taken; TOOLKIT_NAN_LOSS_AT (a loss of
NaN in that step, counted as 0).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import yaml

OTHER = Path(__file__).resolve().parents[1] / "trainer_standin" / "sdxl_train_network.py"


def shared() -> Any:
    spec = importlib.util.spec_from_file_location("sdxl_standin", OTHER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def latest(folder: Path, name: str) -> Path | None:
    """What the trainer would go on from, unasked."""
    found = [path for ending in (".safetensors", ".pt", "") for path in folder.glob(f"{name}*{ending}")]
    return max(found, key=lambda path: path.stat().st_ctime, default=None)


def read_steps(path: Path) -> int:
    raw = path.read_bytes()
    info = json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["training_info"])
    return int(info["step"])


class Training:
    def __init__(self, config: dict[str, Any]) -> None:
        self.other, self.meta = shared(), config.get("meta", {})
        self.name, process = config["config"]["name"], config["config"]["process"][0]
        self.folder = Path(os.path.join(process["training_folder"], process.get("name", self.name)))  # noqa: PTH118
        self.train, self.save_every = process["train"], process["save"]["save_every"]
        os.makedirs(self.folder, exist_ok=True)  # noqa: PTH103
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        pictures = [path for each in process["datasets"] for path in Path(each["folder_path"]).iterdir() if path.suffix == ".png"]
        assert pictures, "no images found"
        begin, self.first = latest(self.folder, process.get("name", self.name)), 0
        if begin is None and process["network"].get("pretrained_lora_path"):
            begin = Path(process["network"]["pretrained_lora_path"])
            print(f"Using pretrained lora path from config: {begin}")
        if begin is not None:
            print(f"#### IMPORTANT RESUMING FROM {begin} ####")
            self.first = self.train.get("start_step") or read_steps(begin)
        if (self.folder / "optimizer.pt").exists():
            print(f"Loading optimizer state from {self.folder / 'optimizer.pt'}", flush=True)
            if not zipfile.is_zipfile(self.folder / "optimizer.pt"):
                print(f"Failed to load optimizer state from {self.folder / 'optimizer.pt'}")

    def save(self, step: int, named: str) -> None:
        path = self.folder / f"{self.name}{named}.safetensors"
        metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in self.meta.items()}
        metadata |= {"software": json.dumps({"name": "ai-toolkit", "version": "0.12.26"}), "ss_output_name": self.name}
        metadata["training_info"] = json.dumps({"step": step, "epoch": 0})
        self.other.write_lora(path, metadata, step, text_encoder=False)
        print(f"Saved checkpoint to {path}")
        time.sleep(float(os.environ.get("STANDIN_STATE_SECONDS", "0")))
        with zipfile.ZipFile(self.folder / "optimizer.pt", "w") as archive:
            archive.writestr("data.pkl", str(step))
        print(f"Saved optimizer to {self.folder / 'optimizer.pt'}", flush=True)

    def bar(self, done: int, loss: float) -> None:
        total = self.train["steps"]
        drawn = f"{100 * done // total:3d}%|{'█' * (10 * done // total):10}| {done}/{total}"
        sys.stderr.write(f"\r{self.name}: {drawn} [00:00<00:01, 12.50it/s, lr: 1.0e-04 loss: {loss:.3e}]")
        sys.stderr.flush()

    def run(self) -> None:
        sys.stderr.write("\rCaching latents to disk: 100%|██████████| 3/3 [00:00<00:00, 12.50it/s]\n")
        time.sleep(0.1)
        for index in range(self.first, self.train["steps"]):
            time.sleep(float(os.environ.get("STANDIN_STEP_SECONDS", "0")))
            self.other.fault(index + 1 if index > self.first or not self.first else 0, self.folder)
            loss = 1 / (index + 1)
            if os.environ.get("TOOLKIT_NAN_LOSS_AT") == str(index + 1):
                print("loss is nan", flush=True)
                loss = 0.0
            self.bar(index, loss)
            if index % self.save_every == 0 and index != self.first:
                print(f"\nSaving at step {index}")
                self.save(index, f"_{index:09d}")
            self.bar(index + 1, loss)
        if not os.environ.get("STANDIN_NO_LORA"):
            self.save(self.train["steps"], "")
            self.other.hang_at_lora("after")


def main() -> None:
    print("Running 1 job")
    try:
        Training(yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))).run()
    except Exception as error:
        print(f"Error running job: {error}")
        print("\n========================================\nResult:\n - 1 failure\n========================================", flush=True)
        raise
    except KeyboardInterrupt:
        print("\n========================================\nJob stopped\n========================================", flush=True)
        sys.exit(0)


if __name__ == "__main__":
    main()
