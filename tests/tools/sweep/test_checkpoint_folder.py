"""Which files of a folder are a run's checkpoints; how they reach a server; whether references were trained on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lifeos import files
from lifeos.errors import InputError, UnavailableError
from tests.tools.dataset.sets import make_picture, make_set
from tests.tools.trainers.safetensors_files import write_safetensors
from tools.dataset.build import BuildRequest, build_dataset_manifest
from tools.dataset.hold_out import HoldOut
from tools.dataset.manifest import write_manifest
from tools.stand_in import start_embedded_server
from tools.sweep.checkpoint_folder import CUT_OFF_SECONDS, CheckpointFolder
from tools.sweep.lora_delivery import Delivery, served_name
from tools.sweep.reference_check import check_references, gather_held_out

WEIGHTS = {"lora_unet_a.lora_up.weight": [2, 4], "lora_unet_a.lora_down.weight": [4, 2]}
NEVER: Any = lambda target: pytest.fail(f"{target} was written")  # noqa: E731


def write_lora(folder: Path, name: str, step: int | None = None, run: str | None = None) -> Path:
    metadata = {"ss_network_dim": "4"} | ({"ss_steps": str(step)} if step else {})
    if run:
        metadata["ss_training_comment"] = f'{{"run_id": "{run}"}}'
    path = write_safetensors(folder / f"{name}.safetensors", WEIGHTS, metadata)
    os.utime(path, (1e9, 1e9))  # written long ago
    return path


def look(folder: Path, *, run: str | None = None, now: float = 0.0) -> tuple[list[tuple[str, int]], CheckpointFolder, list[str]]:
    said: list[str] = []
    seen = CheckpointFolder(folder, said.append, run)
    return [(each.file, each.step) for each in seen.look(now)], seen, said


def test_steps_come_from_headers_then_names_and_each_step_counts_once(tmp_path: Path) -> None:
    write_lora(tmp_path, "her", 3000)
    write_lora(tmp_path, "her-step00003000", 3000)
    write_lora(tmp_path, "her-step00000500", 1500)  # renamed: the header knows better
    write_lora(tmp_path, "her-000012")
    write_lora(tmp_path, "her_wild")
    found, _, said = look(tmp_path)
    assert found == [("her-000012.safetensors", 12), ("her-step00000500.safetensors", 1500), ("her-step00003000.safetensors", 3000)]
    assert said == [
        "her_wild.safetensors is left out: neither its header nor its name tells its step",
        "her.safetensors is of step 3000 too, as her-step00003000.safetensors: judged once",
    ]


def test_two_runs_in_one_folder_are_refused_until_one_is_named(tmp_path: Path) -> None:
    write_lora(tmp_path, "old-step00000100", 100, "run-1")
    write_lora(tmp_path, "new-step00000100", 100, "run-2")
    write_lora(tmp_path, "new-step00000200", 200, "run-2")
    with pytest.raises(InputError) as caught:
        look(tmp_path)
    assert str(caught.value) == f"{tmp_path}: holds checkpoints of 2 runs: run-1 (1 file), run-2 (2 files) (name one with --training-run)"
    found, _, said = look(tmp_path, run="run-2")
    assert found == [("new-step00000100.safetensors", 100), ("new-step00000200.safetensors", 200)]
    assert said == ["old-step00000100.safetensors is left out: it is of run run-1, not run-2"]


def test_a_file_that_is_being_written_is_waited_for_and_one_that_was_cut_off_is_named(tmp_path: Path) -> None:
    whole = write_lora(tmp_path, "her-step00000100", 100).read_bytes()
    growing = tmp_path / "her-step00000200.safetensors"
    growing.write_bytes(whole[:-7])
    found, seen, said = look(tmp_path)
    assert found == [("her-step00000100.safetensors", 100)] and seen.pending == {growing.name} and not said
    growing.write_bytes(whole)  # whole, but still fresh
    seen.look(1.0)
    assert seen.pending == {growing.name}
    assert len(seen.look(3.0)) == 1 and not seen.pending, "settled; of the same step by its header, so it counts once"
    growing.write_bytes(whole[:-7])
    seen.look(4.0)
    seen.look(5.0 + CUT_OFF_SECONDS)
    assert not seen.pending and "bytes of its weights are missing" in said[-1]


def test_a_copy_has_its_hash_in_its_name_and_is_written_down_before_it_is_made(tmp_path: Path) -> None:
    source, loras = write_lora(tmp_path, "her-step00000100", 100), tmp_path / "loras"
    loras.mkdir()
    sha256 = files.sha256_file(source)
    with start_embedded_server() as server:
        from tools.backends.comfyui import ComfyServer

        with ComfyServer(server.url) as client:
            client.connect()
            elsewhere = Delivery([client], loras, tmp_path, print, listed_seconds=0.2)
            told: list[tuple[Path, bool]] = []
            with pytest.raises(UnavailableError, match="give --comfy-lora-dir the folder that this server loads LoRAs from"):
                elsewhere.bring(source, sha256, lambda target: told.append((target, target.exists())))
            copy = loras / served_name(source.name, sha256)
            assert told == [(copy, False)] and copy.read_bytes() == source.read_bytes()
            server.model_dirs["loras"] = loras
            assert elsewhere.bring(source, sha256, NEVER) == copy.name, "it is there already"
            copy.unlink()
            copy.write_bytes(b"somebody's own")
            server.model_dirs.clear()
            with pytest.raises(InputError, match="is in the way: it is another file"):
                elsewhere.bring(source, sha256, NEVER)
            # without a folder: the file that a person has put there is used
            shutil.copyfile(source, loras / source.name)
            server.model_dirs["loras"] = loras
            copy.unlink()
            assert Delivery([client], None, tmp_path, print).bring(source, sha256, NEVER) == source.name


def test_references_that_were_trained_on_are_known_by_content_and_by_look(tmp_path: Path) -> None:
    from PIL import Image, ImageEnhance

    folder = make_set(tmp_path / "set", 5, size=(128, 128))
    request = BuildRequest(folder, use_cache=False, hold_out=HoldOut(names=("img_004.png",)))
    manifest = tmp_path / "m.json"
    write_manifest(manifest, build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=0).document)
    references = tmp_path / "refs"
    references.mkdir()
    shutil.copyfile(folder / "img_000.png", references / "same.png")
    ImageEnhance.Brightness(Image.open(folder / "img_001.png")).enhance(0.95).save(references / "alike.png")
    make_picture(references / "other.png", seed=77, size=(128, 128))
    hashes = {files.sha256_file(path) for path in references.iterdir()}
    verdict = check_references(references, hashes, manifest)
    assert verdict.trained == ("alike.png", "same.png")
    assert verdict.sentence == "2 of 3 references are among the training pictures (alike.png, same.png)."
    assert not check_references(references, hashes, None).known
    # the held-out picture serves as a reference, and nothing of the set is moved
    gathered = gather_held_out(manifest, tmp_path / "held", print)
    assert gathered is not None and [path.name for path in gathered.iterdir()] == ["001_img_004.png"]
    assert not check_references(gathered, {files.sha256_file(folder / "img_004.png")}, manifest).are_trained
    (folder / "img_004.png").write_bytes(b"changed since")
    shutil.rmtree(gathered)
    assert gather_held_out(manifest, tmp_path / "held", lambda text: None) is None
