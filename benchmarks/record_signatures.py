"""Record the signatures of all node classes of a whole ComfyUI server into tools/workflows/core_signatures.json.

A dry run on a laptop finds places in a graph by them. Record them again when ComfyUI has new nodes; start the server without custom
nodes and with its API nodes, so that the copy holds all of core and nothing else:

    python main.py --cpu --listen 127.0.0.1 --disable-all-custom-nodes          # in the ComfyUI folder
    python benchmarks/record_signatures.py --comfy-url http://127.0.0.1:8188
    python benchmarks/record_signatures.py --comfy-url http://127.0.0.1:8188 --output other.json

The same server gives the same bytes, but for the date. Exit codes: 0 written · 2 usage · 3 the server is unavailable.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_OK
from lifeos.files import write_text
from tools.backends.address import read_address
from tools.backends.comfyui_answers import Stats, read_server_info
from tools.backends.transport import LARGE_ANSWER, Transport
from tools.workflows.core_signatures import FILE
from tools.workflows.node_types import MODEL_FOLDERS

KEPT_OPTIONS = (
    *("default", "min", "max", "step", "round", "multiline", "options", "template"),
    # what the editor makes a widget, a socket, or a second widget of: the order of a saved workflow's values hangs on it
    *("forceInput", "socketless", "control_after_generate", "widgetType", "multiselect", "hidden"),
    *("image_upload", "audio_upload", "video_upload", "file_upload"),
)
LISTING_OPTIONS = ("image_upload", "audio_upload", "video_upload", "file_upload", "image_folder", "remote")
"""Options of a choice among files of that server."""

MACHINE_CHOICES = frozenset({*MODEL_FOLDERS, "existing_lora", "folder", "device", "attention"})
"""Inputs whose choices are what that machine has, though not all of them look like files."""

SHIPPED_MODULES = ("custom_nodes.websocket_image_save",)
"""Under the folder of custom nodes, but part of ComfyUI."""

SAID_IF_TRUE = ("output_node", "is_input_list")
FILE_ENDINGS = (
    *(".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".yaml", ".json", ".txt", ".latent"),
    *(".png", ".jpg", ".jpeg", ".webp", ".wav", ".mp3", ".flac", ".mp4", ".webm", ".glb", ".obj", ".ply"),
)


def trim(signatures: Mapping[str, Any]) -> dict[str, Any]:
    """Signatures as `/object_info` gives them, by class name, cut to what finding places and converting workflows need."""
    return {name: _trim_class(signatures[name]) for name in sorted(signatures) if _is_core(signatures[name])}


def _is_core(declared: Mapping[str, Any]) -> bool:
    module = str(declared.get("python_module"))
    return not module.startswith("custom_nodes") or module in SHIPPED_MODULES


def _trim_class(declared: Mapping[str, Any]) -> dict[str, Any]:
    inputs = declared["input"]
    kept: dict[str, Any] = {"input": {part: _trim_inputs(inputs[part]) for part in ("required", "optional") if inputs.get(part)}}
    kept |= {"output": declared["output"], "output_name": declared["output_name"]}
    if any(declared.get("output_matchtypes") or ()):
        kept["output_matchtypes"] = declared["output_matchtypes"]
    if any(declared.get("output_is_list") or ()):
        kept["output_is_list"] = declared["output_is_list"]
    return kept | {key: True for key in SAID_IF_TRUE if declared.get(key)}


def _trim_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _trim_input(name, kind) for name, kind in inputs.items()}


def _trim_input(name: str, kind: Any) -> list[Any]:
    parts = kind if isinstance(kind, list) else [kind]
    type_, options = parts[0], parts[1] if len(parts) > 1 else {}
    kept = {key: options[key] for key in KEPT_OPTIONS if key in options and (key == "default" or _says_something(options[key]))}
    choices = type_ if isinstance(type_, list) else kept.get("options") if type_ == "COMBO" else None
    if choices is not None and _is_of_machine(name, choices, options):
        type_, kept = "COMBO", {key: value for key, value in kept.items() if key not in ("options", "default")}
    elif choices is None and "options" in kept:
        kept["options"] = [_trim_nested(option) for option in kept["options"]]
    if "template" in kept:
        kept["template"] = _trim_nested(kept["template"])
    return [type_, kept] if kept else [type_]


def _says_something(value: Any) -> bool:
    return value is not None and value is not False  # not by equality: a minimum of 0 is said


def _is_of_machine(name: str, choices: Sequence[Any], options: Mapping[str, Any]) -> bool:
    asked = name in MACHINE_CHOICES or any(options.get(key) for key in LISTING_OPTIONS)
    return asked or all(str(choice).endswith(FILE_ENDINGS) for choice in choices)


def _trim_nested(part: Any) -> Any:
    """The template of a row that can be repeated, or a branch of a dynamic choice: inputs of its own within it."""
    if not isinstance(part, dict):
        return part
    trimmed = dict(part)
    if isinstance(part.get("inputs"), dict):
        trimmed["inputs"] = {name: _trim_inputs(inputs) for name, inputs in part["inputs"].items() if inputs}
    if isinstance(part.get("input"), dict):
        trimmed["input"] = {name: _trim_inputs(inputs) for name, inputs in part["input"].items() if inputs}
    return trimmed


def render(trimmed: Mapping[str, Any], version: str, recorded: str) -> str:
    """The file: one class a line, so that a later recording shows in a diff what changed."""
    rows = [f"{json.dumps(name)}:{json.dumps(kept, separators=(',', ':'), ensure_ascii=False)}" for name, kept in trimmed.items()]
    head = f'{{"version":{json.dumps(version)},"recorded":{json.dumps(recorded)},"classes":{{\n'
    return head + ",\n".join(rows) + "\n}}\n"


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--comfy-url", default="http://127.0.0.1:8188", metavar="URL", help="the server (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=FILE, metavar="FILE", help="the file to write (default: the stored copy)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    transport = Transport(read_address(args.comfy_url), timeout_seconds=60)
    try:
        version = read_server_info(args.comfy_url, transport.get_record("/system_stats", Stats)).version
        trimmed = trim(transport.get_record("/object_info", dict[str, dict[str, Any]], limit=LARGE_ANSWER))
    finally:
        transport.close()
    text = render(trimmed, version, datetime.now(UTC).strftime("%Y-%m-%d"))
    write_text(args.output, text)
    print(f"{args.output}: {len(trimmed)} classes of ComfyUI {version}, {len(text.encode()) / 1e6:.2f} MB")
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
