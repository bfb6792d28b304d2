"""Scripts go through with file names that are not UTF-8, or hold what a terminal or a spreadsheet would act on, in any locale."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capabilities import LINUX
from tests.checkouts import ROOT
from tests.evals.portraits import portrait, write_references
from tests.tools.dataset.sets import make_picture
from tools.production.batch_state import JournalRecord
from tools.production.journal import Journal, read_journal

ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = (b"caf\xe9 \x1b[31m.png", b"b;=1+1.png", b"two\nlines\r `x` | y.png")


@pytest.fixture(params=[{}, ASCII_LOCALE], ids=["as it is", "LC_ALL=C"])
def environ(request: pytest.FixtureRequest) -> dict[str, str]:
    return {**os.environ, **request.param}


@pytest.fixture
def work(tmp_path: Path, names_of_any_bytes: None) -> Path:
    write_references(tmp_path / "refs")
    (tmp_path / "pictures").mkdir()
    for size, name in zip((500, 480, 460), NAMES, strict=True):
        portrait().resize((size, size)).save(tmp_path / "one.png")
        (tmp_path / "one.png").rename(tmp_path / "pictures" / os.fsdecode(name))
    return tmp_path


def run(work: Path, environ: dict[str, str], script: str, *flags: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([sys.executable, str(ROOT / script), *flags], cwd=work, env=environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert b"\x1b" not in done.stdout + done.stderr
    return done


@pytest.mark.skipif(not LINUX, reason="file names of any bytes are Linux")
def test_a_batch_keeps_every_picture(work: Path, environ: dict[str, str]) -> None:
    flags = ["--images", "pictures", "--reference-dir", "refs", "--output-dir", "out", "--history-file", "h.jsonl", "--engine", "sface"]
    first = json.loads(run(work, environ, "tools/production_pipeline.py", *flags, "--json").stdout)
    assert first["counts"]["approved"] == len(NAMES)
    again = json.loads(run(work, environ, "tools/production_pipeline.py", *flags, "--json").stdout)
    assert again["counts"] == first["counts"], "the journal is read back whole"
    rows = list(csv.reader((work / "out" / "scores.csv").read_text(encoding="utf-8").splitlines(), delimiter=";"))
    assert [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))] == []
    for page in ("batch_report.md", "batch_report.html"):
        assert b"\x1b" not in (work / "out" / page).read_bytes()


@pytest.mark.skipif(not LINUX, reason="file names of any bytes are Linux")
def test_evaluations_and_manifest_go_through(work: Path, environ: dict[str, str]) -> None:
    judged = ["--generated-dir", "pictures", "--reference-dir", "refs", "--engine", "sface"]
    scorecard = ["--history-file", "h.jsonl", "--output-json", "c.json", "--latest-report", "r.md", "--run-id", "x"]
    run(work, environ, "evals/scorecard.py", *judged, *scorecard)
    assert json.loads((work / "c.json").read_text(encoding="utf-8"))["eval_scores"]["images_evaluated"] == len(NAMES)
    report = (work / "r.md").read_text(encoding="utf-8")
    assert "`two lines 'x' ¦ y.png`" in report
    assert report.isprintable() or {char for char in report if not char.isprintable()} == {"\n"}
    for script in ("evals/face_similarity_eval.py", "evals/skin_realism_eval.py"):
        found = json.loads(run(work, environ, script, *judged, "--json").stdout)
        assert sorted(item["image"].encode("utf-8", "surrogateescape") for item in found["per_image"]) == sorted(NAMES)
        shown = run(work, environ, script, *judged).stdout.decode("utf-8")
        assert "two\\nlines\\r `x` | y.png" in shown
    run(work, environ, "tools/dataset_manifest.py", "--dataset-dir", "pictures", "--output", "m.json", "--no-cache")
    run(work, environ, "tools/dataset_manifest.py", "--verify", "m.json")


def test_a_journal_is_utf8_and_one_of_the_version_before_is_read(tmp_path: Path) -> None:
    """3.0.0 wrote the bytes of half a surrogate pair, which no strict reader takes."""
    name = os.fsdecode(NAMES[0])
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("downloaded", item=1, files=[{"file": name}])
    journal.close()
    line = (tmp_path / "journal.jsonl").read_bytes()
    assert b"caf\\udce9 \\u001b" in line
    old = line.replace(b"\\udce9", "\udce9".encode("utf-8", "surrogatepass"))
    (tmp_path / "journal.jsonl").write_bytes(line + old)
    read = [record for _, record in read_journal(tmp_path / "journal.jsonl", JournalRecord)]
    assert [stored.file for record in read for stored in record.files or ()] == [name, name]


@pytest.mark.skipif(not LINUX, reason="file names of any bytes are Linux")
def test_the_dataset_id_is_the_same_in_every_locale(tmp_path: Path, names_of_any_bytes: None) -> None:
    """`é` is two stray bytes to a Python whose file system encoding is ASCII: the id must not show it, nor the manifest."""
    folder = tmp_path / "sët" / "10_jörg"
    for seed, name in enumerate(("é one.png", "e\u0301 two.png", os.fsdecode(b"caf\xe9.png"), "日本.png")):
        make_picture(folder / "made.png", seed=seed, size=(64, 64)).rename(folder / name)
        (folder / name).with_suffix(".txt").write_text(f"amiranoor, view {seed}", encoding="utf-8")
    script = "tools/dataset_manifest.py"
    manifests = []
    for name, locale in (("plain", {"PYTHONUTF8": "1"}), ("ascii", ASCII_LOCALE)):
        environ = {**os.environ, **locale}
        run(
            tmp_path, environ, script, "--dataset-dir", "sët", "--output", f"{name}.json", "--no-cache", "--created", "2026-01-01T00:00:00Z"
        )
        manifests.append((tmp_path / f"{name}.json").read_bytes())
    assert manifests[0] == manifests[1]
    names = [image["filename"] for image in json.loads(manifests[0])["images"]]
    assert names == ["10_jörg/caf\udce9.png", "10_jörg/e\u0301 two.png", "10_jörg/é one.png", "10_jörg/日本.png"]
    for locale in ({"PYTHONUTF8": "1"}, ASCII_LOCALE):
        assert json.loads(run(tmp_path, {**os.environ, **locale}, script, "--verify", "plain.json", "--json").stdout)["same"] is True
