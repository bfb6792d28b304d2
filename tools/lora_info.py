"""Show what a LoRA file says about its training: parameters, trigger word, base model, dataset, step; or how two of them differ.

Reads only the header of each file, however large the file is, and writes nothing. With --manifest (default: dataset_manifest.json
beside the LoRA, or of an earlier run there) it also says whether that manifest is the one the LoRA names.

    python tools/lora_info.py amiranoor_v3.safetensors
    python tools/lora_info.py --compare amiranoor_v2.safetensors amiranoor_v3.safetensors

Exit codes: 0 done · 1 a file is cut off, or the manifest given is not the LoRA's · 2 bad usage or bad input.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError
from lifeos.escaping import escape_line
from tools.dataset.manifest import manifest_hash, read_manifest
from tools.trainers.lora_header import LoraHeader, read_lora_header
from tools.training.training_choices import MANIFEST, PREVIOUS_RUNS

IDENTITY = frozenset({"weights_sha256", "output_name", "started", "finished"})
"""Differ between any two files, so they are no difference of training."""


@dataclass(frozen=True, slots=True)
class DatasetLink:
    """What a manifest says to a LoRA's own words. `matches` is None where there is nothing to compare."""

    manifest: Path | None
    matches: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class LoraInfo:
    header: LoraHeader
    size_bytes: int
    link: DatasetLink

    @property
    def params(self) -> dict[str, Any]:
        return self.header.training_params

    def to_json(self) -> dict[str, Any]:
        return {
            "file": str(self.header.path),
            "size_bytes": self.size_bytes,
            "whole": self.header.is_whole,
            "trained_modules": list(self.header.trained_modules),
            "weights": len(self.header.keys),
            "params": self.params,
            "run_id": self.header.run_id,
            "dataset": {
                "dataset_id": self.params.get("dataset_id"),
                "dataset_manifest_hash": self.params.get("dataset_manifest_hash"),
                "manifest": str(self.link.manifest) if self.link.manifest else None,
                "matches": self.link.matches,
                "why": self.link.why,
            },
            "metadata": self.header.metadata,
        }


def read_info(path: Path, manifest: Path | None) -> LoraInfo:
    """What is known of one LoRA. `manifest`: where to look, None for beside it. Raises InputError for a file that is none."""
    header = read_lora_header(path)
    return LoraInfo(header, path.stat().st_size, _link_dataset(header, manifest))


def _link_dataset(header: LoraHeader, manifest: Path | None) -> DatasetLink:
    named = header.training_params.get("dataset_id")
    file = manifest or _find_manifest(header, named)
    if named is None:
        return DatasetLink(file, None, "it does not name its dataset")
    if file is None:
        return DatasetLink(None, None, "no dataset_manifest.json beside it")
    document = read_manifest(file)
    if document["dataset_id"] != named:
        return DatasetLink(file, False, f"the manifest is of dataset {document['dataset_id'][:12]}, the LoRA names {named[:12]}")
    if manifest_hash(file) != header.training_params.get("dataset_manifest_hash"):
        return DatasetLink(file, True, "the same pictures and captions; the manifest's file was written again since")
    return DatasetLink(file, True, "this manifest was written before its first step")


def _find_manifest(header: LoraHeader, named: str | None) -> Path | None:
    """The manifest beside a LoRA; where a later run has put its own there, the one moved aside that fits."""
    folder = header.path.parent
    candidates = [folder / MANIFEST, *sorted(folder.glob(f"{PREVIOUS_RUNS}/*/{MANIFEST}"))]
    here = [file for file in candidates if file.is_file()]
    fitting = [file for file in here if named and read_manifest(file)["dataset_id"] == named]
    hashes = header.training_params.get("dataset_manifest_hash")
    exact = [file for file in fitting if manifest_hash(file) == hashes]
    return next(iter(exact + fitting + here), None)


def render(info: LoraInfo) -> str:
    """One LoRA for people."""
    cut = "" if info.header.is_whole else "  CUT OFF: the file is not as long as its header says"
    lines = [f"{info.header.path}  {info.size_bytes / 1e6:.1f} MB{cut}"]
    params = info.params
    width = max((len(name) for name in params), default=0)
    lines += [f"  {name:{width}}  {escape_line(str(value))}" for name, value in params.items()] or [
        "  it holds no information about its training"
    ]
    lines.append(f"  dataset: {info.link.why}" + (f" ({info.link.manifest})" if info.link.manifest else ""))
    return "\n".join(lines)


def find_differences(first: LoraInfo, second: LoraInfo) -> dict[str, tuple[Any, Any]]:
    """The parameters in which two LoRAs differ, as name -> (first, second); None where one does not say."""
    names = list(dict.fromkeys([*first.params, *second.params]))
    pairs = {name: (first.params.get(name), second.params.get(name)) for name in names if name not in IDENTITY}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def render_comparison(first: LoraInfo, second: LoraInfo) -> str:
    differences = find_differences(first, second)
    head = f"{first.header.path.name} -> {second.header.path.name}"
    weights = [info.params.get("weights_sha256") for info in (first, second)]
    same = "the same weights" if weights[0] and weights[0] == weights[1] else "different weights"
    if not differences:
        return f"{head}: {same}, trained alike"
    width = max(map(len, differences))
    rows = [f"  {name:{width}}  {escape_line(str(old))} -> {escape_line(str(new))}" for name, (old, new) in differences.items()]
    return "\n".join([f"{head}: {same}", *rows])


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
    is_bad = any(not info.header.is_whole or (args.manifest and info.link.matches is not True) for info in infos)
    return EXIT_GATE if is_bad else EXIT_OK


def _compare(args: argparse.Namespace, first: LoraInfo, second: LoraInfo) -> int:
    if args.json:
        differences = {name: {"first": old, "second": new} for name, (old, new) in find_differences(first, second).items()}
        cli.print_json({"first": first.to_json(), "second": second.to_json(), "differences": differences})
    cli.say(render_comparison(first, second), as_json=args.json)
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
