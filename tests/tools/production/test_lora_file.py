"""The LoRA file of a batch: recorded as it was, and no other continues it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifeos.errors import InputError, UnavailableError
from tests.tools.production.scenes import SETTINGS, WORKFLOW, make_plan
from tests.tools.trainers.safetensors_files import METADATA, write_safetensors
from tools.production.growth import check_growth, grown_from
from tools.production.lora_file import LoraFile, ask_for_lora, read_lora_file
from tools.production.pipeline import find_lora
from tools.production.plan import find_differences, read_plan, write_plan
from tools.production.planning import Generation
from tools.production.request import Request

COMMENT = json.dumps({"dataset_id": "abc", "dataset_manifest_hash": "def", "run_id": "run 1"})
WEIGHTS = {"lora_unet_a.lora_down.weight": (4, 8), "lora_unet_a.lora_up.weight": (8, 4)}
FILE = LoraFile("v3.safetensors", "a" * 64, 100, "run 1", "abc", "def")
SERVED = LoraFile("v3.safetensors", "", None, "run 1", "abc", "def")


class Answers:
    """A server, as far as a LoRA's header is asked of it."""

    def __init__(self, metadata: dict[str, str] | None) -> None:
        self.asked: list[str] = []
        self._metadata = metadata

    def lora_metadata(self, name: str) -> dict[str, str] | None:
        self.asked.append(name)
        if self._metadata is None:
            raise UnavailableError("server", "gone")
        return self._metadata or None


def test_a_file_is_known_by_its_bytes_and_by_the_run_that_wrote_it(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "local.safetensors", WEIGHTS, {**METADATA, "ss_training_comment": COMMENT})
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_lora_file(path, "v3.safetensors") == LoraFile("v3.safetensors", sha256, path.stat().st_size, "run 1", "abc", "def")
    silent = write_safetensors(tmp_path / "silent.safetensors", WEIGHTS)
    assert read_lora_file(silent, None) == LoraFile(
        "silent.safetensors", hashlib.sha256(silent.read_bytes()).hexdigest(), silent.stat().st_size
    )


def test_a_plan_keeps_it(tmp_path: Path) -> None:
    plan = make_plan(lora_file=FILE)
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan


def test_other_weights_are_another_batch_and_an_unknown_file_is_none() -> None:
    known, other, unknown = (make_plan(lora_file=each) for each in (FILE, replace(FILE, sha256="b" * 64), None))
    with pytest.raises(InputError, match=r"LoRA file \(SHA-256\): .*aaa.* there, .*bbb.* now"):
        check_growth(Path("batch"), known, grown_from(known, other))
    assert find_differences(known, unknown) == find_differences(unknown, known) == []


@pytest.mark.parametrize(
    ("saved", "given", "kept"), [(FILE, None, FILE), (None, FILE, None), (FILE, FILE, FILE), (SERVED, FILE, SERVED), (FILE, SERVED, FILE)]
)
def test_a_batch_that_grows_keeps_what_was_known_of_its_first_pictures(saved: LoraFile, given: LoraFile, kept: LoraFile) -> None:
    assert grown_from(make_plan(lora_file=saved), make_plan(lora_file=given, count=3)).lora_file == kept


def test_without_the_file_the_server_s_header_names_the_run() -> None:
    server: Any = Answers({**METADATA, "ss_training_comment": COMMENT})
    generation = Generation(WORKFLOW, SETTINGS, ("a",))
    assert find_lora(Request(output_dir=Path("out"), lora="x"), generation, [server]) == replace(SERVED, name=server.asked[0])
    assert find_lora(Request(output_dir=Path("out")), None, [server]) is None
    assert find_lora(Request(output_dir=Path("out")), generation, []) is None
    for metadata in ({}, METADATA, None):  # no file or no metadata there, of a foreign trainer, gone
        silent: Any = Answers(metadata)
        assert ask_for_lora(silent, "v3.safetensors") is None


def test_what_only_the_server_told_is_no_difference() -> None:
    served, other = make_plan(lora_file=SERVED), make_plan(lora_file=replace(SERVED, run_id="run 2"))
    assert find_differences(served, other) == find_differences(served, make_plan(lora_file=FILE)) == []
