"""Other metadata, the same weights, and never half a file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.tools.trainers.safetensors_files import write_weights
from tools.trainers import rewrite_metadata as module
from tools.trainers.lora_header import read_lora_header
from tools.trainers.rewrite_metadata import rewrite_metadata
from tools.trainers.safetensors_header import read_safetensors_header


@pytest.mark.parametrize("value", ["", "x" * 5000, '日本語 \\ " \n'])
def test_the_weights_stay(tmp_path: Path, value: str) -> None:
    path = write_weights(tmp_path / "a.safetensors", a=("F16", b"ab" * 40), b=("F32", b"cdef" * 7))
    path.write_bytes(path.read_bytes().replace(b'"shape": [80]', b'"shape": [40]').replace(b'"shape": [28]', b'"shape": [7] '))
    before = read_safetensors_header(path)
    data = path.read_bytes()[before.data_start :]
    rewrite_metadata(path, {"key": value})
    after = read_safetensors_header(path)
    assert (after.metadata, dict(after.weights), after.faults) == ({"key": value}, dict(before.weights), ())
    assert path.read_bytes()[after.data_start :] == data
    assert after.data_start % 8 == 0
    assert read_lora_header(path).is_whole
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_without_room_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_weights(tmp_path / "a.safetensors", a=("F16", b"ab" * 40))
    before = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        rewrite_metadata(path, {"key": "value"})
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a.safetensors", before)]
