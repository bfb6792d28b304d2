"""`python -m lifeos doctor`: what is here, what is missing, how to fix it. Changes nothing, installs nothing.

Exit codes: 0 what the main job needs is here · 1 something it needs is missing.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lifeos import cli, environment
from lifeos.errors import EXIT_GATE, EXIT_OK
from lifeos.model_folders import model_folders
from lifeos.setup import YUNET

OK, WARNING, MISSING = "ok", "warning", "missing"
MARKS = {OK: "ok     ", WARNING: "warning", MISSING: "MISSING"}
COMFY_URL = "http://127.0.0.1:8188"
TIMEOUT_SECONDS = 3
LOW_DISK_GB = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `ok`, `warning` (works without) or `missing` (the main job does not work)."""

    name: str
    status: str
    found: str
    fix: str = ""


def examine(comfy_url: str = COMFY_URL) -> Iterator[Finding]:
    """Every finding, in the order in which a newcomer needs them."""
    yield Finding("Python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})")
    gpus = environment.list_gpus()
    yield Finding("GPU", OK, "; ".join(gpus) or "none: everything runs on the CPU, pictures come from a pod or the embedded server")
    profile = environment.find_profile()
    folder = environment.folder_of(profile)
    if environment.is_complete(folder):
        yield Finding("environment", OK, f"{profile.name}, current")
        yield from examine_packages(_probe(environment.python_of(folder)), profile.name)
    else:
        stale = f"an older one is there ({environment.unused()[0].name})" if environment.unused() else "not made yet"
        yield Finding("environment", MISSING, f"{profile.name}: {stale}", "python -m lifeos setup")
    if environment.unused():
        yield Finding("old environments", WARNING, f"{len(environment.unused())} unused", "python -m lifeos setup --clean")
    yield from examine_models(gpus)
    yield examine_comfyui(comfy_url)
    yield examine_disk()
    git = shutil.which("git")
    yield Finding("git", OK, git) if git else Finding("git", WARNING, "not found", "install git: freshness and the cycle's commit need it")


def examine_packages(probe: dict[str, Any], profile: str) -> Iterator[Finding]:
    """What the environment's own Python said: broken packages, and the onnxruntime provider that really ran."""
    for package, reason in probe["broken"].items():
        yield Finding(package, MISSING, reason, "remove .lifeos and run python -m lifeos setup")
    provider = probe["provider"]
    if provider is None:
        return
    if profile == "gpu" and provider != "CUDAExecutionProvider":
        offered = "CUDA is offered but does not start" if "CUDAExecutionProvider" in probe["providers"] else "the CPU build is installed"
        fix = "check the driver with nvidia-smi (CUDA 12 is needed); then remove .lifeos and run python -m lifeos setup"
        yield Finding("onnxruntime", WARNING, f"runs on {provider}: {offered}; scoring is about 50 times slower", fix)
    else:
        yield Finding("onnxruntime", OK, f"{probe['versions']['onnxruntime']} runs on {provider}")


def examine_models(gpus: list[str]) -> Iterator[Finding]:
    """Face models on this machine. dlib's own come with the environment, so nothing here is vital."""
    yunet = [folder / YUNET.path for folder in model_folders() if (folder / YUNET.path).is_file()]
    if yunet:
        yield Finding("face detector YuNet", OK, str(yunet[0]))
    else:
        yield Finding("face detector YuNet", WARNING, "not here: dlib's HOG finds fewer faces", "python -m lifeos setup")
    packs = sorted({pack.parent.name for root in model_folders() for pack in root.glob("**/*det*.onnx") if pack.parent != root})
    if packs:
        yield Finding("InsightFace packs", OK, ", ".join(packs) + " (non-commercial research only)")
    else:
        status = WARNING if gpus else OK
        fix = "python -m lifeos setup --insightface (non-commercial research only)" if gpus else ""
        yield Finding("InsightFace packs", status, "none: faces are scored by dlib, which anyone may use", fix)


def examine_comfyui(url: str) -> Finding:
    """Whether a ComfyUI answers. None is fine: the embedded server and `--images` need none."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/system_stats", timeout=TIMEOUT_SECONDS) as reply:
            system = json.load(reply)["system"]
        return Finding("ComfyUI", OK, f"{system.get('comfyui_version', 'version unknown')} at {url}")
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or error
        fix = "start it, or give --comfy-url; without one use --comfy-url embedded or --images"
        return Finding("ComfyUI", WARNING, f"no answer at {url}: {reason}", fix)


def examine_disk() -> Finding:
    free = shutil.disk_usage(cli.PROJECT_ROOT).free / 1e9
    if free < LOW_DISK_GB:
        return Finding("disk", WARNING, f"{free:.1f} GB free", f"free some space: the environment and a batch need {LOW_DISK_GB} GB")
    return Finding("disk", OK, f"{free:.0f} GB free")


def _probe(python: Path) -> dict[str, Any]:
    done = subprocess.run([str(python), "-m", "lifeos.probe"], capture_output=True, text=True, cwd=cli.PROJECT_ROOT, check=False)
    try:
        document: dict[str, Any] = json.loads(done.stdout)
        return document
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["it gave no message"])[-1]
        return {"versions": {}, "broken": {"environment": reason}, "providers": [], "provider": None}


def render(findings: list[Finding]) -> str:
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.status]}  {finding.name:{width}}  {finding.found}")
        if finding.fix:
            lines.append(f"{'':7}  {'':{width}}  -> {finding.fix}")
    missing = sum(finding.status == MISSING for finding in findings)
    lines += ["", f"{missing} missing: see the arrows." if missing else "Ready: python -m lifeos demo"]
    return "\n".join(lines)


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, prog="python -m lifeos doctor")
    parser.add_argument("--comfy-url", default=COMFY_URL, metavar="URL", help="the ComfyUI to look for")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    findings = list(examine(args.comfy_url))
    if args.json:
        cli.print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        print(render(findings))
    return EXIT_GATE if any(finding.status == MISSING for finding in findings) else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
