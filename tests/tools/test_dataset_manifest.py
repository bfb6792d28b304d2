"""tools/dataset_manifest.py: the specification's manifest, an id that depends on content alone, and faults that end in one line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifeos import cli, files
from tests.capabilities import POSIX
from tests.examples import EXAMPLES
from tests.fuzzing import foreign_bytes
from tests.tools.dataset.sets import make_picture, make_set
from tools import dataset_manifest
from tools.dataset.build import BuildRequest, build_dataset_manifest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


def run(*args: object) -> int:
    return cli.run(lambda: dataset_manifest.main([str(arg) for arg in args]))


def build(folder: Path, output: Path, *more: object, code: int = 0) -> dict[str, Any]:
    assert run("--dataset-dir", folder, "--output", output, *more) == code
    document: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return document


def test_the_specification_s_manifest_field_for_field(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 2)
    document = build(folder, tmp_path / "manifest.json", "--created", "2026-02-11T15:00:00Z")
    picture, text = (folder / "img_000.png").read_bytes(), b"amiranoor, a woman, view 0\n"
    assert list(document)[:7] == ["manifest_version", "created", "dataset_dir", "total_images", "total_captions", "images", "summary"]
    assert document["manifest_version"] == 1
    assert document["created"] == "2026-02-11T15:00:00Z"
    assert document["dataset_dir"] == folder.as_posix()
    assert (document["total_images"], document["total_captions"]) == (2, 2)
    assert document["images"][0] == {
        "filename": "img_000.png",
        "sha256": hashlib.sha256(picture).hexdigest(),
        "size_bytes": len(picture),
        "dimensions": [1024, 1024],
        "caption_file": "img_000.txt",
        "caption_text": "amiranoor, a woman, view 0",
        "caption_sha256": hashlib.sha256(text).hexdigest(),
    }
    sizes = [image["size_bytes"] for image in document["images"]]
    assert document["summary"] == {
        "unique_captions": 2,
        "caption_distribution": {"amiranoor, a woman, view 0": 1, "amiranoor, a woman, view 1": 1},
        "mean_image_size_bytes": round(sum(sizes) / 2),
        "resolution_set": ["1024x1024"],
    }
    assert document["warnings"] == []


def test_dataset_id_is_what_the_docstring_says(tmp_path: Path) -> None:
    """A literal of the definition: one JSON array a line, sorted, hashed."""
    folder = make_set(tmp_path / "set" / "10_amiranoor", 1).parent
    image = hashlib.sha256((folder / "10_amiranoor/img_000.png").read_bytes()).hexdigest()
    caption = hashlib.sha256(b"amiranoor, a woman, view 0\n").hexdigest()
    line = f'["train", "amiranoor/img_000.png", "{image}", "{caption}"]\n'
    assert build(folder, tmp_path / "m.json")["dataset_id"] == hashlib.sha256(line.encode()).hexdigest()


def elsewhere(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "another place" / "x"))


def touched(folder: Path, tmp_path: Path) -> Path:
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
    return folder


def made_in_another_order(folder: Path, tmp_path: Path) -> Path:
    for path in sorted(folder.rglob("*.*"), reverse=True):
        target = tmp_path / "reverse" / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return tmp_path / "reverse"


def with_other_repeats(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder / "10_amiranoor", tmp_path / "repeats" / "3_amiranoor")).parent


def with_decomposed_names(folder: Path, tmp_path: Path) -> Path:
    for path in folder.rglob("*.*"):
        target = tmp_path / "nfd" / unicodedata.normalize("NFD", path.relative_to(folder).as_posix())
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return tmp_path / "nfd"


def with_left_overs(folder: Path, tmp_path: Path) -> Path:
    for name in (".DS_Store", "Thumbs.db", "10_amiranoor/._img_000.png", "10_amiranoor/img_000.npz", "@eaDir/img_000.png", ".git/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0")
    return folder


@pytest.mark.parametrize("move", [elsewhere, touched, made_in_another_order, with_other_repeats, with_decomposed_names, with_left_overs])
def test_the_same_set_has_the_same_id(tmp_path: Path, move: Callable[[Path, Path], Path]) -> None:
    folder = make_set(tmp_path / "set" / "10_amiranoor").parent
    for suffix in (".png", ".txt"):
        (folder / f"10_amiranoor/img_002{suffix}").rename(folder / f"10_amiranoor/caf\u00e9{suffix}")
    first = build(folder, tmp_path / "a.json")["dataset_id"]
    assert build(move(folder, tmp_path), tmp_path / "b.json")["dataset_id"] == first


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: flip_a_byte(d / "img_001.png"),
        lambda d: flip_a_byte(d / "img_001.txt"),
        lambda d: (d / "img_001.png").rename(d / "img_009.png"),
        lambda d: (d / "img_001.txt").unlink(),
        lambda d: (d / "img_001.png").unlink(),
    ],
    ids=["picture byte", "caption byte", "name", "caption gone", "picture gone"],
)
def test_another_set_has_another_id(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = make_set(tmp_path / "set")
    first = build(folder, tmp_path / "a.json")["dataset_id"]
    change(folder)
    assert build(folder, tmp_path / "b.json")["dataset_id"] != first


def test_the_bytes_are_the_same_for_the_same_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output = make_set(tmp_path / "set"), tmp_path / "manifest.json"
    build(folder, output, "--created", "2026-01-01T00:00:00Z")
    first = output.read_bytes()
    build(folder, output)  # a year later by the clock: the file is left as it is
    assert output.read_bytes() == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")  # 2026-01-01T00:00:00Z
    build(folder, tmp_path / "other.json")
    assert (tmp_path / "other.json").read_bytes() == first


def test_the_output_inside_the_set_is_no_part_of_it(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    first = build(folder, folder / "manifest.json")
    again = build(folder, folder / "manifest.json", "--caption-extension", ".txt")
    assert again == first
    assert run("--verify", folder / "manifest.json") == 0
    odd = build(folder, folder / "odd.txt")  # named like a caption
    assert odd["warnings"] == []


def test_regularisation_is_part_of_the_id(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    regularisation = make_set(tmp_path / "reg" / "1_woman", 2, first_seed=70, word="woman").parent
    alone = build(folder, tmp_path / "a.json")["dataset_id"]
    both = build(folder, tmp_path / "b.json", "--reg-data-dir", regularisation)
    assert both["dataset_id"] != alone
    assert both["total_images"] == 3
    assert [image["filename"] for image in both["regularisation"]["images"]] == ["1_woman/img_000.png", "1_woman/img_001.png"]
    assert run("--verify", tmp_path / "b.json") == 0
    flip_a_byte(regularisation / "1_woman/img_000.png")
    assert run("--verify", tmp_path / "b.json") == 1


def test_verify_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_set(tmp_path / "set", 4)
    build(folder, tmp_path / "m.json")
    flip_a_byte(folder / "img_000.png")
    flip_a_byte(folder / "img_001.txt")
    (folder / "img_002.png").unlink()
    make_picture(folder / "new.png", seed=60)
    capsys.readouterr()
    assert run("--verify", tmp_path / "m.json", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["changed"] == ["img_000.png", "img_001.txt"]
    assert answer["missing"] == ["img_002.png"]
    assert answer["extra"] == ["new.png"]
    assert (answer["same"], answer["checked"]) == (False, 8)


def test_verify_at_another_place(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    build(folder, tmp_path / "m.json")
    moved = folder.rename(tmp_path / "moved")
    assert run("--verify", tmp_path / "m.json") == 2
    assert run("--verify", tmp_path / "m.json", "--dataset-dir", moved) == 0


def test_strict_is_a_gate(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    assert run("--dataset-dir", folder, "--strict") == 0
    (folder / "img_000.txt").write_text("no name")
    assert run("--dataset-dir", folder, "--strict") == 0
    assert run("--dataset-dir", folder, "--strict", "--trigger-word", "amiranoor") == 1
    assert run("--dataset-dir", folder, "--trigger-word", "amiranoor") == 0


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a small set."""
    folder = tmp_path_factory.mktemp("good")
    build(make_set(folder / "set"), folder / "m.json")
    return folder / "m.json"


STRANGE = ["a\nb", 'quo"te', "it's", "😀", "tab\there", "x" * 251, "sp ace ", "-rf", "&lt;b&gt;", "caf\u00e9", "back\\slash"]


@pytest.mark.usefixtures("names_of_any_bytes")
def test_names_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    for number, name in enumerate(STRANGE):
        make_picture(folder / "x.png", seed=number).rename(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"amiranoor, {number}")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes((folder / "-rf.png").read_bytes())
    document = build(folder, tmp_path / "m.json")
    assert {image["filename"] for image in document["images"]} == {f"{name}.png" for name in STRANGE} | {"\udcff\udcfe.png"}
    assert document["total_captions"] == len(STRANGE)
    assert run("--verify", tmp_path / "m.json") == 0
    (folder / "a\nb.png").unlink()
    capsys.readouterr()
    assert run("--verify", tmp_path / "m.json") == 1
    assert "missing: a\\nb.png" in capsys.readouterr().out.splitlines()


def edited(**change: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: {**document, **change}


def edited_image(**change: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: {**document, "images": [{**document["images"][0], **change}, *document["images"][1:]]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (edited(manifest_version=2), "is of manifest version 2"),
        (edited(images=None), "has no list of images"),
        (edited(images=["x"]), "images[0] is no mapping"),
        (edited(total_images=7), "total_images is not the 3"),
        (edited(dataset_id="0" * 64), "its dataset_id does not fit"),
        (edited_image(sha256="0" * 64), "its dataset_id does not fit"),
        (edited_image(sha256="short"), "images[0].sha256 is not a SHA-256"),
        (edited_image(filename="../secret.png"), "leaves the dataset folder"),
        (edited_image(filename="a/../../secret.png"), "leaves the dataset folder"),
        (edited_image(filename="/etc/passwd"), "leaves the dataset folder"),
        (edited_image(filename="C:\\x.png"), "leaves the dataset folder"),
        (edited_image(caption_file="../../x"), "leaves the dataset folder"),
        (edited_image(filename=3), "images[0] has no usable filename"),
        (edited(manifest_version=[1]), "is of manifest version that is no number"),
        (edited(manifest_version=10**400), "is of manifest version 10000000000000000000; this program reads version 1"),
        (edited(dataset_dir=""), "has no dataset_dir"),
        (edited(caption_extension=7), "has no usable caption_extension"),
        (edited(regularisation={"images": [], "dataset_dir": 7}), "has no dataset_dir"),
        (edited(regularisation=[]), "has no list of regularisation.images"),
        (edited_image(dimensions=["wide"]), "no usable dimensions"),
        (edited_image(filename="img_001.png"), "img_001.png is listed twice"),
        (lambda document: {}, "it has no manifest_version"),
        (lambda document: [], "it has no manifest_version"),
    ],
)
@pytest.mark.parametrize("verb", ["--verify", "--compare"])
def test_a_bad_manifest_is_one_line(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, change: Callable[[dict[str, Any]], Any], why: str
) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(change(json.loads(good.read_text(encoding="utf-8")))))
    assert run(verb, tmp_path / "bad.json", *([good] if verb == "--compare" else [])) == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [("9" * 5000, "it holds a number of thousands of digits"), ("[" * 100_000, "nested too deep")],
    ids=["5,000 digits", "deep"],
)
def test_a_file_beyond_all_measure_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    assert run("--verify", tmp_path / "bad.json") == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'bad.json'}: not usable JSON: {why}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A small set's manifest, with regularisation; `folder` is where it lies."""
    folder = tmp_path_factory.mktemp("made")
    request = BuildRequest(
        make_set(folder / "set" / "2_amiranoor", 2, size=(64, 64)).parent,
        make_set(folder / "reg" / "1_woman", 1, first_seed=70, size=(64, 64)).parent,
        use_cache=False,
    )
    return {"folder": folder, "document": build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=0).document}


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_manifest(made: dict[str, Any], data: st.DataObject) -> None:
    """With the id and, so that changes get past it, without."""
    folder, document = made["folder"], made["document"]
    without_id = {key: value for key, value in document.items() if key != "dataset_id"}
    (folder / "other.json").write_bytes(data.draw(foreign_bytes(document, without_id)))
    (folder / "good.json").write_text(json.dumps(document))
    places = ("--dataset-dir", folder / "set", "--reg-data-dir", folder / "reg")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert run("--verify", folder / "other.json", *places) in (0, 1, 2)
        assert run("--compare", folder / "good.json", folder / "other.json", "--comparison-output", folder / "said.json") in (0, 2)
        assert run("--compare", folder / "other.json", folder / "good.json", "--json") in (0, 2)


@pytest.mark.usefixtures("names_of_any_bytes")
def test_a_comparison_of_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 1)
    build(folder, tmp_path / "a.json")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes((folder / "img_000.png").read_bytes()[::-1])
    build(folder, tmp_path / "b.json", code=1)  # the stray picture is none
    for name in ("said.json", "said.txt"):
        assert run("--compare", tmp_path / "a.json", tmp_path / "b.json", "--comparison-output", tmp_path / name) == 0
    assert json.loads((tmp_path / "said.json").read_text())["images_added"] == ["\udcff.png"]
    assert "  \\xff.png" in (tmp_path / "said.txt").read_text().splitlines()


def test_a_truncated_manifest_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(make_set(tmp_path / "set"), tmp_path / "m.json")
    data = (tmp_path / "m.json").read_bytes()
    (tmp_path / "cut.json").write_bytes(data[: len(data) // 2])
    capsys.readouterr()
    assert run("--verify", tmp_path / "cut.json") == 2
    assert "not JSON" in capsys.readouterr().err


def test_a_manifest_as_specified_without_our_additions_is_read(tmp_path: Path) -> None:
    document = build(make_set(tmp_path / "set"), tmp_path / "m.json")
    plain = {key: document[key] for key in list(document)[:7]}
    (tmp_path / "plain.json").write_text(json.dumps(plain))
    assert run("--verify", tmp_path / "plain.json") == 0
    (tmp_path / "null.json").write_text(json.dumps(plain | {"regularisation": None}))
    assert run("--compare", tmp_path / "null.json", tmp_path / "plain.json") == 0
    assert run("--compare", tmp_path / "plain.json", tmp_path / "m.json") == 0


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    assert build(tmp_path / "set", tmp_path / "m.json", code=1)["total_images"] == 0
    assert run("--dataset-dir", tmp_path / "set", "--strict") == 1
    assert "there is no picture in the dataset" in capsys.readouterr().out


def test_a_full_disk_leaves_the_old_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = make_set(tmp_path / "set"), tmp_path / "out" / "m.json"
    build(folder, output)
    old = output.read_bytes()
    make_picture(folder / "more.png", seed=8)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(output))

    monkeypatch.setattr(files.os, "fsync", full)
    assert run("--dataset-dir", folder, "--output", output, "--no-cache") == 3
    assert "No space left on device" in capsys.readouterr().err
    assert output.read_bytes() == old
    assert [path.name for path in output.parent.iterdir()] == ["m.json"]


def test_a_file_that_vanishes_or_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools.dataset import build as building

    folder = make_set(tmp_path / "set")
    real = building.scan_dataset
    for act, why in (
        ((folder / "img_001.png").unlink, "vanished"),
        (lambda: make_picture(folder / "img_002.png", seed=99), "changed while"),
    ):

        def scan(*args: Any, act: Callable[[], object] = act, **named: Any) -> Any:
            yield from real(*args, **named)
            act()

        monkeypatch.setattr(building, "scan_dataset", scan)
        assert run("--dataset-dir", folder, "--output", tmp_path / "m.json") == 2
        assert why in capsys.readouterr().err
        assert not (tmp_path / "m.json").exists()


@pytest.mark.skipif(not POSIX or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_set(tmp_path / "set")
    (folder / "img_001.png").chmod(0)
    assert run("--dataset-dir", folder) == 2
    assert "img_001.png: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--verify", "a", "--compare", "a", "b"),
        ("--dataset-dir", "nowhere"),
        ("--verify", "nowhere.json"),
        ("--contact-sheet", "x.png"),
    ],
)
def test_bad_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*args) == 2


def test_whether_it_is_fit_to_train_is_one_line_and_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_set(tmp_path / "set", 2)
    assert run("--dataset-dir", folder, "--trigger-word", "amiranoor") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "fit to train: 2 pictures"
    (folder / "img_000.txt").write_bytes(b"a woman")
    assert run("--dataset-dir", folder, "--trigger-word", "amiranoor") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "fit to train: 2 pictures, 1 warning (trigger_word_missing)"
    assert run("--dataset-dir", folder, "--trigger-word", "amiranoor", "--strict") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "not fit to train: 1 to mend (trigger_word_missing)"
    (folder / "img_001.txt").write_bytes(b"")
    assert run("--dataset-dir", folder, "--output", tmp_path / "m.json", "--json") == 1
    told = capsys.readouterr()
    assert "not fit to train: 1 to mend (caption_empty)" in told.err
    assert json.loads(told.out)["fit_to_train"] is False
    assert (tmp_path / "m.json").exists()


def test_repeats_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_set(tmp_path / "img" / "10_amiranoor woman", 2)
    make_set(tmp_path / "img" / "more", 1, first_seed=20, word="amiranoor again")
    assert run("--dataset-dir", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "repeats: img/10_amiranoor woman 2 x 10, img/more 1 x 1; an epoch shows 21 pictures" in shown


BARE = """
import sys, importlib.abc
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"PIL", "numpy", "cv2", "tqdm", "matplotlib", "requests", "msgspec"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Wall())
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_building_and_verifying_need_pyyaml_alone(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 1)
    script = str(ROOT / "tools" / "dataset_manifest.py")
    for args in (["--dataset-dir", str(folder), "--output", "m.json"], ["--verify", "m.json", "--json"]):
        done = subprocess.run([sys.executable, "-c", BARE, script, *args], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert json.loads(done.stdout)["same"] is True
