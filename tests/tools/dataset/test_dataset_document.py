"""Trainers' own dataset files: each form names the same pictures, the manifest records them, and what cannot be read is one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lifeos import cli
from lifeos.errors import InputError
from tests.tools.dataset.sets import make_picture
from tools import dataset_manifest
from tools.dataset.dataset_document import read_dataset_document

CAPTIONS = {"a.png": "amiranoor, in a garden", "b.png": "amiranoor, at the sea"}

META_CAP = {
    "a": {"caption": "amiranoor", "tags": "in a garden"},
    "b.png": {"caption": "amiranoor, at the sea", "size": [64, 64]},
}
LINES = '{"image_path": "a.png", "caption": "amiranoor, in a garden"}\n\n{"file_name": "b.png", "text": "amiranoor, at the sea"}\n'
OF_PICTURES = {
    "musubi.jsonl": LINES,
    "meta_cap.json": json.dumps(META_CAP),
    "plain.json": json.dumps(CAPTIONS),
    "musubi.toml": '[[datasets]]\nimage_jsonl_file = "musubi.jsonl"\n',
    "fine_tuning.toml": '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "."\nmetadata_file = "meta_cap.json"\nnum_repeats = 1\n',
    "ai_toolkit.yaml": "job: extension\nconfig:\n  process:\n    - datasets:\n        - dataset_path: plain.json\n",
}
SD_SCRIPTS = '[general]\ncaption_extension = ".txt"\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{0}/in"\nnum_repeats = 3\n'
OF_FOLDERS = {
    "sd.toml": SD_SCRIPTS,
    "musubi_folder.toml": '[general]\ncaption_extension = ".txt"\n[[datasets]]\nimage_directory = "{0}/in"\nnum_repeats = 3\n',
    "aitk.yaml": 'config: {process: [{datasets: [{folder_path: "{0}/in", caption_ext: txt, num_repeats: 3}]}]}\n',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures that documents name, and one that none does, with a caption of its own; the same in a folder with caption files."""
    root = tmp_path_factory.mktemp("set")
    for number, name in enumerate([*CAPTIONS, "c.png", "in/d.png", "in/deep/e.png"]):
        make_picture(root / name, seed=number, size=(64, 64))
    (root / "c.txt").write_text("somebody else")
    (root / "in" / "d.txt").write_text("amiranoor, in d")
    for name, text in (OF_PICTURES | OF_FOLDERS).items():
        (root / name).write_text(text.replace("{0}", root.as_posix()), encoding="utf-8")
    return root


@pytest.mark.parametrize("name", OF_PICTURES)
def test_forms_that_hold_captions(folder: Path, name: str) -> None:
    found = read_dataset_document(folder / name)
    assert (found.root, found.captions) == (folder, CAPTIONS)


@pytest.mark.parametrize("name", OF_FOLDERS)
def test_forms_that_name_folders(folder: Path, name: str) -> None:
    found = read_dataset_document(folder / name)
    assert (found.root, found.captions, dict(found.repeats)) == (folder / "in", None, {"": 3})
    assert (found.caption_extension, found.names("d.png"), found.names("deep/e.png")) == (".txt", True, False)
    assert read_dataset_document(folder / name, folder).folders[0].name == "in"


FAULTS: list[tuple[str, str, str]] = [
    ("a.jsonl", '{"image_path": "no.png", "caption": "x"}', "a.jsonl:1: names no.png, which is not in"),
    ("a.jsonl", '{"image_path": "a.png"}\n{"image_path": "a.png"}', "a.jsonl:2: names a.png twice"),
    ("a.jsonl", '{"image_path": "../x/a.png"}', "a.jsonl:1: names ../x/a.png"),
    ("a.jsonl", '{"caption": "x"}', "a.jsonl:1: names no picture (image_path, file_name, image, path)"),
    ("a.jsonl", '{"video_path": "a.mp4", "caption": "x"}', "a.jsonl:1: names video_path: videos and several pictures in one are not read"),
    ("a.jsonl", '{"image_path": "a.png", "caption": ["x"]}', "a.jsonl:1: its caption is no text"),
    ("a.jsonl", "image_path: a.png", "a.jsonl:1: "),
    ("a.json", "[1]", "a.json: "),
    ("a.json", "{}", "a.json: names no picture"),
    ("a.toml", "datasets = 3", "a.toml: datasets is no list of tables"),
    ("a.toml", "x = ", "a.toml: is no TOML"),
    (
        "a.toml",
        '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "nowhere"',
        "[1].subsets[1]: names the folder nowhere, which",
    ),
    (
        "a.toml",
        '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "."\nis_reg = true',
        "is regularisation, which is no part of the training set",
    ),
    ("a.toml", '[[datasets]]\nvideo_directory = "."', "a.toml:datasets[1]: video_directory: videos and control pictures are not read"),
    ("a.toml", '[[datasets]]\nimage_directory = "."\nnum_repeats = 0', "num_repeats 0 is no number of repeats"),
    ("a.yaml", "config: [", "a.yaml: is no YAML"),
    ("a.yaml", "a: 1", "a.yaml: names no folder of pictures"),
    ("a.csv", "a.png", "a.csv: .csv is no form of a dataset document"),
]


@pytest.mark.parametrize(("name", "text", "said"), FAULTS, ids=[f"{case[0]}-{number}" for number, case in enumerate(FAULTS)])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_dataset_document(tmp_path / name)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_manifest_is_of_what_the_document_names(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And its id that of a set with caption files of the same text."""
    output, lines = tmp_path / "manifest.json", tmp_path / "set" / "lines.jsonl"
    lines.parent.mkdir()
    for name, caption in CAPTIONS.items():
        (lines.parent / name).write_bytes((folder / name).read_bytes())
        (lines.parent / name).with_suffix(".txt").write_text(caption, encoding="utf-8")

    def run(*arguments: object) -> int:
        return cli.run(lambda: dataset_manifest.main([str(item) for item in ("--no-near-duplicates", *arguments)]))

    assert run("--dataset-dir", lines.parent, "--output", output) == 0
    of_files = json.loads(output.read_text(encoding="utf-8"))
    (lines.parent / "c.png").write_bytes((folder / "c.png").read_bytes())
    (lines.parent / "a.txt").write_text("another caption beside it")
    lines.write_text(LINES, encoding="utf-8")
    assert run("--jsonl", lines, "--output", output) == 0
    assert "a picture that the dataset document does not name is not trained on: c.png" in capsys.readouterr().out.replace("\n", " ")
    document = json.loads(output.read_text(encoding="utf-8"))
    assert [image["caption_text"] for image in document["images"]] == list(CAPTIONS.values())
    assert {image["caption_file"] for image in document["images"]} == {None}
    assert document["dataset_id"] == of_files["dataset_id"]
    assert document["dataset_document"]["sha256"] == hashlib.sha256(lines.read_bytes()).hexdigest()
    assert cli.run(lambda: dataset_manifest.main(["--verify", str(output)])) == 0
    lines.write_text(LINES.replace("at the sea", "at the lake"), encoding="utf-8")
    capsys.readouterr()
    assert cli.run(lambda: dataset_manifest.main(["--verify", str(output)])) == 1
    assert "changed: lines.jsonl: b.png" in capsys.readouterr().out


def test_a_caption_is_too_long_for_the_family_that_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_picture(tmp_path / "a.png", seed=1, size=(64, 64))
    (tmp_path / "a.txt").write_text("amiranoor " + "word " * 200)

    def said(family: str) -> str:
        cli.run(lambda: dataset_manifest.main(["--dataset-dir", str(tmp_path), "--family", family, "--no-near-duplicates"]))
        return capsys.readouterr().out

    assert "over about 75 tokens: the trainer cuts the rest off, shorten it or give --max-token-length" in said("sdxl")
    assert "tokens" not in said("qwen-image")
    (tmp_path / "a.txt").write_text("amiranoor " + "word " * 300)
    assert "over about 256 tokens: the trainer cuts the rest off, shorten it:" in said("sd35")
