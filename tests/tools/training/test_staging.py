"""The stage: a proven copy of the pictures, and nothing removed that we did not make."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from lifeos.errors import InputError, UnavailableError
from lifeos.policy.defaults import DEFAULTS
from tests.tools.dataset.sets import make_set
from tools.dataset.build import BuildRequest, build_dataset_manifest
from tools.families.families import SDXL
from tools.trainers.trainer import Subset, find_row
from tools.training.disk_room import check_room
from tools.training.staging import MARKER, StagedFile, StagePlan, make_stage, plan_stage, remove_stage
from tools.training.training_choices import settings_from
from tools.training.training_flags import build_training_parser

PICTURES = {"1.png": b"first picture", "2.png": b"second picture"}


@pytest.fixture
def plan(tmp_path: Path) -> StagePlan:
    """Two pictures to be staged, with the hashes of what lies there now."""
    stage, source = tmp_path / "out" / "stage", tmp_path / "set"
    source.mkdir()
    files = []
    for name, data in PICTURES.items():
        (source / name).write_bytes(data)
        files.append(StagedFile(source / name, stage / "2_her" / name, hashlib.sha256(data).hexdigest(), len(data)))
    return StagePlan(stage, tuple(files), (Subset(stage / "2_her", 2, "her", False, 2),))


def test_the_copies_are_what_was_planned(plan: StagePlan) -> None:
    make_stage(plan)
    assert {path.name: path.read_bytes() for path in (plan.stage / "2_her").iterdir()} == PICTURES
    remove_stage(plan.stage)
    assert not plan.stage.exists()


@pytest.mark.parametrize("change", ["other bytes", "a longer file", "gone"])
def test_a_picture_that_changed_since_the_manifest_is_refused(plan: StagePlan, change: str) -> None:
    source = plan.files[1].source
    if change == "gone":
        source.unlink()
    else:
        source.write_bytes(b"Second picture" if change == "other bytes" else PICTURES["2.png"] + b"!")
    with pytest.raises(InputError) as caught:
        make_stage(plan)
    assert str(caught.value) == f"{source}: changed since the manifest was made (run the same command again)"


def test_a_stage_that_a_killed_run_left_is_made_anew(plan: StagePlan) -> None:
    make_stage(plan)
    (plan.stage / "2_her" / "old.png").write_bytes(b"of another run")
    make_stage(plan)
    assert sorted(path.name for path in (plan.stage / "2_her").iterdir()) == ["1.png", "2.png"]


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("kind", ["a folder", "a link to a folder", "a link to a stage of ours", "a link to nothing", "a file"])
def test_what_we_did_not_make_is_never_removed(plan: StagePlan, tmp_path: Path, kind: str) -> None:
    """A link is refused whatever it leads to: removing through it would empty a folder elsewhere."""
    theirs = tmp_path / "theirs"
    plan.stage.parent.mkdir()
    if kind == "a file":
        plan.stage.write_bytes(b"mine")
    elif kind == "a folder":
        plan.stage.mkdir()
        (plan.stage / "mine.png").write_bytes(b"mine")
    else:
        if kind != "a link to nothing":
            theirs.mkdir()
            (theirs / "mine.png").write_bytes(b"mine")
        if kind == "a link to a stage of ours":
            (theirs / MARKER).touch()
        plan.stage.symlink_to(theirs, target_is_directory=True)
    for use in (remove_stage, lambda stage: make_stage(plan)):
        with pytest.raises(InputError, match="is in the way, and was not made by this program"):
            use(plan.stage)
    assert plan.stage.is_symlink() == kind.startswith("a link")
    kept = {"a folder": plan.stage / "mine.png", "a file": plan.stage}.get(kind, theirs / "mine.png")
    assert kind == "a link to nothing" or kept.read_bytes() == b"mine"


def test_there_must_be_room_for_the_copies_and_for_what_the_policy_reserves(plan: StagePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(map(len, PICTURES.values()))  # 27 bytes
    usage = shutil.disk_usage(plan.stage.parent.parent)
    monkeypatch.setattr("tools.training.disk_room.shutil.disk_usage", lambda folder: usage._replace(free=2_000_000_000 + size))
    check_room(plan, 2.0)
    monkeypatch.setattr("tools.training.disk_room.shutil.disk_usage", lambda folder: usage._replace(free=2_000_000_000 + size - 1))
    with pytest.raises(UnavailableError, match=r"2\.0 GB are free, 2\.0 GB are wanted for the staged pictures"):
        check_room(plan, 2.0)


def test_a_stage_that_was_killed_before_it_was_marked_or_while_it_was_removed_is_in_nobodys_way(tmp_path: Path) -> None:
    """Removing begins with another name: whatever goes first then, the marker too, no half stage bears the name of one."""
    stage = tmp_path / "staged_dataset"
    stage.mkdir()
    remove_stage(stage)
    for _ in range(2):
        (tmp_path / ".removing-staged_dataset").mkdir(exist_ok=True)
        (tmp_path / ".removing-staged_dataset" / "left.png").touch()
        stage.mkdir()
        (stage / MARKER).touch()
        remove_stage(stage)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "staged_dataset").mkdir()
    (tmp_path / "staged_dataset" / "mine.png").touch()
    with pytest.raises(InputError, match="is in the way, and was not made by this program"):
        remove_stage(stage)


def test_captions_of_a_document_are_written_as_files(tmp_path: Path) -> None:
    """And its repeats win over those of the folder's name."""
    pictures = make_set(tmp_path / "set" / "2_amiranoor woman", 2, size=(64, 64)).parent
    lines = pictures / "lines.jsonl"
    names = [f"2_amiranoor woman/img_{number:03d}.png" for number in range(2)]
    lines.write_text("".join(json.dumps({"image_path": name, "caption": f"amiranoor, {name[-5]}"}) + "\n" for name in names))
    (pictures / "set.toml").write_text('[[datasets]]\nimage_jsonl_file = "lines.jsonl"\nnum_repeats = 7\n')
    flags = ["--dataset-document", str(pictures / "set.toml"), "--output-dir", str(tmp_path / "out"), "--sd-scripts-dir", str(tmp_path)]
    args = build_training_parser(None, is_general=False).parse_args(flags)
    settings = settings_from(args, DEFAULTS, find_row(), SDXL, SDXL.trained_by[0], {})
    request = BuildRequest(dataset_dir=settings.train_data_dir, document=settings.dataset_document, use_cache=False)
    manifest = build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=0).document
    plan = plan_stage(settings, manifest)
    make_stage(plan)
    [subset] = plan.subsets
    assert subset.num_repeats == 7
    assert sorted(path.name for path in subset.image_dir.iterdir()) == ["img_000.png", "img_000.txt", "img_001.png", "img_001.txt"]
    assert (subset.image_dir / "img_001.txt").read_text(encoding="utf-8") == "amiranoor, 1"
