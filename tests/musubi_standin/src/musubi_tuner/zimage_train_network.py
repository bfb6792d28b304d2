"""The third process, which trains. It has no first step: each part of a run is counted from 0."""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from musubi_tuner.caches import read_config

OTHER = Path(__file__).resolve().parents[3] / "trainer_standin" / "sdxl_train_network.py"
logger = logging.getLogger("musubi_tuner.training.trainer_base")


def shared() -> Any:
    """The counter, the files and the failures of the other stand-in."""
    spec = importlib.util.spec_from_file_location("sdxl_standin", OTHER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def setup_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    texts = ("dit", "vae", "text_encoder", "dataset_config", "output_dir", "output_name", "network_module", "resume", "training_comment")
    for name in (*texts, "metadata_title", "metadata_reso", "optimizer_type", "timestep_sampling", "weighting_scheme", "lr_scheduler_type"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--save_precision", choices=["float", "fp32", "fp16", "bf16"])
    parser.add_argument("--mixed_precision", choices=["no", "fp16", "bf16"])
    parser.add_argument("--optimizer_args", nargs="*")
    parser.add_argument("--lr_scheduler_args", nargs="*")
    parser.add_argument("--lr_scheduler", default="constant")
    for name, default in (("max_train_steps", 1600), ("max_data_loader_n_workers", 8), ("lr_warmup_steps", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("save_every_n_steps", "save_last_n_steps_state", "network_dim", "seed"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("learning_rate", "network_alpha", "discrete_flow_shift"):
        parser.add_argument(f"--{name}", type=float)
    for name in ("sdpa", "xformers", "split_attn", "gradient_checkpointing", "persistent_data_loader_workers", "save_state"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def read_items(config: dict[str, Any]) -> int:
    """Items of one epoch: pictures with both caches, times their repeats."""
    items = 0
    for dataset in config["datasets"]:
        caches = list(Path(dataset["cache_directory"]).glob("*_zi.safetensors"))
        items += (
            sum((cache.parent / f"{cache.name.split('_0128')[0]}_zi_te.safetensors").exists() for cache in caches) * dataset["num_repeats"]
        )
    if not items:
        raise ValueError("No training items found in the dataset.")
    return items


def save_state(args: argparse.Namespace, step: int, other: Any, name: str) -> None:
    folder = Path(args.output_dir) / name
    logger.info("saving state at step %s", step)
    folder.mkdir(parents=True, exist_ok=True)
    other.write_lora(folder / "model.safetensors", {}, step, text_encoder=False)
    time.sleep(float(os.environ.get("STANDIN_STATE_SECONDS", "0")))
    for file in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (folder / file).write_text(f"{file} at {step}")


def main() -> None:
    args = setup_parser().parse_args()
    logging.basicConfig(level=logging.INFO)
    other, config, output = shared(), read_config(args.dataset_config), Path(args.output_dir)
    items = read_items(config)
    if args.resume:
        assert (Path(args.resume) / "random_states_0.pkl").is_file(), "the state is not whole"
        logger.info("resume training from local state: %s", args.resume)
        if os.environ.get("STANDIN_NO_RANDOM_STATES"):
            logger.info("Could not load random states")
    batches = math.ceil(items / config["general"]["batch_size"])
    epochs = math.ceil(args.max_train_steps / batches)
    datasets = [{"batch_size": config["general"]["batch_size"], "num_repeats": each["num_repeats"]} for each in config["datasets"]]
    values = {
        "ss_session_id": 1,
        "ss_training_started_at": time.time(),
        "ss_output_name": args.output_name,
        "ss_learning_rate": args.learning_rate,
        "ss_num_train_items": items,
        "ss_num_batches_per_epoch": batches,
        "ss_num_epochs": epochs,
        "ss_max_train_steps": args.max_train_steps,
        "ss_base_model_version": "z_image",
        "ss_network_module": args.network_module,
        "ss_network_dim": args.network_dim,
        "ss_network_alpha": args.network_alpha,
        "ss_seed": args.seed,
        "ss_training_comment": args.training_comment,
        "ss_lr_scheduler": args.lr_scheduler,
        "ss_datasets": json.dumps(datasets),
    }
    metadata = {key: str(value) for key, value in values.items()}
    run_steps(args, metadata, other, output, batches, epochs)


def run_steps(args: argparse.Namespace, metadata: dict[str, str], other: Any, output: Path, batches: int, epochs: int) -> None:
    pace = float(os.environ.get("STANDIN_STEP_SECONDS", "0"))
    other.refresh(0, args.max_train_steps, None, pace)
    for step in range(1, args.max_train_steps + 1):
        time.sleep(pace)
        other.fault(step, output)
        loss = (
            math.nan if step >= min(other.at("STANDIN_NAN_AT"), other.at("STANDIN_NAN_WEIGHTS_AT")) else 0.2 * math.exp(-step / 50) + 0.08
        )
        other.refresh(step, args.max_train_steps, loss, pace)
        if step % args.save_every_n_steps == 0:
            path = output / f"{args.output_name}-step{step:08d}.safetensors"
            print(f"\nsaving checkpoint: {path}", flush=True)
            other.write_lora(path, {**metadata, "ss_epoch": str((step - 1) // batches)}, step, text_encoder=False)
            if args.save_state:
                save_state(args, step, other, f"{args.output_name}-step{step:08d}-state")
                old = step - (args.save_last_n_steps_state or step) - 1
                shutil.rmtree(output / f"{args.output_name}-step{old - old % args.save_every_n_steps:08d}-state", ignore_errors=True)
    if args.save_state:
        save_state(args, args.max_train_steps, other, f"{args.output_name}-state")
    if not os.environ.get("STANDIN_NO_LORA"):
        path = output / f"{args.output_name}.safetensors"
        print(f"\nsaving checkpoint: {path}", flush=True)
        other.write_lora(path, {**metadata, "ss_epoch": str(epochs)}, args.max_train_steps, text_encoder=False)
        other.hang_at_lora("after")
    sys.stderr.write("INFO:musubi_tuner.training.trainer_base:model saved.\n")


if __name__ == "__main__":
    main()
