"""What lies beside the character's pictures is left out and named: masks, regularisation pictures, other captions, metadata files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from tests.tools.dataset.sets import make_picture, make_set
from tools import dataset_manifest
from tools.dataset.build import BuildRequest, BuiltManifest, build_dataset_manifest
from tools.dataset.layout import settle_layout
from tools.dataset.scan import ListedFile


def build(folder: Path, **more: Any) -> BuiltManifest:
    return build_dataset_manifest(BuildRequest(folder, use_cache=False, **more), created="2026-01-01T00:00:00Z", started_ns=time.time_ns())


def names(built: BuiltManifest) -> list[str]:
    return [record.name for record in built.records]


def kinds(*listed: str, extension: str = ".txt") -> dict[str, list[str]]:
    """Kind -> names, of files that lie nowhere."""
    found: dict[str, list[str]] = {}
    suffixes = {"png": "picture", "jpg": "picture", extension[1:]: "caption"}
    files = [ListedFile(suffixes.get(name.rpartition(".")[2], "text"), name) for name in listed]
    for file in settle_layout(files, extension):
        found.setdefault(file.kind, []).append(file.name)
    return found


MASKS = [
    (("a.png", "a-masklabel.png"), ["a-masklabel.png"]),
    (("a.jpg", "a_mask.png"), ["a_mask.png"]),
    (("a.png", "a.mask.png", "a-mask.png", "a_MASK.png"), ["a.mask.png", "a-mask.png", "a_MASK.png"]),
    (("10_amira/a.png", "masks/a.png"), ["masks/a.png"]),
    (("img/10_amira/a.png", "Masks/10_amira/a_mask.png"), ["Masks/10_amira/a_mask.png"]),
    (("a.png", "masks/a.jpg", "masks/stray.png"), ["masks/a.jpg"]),
    (("a.png", "mask_a.png", "mask_ball.png"), ["mask_a.png"]),
    (("lost-masklabel.png", "a.png"), ["lost-masklabel.png"]),
    (("carnival_mask.png", "a.png"), []),  # she wears one
    (("masks/party.png", "masks/ball.png"), []),  # a folder of pictures of her in masks
    (("a.png", "unmasked.png", "a_masked_ball.png"), []),
    (("x/a.png", "y/a_mask.png"), []),
]


@pytest.mark.parametrize(("listed", "masks"), MASKS, ids=[" ".join(case[0]) for case in MASKS])
def test_masks(listed: tuple[str, ...], masks: list[str]) -> None:
    found = kinds(*listed)
    assert found.get("mask", []) == masks
    assert found.get("picture", []) == [name for name in listed if name not in masks]


def test_a_mask_s_caption_is_no_orphan() -> None:
    found = kinds("a.png", "a.txt", "a_mask.png", "a_mask.txt", "lost.txt")
    assert (found["caption"], found["aside_caption"]) == (["a.txt", "lost.txt"], ["a_mask.txt"])


LAYOUTS = [
    (
        ("img/10_amira woman/a.png", "reg/1_woman/b.png", "log/c.png", "model/sample/d.png"),
        ["reg/1_woman/b.png"],
        ["log/c.png", "model/sample/d.png"],
    ),
    (("a.png", "Regularisation/b.png"), ["Regularisation/b.png"], []),
    (("10_amira/a.png", "reg_images/5_woman/b.png"), ["reg_images/5_woman/b.png"], []),
    (("10_reg/a.png", "5_amira/b.png"), [], []),  # a character of that name
    (("reg/1_woman/a.png",), [], []),  # nothing else is there: it is what was asked for
    (("model/a.png", "studio/b.png"), [], []),  # not kohya's layout
]


@pytest.mark.parametrize(("listed", "inside", "outputs"), LAYOUTS, ids=[case[0][0] for case in LAYOUTS])
def test_kohya_s_folders(listed: tuple[str, ...], inside: list[str], outputs: list[str]) -> None:
    found = kinds(*listed)
    assert (found.get("regularisation", []), found.get("trainer_output", [])) == (inside, outputs)


def test_regularisation_inside_is_not_counted_and_can_be_named(tmp_path: Path) -> None:
    make_set(tmp_path / "img" / "10_amira woman", 2)
    make_set(tmp_path / "reg" / "1_woman", 3, first_seed=50, word="woman")
    built = build(tmp_path)
    assert names(built) == ["img/10_amira woman/img_000.png", "img/10_amira woman/img_001.png"]
    assert built.document["folders"][0]["repeats"] == 10
    (finding,) = [notice for notice in built.notices if notice.rule == "regularisation_inside"]
    assert finding.text == (
        "regularisation pictures lie in the training folder, they are not counted as training pictures: reg/1_woman (3)"
        " (to train with them give --reg-data-dir the folder reg in it)"
    )
    named = build(tmp_path, regularisation_dir=tmp_path / "reg")
    assert [notice.rule for notice in named.notices] == []
    assert named.document["regularisation"]["total_images"] == 3
    assert len(named.document["images"]) == 2


@pytest.mark.parametrize(
    ("extension", "written", "level", "fix"),
    [
        (".txt", ".caption", "error", "give --caption-extension .caption to use them, or rename them to end in .txt"),
        (".txt", ".TXT", "error", "rename them to end in .txt: the trainer tells capital letters apart"),
        (".caption", ".txt", "error", "give --caption-extension .txt to use them, or rename them to end in .caption"),
        (".txt", ".json", "error", "write each caption into a text file of the picture's name that ends in .txt"),
    ],
)
def test_captions_under_another_ending(tmp_path: Path, extension: str, written: str, level: str, fix: str) -> None:
    for path in list(make_set(tmp_path, 3).glob("*.txt")):
        path.rename(path.with_suffix(written))
    found = {notice.rule: notice for notice in build(tmp_path, caption_extension=extension).notices}
    finding = found["other_caption_extension"]
    assert (finding.severity, finding.fix, len(finding.files)) == (level, fix, 3)
    if written != ".json":
        assert [notice.rule for notice in build(tmp_path, caption_extension=written).notices] == []


def test_a_few_captions_under_another_ending_are_a_warning(tmp_path: Path) -> None:
    make_set(tmp_path, 3)
    (tmp_path / "img_000.txt").rename(tmp_path / "img_000.cap")
    found = {notice.rule: notice for notice in build(tmp_path).notices}
    assert (found["other_caption_extension"].severity, found["other_caption_extension"].files) == ("warning", ("img_000.cap",))


METADATA = {
    "meta_cap.json": json.dumps({"img_000": {"caption": "amiranoor"}, "img_001": {"tags": "a"}}),
    "meta_lat.json": json.dumps({"/data/set/img_000": {"train_resolution": [1, 1]}}),
    "metadata.jsonl": '{"file_name": "img_001.png", "text": "amiranoor"}\n',
    "captions.csv": "file,caption\nimg_000.png,amiranoor\n",
    "bom.json": "\ufeff" + json.dumps({"C:\\set\\img_000.png": "x"}),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_files_are_named(tmp_path: Path, name: str) -> None:
    make_set(tmp_path, 2)
    (tmp_path / name).write_text(METADATA[name], encoding="utf-8")
    found = {notice.rule: notice for notice in build(tmp_path).notices}
    assert (found["metadata_file"].severity, found["metadata_file"].files) == ("warning", (name,))
    for path in tmp_path.glob("*.txt"):
        path.unlink()
    found = {notice.rule: notice for notice in build(tmp_path).notices}
    assert found["metadata_file"].severity == "error"  # the set would be trained without any caption


@pytest.mark.parametrize(
    ("name", "text"),
    [("config.json", '{"lora": "img_0000", "rank": 5}'), ("notes.jsonl", "{}\n"), ("numbers.csv", "1,2,3\n"), ("broken.json", '{"img_0')],
)
def test_other_texts_are_none_of_our_business(tmp_path: Path, name: str, text: str) -> None:
    make_set(tmp_path, 2)
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert build(tmp_path).notices == []


def test_a_manifest_of_ours_inside_is_no_metadata_file(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 2)
    arguments = ["--dataset-dir", str(folder), "--no-cache"]
    assert cli.run(lambda: dataset_manifest.main([*arguments, "--output", str(folder / "manifest.json")])) == 0
    assert build(folder).notices == []


def test_a_manifest_of_version_3_0_that_listed_masks_still_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_set(tmp_path / "set", 1)
    old = build(folder, output=None).document
    mask = make_picture(folder / "img_000_mask.png", mode="L")
    import hashlib

    entry = {**old["images"][0], "filename": mask.name, "sha256": hashlib.sha256(mask.read_bytes()).hexdigest()}
    old |= {"images": [*old["images"], {**entry, "caption_file": None, "caption_sha256": None}], "total_images": 2}
    del old["dataset_id"]
    (tmp_path / "m.json").write_text(json.dumps(old), encoding="utf-8")
    assert cli.run(lambda: dataset_manifest.main(["--verify", str(tmp_path / "m.json")])) == 0
    new = tmp_path / "n.json"
    assert cli.run(lambda: dataset_manifest.main(["--dataset-dir", str(folder), "--output", str(new), "--no-cache"])) == 0
    assert json.loads(new.read_text(encoding="utf-8"))["total_images"] == 1
    assert cli.run(lambda: dataset_manifest.main(["--verify", str(new)])) == 0
    capsys.readouterr()


def test_the_case_whose_captions_end_in_caption(cases_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cases_root / "datasets" / "captions_dot_caption"
    arguments = ["--dataset-dir", str(folder), "--no-cache"]
    assert cli.run(lambda: dataset_manifest.main(arguments)) == 1
    shown = capsys.readouterr().out
    assert "2 captions end in .caption" in shown and "give --caption-extension .caption" in shown
    assert "not fit to train" in shown.splitlines()[-1]
    assert cli.run(lambda: dataset_manifest.main([*arguments, "--caption-extension", ".caption"])) == 0


def test_captions_of_regularisation_pictures_are_judged_more_mildly(tmp_path: Path) -> None:
    """They may have none, a thousand alike, and say what they like of hair and eyes."""
    folder = make_set(tmp_path / "set", 2)
    for index in range(6):
        make_picture(tmp_path / "reg" / f"{index}.png", seed=60 + index, size=(1024, 1024))
        (tmp_path / "reg" / f"{index}.caption").write_text("a woman with brown hair")
    assert build(folder, regularisation_dir=tmp_path / "reg").notices == []
    for path in (tmp_path / "reg").glob("*.caption"):
        path.rename(path.with_suffix(".txt"))
    assert build(folder, regularisation_dir=tmp_path / "reg").notices == []
    (tmp_path / "reg" / "0.txt").write_bytes(b"")
    (folder / "more.gif").write_bytes(b"GIF89a")
    found = build(folder, regularisation_dir=tmp_path / "reg").notices
    assert [(notice.rule, notice.severity) for notice in found] == [("caption_empty", "error"), ("other_format", "warning")]
