"""Stands in for kohya's `sdxl_train_network.py` v0.10.1: its command line, its output, its files and its failures, without a GPU.

What it does was observed on the real trainer: tqdm's counter on stderr with carriage returns, `saving checkpoint:` on stdout,
safetensors files whose metadata the real keys hold, state folders whose step file is written first, the order of its checks, and
how it counts steps when it resumes (the epochs it skips are subtracted from its counter).

Environment: STANDIN_STEP_SECONDS (default 0), STANDIN_STATE_SECONDS (how long a state takes to write), STANDIN_FAIL_AT (raise an
out-of-memory error at that step), STANDIN_HANG_AT (stop there and ignore nothing), STANDIN_SLOW_STOP (a file to make when Ctrl-C
comes there, 1.5 s before ending), STANDIN_NAN_AT (one loss of NaN there: the average stays NaN, the weights are sound),
STANDIN_NAN_WEIGHTS_AT and STANDIN_INF_WEIGHTS_AT (from there on the weights are NaN, or infinity), STANDIN_NO_LORA (end with return
code 0 and no file), STANDIN_STRAY (leave a grandchild behind that holds the pipes), STANDIN_KILL_AT (killed by SIGKILL in that step, as
the out-of-memory killer does), STANDIN_FILL_AT (from that step on the disk of the output folder is full), STANDIN_NO_RANDOM_STATES
(they do not load at a resume), STANDIN_ZERO (all weights stay zeros), STANDIN_HANG_AT_LORA (stop before, within or after writing the final
file).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

EXTENSIONS = [suffix for name in ("png", "jpg", "jpeg", "webp", "bmp") for suffix in (f".{name}", f".{name.upper()}")]


def setup_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    texts = ("pretrained_model_name_or_path", "dataset_config", "output_dir", "output_name", "network_module", "resolution", "resume")
    for name in (*texts, "training_comment", "metadata_title", "metadata_trigger_phrase", "logging_dir"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--save_model_as", default="safetensors", choices=["ckpt", "pt", "safetensors"])
    parser.add_argument("--save_precision", choices=[None, "float", "fp16", "bf16"])
    parser.add_argument("--mixed_precision", default="no", choices=["no", "fp16", "bf16"])
    parser.add_argument("--caption_extension", default=".caption")
    parser.add_argument("--optimizer_type", default="AdamW")
    parser.add_argument("--optimizer_args", nargs="*")
    parser.add_argument("--lr_scheduler", default="constant")
    parser.add_argument("--lr_warmup_steps", type=int, default=0)
    parser.add_argument("--max_token_length", type=int, choices=[None, 150, 225])
    for name, default in (("max_train_steps", 1600), ("train_batch_size", 1), ("max_data_loader_n_workers", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("save_every_n_steps", "save_last_n_steps_state", "network_dim", "seed", "initial_step"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("learning_rate", "unet_lr", "min_snr_gamma", "noise_offset"):
        parser.add_argument(f"--{name}", type=float, default=2e-6 if name == "learning_rate" else None)
    parser.add_argument("--text_encoder_lr", type=float, nargs="*")
    parser.add_argument("--network_alpha", type=float, default=1)
    parser.add_argument("--prior_loss_weight", type=float, default=1.0)
    switches = ["network_train_unet_only", "cache_text_encoder_outputs", "cache_latents", "cache_latents_to_disk"]
    parser.add_argument("--clip_skip", type=int)
    switches += ["gradient_checkpointing", "sdpa", "xformers"]
    for name in (*switches, "no_half_vae", "persistent_data_loader_workers", "save_state", "skip_until_initial_step", "console_log_simple"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def read_pictures(args: argparse.Namespace, config: dict[str, Any]) -> tuple[int, int, list[str]]:
    """(training pictures × repeats, regularisation pictures, captions), with the trainer's own stumbling blocks."""
    trained = regularisation = 0
    captions: list[str] = []
    for dataset in config["datasets"]:
        for subset in dataset["subsets"]:
            folder = Path(subset["image_dir"])
            if not folder.is_dir():
                print(f"WARNING not directory: {folder}")
                continue
            pictures = sorted(path for path in folder.iterdir() if path.suffix in EXTENSIONS)
            if any(folder.glob("*.npz")):
                raise RuntimeError("stale cache")
            extension = subset.get("caption_extension") or config.get("general", {}).get("caption_extension") or args.caption_extension
            for picture in pictures:
                file = picture.with_suffix(extension)
                if file.is_file():
                    lines = file.read_text(encoding="utf-8").splitlines()
                    assert len(lines) > 0, f"caption file is empty / キャプションファイルが空です: {file}"
                    captions.append(lines[0])
                else:
                    captions.append(subset.get("class_tokens", ""))
            count = len(pictures) * subset.get("num_repeats", 1)
            if subset.get("is_reg"):
                regularisation += count
            else:
                trained += count
    return trained, regularisation, captions


def check(args: argparse.Namespace) -> None:
    if args.cache_text_encoder_outputs:
        assert args.network_train_unet_only, "network for Text Encoder cannot be trained with caching Text Encoder outputs"
    for pair in args.optimizer_args or []:
        ast.literal_eval(pair.split("=")[1])
    if args.xformers:
        raise ImportError("No xformers / xformersがインストールされていないようです")
    if args.persistent_data_loader_workers and args.max_data_loader_n_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if args.lr_scheduler == "constant" and args.lr_warmup_steps:
        raise ValueError("constant does not require `num_warmup_steps`. Set None or 0.")


def check_rates(args: argparse.Namespace) -> None:
    rates = {args.unet_lr or args.learning_rate}
    if not args.network_train_unet_only:
        rates |= set(args.text_encoder_lr or [args.learning_rate])
    if args.optimizer_type.lower() == "prodigy" and len(rates) > 1:
        raise RuntimeError("Setting different lr values in different parameter groups is only supported for values of 0")


def at(name: str) -> int:
    """The step that a variable of the environment names; none."""
    return int(os.environ.get(name, str(1 << 60)))


def write_lora(path: Path, metadata: dict[str, str], step: int, *, text_encoder: bool) -> None:
    """A real safetensors file: two small float16 weights for each trained module, of which a run that has diverged spoils one number."""
    broken = next((value for value, name in ((math.nan, "NAN"), (math.inf, "INF")) if step >= at(f"STANDIN_{name}_WEIGHTS_AT")), None)
    data, header, names = b"", dict[str, Any](), ["lora_unet_a", *(["lora_te1_a"] if text_encoder else [])]
    for name in names:
        weight = struct.pack("<8e", *(broken if broken and index == 5 else math.sin(step + index) for index in range(8)))
        if os.environ.get("STANDIN_ZERO"):
            weight = bytes(len(weight))
        header[f"{name}.lora_up.weight"] = {"dtype": "F16", "shape": [2, 4], "data_offsets": [len(data), len(data) + len(weight)]}
        data += weight
    metadata = {**metadata, "ss_steps": str(step), "sshs_model_hash": hashlib.sha256(data).hexdigest()}
    raw = json.dumps({"__metadata__": metadata, **header}).encode()
    raw += b" " * (-len(raw) % 8)
    with open(path, "wb") as file:  # not atomic, as the real one
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.flush()
        file.write(data)


def describe_data(config: dict[str, Any], trained: int, regularisation: int, batches: int, epochs: int) -> dict[str, str]:
    """What the LoRA says of its data: the repeats as they stand in the TOML."""
    subsets = [
        {"num_repeats": subset.get("num_repeats", 1), "image_dir": Path(subset["image_dir"]).name, "is_reg": bool(subset.get("is_reg"))}
        for dataset in config["datasets"]
        for subset in dataset["subsets"]
    ]
    values = {
        "ss_datasets": json.dumps([{"num_train_images": trained, "num_reg_images": regularisation, "subsets": subsets}]),
        "ss_dataset_dirs": json.dumps({each["image_dir"]: {"n_repeats": each["num_repeats"]} for each in subsets if not each["is_reg"]}),
        "ss_num_reg_images": regularisation,
        "ss_num_batches_per_epoch": batches,
        "ss_num_epochs": epochs,
        "ss_training_started_at": time.time(),
    }
    return {key: str(value) for key, value in values.items()}


def build_metadata(args: argparse.Namespace, captions: list[str], trained: int) -> dict[str, str]:
    values = {
        "ss_network_dim": args.network_dim,
        "ss_network_alpha": args.network_alpha,
        "ss_learning_rate": args.learning_rate,
        "ss_unet_lr": args.unet_lr,
        "ss_text_encoder_lr": args.text_encoder_lr[0] if args.text_encoder_lr else None,
        "ss_optimizer": f"{args.optimizer_type}({','.join(args.optimizer_args or [])})",
        "ss_lr_scheduler": args.lr_scheduler,
        "ss_max_train_steps": args.max_train_steps,
        "ss_seed": args.seed,
        "ss_mixed_precision": args.mixed_precision,
        "ss_num_train_images": trained,
        "ss_output_name": args.output_name,
        "ss_sd_model_name": os.path.basename(args.pretrained_model_name_or_path),  # noqa: PTH119
        "ss_training_comment": args.training_comment,
        "modelspec.trigger_phrase": args.metadata_trigger_phrase,
        "modelspec.title": args.metadata_title,
        "ss_tag_frequency": json.dumps({"captions": captions}),
    }
    return {key: str(value) for key, value in values.items()}


def save_state(args: argparse.Namespace, step: int, *, last: bool = False) -> None:
    folder = Path(args.output_dir) / (f"{args.output_name}-state" if last else f"{args.output_name}-step{step:08d}-state")
    print("saving last state." if last else f"saving state at step {step}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train_state.json").write_text(json.dumps({"current_epoch": 0, "current_step": step}))
    write_lora(folder / "model.safetensors", {}, step, text_encoder=False)
    time.sleep(float(os.environ.get("STANDIN_STATE_SECONDS", "0")))
    (folder / "random_states_0.pkl").write_bytes(b"random")
    if args.save_last_n_steps_state and not last:
        old = step - args.save_last_n_steps_state - 1
        old -= old % args.save_every_n_steps
        shutil.rmtree(Path(args.output_dir) / f"{args.output_name}-step{old:08d}-state", ignore_errors=True)


def first_step(args: argparse.Namespace, batches: int) -> tuple[int, int]:
    """(epoch to start in, the counter's first value), as the trainer computes them."""
    step = args.initial_step or 0
    if args.resume:
        state = json.loads((Path(args.resume) / "train_state.json").read_text())
        assert (Path(args.resume) / "random_states_0.pkl").is_file(), "the state is not whole"
        print(f"resume training from local state: {args.resume}")
        if os.environ.get("STANDIN_NO_RANDOM_STATES"):
            print("Could not load random states")
        if args.initial_step is None:
            step = state["current_step"]
    if step:
        assert args.max_train_steps > step, "max_train_steps should be greater than initial step"
    epoch = step // batches
    return epoch, step - epoch * batches if args.skip_until_initial_step else 0


def refresh(step: int, total: int, loss: float | None, seconds: float) -> None:
    """One refresh of the counter as tqdm prints it."""
    rate = f"{seconds:.2f}s/it" if seconds >= 1 else f"{1 / max(seconds, 1e-3):.2f}it/s"
    after = "" if loss is None else f", avr_loss={'nan' if math.isnan(loss) else f'{loss:.3g}'}"
    left = time.strftime("%M:%S", time.gmtime(seconds * (total - step)))
    sys.stderr.write(f"\rsteps: {100 * step // total:3d}%|{'█' * (10 * step // total):10}| {step}/{total} [00:00<{left}, {rate}{after}]")
    sys.stderr.flush()


def train(args: argparse.Namespace) -> None:
    with open(args.dataset_config, "rb") as file:
        config = tomllib.load(file)
    trained, regularisation, captions = read_pictures(args, config)
    if trained == 0:
        print("ERROR No data found. Please verify arguments (train_data_dir must be the parent of folders with images)")
        return
    check(args)
    sys.stderr.write("\rcaching latents: 100%|██████████| 6/6 [00:00<00:00, 99.00it/s]\n")
    print("mean ar error (without repeats): 0.18237704918032788")
    print("running training / 学習開始")
    batches = math.ceil(trained * (2 if regularisation else 1) / config["datasets"][0]["batch_size"])
    print(f"  num batches per epoch / 1epochのバッチ数: {batches}")
    epochs = math.ceil(args.max_train_steps / batches)
    epoch, counter = first_step(args, batches)
    metadata = build_metadata(args, captions, trained) | describe_data(config, trained, regularisation, batches, epochs)
    run_steps(args, metadata, batches * (epochs - epoch) - counter, counter)


def run_steps(args: argparse.Namespace, metadata: dict[str, str], available: int, counter: int) -> None:
    total, text_encoder = args.max_train_steps - counter, not args.network_train_unet_only
    pace, output = float(os.environ.get("STANDIN_STEP_SECONDS", "0")), Path(args.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    refresh(0, total, None, pace)
    for done in range(1, min(available, total) + 1):
        if done == 1:
            check_rates(args)
        time.sleep(pace)
        step = counter + done
        fault(step, output)
        loss = math.nan if step >= min(at("STANDIN_NAN_AT"), at("STANDIN_NAN_WEIGHTS_AT")) else 0.2 * math.exp(-step / 50) + 0.08
        refresh(done, total, loss, pace)
        if args.save_every_n_steps and step % args.save_every_n_steps == 0:
            path = output / f"{args.output_name}-step{step:08d}.safetensors"
            print(f"\nsaving checkpoint: {path}")
            per_epoch = int(metadata["ss_num_batches_per_epoch"])
            write_lora(path, {**metadata, "ss_epoch": str((step - 1) // per_epoch)}, step, text_encoder=text_encoder)
            if args.save_state:
                save_state(args, step)
    if args.save_state:
        save_state(args, counter + total, last=True)
    if not os.environ.get("STANDIN_NO_LORA"):
        path = output / f"{args.output_name}.safetensors"
        print(f"\nsaving checkpoint: {path}")
        hang_at_lora("before")
        write_lora(path, {**metadata, "ss_epoch": metadata["ss_num_epochs"]}, counter + total, text_encoder=text_encoder)
        if os.environ.get("STANDIN_HANG_AT_LORA") == "within":
            os.truncate(path, path.stat().st_size - 3)
            hang_at_lora("within")
        hang_at_lora("after")
    print("model saved.")


def hang_at_lora(moment: str) -> None:
    if os.environ.get("STANDIN_HANG_AT_LORA") == moment:
        print(f"stopped {moment} the final file")
        time.sleep(600)


def fill_disk(folder: Path) -> None:
    """Leave no room, as others do who use the same volume."""
    with open(folder / "filler.bin", "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def fault(step: int, output: Path) -> None:
    if os.environ.get("STANDIN_KILL_AT") == str(step):
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("STANDIN_FILL_AT") == str(step):
        fill_disk(output)
    if os.environ.get("STANDIN_FAIL_AT") == str(step):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if os.environ.get("STANDIN_STRAY") == str(step):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if os.environ.get("STANDIN_HANG_AT") == str(step):
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            if told := os.environ.get("STANDIN_SLOW_STOP"):
                Path(told).touch()
                time.sleep(1.5)
            raise


if __name__ == "__main__":
    train(setup_parser().parse_args())
