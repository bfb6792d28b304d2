"""Show what a LoRA file says about its training: parameters, trigger word, base model, dataset, step; or how two of them differ.

Knows what kohya's trainers, musubi-tuner, ai-toolkit, OneTrainer, SimpleTuner, diffusers and peft write; what nobody wrote, the weights'
names and shapes tell: rank, trained parts, base model, LoHa, LoKr and others. Of ai-toolkit and peft it also reads the configuration
beside the LoRA. Reads only the header of each file, however large the file is, and writes nothing; --compare also reads the weights of
two files that are laid out alike. With --manifest (default: dataset_manifest.json beside the LoRA, or of an earlier run there) it also
says whether that manifest is the one the LoRA names.

    python tools/lora_info.py amiranoor_v3.safetensors
    python tools/lora_info.py --compare amiranoor_v2.safetensors amiranoor_v3.safetensors

Exit codes: 0 done · 1 a file is cut off or cannot be loaded, or the manifest given is not the LoRA's · 2 bad usage or bad input, such as
a whole checkpoint or a web page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.counting import counted
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError
from lifeos.escaping import escape_line
from tools.dataset.lora_manifest import DatasetLink, link_dataset
from tools.trainers.adapter_weights import UNKNOWN, render_ranks
from tools.trainers.header_comparison import compare_headers, render_header_comparison
from tools.trainers.lora_header import LoraHeader, read_lora_header


@dataclass(frozen=True, slots=True)
class LoraInfo:
    header: LoraHeader
    link: DatasetLink

    @property
    def params(self) -> dict[str, Any]:
        return self.header.training_params

    def to_json(self) -> dict[str, Any]:
        return {
            "file": str(self.header.path),
            "size_bytes": self.header.file.size,
            "whole": self.header.is_whole,
            "trained_modules": list(self.header.trained_modules),
            "missing_bytes": self.header.file.missing_bytes,
            "extra_bytes": self.header.file.extra_bytes,
            "faults": list(self.header.file.faults),
            "weights": len(self.header.keys),
            "weights_say": self.header.weights.to_json(),
            "made_for": self.header.architecture,
            "trainer": self.header.dialect.title if self.header.dialect else None,
            "params": self.params,
            "run_id": self.header.run_id,
            "dataset": {
                "dataset_id": self.params.get("dataset_id"),
                "dataset_manifest_hash": self.params.get("dataset_manifest_hash"),
                "manifest": str(self.link.manifest) if self.link.manifest else None,
                "matches": self.link.matches,
                "why": self.link.why,
                "held_out": self.link.held_out,
            },
            "metadata": self.header.metadata,
        }


def read_info(path: Path, manifest: Path | None) -> LoraInfo:
    """What is known of one LoRA. `manifest`: where to look, None for beside it. Raises InputError for a file that is none."""
    header = read_lora_header(path)
    return LoraInfo(header, link_dataset(header, manifest))


def render(info: LoraInfo) -> str:
    """One LoRA for people."""
    lines = [f"{escape_line(info.header.path)}  {info.header.file.size / 1e6:.1f} MB", *(f"  {line}" for line in _tell_state(info.header))]
    params = info.params
    width = max((len(name) for name in params), default=0)
    if not info.header.metadata:
        lines.append("  it holds no information about its training; what follows is told by its weights")
    lines += [f"  {name:{width}}  {escape_line(str(value))}" for name, value in params.items()]
    lines.append(f"  weights: {_tell_weights(info.header)}")
    if info.header.dialect:
        lines.append(f"  written by: {info.header.dialect.title}")
    manifest = f" ({escape_line(info.link.manifest)})" if info.link.manifest else ""
    held_out = f"; {counted(info.link.held_out, 'picture')} of the set held out" if info.link.held_out else ""
    lines.append(f"  dataset: {info.link.why}{held_out}{manifest}")
    return "\n".join(lines)


def _tell_state(header: LoraHeader) -> Iterator[str]:
    """What is wrong with the file, and what to do."""
    file = header.file
    if file.missing_bytes:
        yield f"CUT OFF: {file.missing_bytes:,} bytes of its weights are missing: copy or download it again"
    if file.extra_bytes:
        cut = f'python -c "import os; os.truncate({str(file.path)!a}, {file.declared_size})"'
        yield (
            f"all weights are there; {file.extra_bytes:,} bytes more follow than its header declares. "
            f"Loaders that insist on the exact length refuse the file; this takes the rest off: {cut}"
        )
    if not file.weights:
        yield "IT HOLDS NO WEIGHTS: nothing was saved but a header; train or save it again"
    for fault in file.faults:
        yield f"CANNOT BE LOADED: {escape_line(fault)}: the safetensors library refuses the file, save it again with the trainer"


def _tell_weights(header: LoraHeader) -> str:
    """`LoRA, rank 16, alpha 8, F16, 264 modules of unet, made for SDXL`."""
    said = header.weights
    parts = ["no adapter that is known" if said.kind == UNKNOWN else said.kind]
    if said.ranks or said.conv_ranks:
        ranks = [f"rank {render_ranks(said.ranks)}"] if said.ranks else []
        parts += [*ranks, *([f"rank {render_ranks(said.conv_ranks)} in convolutions"] if said.conv_ranks else [])]
    if said.alpha is not None:
        parts.append(f"alpha {said.alpha:g}")
    if said.dtypes:
        parts.append("+".join(said.dtypes))
    parts.append(f"{counted(said.modules, 'module')} of {'+'.join(said.parts) or 'an unnamed part'}")
    parts.append(f"made for {header.architecture}" if header.architecture else "nothing tells for which base model")
    named = header.training_params.get("network_dim")
    if isinstance(named, int) and len(said.ranks) == 1 and named not in said.ranks:
        parts.append(f"the metadata say rank {named}: it was resized, or the metadata are another file's")
    return escape_line(", ".join(parts))


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="LoRA files (.safetensors)")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("FIRST", "SECOND"), help="show how two LoRAs differ")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="the manifest to compare with the LoRA (default: the one beside it)")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if bool(args.files) == bool(args.compare):
        raise InputError("lora_info", "give LoRA files, or --compare FIRST SECOND", "see --help")
    infos = [read_info(path, args.manifest) for path in args.compare or args.files]
    if args.compare:
        return _compare(args, *infos)
    if args.json:
        cli.print_json({"loras": [info.to_json() for info in infos]})
    cli.say("\n\n".join(map(render, infos)), as_json=args.json)
    is_bad = any(
        not info.header.is_whole or not info.header.keys or info.header.file.faults or (args.manifest and info.link.matches is not True)
        for info in infos
    )
    return EXIT_GATE if is_bad else EXIT_OK


def _compare(args: argparse.Namespace, first: LoraInfo, second: LoraInfo) -> int:
    found = compare_headers(first.header, second.header)
    if args.json:
        differences = {name: {"first": old, "second": new} for name, (old, new) in found.differences.items()}
        document = {"first": first.to_json(), "second": second.to_json(), "same_weights": found.same_bytes, "differences": differences}
        cli.print_json(document)
    states = [f"{escape_line(info.header.path.name)}: {line}" for info in (first, second) for line in _tell_state(info.header)]
    cli.say("\n".join([*states, render_header_comparison(first.header, second.header, found)]), as_json=args.json)
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
