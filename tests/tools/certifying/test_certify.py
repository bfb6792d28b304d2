"""The chain behind a picture: whole, each link broken on purpose, each link missing, and nothing private in what is public."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from lifeos.files import sha256_file
from lifeos.images import read_picture
from tests.checkouts import ROOT
from tests.tools.certifying.whole_chain import LORA, PROMPT, REGISTER, Said, WholeChain, make_chain, restore, run
from tests.tools.dataset.sets import make_picture
from tests.tools.trainers.safetensors_files import write_safetensors
from tools import certify, production_pipeline
from tools.publishing.register import Publication, Register
from tools.publishing.watermark import mark
from tools.stand_in import start_embedded_server
from tools.trainers.lora_header import read_lora_header

SAMPLES = ROOT / "tests" / "data" / "version_before"
KEYS = [
    *("copy", "watermark", "register", "batch", "original", "plan", "workflow", "policy", "protocol", "verdict", "reviewer"),
    *("lora", "training", "manifest", "dataset"),
]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[WholeChain, Path]:
    """The chain, and a copy of everything to put it back from."""
    folder = tmp_path_factory.mktemp("certify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        server = start_embedded_server()
        try:
            chain = make_chain(folder / "chain", server.url)
        finally:
            server.stop()
    shutil.copytree(chain.root, folder / "kept")
    return chain, folder / "kept"


@pytest.fixture
def chain(made: tuple[WholeChain, Path]) -> Iterator[WholeChain]:
    yield made[0]
    restore(*made)


def decide(chain: WholeChain, verdict: str, reason: str = "", by: str = "Jo Reviewer") -> None:
    line = {"schema": 1, "picture": {"name": chain.original.name, "sha256": sha256_file(chain.original)}, "verdict": verdict}
    told = {"by": by, "when": "2026-11-30T00:00:00.000Z", "from": "review", "reason": reason}
    (chain.batch / "decisions.jsonl").write_text(json.dumps({**line, **told}) + "\n", encoding="utf-8")


def test_a_published_copy_leads_back_to_its_dataset(chain: WholeChain) -> None:
    decide(chain, "approved")
    said = chain.certify()
    assert said.code == 0, said.err
    assert said.states() == dict.fromkeys(KEYS, "verified")
    document = said.document
    assert (document["sound"], document["known"], document["missing"], document["broken"]) == (True, True, [], [])
    assert document["summary"] == "all 15 links are verified."
    record = json.loads((chain.training / "training_record.json").read_text())
    assert said.link("manifest")["facts"]["dataset id"] == record["dataset_id"]
    assert said.link("lora")["facts"]["SHA-256"] == sha256_file(chain.lora)
    assert said.link("watermark")["facts"]["id"] == f"{chain.mark_id:08x}"
    assert said.link("plan")["facts"]["seed"] == 7
    assert said.link("plan")["private"]["prompt"] == PROMPT
    assert said.link("dataset")["facts"] == {"files": 6, "missing": 0, "changed": 0, "not listed": 0}


def test_a_copy_that_was_saved_again_is_found_by_its_mark(chain: WholeChain, tmp_path: Path) -> None:
    saved = tmp_path / "from somewhere.jpg"
    Image.open(chain.copy).save(saved, quality=70)
    said = chain.certify(saved)
    assert said.code == 0, said.err
    assert said.document["missing"] == ["copy", "reviewer"]
    assert (
        said.link("watermark")["said"]
        == f"The watermark says {chain.mark_id:08x}, as the register does. A watermark alone is a hint, no proof."
    )


def test_an_original_has_no_mark_and_needs_no_register(chain: WholeChain) -> None:
    said = chain.certify(chain.original)
    assert said.code == 0, said.err
    assert "watermark" not in said.states()
    assert said.document["missing"] == ["reviewer"]
    empty = chain.root / "empty.jsonl"
    empty.write_text("")
    said = chain.certify(chain.original, "--register", empty)
    assert (said.code, said.document["missing"]) == (0, ["register", "reviewer"])
    assert said.states()["dataset"] == "verified"


def test_a_picture_of_somebody_else_leads_nowhere(chain: WholeChain, tmp_path: Path) -> None:
    said = chain.certify(make_picture(tmp_path / "other.png", size=(300, 300)))
    assert said.code == 1
    assert said.document["summary"] == "Nothing leads from this picture to a picture that was made here."
    assert said.document["known"] is False
    marked = tmp_path / "marked.png"
    Image.fromarray(mark(read_picture(chain.original).rgb, 77)).save(marked)
    said = chain.certify(marked)
    assert said.code == 1
    assert said.link("watermark")["said"] == "The watermark 0000004d stands in no line of this register."


def edited(file: str, change: Callable[[Any], None]) -> Callable[[WholeChain], None]:
    return lambda chain: chain.edit(file, change)


def edited_lines(file: str, change: Callable[[Any], None]) -> Callable[[WholeChain], None]:
    return lambda chain: chain.edit_lines(file, change)


def overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def publish_with_another_mark(chain: WholeChain) -> None:
    Image.fromarray(mark(read_picture(chain.original).rgb, chain.mark_id ^ 1)).save(chain.copy, quality=90)
    Register(chain.register).record(chain.mark_id, Publication(chain.copy.name, sha256_file(chain.copy), "jpeg"))


def _score(line: dict[str, Any]) -> None:
    if line["event"] == "scored":
        line["assessment"]["skin"]["score"] = line["assessment"]["skin"]["texture"] = -0.5


def _verdict(line: dict[str, Any]) -> None:
    if line["event"] == "scored":
        line["approved"] = False


def _other_picture(line: dict[str, Any]) -> None:
    if line["event"] == "claimed":
        line["picture"]["sha256"] = "0" * 64


BREAKS: list[tuple[str, Callable[[WholeChain], None], str]] = [
    ("another mark than registered", publish_with_another_mark, "watermark"),
    ("a plan that is no JSON", lambda chain: overwrite(chain.batch / "batch.json", b'{"schema": 1'), "batch"),
    ("a plan of another version", edited("batch/batch.json", lambda plan: plan.update(schema=9)), "batch"),
    ("another batch", edited("batch/batch.json", lambda plan: plan.update(batch_id="another")), "batch"),
    ("another original registered", edited_lines(REGISTER, _other_picture), "original"),
    ("an original that was changed", lambda chain: overwrite(chain.original, chain.original.read_bytes() + b"\0"), "original"),
    ("another prompt", edited("batch/batch.json", lambda plan: plan["prompts"][0].update(text="a cat")), "plan"),
    ("another seed", edited("batch/batch.json", lambda plan: plan.update(base_seed=8)), "plan"),
    ("another step count", edited("batch/batch.json", lambda plan: plan["workflows"][0]["graph"]["5"]["inputs"].update(steps=99)), "plan"),
    (
        "another workflow",
        edited("batch/batch.json", lambda plan: plan["workflows"][0]["graph"]["5"]["inputs"].update(steps=99)),
        "workflow",
    ),
    ("another protocol", edited("batch/batch.json", lambda plan: plan["protocol"].update(references=9)), "protocol"),
    ("another score", edited_lines("batch/journal.jsonl", _score), "verdict"),
    ("another verdict", edited_lines("batch/journal.jsonl", _verdict), "verdict"),
    ("a rejection after it was published", lambda chain: decide(chain, "rejected"), "verdict"),
    ("a LoRA that was changed", lambda chain: overwrite(chain.lora, chain.lora.read_bytes()[:-1] + b"\1"), "lora"),
    ("a record without the LoRA", edited("out/training_record.json", lambda record: record["lora_files"].pop()), "training"),
    ("a record of another run", edited("out/training_record.json", lambda record: record.update(run_id="other")), "training"),
    ("a record that is none", lambda chain: overwrite(chain.training / "training_record.json", b"[]"), "training"),
    ("a record of another dataset", edited("out/training_record.json", lambda record: record.update(dataset_id="0" * 64)), "manifest"),
    ("a manifest that was edited", edited("out/dataset_manifest.json", lambda each: each["images"][0].update(sha256="0" * 64)), "manifest"),
    ("a training picture that was changed", lambda chain: overwrite(chain.dataset / "img_000.png", b"other"), "dataset"),
    ("a caption that is gone", lambda chain: (chain.dataset / "img_001.txt").unlink(), "dataset"),
]


@pytest.mark.parametrize(("spoil", "broken"), [pytest.param(spoil, key, id=name) for name, spoil, key in BREAKS])
def test_a_broken_link_is_named(chain: WholeChain, spoil: Callable[[WholeChain], None], broken: str) -> None:
    spoil(chain)
    said = chain.certify()
    assert said.code == 1, said.err
    assert broken in said.document["broken"]
    assert said.document["sound"] is False
    together = {"plan", "workflow"}  # a workflow that was edited in the plan fits neither its hash nor the picture
    assert set(said.document["broken"]) in ({broken}, together), said.document["summary"]


REMOVED: list[tuple[str, Callable[[WholeChain], None], set[str], set[str]]] = [
    ("the batch", lambda chain: shutil.rmtree(chain.batch), {"batch"}, set(KEYS[4:])),
    ("the original", lambda chain: chain.original.unlink(), {"original"}, set()),
    ("the hash of the workflow", edited("batch/batch.json", lambda plan: plan["workflows"][0].pop("sha256")), {"workflow"}, set()),
    ("the policy", edited("batch/batch.json", lambda plan: plan.update(policy={})), {"policy", "verdict"}, set()),
    ("the protocol", edited("batch/batch.json", lambda plan: plan.update(protocol={})), {"protocol"}, set()),
    ("the LoRA", lambda chain: chain.lora.unlink(), {"lora"}, set()),
    ("the LoRA's hash", edited("batch/batch.json", lambda plan: plan.pop("lora_file")), {"lora"}, set()),
    ("the training's record", lambda chain: (chain.training / "training_record.json").unlink(), {"training"}, set()),
    ("the training", lambda chain: shutil.rmtree(chain.training), {"lora", "training", "manifest"}, {"dataset"}),
    ("the manifest", lambda chain: (chain.training / "dataset_manifest.json").unlink(), {"manifest"}, {"dataset"}),
    ("the dataset", lambda chain: shutil.rmtree(chain.dataset.parent), {"dataset"}, set()),
]


@pytest.mark.parametrize(
    ("remove", "missing", "gone"), [pytest.param(remove, missing, gone, id=name) for name, remove, missing, gone in REMOVED]
)
def test_a_missing_link_is_named_and_the_rest_is_followed(
    chain: WholeChain, remove: Callable[[WholeChain], None], missing: set[str], gone: set[str]
) -> None:
    """`gone`: links that nothing leads to any more."""
    remove(chain)
    said = chain.certify()
    assert said.code == 0, (said.err, said.document["summary"])
    assert said.document["broken"] == []
    assert set(said.document["missing"]) == missing | ({"reviewer"} - gone)
    assert said.states().keys() == set(KEYS) - gone


def test_what_was_moved_can_be_named(chain: WholeChain) -> None:
    moved = {name: chain.root / "moved" / name for name in ("batch", "out", "set")}
    for name, place in moved.items():
        shutil.move(chain.root / name, place)
    chain.edit("moved/out/dataset_manifest.json", lambda document: None)  # written again: the same pictures, other bytes
    assert chain.certify().document["missing"] == ["batch"]
    flags = ("--batch", moved["batch"], "--lora-file", moved["out"] / "v3.safetensors", "--dataset-dir", moved["set"])
    said = chain.certify(None, *flags)
    assert (said.code, said.document["missing"]) == (0, ["reviewer"]), said.err
    assert "written again since the training" in said.link("manifest")["said"]
    other = chain.certify(None, *flags[:2], "--lora-file", moved["out"] / "v3-step00000005.safetensors", *flags[4:])
    assert (other.code, other.document["broken"]) == (1, ["lora"])


def test_an_earlier_run_s_record_is_found_where_a_later_one_moved_it(chain: WholeChain) -> None:
    aside = chain.training / "previous_runs" / "earlier"
    aside.mkdir(parents=True)
    for name in ("training_record.json", "dataset_manifest.json"):
        shutil.move(chain.training / name, aside / name)
    (chain.training / "training_record.json").write_text(json.dumps({"run_id": "later", "lora_files": []}))
    said = chain.certify()
    assert (said.code, said.document["missing"]) == (0, ["reviewer"])


def test_a_person_s_decision_that_overrules_the_gates_is_told_with_its_reason(chain: WholeChain) -> None:
    rejected = chain.certify(next((chain.batch / "approved").glob("0002*")))
    assert rejected.link("reviewer")["state"] == "missing"

    def reject(line: dict[str, Any]) -> None:
        if line["event"] == "scored":
            line["assessment"]["skin"]["texture"], line["approved"] = 0.1, False

    chain.edit_lines("batch/journal.jsonl", reject)
    decide(chain, "approved", reason="the light is meant")
    said = chain.certify()
    assert said.code == 0, said.document["summary"]
    link = said.link("reviewer")
    assert link["said"] == "A person approved it, which overrules the gates, with a reason."
    assert link["private"] == {"by": "Jo Reviewer", "reason": "the light is meant", "how": "review"}
    assert said.link("verdict")["private"]["reasons"] == "skin texture 0.10 is below 0.60"


def test_nothing_private_is_in_what_is_public(chain: WholeChain) -> None:
    decide(chain, "approved", reason="for Ada")
    page = chain.root / "certificate.html"
    said = chain.certify(None, "--public", "--html", page)
    assert said.code == 0, said.err
    secrets = [
        str(chain.root),
        PROMPT,
        "amiranoor",
        "secret",
        chain.original.name,
        chain.copy.name,
        LORA,
        "v3.safetensors",
        "Jo",
        "Ada",
        "img_0",
    ]
    for text in (said.out, said.err, page.read_text(encoding="utf-8")):
        assert [secret for secret in secrets if secret in re.sub(r"base64,[^\"]*", "", text)] == []
        assert said.link("manifest")["facts"]["dataset id"] in text


def test_the_page_needs_nothing_else(chain: WholeChain) -> None:
    page = chain.root / "certificate.html"
    assert chain.certify(None, "--html", page).code == 0
    text = page.read_text(encoding="utf-8")
    assert PROMPT in text and str(chain.training) in text
    assert re.findall(r"(?:src|href)=\"(?!data:)", text) == [] and "<script" not in text and "://" not in text
    (data,) = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert max(small.size) == 480
        assert not small.getexif()


class Server(BaseHTTPRequestHandler):
    """What ComfyUI answers about a LoRA's header: the metadata, or 404; behind a token, which it wants to see."""

    metadata: ClassVar[dict[str, str]] = {}
    token = "secret-of-the-test"

    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"Bearer {self.token}":
            self.send_response(401)
            self.end_headers()
            return
        at = urlsplit(self.path)
        known = at.path == "/view_metadata/loras" and parse_qs(at.query) == {"filename": [LORA]}
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps(self.metadata).encode() if known else b"")

    def log_message(self, *_: object) -> None:
        pass


def test_a_lora_that_only_the_server_has_is_known_by_its_run_id(chain: WholeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    Server.metadata = dict(read_lora_header(chain.lora).metadata)
    chain.edit("batch/batch.json", lambda plan: plan.update(lora_file=None, training_params={}))
    chain.lora.unlink()
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("COMFY_TOKEN", Server.token)
        said = chain.certify(None, "--comfy-url", url, "--comfy-token-env", "COMFY_TOKEN")
        assert chain.certify(None, "--comfy-url", url).code == 3
        assert Server.token not in str(said)
    finally:
        server.shutdown()
        server.server_close()
    assert (said.code, said.document["missing"]) == (0, ["reviewer", "lora"])
    assert said.link("lora")["said"].endswith("its weights were not seen.")
    assert said.link("training")["said"].endswith("its weights were not seen.")
    assert said.states()["dataset"] == "verified"
    assert chain.certify(None, "--comfy-url", url).code == 3

    def recorded(plan: dict[str, Any]) -> None:
        plan["lora_file"] = {"name": LORA, "sha256": "", "run_id": said.link("lora")["facts"]["training run"]}

    chain.edit("batch/batch.json", recorded)
    then = chain.certify()
    assert (then.code, then.document["missing"]) == (0, ["reviewer", "lora"])
    assert (
        then.link("lora")["said"]
        == "Known by the run id in its header, as the server told it when the batch began: its weights were not seen."
    )
    other = write_safetensors(chain.root / "other.safetensors", {"lora_unet_a.lora_down.weight": (4, 8)}, {"ss_training_comment": "{}"})
    assert chain.certify(None, "--lora-file", other).document["broken"] == ["lora"]
    chain.edit("batch/batch.json", lambda plan: plan.update(lora_file=None))
    assert chain.certify().document["missing"] == ["reviewer", "lora", "training", "manifest"]


def test_a_picture_that_was_taken_in_says_that_nothing_is_recorded_of_how_it_was_made(chain: WholeChain) -> None:
    sorted_batch = chain.root / "sorted"
    flags = ("--images", chain.batch / "approved", "--reference-dir", chain.root / "references", "--engine", "dlib")
    limits = ("--face-threshold", 0, "--skin-threshold", 0)
    made = run(production_pipeline, *flags, *limits, "--output-dir", sorted_batch, "--history-file", chain.root / "history.jsonl")
    assert made.code == 0, made.err
    said = chain.certify(next((sorted_batch / "approved").glob("0001*")), "--batch", sorted_batch)
    assert said.code == 0, said.err
    assert {"plan", "lora"} <= set(said.document["missing"])
    assert said.states()["verdict"] == "verified"


@pytest.mark.parametrize("name", ["finished_batch/approved", "finished_batch/rejected"])
def test_batches_of_version_3_0_0_are_followed_as_far_as_they_tell(tmp_path: Path, name: str) -> None:
    samples = shutil.copytree(SAMPLES, tmp_path / "samples")
    register = tmp_path / "register.jsonl"
    register.write_text("")
    for picture in sorted((samples / name).glob("*.png")):
        said = run(certify, picture, "--register", register, "--json")
        assert said.code == 0, (said.err, said.document["summary"])
        assert said.document["missing"] == ["register", "reviewer", "lora", "training", "manifest"]
        trained = run(certify, picture, "--register", register, "--json", "--training-dir", samples / "training")
        assert trained.document["missing"] == said.document["missing"]  # nothing says that this training made that LoRA


@pytest.mark.parametrize(
    "file", [REGISTER, "batch/batch.json", "batch/journal.jsonl", "out/training_record.json", "out/dataset_manifest.json"]
)
@pytest.mark.parametrize("data", [b"", b"[]", b"null\n", b"\xff\xfe\x00", b'{"a": ' * 2000, b'{"schema": 1, "event": "scored"}\n'])
def test_whatever_a_file_holds_the_answer_is_a_certificate(chain: WholeChain, file: str, data: bytes) -> None:
    (chain.root / file).write_bytes(data)
    said = chain.certify()
    assert said.code in (0, 1), said.err
    assert file != REGISTER or said.document["known"] is False


def test_bad_usage_is_one_line(chain: WholeChain, tmp_path: Path) -> None:
    for arguments, why in (
        ((tmp_path / "no.png",), "no such file"),
        ((chain.batch / "batch.json", "--register", chain.register), "batch.json"),
        ((chain.copy, "--register", tmp_path / "none.jsonl"), "give --register an existing file"),
        ((chain.copy, "--batch", tmp_path / "none"), "give --batch an existing directory"),
        ((chain.copy, "--html", chain.copy), "names the picture itself"),
    ):
        said = run(certify, *arguments)
        assert said.code == 2 and said.out == ""
        assert why in said.err and said.err.count("error: ") == 1


def test_the_text_names_each_link_and_the_summary(chain: WholeChain) -> None:
    said: Said = run(certify, chain.copy, "--register", chain.register)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "certificate of the picture copy.jpg"
    assert lines[-2] == "1 link is missing (reviewer); 14 links are verified."
    assert "verified  dataset: All 6 files of the dataset are there, byte for byte." in lines
