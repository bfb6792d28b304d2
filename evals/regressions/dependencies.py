"""The dependency chain: every pin exact, every lock with hashes, no two files of two minds, one onnxruntime at a time.

`onnxruntime` and `onnxruntime-gpu` install one import package over each other, and insightface asks for the first: a lock with
both leaves whichever came last, and scoring on the pod silently runs on the CPU. The same holds for the two OpenCV builds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from evals.regressions.regression import Project, regression
from lifeos.findings import Finding
from lifeos.guardrails.checkout import Document

RULE = "dependency_chain_test"
BASE, GPU = "requirements.txt", "requirements-gpu.txt"
NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*")
EXACT = re.compile(r"==\s*([0-9][\w.+!-]*)$")
PINNED_ELSEWHERE = re.compile(r"([A-Za-z][\w.-]*)==([0-9][\w.+]*)")
PINNING_FILES = (".pre-commit-config.yaml", ".github/workflows/guardrails.yml")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of one file. `version` is "" unless it is pinned exactly; `name` is normalised (PEP 503)."""

    path: str
    line: int
    name: str
    version: str
    wanted: str
    hashes: tuple[str, ...]

    @property
    def public_version(self) -> str:
        """Without the local part: `1.26.0+gpu` is one of our metadata-only wheels for 1.26.0 (PEP 440)."""
        return self.version.partition("+")[0]


def parse_requirements(document: Document) -> Iterator[Requirement]:
    """The requirements of a pip file; options, comments and includes left out."""
    text, start = "", 0
    for number, raw in enumerate([*document.lines, ""], 1):
        line = re.sub(r"(?:^|\s)#.*", "", raw).rstrip() if "#" in raw else raw.rstrip()
        start = start if text else number
        text += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        match = NAME.match(text.strip())
        if match:
            wanted = text.strip()[match.end() :].partition(" --hash")[0].partition(";")[0].strip()
            exact = EXACT.match(wanted)
            name = re.sub(r"[-_.]+", "-", match.group(1)).lower()
            hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", text))
            yield Requirement(document.path, start, name, exact.group(1) if exact else "", wanted or "any version", hashes)
        text = ""


@regression
def dependency_chain_test(project: Project) -> Iterator[Finding]:
    """Pins are exact, locks have hashes, files agree, and each profile installs one onnxruntime and one OpenCV."""
    checkout = project.checkout
    names = [path for path in checkout.files if re.fullmatch(r"requirements[\w-]*\.(?:in|txt)", path)]
    read = {path: list(parse_requirements(checkout.document(path))) for path in names}
    for path in (BASE, GPU):
        if not read.get(path):
            yield Finding(RULE, checkout.document(path).problem or "pins nothing", "restore it", path=path)
    for path, requirements in read.items():
        yield from _check_exact(requirements, locked=path.endswith(".txt"))
    for path in names:
        if path.endswith(".in"):
            yield from _check_locked(read[path], read.get(f"{path.removesuffix('.in')}.txt", []))
    yield from _check_agreement(read)
    yield from _check_pair(read.get(BASE, []), read.get(GPU, []))
    yield from _check_wheels(project, [item for requirements in read.values() for item in requirements])
    yield from _check_other_files(project, read.get(BASE, []))
    if project.strict_runtime_deps:
        yield from _check_installed(read.get(BASE, []), read.get(GPU, []), read.get("requirements.in", []))


def _check_exact(requirements: list[Requirement], *, locked: bool) -> Iterator[Finding]:
    for item in requirements:
        if not item.version:
            message = f"{item.name} is not pinned: {item.wanted}"
            yield Finding(RULE, message, f"write {item.name}==VERSION, as tested", path=item.path, line=item.line)
        elif locked and not item.hashes:
            yield Finding(
                RULE, f"{item.name}=={item.version} has no hash", "compile the lock with --generate-hashes", path=item.path, line=item.line
            )


def _check_locked(wanted: list[Requirement], lock: list[Requirement]) -> Iterator[Finding]:
    locked = _by_name(lock)
    for item in wanted:
        others = locked.get(item.name, [])
        if not others:
            yield Finding(RULE, f"{item.name} is not in the lock", "compile the lock again", path=item.path, line=item.line)
        elif item.version and all(other.version != item.version for other in others if other.version):
            yield from _disagree(item, others[0], "compile the lock again")


def _check_agreement(files: dict[str, list[Requirement]]) -> Iterator[Finding]:
    """Across the locks, where a package may stand once for each Python or platform: one of its versions must be the same."""
    first: dict[str, list[Requirement]] = {}
    for path in sorted(path for path in files if path.endswith(".txt")):
        for name, items in _by_name(files[path]).items():
            others = first.setdefault(name, items)
            here = {item.public_version for item in items if item.version}
            there = {item.public_version for item in others if item.version}
            if here and there and not here & there:
                yield from _disagree(items[0], others[0], "one version for all profiles: compile both locks again")


def _disagree(item: Requirement, other: Requirement, fix: str) -> Iterator[Finding]:
    yield Finding(
        RULE, f"{item.name} is {item.version} here and {other.version} at {other.path}:{other.line}", fix, path=item.path, line=item.line
    )


def _by_name(requirements: list[Requirement]) -> dict[str, list[Requirement]]:
    grouped: dict[str, list[Requirement]] = {}
    for item in requirements:
        grouped.setdefault(item.name, []).append(item)
    return grouped


def _check_pair(base: list[Requirement], gpu: list[Requirement]) -> Iterator[Finding]:
    here, there = {item.name: item for item in base}, {item.name: item for item in gpu}
    twice = here.get("onnxruntime-gpu")
    if twice:
        yield Finding(
            RULE, "onnxruntime-gpu overwrites onnxruntime", "it belongs into requirements-gpu.in alone", path=BASE, line=twice.line
        )
    cpu, shim, real = here.get("onnxruntime"), there.get("onnxruntime"), there.get("onnxruntime-gpu")
    if base and cpu is None:
        yield Finding(RULE, "onnxruntime is missing: insightface cannot run", "add it to requirements.in", path=BASE)
    if gpu and real is None:
        yield Finding(
            RULE,
            "onnxruntime-gpu is missing: the pod would score on the CPU",
            "add onnxruntime==VERSION+gpu to requirements-gpu.in",
            path=GPU,
        )
    if shim and not shim.version.endswith("+gpu"):
        message = f"onnxruntime=={shim.version} overwrites onnxruntime-gpu: the CUDA provider vanishes"
        yield Finding(RULE, message, f"pin the metadata-only wheel: onnxruntime=={shim.public_version}+gpu", path=GPU, line=shim.line)
    for item in (shim, real):
        if cpu and item and item.version and cpu.version and item.public_version != cpu.version:
            message = f"{item.name} is {item.version}, onnxruntime is {cpu.version} at {BASE}:{cpu.line}"
            yield Finding(RULE, message, "the pair has one version", path=GPU, line=item.line)


def _check_wheels(project: Project, requirements: list[Requirement]) -> Iterator[Finding]:
    """Our metadata-only wheels are there, with the bytes that the locks pin."""
    wheels = {path.rpartition("/")[2].lower(): path for path in project.checkout.files if path.endswith(".whl")}
    for item in requirements:
        if "+" not in item.version or not item.path.endswith(".txt"):
            continue
        path = wheels.get(f"{item.name.replace('-', '_')}-{item.version}-py3-none-any.whl")
        if path is None or not (project.checkout.root / path).is_file():
            yield Finding(RULE, f"no wheel for {item.name}=={item.version}", "python wheels/make_shims.py", path=item.path, line=item.line)
        elif item.hashes and hashlib.sha256((project.checkout.root / path).read_bytes()).hexdigest() not in item.hashes:
            yield Finding(
                RULE, f"{path} is not the wheel that the lock pins", "python wheels/make_shims.py", path=item.path, line=item.line
            )


def _check_other_files(project: Project, base: list[Requirement]) -> Iterator[Finding]:
    locked = {item.name: item for item in base}
    for path in PINNING_FILES:
        for number, line in enumerate(project.checkout.document(path).lines, 1):
            for name, version in PINNED_ELSEWHERE.findall(line):
                item = locked.get(re.sub(r"[-_.]+", "-", name).lower())
                if item and item.version and item.version != version:
                    here = Requirement(path, number, name, version, f"=={version}", ())
                    yield from _disagree(here, item, "one version everywhere")


def _check_installed(base: list[Requirement], gpu: list[Requirement], direct: list[Requirement]) -> Iterator[Finding]:
    """The packages of this Python against the lock of its profile."""
    from importlib.metadata import distributions

    found = {re.sub(r"[-_.]+", "-", item.name or "").lower(): item.version for item in distributions()}
    on_gpu = "onnxruntime-gpu" in found
    lock = {item.name: item for item in (gpu if on_gpu else base)}
    for name in [item.name for item in direct] + (["onnxruntime-gpu"] if on_gpu else []):
        item = lock.get(name)
        if item is None or not item.version:
            continue
        if name not in found:
            yield Finding(RULE, f"{name}=={item.version} is not installed", "python -m lifeos setup", path=item.path, line=item.line)
        elif found[name] != item.version:
            message = f"{name} {found[name]} is installed, {item.version} is pinned"
            yield Finding(RULE, message, "python -m lifeos setup", path=item.path, line=item.line)
