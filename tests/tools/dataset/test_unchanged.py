"""A repeated command is answered from the last one only where everything that it rests on is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools.dataset.sets import make_set, picture_bytes
from tools.dataset import unchanged

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tools" / "dataset_manifest.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set that is an hour old; the user's cache folder is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    made = make_set(tmp_path / "set" / "10_amiranoor").parent
    age(made)
    return made


def age(folder: Path) -> None:
    for path in folder.rglob("*.*"):
        os.utime(path, (1, 1))


def command(*more: str) -> list[str]:
    return ["--dataset-dir", "set", "--output", "manifest.json", *more]


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *argv], capture_output=True, text=True, check=False)


def test_the_answer_is_what_the_command_said(folder: Path) -> None:
    first = run(command())
    assert unchanged.recall(command()) == (0, first.stdout.encode())
    before = (folder.parent / "manifest.json").stat()
    second = run(command())
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    after = (folder.parent / "manifest.json").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_a_gate_that_failed_fails_again(folder: Path) -> None:
    (folder / "10_amiranoor" / "img_000.txt").write_bytes(b"")
    age(folder)
    assert run(command("--strict")).returncode == 1
    found = unchanged.recall(command("--strict"))
    assert found is not None
    assert found[0] == 1
    assert run(command("--strict")).returncode == 1


def test_a_repeated_command_imports_nothing_of_ours_but_the_question(folder: Path) -> None:
    """The whole gain: neither the parser nor YAML nor the tables are loaded."""
    run(command())
    done = subprocess.run([sys.executable, "-X", "importtime", str(SCRIPT), *command()], capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tools.dataset.unchanged" in loaded
    assert not loaded & {"argparse", "yaml", "sqlite3", "dataclasses", "lifeos.cli", "tools.dataset.build"}


def test_the_reader_may_leave(folder: Path) -> None:
    run(command())
    with subprocess.Popen([sys.executable, str(SCRIPT), *command()], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_working_folder_that_is_gone_has_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = folder.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert unchanged.recall(command()) is None


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def swap(folder: Path) -> None:
    """Another file of the same name, size and time: its inode tells."""
    path = folder / "10_amiranoor" / "img_001.txt"
    other = folder.parent / "other"
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, (1, 1))
    other.replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a new time": lambda folder: os.utime(folder / "10_amiranoor" / "img_000.png"),
    "another file of equal size and time": swap,
    "a file gone": lambda folder: (folder / "10_amiranoor" / "img_002.txt").unlink(),
    "a file more": lambda folder: (folder / "10_amiranoor" / "img_009.png").write_bytes(picture_bytes(seed=50)),
    "a left-over more": lambda folder: (folder / "Thumbs.db").write_bytes(b"x"),
    "a name": lambda folder: (folder / "10_amiranoor" / "img_002.png").rename(folder / "10_amiranoor" / "img_003.png"),
    "repeats": lambda folder: (folder / "10_amiranoor").rename(folder / "5_amiranoor"),
    "the manifest edited": lambda folder: flip(folder.parent / "manifest.json"),
    "the manifest gone": lambda folder: (folder.parent / "manifest.json").unlink(),
    "the folder gone": lambda folder: folder.rename(folder.parent / "elsewhere"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_any_change_is_seen(folder: Path, change: Callable[[Path], object]) -> None:
    run(command())
    assert unchanged.recall(command()) is not None
    change(folder)
    assert unchanged.recall(command()) is None


def test_the_policy_and_the_program_are_part_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = folder.parent / "project" / "evals" / "thresholds.yaml"
    policy.parent.mkdir(parents=True)
    policy.write_text("dataset:\n  clip_tokens: 75\n")
    argv = command("--project-root", "project")
    run(argv)
    assert unchanged.recall(argv) is not None
    with monkeypatch.context() as patch:
        patch.setattr(unchanged, "OUR_FOLDERS", ("lifeos",))  # as if files of the program were others
        assert unchanged.recall(argv) is None
    policy.write_text("dataset:\n  clip_tokens: 5\n")
    assert unchanged.recall(argv) is None
    assert "over about 5 tokens" in run(argv).stdout


@pytest.mark.parametrize("other", [["--strict"], ["--decode"], ["--trigger-word", "amiranoor"], ["--no-cache"]])
def test_another_command_is_another_question(folder: Path, other: list[str]) -> None:
    run(command())
    assert unchanged.recall(command(*other)) is None


def test_another_working_folder_is_another_question(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(command())
    monkeypatch.chdir(folder)
    assert unchanged.recall(command()) is None


@pytest.mark.parametrize("argv", [["--no-cache"], ["--json"]])
def test_what_is_not_remembered(folder: Path, argv: list[str]) -> None:
    run(command(*argv))
    assert unchanged.recall(command(*argv)) is None


def test_a_young_file_is_not_trusted(folder: Path) -> None:
    """Written again within a tick of the clock it would look the same."""
    now = time.time()
    os.utime(folder / "10_amiranoor" / "img_000.txt", (now, now))
    run(command())
    assert unchanged.recall(command()) is None


def test_a_link_is_not_trusted(folder: Path) -> None:
    """What it leads to can change without the link changing."""
    (folder / "10_amiranoor" / "twin.png").symlink_to(folder / "10_amiranoor" / "img_000.png")
    os.utime(folder / "10_amiranoor" / "twin.png", (1, 1), follow_symlinks=False)
    run(command())
    assert unchanged.recall(command()) is None


def test_the_output_inside_the_set_is_no_change_of_it(folder: Path) -> None:
    argv = ["--dataset-dir", "set", "--output", "set/manifest.json"]
    run(argv)
    assert unchanged.recall(argv) is not None


def test_it_lies_beside_the_cache_that_was_named(folder: Path) -> None:
    for argv in (command("--cache-file", "kept"), command("--cache-file=kept")):
        run(argv)
        assert (folder.parent / "kept.answer").is_file()
        assert unchanged.recall(argv) is not None
    assert unchanged.recall(command("--cache-file", "kept")) is None  # the last command's alone


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-3], lambda data: b"", lambda data: data.replace(b"set", b"tes"), lambda data: b"\n" * 99]
)
def test_a_damaged_answer_is_none(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    argv = command("--cache-file", "kept")
    run(argv)
    path = folder.parent / "kept.answer"
    path.write_bytes(spoil(path.read_bytes()))
    assert unchanged.recall(argv) is None
    assert run(argv).returncode == 0


def test_an_answer_that_cannot_be_kept_is_done_without(folder: Path) -> None:
    (folder.parent / "kept.answer").mkdir()
    done = run(command("--cache-file", "kept"))
    assert (done.returncode, done.stderr) == (0, "")


def test_regularisation_pictures_are_part_of_it(folder: Path) -> None:
    more = make_set(folder.parent / "reg" / "1_woman", 1, first_seed=70, word="woman").parent
    age(more)
    argv = command("--reg-data-dir", "reg")
    run(argv)
    assert unchanged.recall(argv) is not None
    os.utime(more / "1_woman" / "img_000.txt", (2, 2))
    assert unchanged.recall(argv) is None
