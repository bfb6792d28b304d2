"""Bring a LoRA to every server before a batch, and check that it is there: by its name, its size, and its header where that can be read.

Uploads to the servers that take model files (Comfy API v2 with comfy-api-proxy --comfyui-base-dir). A plain ComfyUI takes none over HTTP:
whether the file is in its folder is checked, and if not, what to copy is said.

    python tools/prepare_servers.py --lora-file amiranoor_v3.safetensors --servers servers.yaml

Exit codes: 0 the LoRA is on every server · 1 a server lacks it, or has another of that name · 2 bad usage, or a file that is no LoRA ·
3 a server does not answer, or refuses our token: the others are looked at all the same.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK, EXIT_UNAVAILABLE, InputError, UnavailableError
from lifeos.findings import Finding, Report, publish
from lifeos.server_flags import add_server_flags

if TYPE_CHECKING:
    from tools.backends.backend import Backend
    from tools.backends.server_entry import ServerEntry

LORAS = "loras"
NO_ANSWER = "server"
ANSWER_SECONDS = 15.0


def prepare_servers(entries: Sequence[ServerEntry], file: Path) -> dict[str, list[Finding]]:
    """Bring a LoRA to each server; what came of it, by URL. All are asked at once; files are uploaded one after the other.

    Raises InputError for a file that is no LoRA.
    """
    from tools.backends.backend import BackendOptions
    from tools.backends.registry import open_possible
    from tools.backends.server_groups import ask_all
    from tools.trainers.lora_header import read_lora_header

    told = read_lora_header(file).metadata
    header = {key: value for key, value in told.items() if isinstance(value, str)}
    found: dict[str, Finding] = {}
    with open_possible(entries, BackendOptions(timeout_seconds=ANSWER_SECONDS)) as opened:
        if len(opened.tokenless) == 1 and not opened.servers:
            raise opened.tokenless[0][1]

        def prepare(server: Backend) -> Finding:
            try:
                return _prepare(server, opened.entries[server.url], file, header)
            except InputError as error:
                return Finding("lora", f"{error.what}: {error.why}", error.fix)
            except UnavailableError as error:
                return _no_answer(error)

        def look(server: Backend) -> Finding | None:
            server.connect()
            return None if server.offers.takes_models else prepare(server)

        for server, answer in zip(opened.servers, ask_all(opened.servers, look), strict=True):
            found[server.url] = _no_answer(answer) if isinstance(answer, UnavailableError) else answer or prepare(server)
        found |= {url: Finding(NO_ANSWER, f"{url}: {error.what} {error.why}", error.fix) for url, error in opened.tokenless}
    return {url: [each] for url, each in found.items()}


def _no_answer(error: UnavailableError) -> Finding:
    return Finding(NO_ANSWER, f"{error.what}: {error.why}", error.fix)


def _prepare(server: Backend, entry: ServerEntry, file: Path, header: dict[str, str]) -> Finding:
    size = file.stat().st_size
    if entry.has_loras:
        return Finding("lora", f"{server.url}: {file.name} is there by the file of --servers (has_loras); not looked at", severity="ok")
    if server.offers.takes_models:
        kept = server.upload_model(LORAS, file)
        if kept != file.name:
            why = f"{server.url}: has the same bytes already, as {kept}"
            return Finding("lora", why, f"rename {file.name} to {kept}, or remove {kept} there")
        return Finding("lora", f"{server.url}: has {file.name}, {size:,} bytes", severity="ok")
    copy = f"copy {file} into the folder models/{LORAS} there"
    if not server.offers.lists_models:
        fix = f"{_where_to_copy(server, file)}, then write has_loras: true into the file of --servers"
        return Finding("lora", f"{server.url}: takes no model files over HTTP", fix)
    there = next((name for name in server.models(LORAS) if re.split(r"[/\\]", name)[-1] == file.name), None)
    if there is None:
        return Finding("lora", f"{server.url}: has no {file.name}, and takes no model files over HTTP", copy)
    if (metadata := server.lora_metadata(there)) is not None and metadata != header:
        return Finding("lora", f"{server.url}: its {there} is another LoRA: its header says something else", copy)
    seen = "with the same header" if metadata is not None else "which has no header to compare"
    return Finding("lora", f"{server.url}: has {there}, {seen}", severity="ok")


def _where_to_copy(server: Backend, file: Path) -> str:
    """The words of a server that takes no files, for where they go instead."""
    try:
        server.upload_model(LORAS, file)
    except InputError as error:
        return error.fix
    return f"copy {file} into the folder models/{LORAS} there"


def exit_code_of(found: Sequence[Finding]) -> int:
    wrong = [finding.rule for finding in found if finding.severity == "error"]
    return EXIT_OK if not wrong else EXIT_UNAVAILABLE if NO_ANSWER in wrong else EXIT_GATE


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--lora-file", type=Path, required=True, metavar="FILE", help="the LoRA, a .safetensors file")
    add_server_flags(parser)
    parser.add_format()
    return parser


def main(argv: list[str] | None = None) -> int:
    from tools.backends.server_list import list_servers
    from tools.production.server_table import grouped

    args = build_parser().parse_args(argv)
    entries = list_servers(args.comfy_url or (), args.servers, token_env=args.comfy_token_env, insecure_token=args.insecure_token)
    by_server = prepare_servers(entries, args.lora_file)
    found = [each for findings in by_server.values() for each in findings]
    missing = sum(finding.severity == "error" for finding in found)
    summary = f"{missing} of {len(found)} not ready: the arrows show what to do" if missing else f"{args.lora_file.name} is on every server"
    shown = found if args.json or args.format == "json" else grouped(by_server)
    publish(Report("prepare_servers", summary, tuple(shown)), format=args.format, as_json=args.json)
    return exit_code_of(found)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
