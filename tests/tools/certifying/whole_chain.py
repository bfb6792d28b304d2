"""A whole chain, made by the scripts themselves: a dataset, a training with the stand-in, a batch on the embedded server, a copy."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import cli
from lifeos.files import sha256_file
from tests.tools.training.standin_runs import Place
from tools import certify, dataset_manifest, production_pipeline, publish
from tools.publishing.register import Register
from tools.stand_in import render_references

PROMPT = "amiranoor, close up portrait, secret words"
LORA = "amiranoor_v3.safetensors"
REGISTER = "project/tools/published_register.jsonl"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document

    def link(self, key: str) -> dict[str, Any]:
        return next(link for link in self.document["links"] if link["key"] == key)

    def states(self) -> dict[str, str]:
        return {link["key"]: link["state"] for link in self.document["links"]}


def run(script: Any, *arguments: object) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(lambda: script.main([str(argument) for argument in arguments]))
    return Said(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True, slots=True)
class WholeChain:
    """Where its parts lie. `original` is the approved picture, `copy` what was published of it."""

    root: Path
    original: Path
    copy: Path
    mark_id: int

    @property
    def batch(self) -> Path:
        return self.root / "batch"

    @property
    def register(self) -> Path:
        return self.root / REGISTER

    @property
    def training(self) -> Path:
        return self.root / "out"

    @property
    def lora(self) -> Path:
        return self.training / "v3.safetensors"

    @property
    def dataset(self) -> Path:
        return self.root / "set" / "2_amiranoor woman"

    def certify(self, picture: Path | None = None, *more: object) -> Said:
        where = () if "--register" in more else ("--register", self.register)
        return run(certify, picture or self.copy, *where, "--json", *more)

    def edit(self, file: str, change: Callable[[Any], None]) -> None:
        """Change a JSON document of the chain by hand."""
        path = self.root / file
        document = json.loads(path.read_text(encoding="utf-8"))
        change(document)
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")

    def edit_lines(self, file: str, change: Callable[[dict[str, Any]], None]) -> None:
        path = self.root / file
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            change(line)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def make_chain(root: Path, url: str) -> WholeChain:
    """Everything from the dataset to the published copy, below `root`; `url` is that of an embedded server."""
    training = Place(root)
    assert training.run() == 0
    assert run(dataset_manifest, "--verify", training.output / "dataset_manifest.json").code == 0
    render_references(root / "references", 2)
    batch = root / "batch"
    made = run(
        production_pipeline,
        *(
            "--comfy-url",
            url,
            "--lora",
            LORA,
            "--lora-file",
            training.output / "v3.safetensors",
            "--prompt",
            PROMPT,
            "--prompt",
            "amiranoor",
        ),
        *("--count", 1, "--base-seed", 7, "--width", 384, "--height", 576, "--engine", "dlib", "--reference-dir", root / "references"),
        *(
            "--output-dir",
            batch,
            "--history-file",
            root / "history.jsonl",
            "--skip-health-check",
            "--face-threshold",
            0,
            "--skin-threshold",
            0,
        ),
    )
    assert made.code == 0, made.err
    original = next((batch / "approved").glob("0001*.png"))
    project = root / "project"
    (project / "evals").mkdir(parents=True)
    (project / "evals" / "thresholds.yaml").write_text("publishing:\n  content_credentials: false\n", encoding="utf-8")
    published = run(publish, batch, "--project-root", project)
    assert published.code == 0, published.err
    copy = root / "sent" / "copy.jpg"  # as it was sent to somebody
    copy.parent.mkdir()
    shutil.copyfile(next((batch / "published").glob("0001*.jpg")), copy)
    (entry,) = Register(root / REGISTER).find(sha256_file(copy))
    return WholeChain(root, original, copy, entry.id)


def restore(chain: WholeChain, kept: Path) -> None:
    """Put everything back as it was made: the documents name each other by their places."""
    shutil.rmtree(chain.root)
    shutil.copytree(kept, chain.root)
