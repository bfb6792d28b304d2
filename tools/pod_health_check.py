"""Say whether a pod is ready to make pictures: ComfyUI answers and works, nodes and models are there, disk and GPU memory are free.

Reads from the servers and this machine, changes nothing. Several servers, of any kind, are asked at once, and each is a row of a table.

    python tools/pod_health_check.py --required-model amiranoor_v3.safetensors
    python tools/pod_health_check.py --servers servers.yaml --comfy-url runpod://ENDPOINT_ID
    python tools/pod_health_check.py --family flux
    python tools/pod_health_check.py --skip-comfy-api --disk-path /workspace --min-free-disk-gb 10

Exit codes: 0 ready (warnings allowed) · 1 a check failed · 2 bad usage · 3 a server is not there, or refuses our token.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.counting import counted
from lifeos.errors import EXIT_GATE, EXIT_OK, EXIT_UNAVAILABLE, InputError, UnavailableError, did_you_mean, nearest
from lifeos.findings import Finding, Report, publish
from lifeos.server_flags import add_server_flags
from tools.families.families import DEFAULT_FAMILY, SDXL, Family, family_ids, find_family

if TYPE_CHECKING:
    from tools.backends.backend import Backend, ServerInfo

CHECK = "pod health"
OF_THIS_MACHINE = ("model file", "disk")
NOT_ASKED = "nodes, models, GPU memory"
CANNOT_BE_ASKED = "cannot be asked of this kind of server: it refuses a picture that it cannot make, which then goes to another"
SERVER = "ComfyUI"
"""The check that fails where the server is not there: exit code 3 instead of 1."""
BUILT_IN_NODES = SDXL.node_classes
"""What the built-in workflow of the default family is made of."""

PUT_THERE = "put it into its model folder; tools/prepare_servers.py --lora-file FILE brings a LoRA there"
MAIN_FOLDERS = ("checkpoints", "diffusion_models")
STALL_SECONDS = 3.0
"""A healthy worker takes a waiting prompt within moments; between two prompts it may clear memory first."""

NVIDIA_SECONDS = 10
ANSWER_SECONDS = 10
MAX_HEADER_BYTES = 100 << 20
GIGABYTE, MIB = 10**9, 1 << 20


def check_pod(
    server: Backend | None,
    *,
    required_nodes: Sequence[str] = BUILT_IN_NODES,
    required_models: Sequence[str] = (),
    family: Family | None = None,
    disk_path: Path | None = None,
    min_free_disk_gb: float = 2.0,
    min_free_vram_mb: float = 6000,
    gpu_wanted: bool = False,
    stall_seconds: float = STALL_SECONDS,
    ours: Collection[str] = (),
) -> list[Finding]:
    """Every check of one server and this machine's disk, in reading order. Never raises for what it finds.

    `required_models` are names in one of the server's model folders, or paths of files here. `family`: what its built-in workflow loads
    must be there too. A server without a GPU is a
    warning, with `gpu_wanted` a failure. Without a server only this machine is looked at. `ours` are the prompts that the caller
    queued before: they are no reason to wait.
    """
    checks: list[Finding] = []
    files = [name for name in required_models if _is_path(name) or server is None]
    if server is None:
        checks += check_local_vram(min_free_vram_mb, gpu_wanted=gpu_wanted)
    else:
        names = [name for name in required_models if name not in files]
        checks += _check_server(server, required_nodes, names, family, min_free_vram_mb, gpu_wanted, stall_seconds, ours)
    checks += [check_model_file(Path(name)) for name in files]
    checks.append(check_disk(disk_path or default_disk_path(), min_free_disk_gb))
    return checks


def _check_server(
    server: Backend,
    nodes: Sequence[str],
    models: Sequence[str],
    family: Family | None,
    min_free_vram_mb: float,
    gpu_wanted: bool,
    stall_seconds: float,
    ours: Collection[str],
) -> Iterator[Finding]:
    try:
        info = server.info() if server.offers.lists_nodes else server.connect()  # that tells also whether it takes our token
        yield Finding(SERVER, f"{info.version} at {info.url}, on {info.device}", severity="ok")
        yield check_queue(server, stall_seconds, ours)
        if server.offers.lists_nodes:
            yield from check_nodes(server, nodes)
        if server.offers.lists_models:
            yield from check_models(server, models)
            if family is not None:
                from tools.production.model_choice import check_files

                yield from check_files(server, family)
        if server.offers.shares_memory:
            yield check_vram(info, min_free_vram_mb, gpu_wanted=gpu_wanted)
        if not server.offers.lists_nodes:
            yield Finding(NOT_ASKED, CANNOT_BE_ASKED, severity="notice")
    except UnavailableError as error:
        yield Finding(SERVER, f"{server.url}: {error.why}", error.fix)


def check_queue(server: Backend, stall_seconds: float = STALL_SECONDS, ours: Collection[str] = ()) -> Finding:
    """What waits before us, and whether the server works on it at all. The caller's own prompts (`ours`) are followed, not waited for."""
    there = server.workload()
    if there.waiting and not there.running:
        time.sleep(stall_seconds)
        before, there = there, server.workload()
        if set(there.waiting) == set(before.waiting) and not there.running:
            why = f"{counted(len(there.waiting), 'prompt')} waiting, and none runs: the server's worker has died"
            return Finding("queue", why, "restart ComfyUI")
    everybody = {*there.running, *there.waiting}
    mine = everybody.intersection(ours)
    others = everybody - mine
    if not everybody:
        return Finding("queue", "empty" if server.offers.lists_nodes else "empty, as far as it tells", severity="ok")
    own = f"{counted(len(mine), 'prompt')} of this batch from before: followed, not made again"
    if not others:
        return Finding("queue", own, severity="ok")
    parts = [f"busy: {len(set(there.running) - mine)} running, {len(set(there.waiting) - mine)} waiting; ours come after them"]
    programs = others & there.by_lifeos
    if programs:
        whose = "all of them" if programs == others else f"{len(programs)} of them"
        parts.append(f"{whose} by LifeOS: a batch that runs, or was killed")
    if mine:
        parts.append(own)
    fix = "wait, or cancel them in ComfyUI if they are yours"
    if programs:
        fix = "wait; a batch that was killed takes its prompts over when its command is run again"
    return Finding("queue", "; ".join(parts), fix, "warning")


def check_nodes(server: Backend, wanted: Sequence[str]) -> Iterator[Finding]:
    from tools.workflows.server_fit import install_hint

    missing = [name for name in wanted if server.node(name) is None]
    known = server.node_classes() if missing else []
    for name in missing:
        fix = "; ".join(part for part in (install_hint(name), did_you_mean(name, known)) if part)
        yield Finding("node", f"{name} is not there", fix)
    if wanted and not missing:
        yield Finding("nodes", f"all that are needed are there ({len(wanted)})", severity="ok")


def check_models(server: Backend, wanted: Sequence[str]) -> Iterator[Finding]:
    """That each name is in one of the server's model folders, and that there is a model to start from at all."""
    from tools.workflows.server_fit import among

    folders = {folder: server.models(folder) for folder in server.model_folders()} if wanted else {}
    known = sorted({name for names in folders.values() for name in names})
    for name in wanted:
        found = [folder for folder, names in folders.items() if among(name, names)]
        if found:
            yield Finding("model", f"{name} in {', '.join(found)}", severity="ok")
        else:
            yield Finding("model", f"{name} is not on the server", did_you_mean(name, known) if nearest(name, known) else PUT_THERE)
    main = {folder: folders.get(folder) or server.models(folder) for folder in MAIN_FOLDERS}
    if not any(main.values()):
        yield Finding("models", "no checkpoint and no diffusion model at all", "put one into ComfyUI/models/checkpoints")
    else:
        counts = ", ".join(counted(len(names), folder.replace("_", " ").removesuffix("s")) for folder, names in main.items())
        yield Finding("models", counts, severity="ok")


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Of an entry of a safetensors header: where the tensor lies. `__metadata__` has none."""

    data_offsets: tuple[int, int] | None = None


def check_model_file(path: Path) -> Finding:
    """That a model file is here and whole: a safetensors header says how long the file must be."""
    if not path.is_file():
        return Finding("model file", f"{path}: no such file", "download it, or correct the path")
    size = path.stat().st_size
    wanted = _safetensors_size(path) if path.suffix == ".safetensors" else None
    if size == 0 or (wanted is not None and size != wanted):
        of = f" of {wanted:,}" if wanted else ""
        return Finding("model file", f"{path}: {size:,}{of} bytes: not whole", "download it again")
    return Finding("model file", f"{path}, {size / GIGABYTE:.2f} GB", severity="ok")


def _safetensors_size(path: Path) -> int | None:
    """The length that the header asks for: 8 bytes of header length, the header, the tensors. 0 where it cannot be read."""
    from lifeos import foreign

    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            data = file.read(min(length, MAX_HEADER_BYTES))
        header = foreign.decode(data, dict[str, TensorPlace], path, max_bytes=MAX_HEADER_BYTES)
    except (OSError, struct.error, InputError):
        return 0
    return 8 + int(length) + max((place.data_offsets[1] for place in header.values() if place.data_offsets), default=0)


def check_disk(path: Path, min_free_gb: float) -> Finding:
    """Room and permission where pictures will be written: `path`, or the nearest folder above it that exists."""
    import os

    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free / GIGABYTE
    if not os.access(place, os.W_OK):
        return Finding("disk", f"{place} may not be written", "choose another --disk-path, or change its permissions")
    if free < min_free_gb:
        return Finding("disk", f"{free:.1f} GB free at {place}, {min_free_gb:g} wanted", "free some room, or give --min-free-disk-gb")
    return Finding("disk", f"{free:.1f} GB free at {place}", severity="ok")


def check_vram(info: ServerInfo, min_free_mb: float, *, gpu_wanted: bool) -> Finding:
    if info.notice:
        return Finding("GPU memory", "not needed: this is the demo server, which makes no real pictures", severity="ok")
    if info.vram_usable is None:
        return _no_gpu(f"the server works on {info.device}, without a GPU", gpu_wanted)
    return _judge_vram(info.vram_usable / MIB, (info.vram_total or 0) / MIB, min_free_mb, info.device)


def check_local_vram(min_free_mb: float, *, gpu_wanted: bool) -> list[Finding]:
    """The GPU of this machine with the most free memory, as `nvidia-smi` tells."""
    query = ["nvidia-smi", "--query-gpu=memory.free,memory.total,name", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_SECONDS, check=True).stdout
        rows = [line.split(",", 2) for line in output.splitlines() if line.strip()]
        free, total, name = max((float(row[0]), float(row[1]), row[2].strip()) for row in rows)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return [_no_gpu("nvidia-smi finds no GPU on this machine", gpu_wanted)]
    return [_judge_vram(free, total, min_free_mb, name)]


def _no_gpu(found: str, gpu_wanted: bool) -> Finding:
    return Finding("GPU memory", found, "pictures take minutes each without one", "error" if gpu_wanted else "warning")


def _judge_vram(free: float, total: float, wanted: float, device: str) -> Finding:
    found = f"{free:,.0f} of {total:,.0f} MiB free on {device}"
    if free < wanted:
        return Finding("GPU memory", f"{found}, {wanted:,.0f} wanted", "end what else uses the GPU, or give --min-free-vram-mb")
    return Finding("GPU memory", found, severity="ok")


def _is_path(name: str) -> bool:
    """A file of this machine, rather than a name on the server, which may have a folder in it too."""
    return Path(name).is_absolute() or name.startswith((".", "~")) or Path(name).is_file()


def default_disk_path() -> Path:
    workspace = Path("/workspace")
    return workspace if workspace.is_dir() else Path()


def exit_code_of(checks: Iterable[Finding]) -> int:
    failed = {check.rule for check in checks if check.severity == "error"}
    if SERVER in failed:
        return EXIT_UNAVAILABLE
    return EXIT_GATE if failed else EXIT_OK


def report_of(checks: Sequence[Finding]) -> Report:
    """The checks as a report; its JSON also has them by the names of the version before: `ready`, and `checks` with a status each."""
    failed = sum(check.severity == "error" for check in checks)
    summary = f"not ready: {failed} of {len(checks)} checks" if failed else "ready"
    before = [{"name": check.rule, "status": _status(check), "found": check.message, "fix": check.fix} for check in checks]
    return Report(CHECK, summary, tuple(checks), data={"schema": 1, "ready": not failed, "checks": before})


def _status(check: Finding) -> str:
    if check.severity == "error":
        return "unavailable" if check.rule == SERVER else "failed"
    return check.severity


def report_of_servers(found: Mapping[str, Sequence[Finding]], *, in_full: bool) -> Report:
    """The findings of each server, by URL: of one as they are; of several a row for each, and each fault once (`in_full`: all of them)."""
    from tools.production.server_table import count_states, grouped, row_of, table_lines

    rows = [row_of(url, checks) for url, checks in found.items()]
    every: list[Finding] = []
    for url, checks in found.items():
        told = [replace(check, message=_of_server(check, url)) for check in checks] if len(found) > 1 else checks
        every += [check for check in told if check not in every]
    report = report_of(every)
    report.data["servers"] = [asdict(row) for row in rows]
    if len(found) < 2:
        return report
    faults = {url: [check for check in checks if check.severity not in ("ok", "notice")] for url, checks in found.items()}
    shown = report.findings if in_full else tuple(grouped(faults))
    return replace(report, summary=count_states(rows), findings=shown, details=tuple(table_lines(rows)))


def _of_server(check: Finding, url: str) -> str:
    """The message of a check with the server that it is about, where it does not say so itself."""
    return check.message if check.rule in (*OF_THIS_MACHINE, SERVER) else f"{url}: {check.message}"


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    add_server_flags(parser)
    parser.add_argument("--skip-comfy-api", action="store_true", help="check only this machine: model files, disk, nvidia-smi")
    family = f"the model family whose built-in workflow must run: its nodes and model files (default: the nodes of {DEFAULT_FAMILY})"
    parser.add_argument("--family", choices=family_ids(), help=family)
    nodes = f"a node class that must be there (repeatable; default: those of the built-in workflow, {', '.join(BUILT_IN_NODES)})"
    parser.add_argument("--required-node", action="append", default=[], metavar="NAME", help=nodes)
    models = (
        "a model file: a name in any of the server's model folders, or the path of a file here, which is checked to be whole (repeatable)"
    )
    parser.add_argument("--required-model", action="append", default=[], metavar="PATH-or-NAME", help=models)
    disk = "where pictures will be written (default: /workspace where it exists, else the current directory)"
    parser.add_argument("--disk-path", type=Path, metavar="DIR", help=disk)
    text = cli.policy_help("room that must be free there", "production.min_free_disk_gb")
    parser.add_argument("--min-free-disk-gb", type=cli.non_negative, metavar="X", help=text)
    text = cli.policy_help("GPU memory that must be free; if given, there must be a GPU", "production.min_free_vram_mb")
    parser.add_argument("--min-free-vram-mb", type=cli.non_negative, metavar="X", help=text)
    parser.add_project_root()
    parser.add_format()
    parser.add_skip_install()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from evals.load_thresholds import load_thresholds
    from tools.backends.backend import BackendOptions
    from tools.backends.registry import open_possible
    from tools.backends.server_list import list_servers

    overrides = {"production.min_free_disk_gb": args.min_free_disk_gb, "production.min_free_vram_mb": args.min_free_vram_mb}
    policy = load_thresholds(args.project_root, overrides=overrides)["production"]
    family = find_family(args.family) if args.family is not None else None

    def check(server: Backend | None) -> list[Finding]:
        return check_pod(
            server,
            required_nodes=args.required_node or (family.node_classes if family is not None else BUILT_IN_NODES),
            required_models=args.required_model,
            family=family,
            disk_path=args.disk_path,
            min_free_disk_gb=policy["min_free_disk_gb"],
            min_free_vram_mb=policy["min_free_vram_mb"],
            gpu_wanted=bool(args.min_free_vram_mb),
        )

    if args.skip_comfy_api:
        checks = check(None)
        publish(report_of(checks), format=args.format, as_json=args.json)
        return exit_code_of(checks)
    token, insecure = args.comfy_token_env, args.insecure_token
    entries = list_servers(args.comfy_url or (), args.servers, token_env=token, insecure_token=insecure)
    with open_possible(entries, BackendOptions(timeout_seconds=ANSWER_SECONDS)) as opened:
        if opened.tokenless and not opened.servers and len(opened.tokenless) == 1:
            raise opened.tokenless[0][1]
        found = check_servers(opened.servers, check)
    found |= {url: [Finding(SERVER, f"{url}: {error.what} {error.why}", error.fix)] for url, error in opened.tokenless}
    publish(report_of_servers(found, in_full=args.json or args.format == "json"), format=args.format, as_json=args.json)
    return exit_code_of([each for findings in found.values() for each in findings])


def check_servers(servers: Sequence[Backend], check: Callable[[Backend], list[Finding]]) -> dict[str, list[Finding]]:
    """The findings of each server, by URL; all are looked at at once."""
    from tools.backends.server_groups import ask_all

    found = ask_all(servers, check)
    return {
        server.url: each if isinstance(each, list) else [Finding(SERVER, f"{server.url}: {each.why}", each.fix)]
        for server, each in zip(servers, found, strict=True)
    }


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
