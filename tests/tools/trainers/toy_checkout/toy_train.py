"""The toy trainer's second process. Unlike sd-scripts it counts from 0 when it goes on, in the names of its files too, prints to stdout and
keeps a state as one file.

Environment: TOY_FAIL_AT (stop with an error in that step).
"""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any


def write_lora(path: Path, metadata: dict[str, str]) -> None:
    header: dict[str, Any] = {"__metadata__": metadata, "lora_unet_a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0\0")


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    output = Path(config["output_dir"])
    assert json.loads((output / "toy_cache.json").read_text(encoding="utf-8")), "nothing was cached"
    first = json.loads(Path(config["state"]).read_text(encoding="utf-8"))["step"] if config["state"] else 0
    total = config["steps"] - first
    for done in range(1, total + 1):
        step = first + done
        if os.environ.get("TOY_FAIL_AT") == str(step):
            print("toy: out of memory")
            raise SystemExit(9)
        print(f"step {done} of {total}, loss {1 / step}", flush=True)
        said = {"toy_run": config["run"], "toy_steps": str(done), "toy_first": str(first)}
        if done % config["save_every"] == 0:
            print(f"saved {output / config['name']}.{done}.safetensors", flush=True)
            write_lora(output / f"{config['name']}.{done}.safetensors", said)
            state = {"run": config["run"], "step": step}
            (output / f"{config['name']}.{done}.state").write_text(json.dumps(state), encoding="utf-8")
    write_lora(output / f"{config['name']}.last.safetensors", said)


if __name__ == "__main__":
    main()
