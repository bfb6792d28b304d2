"""`python -m lifeos doctor`: what is here, what is missing, how to fix it. Changes nothing, installs nothing.

Exit codes: 0 what the main job needs is here · 1 something it needs is missing.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import cli, environment, web
from lifeos.errors import UnavailableError
from lifeos.findings import Finding, Report, publish
from lifeos.server_flags import add_server_flags

COMFY_URL = "http://127.0.0.1:8188"
TIMEOUT_SECONDS = 3
LOW_DISK_GB = 3
SETUP = "python -m lifeos setup"
BRINGS = (
    "setup brings the packages and the default face engine's models; --dlib adds the engine dlib, --publish what signs pictures,"
    " --insightface a model pack"
)


@dataclass(frozen=True, slots=True)
class ModuleAnswer:
    """What a module said in the environment's Python: its JSON document ({} for none), and why there is none."""

    document: dict[str, Any]
    complaint: str


def examine(comfy_url: str = COMFY_URL, server_flags: Sequence[str] = ()) -> Iterator[Finding]:
    """Every finding, in the order in which a newcomer needs them."""
    yield well("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})")
    gpus = environment.list_gpus()
    yield well("GPU", "; ".join(gpus) or "none: everything runs on the CPU, pictures come from a pod or the embedded server")
    profile = environment.find_profile()
    folder = environment.folder_of(profile)
    if environment.is_complete(folder):
        python = environment.python_of(environment.widest_of(folder))
        extras = sorted(environment.made_extras(folder))
        yield well("environment", f"{profile.name}, current" + (f", with {' and '.join(extras)}" if extras else ""))
        yield from examine_packages(_probe(python), profile.name)
        yield from examine_engines(_ask(python, "evals.faces"))
    else:
        stale = f"an older one is there ({environment.unused()[0].name})" if environment.unused() else "not made yet"
        yield Finding("environment", f"{profile.name}: {stale}; {BRINGS}", SETUP)
    if environment.unused():
        yield Finding("old environments", f"{len(environment.unused())} unused", "python -m lifeos setup --clean", "warning")
    if server_flags:
        yield from examine_servers(environment.find_made(), server_flags)
    else:
        yield examine_comfyui(comfy_url)
    yield examine_disk()
    git = shutil.which("git")
    yield well("git", git) if git else Finding("git", "not found", "install git: freshness and the cycle's commit need it", "warning")


def well(part: str, found: str) -> Finding:
    return Finding(part, found, severity="ok")


def examine_packages(probe: dict[str, Any], profile: str) -> Iterator[Finding]:
    """What the environment's own Python said: broken packages, and the onnxruntime provider that really ran."""
    for package, reason in probe["broken"].items():
        yield Finding(package, reason, f"remove .lifeos and run {SETUP}")
    provider = probe["provider"]
    if provider is None:
        return
    if profile == "gpu" and provider != "CUDAExecutionProvider":
        offered = "CUDA is offered but does not start" if "CUDAExecutionProvider" in probe["providers"] else "the CPU build is installed"
        fix = f"check the driver with nvidia-smi (CUDA 12 is needed); then remove .lifeos and run {SETUP}"
        yield Finding("onnxruntime", f"runs on {provider}: {offered}; scoring is about 50 times slower", fix, "warning")
    else:
        yield well("onnxruntime", f"{probe['versions']['onnxruntime']} runs on {provider}")


def examine_engines(answer: ModuleAnswer) -> Iterator[Finding]:
    """The face engines that the project has, as the environment's Python lists them: one that can run is enough.

    The first line says which of them `--engine auto` takes, and why not one of those before it.
    """
    engines = answer.document.get("engines", [])
    if not engines:
        yield Finding("face engines", answer.complaint, f"remove .lifeos and run {SETUP}")
        return
    engines = [row | {"found": row["found"].removeprefix(f"face engine {row['engine']}: ")} for row in engines]
    ready = [row["engine"] for row in engines if row["ready"]]
    yield _examine_choice(engines, ready[0] if ready else "")
    for row in engines:
        title = f"face engine {row['engine']}"
        if row["ready"]:
            yield well(title, f"{row['found']} ({row['summary']})")
        else:
            yield Finding(title, row["found"], row["fix"], "notice")


def _examine_choice(engines: list[dict[str, Any]], chosen: str) -> Finding:
    names = [str(row["engine"]) for row in engines]
    if not chosen:
        return Finding("--engine auto", f"finds none of {', '.join(names)} that can run; {BRINGS}", SETUP)
    over = "; ".join(f"{row['engine']} passed over: {row['found']}" for row in engines[: names.index(chosen)])
    return well("--engine auto", f"takes {chosen}, the first of {', '.join(names)} that can run" + (f"; {over}" if over else ""))


def examine_comfyui(url: str) -> Finding:
    """Whether a ComfyUI answers. None is fine: the embedded server and `--images` need none."""
    fix = "start it, or give --comfy-url; without one use --comfy-url embedded or --images"
    try:
        answer = json.loads(web.get(f"{url.rstrip('/')}/system_stats", "ComfyUI", seconds=TIMEOUT_SECONDS))
        version = answer["system"].get("comfyui_version", "version unknown")
    except UnavailableError as error:
        return Finding("ComfyUI", f"no answer at {url}: {error.why.removeprefix('no usable answer: ')}", fix, "warning")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Finding("ComfyUI", f"what answers at {url} is no ComfyUI", fix, "warning")
    return well("ComfyUI", f"{version} at {url}")


def examine_servers(python: Path | None, flags: Sequence[str]) -> Iterator[Finding]:
    """Whether servers of any kind answer; the environment's Python is asked, which has what speaks to them."""
    if python is None:
        yield Finding("servers", "cannot be asked before the environment is made", SETUP)
        return
    answer = _ask(python, "tools.backends.server_report", *flags)
    if not answer.document:
        yield Finding("servers", answer.complaint, "mend --comfy-url or the file of --servers")
    for found in answer.document.get("servers", ()):
        yield Finding("server", found["message"], found["fix"], found["severity"])


def examine_disk() -> Finding:
    free = shutil.disk_usage(cli.PROJECT_ROOT).free / 1e9
    if free < LOW_DISK_GB:
        fix = f"free some space: the environment and a batch need {LOW_DISK_GB} GB"
        return Finding("disk", f"{free:.1f} GB free", fix, "warning")
    return well("disk", f"{free:.0f} GB free")


def _probe(python: Path) -> dict[str, Any]:
    answer = _ask(python, "lifeos.probe")
    return answer.document or {"versions": {}, "broken": {"environment": answer.complaint}, "providers": [], "provider": None}


def _ask(python: Path, module: str, *flags: str) -> ModuleAnswer:
    done = subprocess.run([str(python), "-m", module, *flags], capture_output=True, text=True, cwd=cli.PROJECT_ROOT, check=False)
    complaint = (done.stderr.strip().splitlines() or ["it gave no message"])[-1]
    try:
        document = json.loads(done.stdout)
    except ValueError:
        document = None
    return ModuleAnswer(document if isinstance(document, dict) else {}, complaint)


def report_of(found: list[Finding]) -> Report:
    missing = sum(finding.severity == "error" for finding in found)
    summary = f"{missing} missing: the arrows show how to fix it" if missing else "ready: python -m lifeos demo"
    return Report("doctor", summary, tuple(found))


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, prog="python -m lifeos doctor")
    add_server_flags(parser)
    parser.add_format()
    return parser


def flags_for_report(args: argparse.Namespace) -> list[str]:
    """The flags about servers as given; empty for one plain address, which is asked without the environment."""
    urls = args.comfy_url or []
    if len(urls) < 2 and not args.servers and not args.comfy_token_env and all(url.startswith("http") for url in urls):
        return []
    flags = [part for url in urls for part in ("--comfy-url", url)]
    flags += ["--servers", str(args.servers.absolute())] if args.servers else []
    flags += ["--comfy-token-env", args.comfy_token_env] if args.comfy_token_env else []
    return [*flags, *(["--insecure-token"] if args.insecure_token else [])]


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    found = list(examine(args.comfy_url[0] if args.comfy_url else COMFY_URL, flags_for_report(args)))
    return publish(report_of(found), format=args.format, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
