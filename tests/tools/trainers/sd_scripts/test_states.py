"""States are told apart by the LoRA file that was saved with them, and read as foreign data."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from lifeos.errors import InputError
from tests.tools.trainers.safetensors_files import write_lora
from tests.tools.trainers.sd_scripts.made_states import make_state
from tools.trainers.sd_scripts.states import find_states, is_state, is_whole, read_checkpoint_name, read_state
from tools.trainers.trainer import CheckpointName, SavedState


def test_whole_states_and_whose_they_are(tmp_path: Path) -> None:
    wanted = make_state(tmp_path, 1000, "mine")
    make_state(tmp_path, 500, "mine")
    make_state(tmp_path, 1500, "mine", whole=False)
    make_state(tmp_path, 2000, "another's")
    make_state(tmp_path, 2500, None)
    make_state(tmp_path, 3000, "mine", name="v3-old")
    (tmp_path / "v3-step00004000.safetensors").write_bytes(b"no LoRA")
    found = find_states(tmp_path, "v3")
    assert [(state.step, state.run_id) for state in found] == [(500, "mine"), (1000, "mine"), (2000, "another's"), (2500, None)]
    assert found[1] == SavedState(wanted, 1000, "mine")
    assert find_states(tmp_path / "no", "v3") == []


def test_a_name_with_wildcards_means_itself(tmp_path: Path, names_of_any_bytes: None) -> None:
    make_state(tmp_path, 5, "mine", name="v[3]*")
    assert [state.step for state in find_states(tmp_path, "v[3]*")] == [5]
    assert find_states(tmp_path, "v*") == []


def test_the_last_state_and_those_of_epochs_are_states_too(tmp_path: Path) -> None:
    """`NAME-state` is saved before the final LoRA, `NAME-000003-state` with --save_every_n_epochs."""
    for name, step in (("v3-state", 20), ("v3-000002-state", 12), ("v3-step00000020-state", 20)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train_state.json").write_text(json.dumps({"current_step": step}))
        (tmp_path / name / "random_states_0.pkl").write_bytes(b"random")
    write_lora(tmp_path / "v3.safetensors", {"ss_training_comment": json.dumps({"run_id": "mine"})})
    found = [(state.folder.name, state.step, state.run_id) for state in find_states(tmp_path, "v3")]
    assert found == [("v3-000002-state", 12, None), ("v3-state", 20, "mine"), ("v3-step00000020-state", 20, None)]
    names = ("v3-state", "v3-000002-state", "v3-2-state", "v3-x-state", "v31-state")
    assert [is_state(name, "v3") for name in names] == [True, True, False, False, False]


def test_a_state_that_was_not_written_to_its_end(tmp_path: Path) -> None:
    """Power loss leaves empty files; a kill a weights file or an archive of torch.save without its end."""
    state = make_state(tmp_path, 5, "mine")
    with zipfile.ZipFile(state / "optimizer.bin", "w") as archive:
        archive.writestr("data.pkl", b"x" * 3000)
    write_lora(state / "model.safetensors", {})
    assert is_whole(state)
    for name in ("optimizer.bin", "model.safetensors"):
        whole = (state / name).read_bytes()
        for cut in (whole[:-10], b""):
            (state / name).write_bytes(cut)
            assert not is_whole(state), (name, len(cut))
        (state / name).write_bytes(whole)
    assert is_whole(state)
    with pytest.raises(InputError, match="is named after step 6 but was saved at step 5"):
        read_state(state.rename(tmp_path / "v3-step00000006-state"))


def test_a_state_that_somebody_names(tmp_path: Path) -> None:
    of_another, of_nobody, cut = (make_state(tmp_path, step, run) for step, run in ((5, "another's"), (10, None), (15, "mine")))
    (cut / "random_states_0.pkl").unlink()
    assert (read_state(of_another).step, read_state(of_another).run_id, read_state(of_nobody).run_id) == (5, "another's", None)
    with pytest.raises(InputError, match="is no whole training state"):
        read_state(cut)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "null", '{"current_step": "5"}', '{"current_step": true}', '{"current_step": 0}', '{"current_step": -1}'),
        *('{"current_step": 1.5}', '{"current_step": NaN}', '{"current_step": 1e308}', f'{{"current_step": {"9" * 400}}}', "{}"),
        *(f'{{"current_step": {"9" * 5000}}}', '{"current_step": 9000000000000}', "[" * 5000, '{"current_step": [5]}'),
    ],
)
def test_a_step_file_that_is_none(tmp_path: Path, text: str) -> None:
    state = make_state(tmp_path, 5, "mine", text=text)
    with pytest.raises(InputError) as caught:
        read_state(state)
    assert str(caught.value).startswith(str(state / "train_state.json"))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("v3.safetensors", CheckpointName(None, is_final=True)),
        ("v3-step00000500.safetensors", CheckpointName(500, is_final=False)),
        ("v3-000003.safetensors", CheckpointName(None, is_final=False)),
        ("v3-steps.safetensors", None),
        ("v3-step٣.safetensors", None),
        ("v3_old.safetensors", None),
        ("v31.safetensors", None),
        ("v3.png", None),
        (f"v3-step{'9' * 5000}.safetensors", None),
    ],
)
def test_checkpoint_names(file: str, name: CheckpointName | None) -> None:
    assert read_checkpoint_name(file, "v3") == name
