"""Publishing a batch: what its copies carry and what they do not, that it goes on where it stopped, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from lifeos import cli, files, locks
from lifeos.errors import LockedError
from lifeos.images import decode_picture
from tests.capabilities import POSIX
from tests.lifeos.display_profiles import profile_of
from tests.tools.publishing.published_batches import (
    PROMPT,
    WORDS,
    encoded,
    make_batch,
    publish,
    published,
    rough_picture,
    settings,
    told_batch,
    told_png,
)
from tools import publish as script
from tools.publishing import publisher
from tools.publishing.carried_parts import carried_parts
from tools.publishing.label_check import check_labels
from tools.publishing.publishing_run import render_result
from tools.publishing.register import Register
from tools.publishing.watermark import read

pytestmark = pytest.mark.usefixtures("no_search")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch that was published as JPEG, once for the tests that only look."""
    batch = told_batch(tmp_path_factory.mktemp("done") / "batch")
    assert publish(batch).exit_code == 0
    return batch


def everything_in(data: bytes) -> bytes:
    """A file's bytes, and whatever in them unpacks with zlib, wherever it begins: no knowledge of formats that could miss a chunk."""
    found = [data]
    for match in re.finditer(rb"[\x08-\x78][\x01\x5e\x9c\xda]", data):
        try:
            unpacked = zlib.decompressobj().decompress(data[match.start() :], 1 << 20)
        except zlib.error:
            continue
        found.append(unpacked)
    return b"\n".join(found)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_copy_carries_three_labels_and_no_word_of_the_prompt(kind: str, tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    before = {path.name: path.read_bytes() for path in (batch / "approved").iterdir()}
    assert all(word.encode() in everything_in(data) for data in before.values() for word in WORDS), "the test can fail"
    result = publish(batch, format=kind, creator="Studio Amira", credit="made with LifeOS", ai_system="SDXL", ai_system_version="1.0")
    (path,) = published(batch)
    data = path.read_bytes()
    assert [word for word in WORDS if word.encode() in everything_in(data) or word.encode("utf-16-le") in data] == []
    report = check_labels(data, path)
    assert report.is_whole and [label.state for label in report.labels] == ["present"] * 3
    assert sorted(report.carries) == ["XMP", "content credentials (C2PA)"]
    assert dict(report.fields) == {
        "Iptc4xmpExt:DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        "dc:creator": "Studio Amira",
        "photoshop:Credit": "made with LifeOS",
        "Iptc4xmpExt:AISystemUsed": "SDXL",
        "Iptc4xmpExt:AISystemVersionUsed": "1.0",
    }
    (entry,) = Register(tmp_path / "register.jsonl").find(hashlib.sha256(data).hexdigest())
    assert entry.id == report.mark_id == result.published[0].mark_id
    assert path.name == f"0001_{entry.id:08x}.{ {'jpeg': 'jpg'}.get(kind, kind) }"
    assert {path.name: path.read_bytes() for path in (batch / "approved").iterdir()} == before, "the originals stay"


def test_copies_of_demo_pictures_are_said_to_be_such(tmp_path: Path) -> None:
    batch = make_batch(tmp_path / "batch", {"0001_a.png": (told_png(1), True)}, engine_notice="made without any image model")
    result = publish(batch)
    assert result.to_json()["engine_notice"] == "made without any image model"
    assert "demo pictures: made without any image model" in render_result(result)


def test_only_approved_pictures_are_published(done: Path) -> None:
    assert [path.name[:5] for path in published(done)] == ["0001_", "0002_"]
    assert not list((done / ".work" / "publishing").iterdir()), "nothing half made is left"
    assert "This picture was made with AI." in (done / "published" / "README.txt").read_text()


def test_the_pixels_are_those_of_the_original_but_for_the_mark(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    publish(batch, format="png")
    copy = np.asarray(opened(published(batch)[0])).astype(float)
    difference = np.sqrt(np.mean((copy - rough_picture(0)) ** 2))
    assert 20 * np.log10(255 / difference) >= 45.9


def test_larger_pictures_are_reduced_and_still_marked(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    publish(batch, max_side=336, format="webp", quality=80)
    (path,) = published(batch)
    assert opened(path).size == (280, 336)


def test_the_same_command_again_publishes_nothing_twice(done: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in published(done)}
    lines = (done.parent / "register.jsonl").read_text()
    result = publish(done)
    assert (len(result.published), len(result.kept), result.withdrawn) == (0, 2, [])
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in published(done)} == before
    assert (done.parent / "register.jsonl").read_text() == lines


def test_what_is_missing_changed_or_made_otherwise_is_made_again_under_its_id(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=3, rejected=0)
    publish(batch)
    first, second, _ = published(batch)
    first.unlink()
    second.write_bytes(second.read_bytes() + b"\0")
    result = publish(batch)
    assert ([copy.publication.file for copy in result.published], len(result.kept)) == ([first.name, second.name], 1)
    result = publish(batch, quality=80)
    assert len(result.published) == 3 and [path.name for path in published(batch)] == [
        first.name,
        second.name,
        result.published[2].publication.file,
    ]
    result = publish(batch, format="webp")
    assert [path.suffix for path in published(batch)] == [".webp"] * 3
    assert len(result.withdrawn) == 3 and {why for _, why in result.withdrawn} == {"an older copy"}


def test_a_picture_that_is_no_longer_approved_is_taken_out(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch")
    publish(batch)
    copy = published(batch)[0]
    original = sorted((batch / "approved").iterdir())[0]
    original.rename(batch / "rejected" / original.name)
    result = publish(batch)
    assert result.withdrawn == [(copy.name, f"{original.name} is not approved any more")]
    assert len(published(batch)) == 1 and (batch / ".work" / "withdrawn" / copy.name).is_file()


def test_a_copy_that_a_killed_run_could_not_record_is_known_by_its_mark(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    publish(batch)
    (copy,) = published(batch)
    register = tmp_path / "register.jsonl"
    register.write_text(register.read_text().splitlines(keepends=True)[0])  # claimed, not recorded
    original = next((batch / "approved").iterdir())
    original.rename(batch / "rejected" / original.name)
    assert publish(batch).withdrawn == [(copy.name, f"{original.name} is not approved any more")]


def test_a_guard_that_was_overruled_without_a_reason_keeps_a_picture_back(tmp_path: Path) -> None:
    name = "0001_x.png"
    batch = make_batch(tmp_path / "batch", {name: (told_png(1), False)}, reason=("lookalike", "too like a listed face"))
    (batch / "rejected" / name).rename(batch / "approved" / name)
    result = publish(batch)
    ((refused, why),) = result.refused
    assert refused == name and why.endswith("rejects it, and whoever approved it gave no reason (give one: tools/review.py)")
    assert published(batch) == [] and result.exit_code == 1
    decision = json.loads((batch / "decisions.jsonl").read_text().splitlines()[-1])
    files.append_record(batch / "decisions.jsonl", {**decision, "reason": "she is the author", "by": "owner"})
    assert publish(batch).exit_code == 0 and len(published(batch)) == 1


@pytest.mark.parametrize("step", ["mark", "find_private", "check_labels"])
def test_nothing_is_left_of_a_copy_that_could_not_be_finished(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)

    def end(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publisher, step, end)
        with pytest.raises(KeyboardInterrupt):
            publish(batch)
    assert not (batch / "published").exists()
    assert [line for line in (tmp_path / "register.jsonl").read_text().splitlines() if '"published"' in line] == []
    assert len(publish(batch).published) == 1


def test_a_copy_is_recorded_before_it_lies_where_somebody_may_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two, nobody has seen the copy; the other way round, one that was taken would be known to nobody."""
    batch = told_batch(tmp_path / "batch", approved=1)

    def end(*args: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publisher.files, "move", end)
        with pytest.raises(KeyboardInterrupt):
            publish(batch)
    assert '"published"' in (tmp_path / "register.jsonl").read_text() and not (batch / "published").exists()
    assert len(publish(batch).published) == 1 and len(published(batch)) == 1


def refusal_of(batch: Path, **rules: Any) -> str:
    """Why the only picture of a batch is not published; that nothing else is there."""
    result = publish(batch, **rules)
    assert result.exit_code == 1 and not published(batch)
    ((_, why),) = result.refused
    return why


def one_picture(root: Path, data: bytes, suffix: str = ".png") -> Path:
    return make_batch(root / "batch", {f"0001_x{suffix}": (data, True)})


def test_what_cannot_be_labelled_is_not_published(tmp_path: Path) -> None:
    small = refusal_of(one_picture(tmp_path / "a", encoded(rough_picture(1, 200, 300))))
    assert small == "200 x 300 pixels are too few: the mark needs 256 a side (publish the picture at a larger size)"
    frames = [Image.fromarray(rough_picture(seed)) for seed in (1, 2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    assert refusal_of(one_picture(tmp_path / "b", buffer.getvalue(), ".webp")) == "an animated picture, not a still one"
    assert refusal_of(one_picture(tmp_path / "c", told_png(1)[:20_000])).startswith("cannot be decoded")
    long = encoded(np.zeros((20_000, 20_000), np.uint8)[:, :5_001])
    assert refusal_of(one_picture(tmp_path / "d", long)) == "5001x20000 is over the limit of 100,000,000 pixels"


def test_a_side_that_the_format_cannot_hold_is_refused_and_the_flag_named(tmp_path: Path) -> None:
    batch = one_picture(tmp_path, encoded(rough_picture(1, 256, 256)[[0] * 16_144 + list(range(256))], compress_level=1))
    why = refusal_of(batch, format="webp", max_side=0)
    assert why == "256 x 16400 pixels: WebP holds at most 16,383 a side (give --max-side, or another --format)"


def test_a_picture_that_was_changed_since_it_was_judged_is_refused(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    next((batch / "approved").iterdir()).write_bytes(told_png(9))
    assert refusal_of(batch).startswith("the file was changed since it was judged (put the judged one back")


def test_cmyk_becomes_rgb_and_an_rgb_profile_is_passed_on(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(rough_picture(1)).convert("CMYK").save(buffer, "JPEG", quality=95)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pictures = {"0001_a.jpg": (buffer.getvalue(), True), "0002_b.png": (encoded(rough_picture(2), icc_profile=profile), True)}
    for kind in ("jpeg", "png", "webp"):
        batch = make_batch(tmp_path / kind, pictures)
        result = publish(batch, format=kind)
        found = [opened(path) for path in published(batch)]
        assert [(image.mode, image.info.get("icc_profile")) for image in found] == [("RGB", None), ("RGB", profile)]
        assert ["colour profile" in copy.report.carries for copy in result.published] == [False, True]


def test_a_profile_of_other_colours_goes_along_with_its_colours(tmp_path: Path) -> None:
    profile, pixels = profile_of("Display P3"), rough_picture(3)
    assert decode_picture(encoded(pixels, icc_profile=profile), Path("x.png")).profile is not None, "they are not those of sRGB"
    batch = one_picture(tmp_path, encoded(pixels, icc_profile=profile))
    publish(batch, format="png")
    copy = opened(published(batch)[0])
    difference = np.sqrt(np.mean((np.asarray(copy).astype(float) - pixels) ** 2))
    assert copy.info["icc_profile"] == profile and 20 * np.log10(255 / difference) >= 45.9


def test_an_original_that_lies_in_published_is_named_and_not_overwritten(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    original = next((batch / "approved").iterdir())
    data = original.read_bytes()
    (batch / "published").mkdir()
    original.rename(batch / "published" / original.name)
    result = publish(batch)
    assert result.refused == [(original.name, "the original itself lies in published/, with its prompt: move it to approved/")]
    assert (batch / "published" / original.name).read_bytes() == data and result.strangers == []


def test_a_stranger_in_published_is_named_and_left_alone(done: Path) -> None:
    stranger = done / "published" / "holiday.png"
    stranger.write_bytes(encoded(rough_picture(8)))
    try:
        result = publish(done)
        assert (result.strangers, result.exit_code, result.withdrawn) == (["holiday.png"], 1, [])
    finally:
        stranger.unlink()


def test_a_text_that_somebody_wrote_stays(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    readme = batch / "published" / "README.txt"
    publish(batch, languages=["en", "fr"])
    publish(batch, languages=["nl"])
    assert readme.read_text(encoding="utf-8").startswith("[nl]")
    readme.write_text("Ask Anna before you post these.\n", encoding="utf-8")
    publish(batch, languages=["de"])
    assert readme.read_text(encoding="utf-8") == "Ask Anna before you post these.\n"


def test_a_batch_that_somebody_works_on_is_left_alone(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    with locks.hold(batch / ".work" / "lock", "x"), pytest.raises(LockedError, match="in use by process"):
        publish(batch)
    assert not (batch / "published").exists()


def test_names_by_policy(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch")
    result = publish(batch, name="{run_id}: {index}")
    assert [path.name for path in published(batch)] == ["batch_001- 1.jpg", "batch_001- 2.jpg"] and result.exit_code == 0
    for pattern, why in (
        ("{stem:>9}", "the field {stem} cannot be formatted so"),
        ("copy", "'copy' gives every picture the same name"),
        ("{prompt}", "there is no field {prompt}"),
        ("{index.__class__}", "there is no field {index.__class__}"),
        ("{index:0999999d}", "the field {index} cannot be formatted so"),
        ("{id!r}", "the field {id} cannot be formatted so"),
        ("{index", "'{index' is no pattern"),
    ):
        with pytest.raises(Exception, match=re.escape(f"publishing.name: {why}")):
            settings(tmp_path, name=pattern)


def test_two_pictures_never_get_one_name(tmp_path: Path) -> None:
    names = ("a.png", "a.jpg")
    pictures = {name: (encoded(rough_picture(number), "PNG"), True) for number, name in enumerate(names)}
    batch = make_batch(tmp_path / "batch", pictures)
    result = publish(batch, name="{stem}")
    assert [path.name for path in published(batch)] == ["a.jpg"]
    assert result.refused == [("a.jpg", "its copy would be called a.jpg, as that of a.png (use {id} in publishing.name)")]


def test_without_content_credentials_the_report_says_so(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    result = publish(batch, content_credentials=False)
    assert result.exit_code == 0 and result.credentials.startswith("off by policy (publishing.content_credentials: false)")
    assert [part.name for part in carried_parts(published(batch)[0].read_bytes())] == ["XMP"]
    assert len(publish(batch).published) == 1, "turned on, they are signed"


def test_without_the_packages_it_refuses_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = told_batch(tmp_path / "batch", approved=1)
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name == "c2pa" else known(name, package))
    with pytest.raises(Exception, match=r"c2pa-python, which is not installed \(run: python -m lifeos setup --publish; or set") as caught:
        publish(batch)
    assert getattr(caught.value, "exit_code", None) == 3 and not (batch / "published").exists()
    assert publish(batch, content_credentials=False).exit_code == 0


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, script.__file__, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_verify_knows_only_the_file(done: Path, tmp_path: Path) -> None:
    copy = published(done)[0]
    lonely = tmp_path / "x.jpg"
    lonely.write_bytes(copy.read_bytes())
    changed = bytearray(lonely.read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / "y.jpg").write_bytes(changed)
    answer = run("--verify", lonely)
    assert answer.returncode == 0 and "integrity: verified; signer: unknown to platforms (self-signed)" in answer.stdout
    assert "valid" not in answer.stdout.lower().replace("validity", "")
    both = run("--verify", lonely, tmp_path / "y.jpg")
    assert both.returncode == 1 and "content credentials (C2PA): changed; integrity: not verified" in both.stdout


def test_what_verify_says_of_a_file_that_was_saved_again(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(published(done)[0]).save(tmp_path / "again.jpg", quality=80)
    assert script.main(["--verify", str(tmp_path / "again.jpg")]) == 1
    told = capsys.readouterr().out
    assert "XMP: missing; there is no XMP" in told and "content credentials (C2PA): missing; there are none" in told
    assert "watermark: present; id " in told


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ([], 2, "a batch directory or --verify FILE is wanted"),
        (["there_is_none"], 2, "there is no batch here"),
        (["--verify", "there_is_none.png"], 2, "no such file"),
        (["x", "--verify", "y"], 2, "OUT and --verify exclude one another"),
        (["--verify", "y", "--quality", "80"], 2, "--quality: has no use with --verify"),
        (["x", "--quality", "101"], 2, "101 is not between 1 and 100"),
        (["x", "--certificate", "chain.pem"], 2, "--key: a certificate is given, and no key"),
    ],
)
def test_usage(
    arguments: list[str], code: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(lambda: script.main(arguments)) == code
    assert why in capsys.readouterr().err


def test_prompts_are_looked_for_in_every_part(done: Path) -> None:
    data = published(done)[0].read_bytes()
    assert publisher.find_private(data, [PROMPT]) == ""
    assert publisher.find_private(data, ["2008-02-29/DigitalSourceType", "iptc.org/std/Iptc4xmpExt"]) == "XMP"
    assert publisher.find_private(data, ["c2pa.watermarked.unbound"]) == "content credentials (C2PA)"
    assert sorted(publisher.private_texts(told_png(1))) == [PROMPT] * 3


def test_the_mark_is_read_from_the_copy(done: Path) -> None:
    reading = read(np.asarray(opened(published(done)[0])))
    assert reading is not None and published(done)[0].stem.endswith(f"{reading.id:08x}")


def test_the_keys_of_its_document_are_explained(done: Path) -> None:
    page = (script.cli.PROJECT_ROOT / "docs" / "reference" / "documents.md").read_text(encoding="utf-8")
    section = page.partition("## publish\n")[2].partition("\n## ")[0]
    document = publish(done).to_json()
    keys = {*document, *document["counts"], *document["kept"][0], "carries"}
    assert [key for key in sorted(keys) if f"`{key}`" not in section] == []


@pytest.mark.skipif(not POSIX, reason="kill -9 is POSIX")
def test_a_killed_run_leaves_whole_copies_and_the_next_one_does_the_rest(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch", approved=5, rejected=0)
    command = [sys.executable, script.__file__, str(batch), "--project-root", str(tmp_path)]
    environ = os.environ | {"LIFEOS_HOME": str(tmp_path / "home")}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not list((batch / "published").glob("*.jpg")) and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
    there = {path.name: path.read_bytes() for path in (batch / "published").iterdir()}
    assert 1 <= len(there) < 5 and all(check_labels(data, Path(name)).is_whole for name, data in there.items())
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "published 5 of 5 approved pictures" in done.stdout
    now = {path.name: path.read_bytes() for path in published(batch)}
    assert len(now) == 5 and not list((batch / ".work").glob("publishing/*"))
    lines = (tmp_path / "tools" / "published_register.jsonl").read_text().splitlines()
    assert sum('"claimed"' in line for line in lines) == 5, "no picture got a second id"
