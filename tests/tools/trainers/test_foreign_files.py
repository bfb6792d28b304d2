"""Whatever stands in a LoRA's header, a training record, a state or a list of parameters: a value that can be used, or an error of ours.

LIFEOS_TEST_EXAMPLES says how many of each are tried.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.scorecards.card_inputs import read_batch_config, read_training_params
from lifeos.errors import LifeosError
from tests.examples import EXAMPLES
from tests.tools.trainers.sd_scripts.made_states import make_state
from tools import lora_info
from tools.trainers.header_comparison import compare_headers, render_header_comparison
from tools.trainers.kohya_output import KohyaOutput
from tools.trainers.lora_header import read_lora_header
from tools.trainers.sd_scripts.states import read_state
from tools.training.training_record import RECORD_FILE, is_running, read_record

WORDS = (
    *("__metadata__", "data_offsets", "dtype", "shape", "ss_datasets", "ss_training_comment", "ss_steps", "ss_seed", "subsets", "is_reg"),
    *("num_repeats", "class_tokens", "batch_size_per_device", "run_id", "dataset_id", "dataset_manifest_hash", "current_step", "state"),
    *("argv", "host", "process_group", "running", "variants", "settings", "lora", "lora_strength", "config", "lora_unet_a", "finished"),
)
ODD = (
    10**19,
    10**400,
    -(10**400),
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    "\ud800",
    "9" * 5000,
    "1e999",
    "None",
    "",
    True,
    None,
    [],
    {},
    0,
    -1,
)
JSON = st.recursive(
    st.sampled_from([*ODD, *WORDS]) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=5),
    max_leaves=15,
)
TEXT = JSON.map(lambda value: json.dumps(value, ensure_ascii=False)) | st.text(max_size=40)
DATASETS = st.fixed_dictionaries({"batch_size_per_device": JSON, "subsets": JSON | st.lists(JSON, max_size=3)})
METADATA = st.fixed_dictionaries(
    {
        "ss_datasets": TEXT | st.lists(DATASETS | JSON, max_size=2).map(json.dumps),
        "ss_training_comment": TEXT,
        "ss_steps": TEXT,
        "modelspec.trigger_phrase": TEXT,
    },
    optional={"software": TEXT, "training_info": TEXT, "ot_config": TEXT, "lora_adapter_metadata": TEXT, "ss_network_args": TEXT},
)
PLACES = st.integers(0, 9)
SHAPES = st.lists(PLACES, max_size=5)
WEIGHT = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F16", "BF16", "F32", "I64", "Q4"]) | st.just("F16") | JSON,
        "shape": SHAPES | SHAPES | JSON,
        "data_offsets": st.tuples(PLACES, PLACES).map(sorted) | st.lists(JSON, min_size=2, max_size=2) | JSON,
    }
)
SOUND = st.fixed_dictionaries({"dtype": st.just("F16"), "shape": SHAPES, "data_offsets": st.tuples(PLACES, PLACES).map(sorted)})
ENDS = ("lora_down.weight", "lora_up.weight", "lora_A.weight", "hada_w1_a", "lokr_w1", "oft_blocks", "alpha", "up_list.0", "diff", "weight")
NAMES = st.tuples(st.sampled_from(["lora_unet_a", "unet.down_blocks.0.attn2.to_k", "lora_te1_b", "x"]), st.sampled_from(ENDS)).map(".".join)
HEADERS = (
    st.fixed_dictionaries({"__metadata__": METADATA | JSON, "lora_unet_a": WEIGHT | JSON})
    | st.builds(lambda metadata, weights: {"__metadata__": metadata, **weights}, METADATA | JSON, st.dictionaries(NAMES, SOUND, max_size=6))
    | JSON
)
USUAL = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def as_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


@USUAL
@given(raw=HEADERS.map(as_bytes) | st.binary(max_size=60), rest=st.binary(max_size=8))
def test_headers(folder: Path, raw: bytes, rest: bytes) -> None:
    path = folder / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + rest)
    with contextlib.suppress(LifeosError):
        header = read_lora_header(path)
        json.dumps(header.training_params, allow_nan=False).encode("utf-8")
        assert all(isinstance(value, str | int | float) for value in header.training_params.values())
        info = lora_info.read_info(path, None)
        lora_info.render(info)
        render_header_comparison(header, header, compare_headers(header, header))
        json.dumps(info.to_json(), allow_nan=False)


RECORD = st.fixed_dictionaries({"run_id": st.just("r") | JSON, "state": st.just("running")}, optional={"argv": JSON, "process_group": JSON})


@USUAL
@given(raw=(RECORD | JSON).map(as_bytes) | st.binary(max_size=60))
def test_records(folder: Path, raw: bytes) -> None:
    (folder / RECORD_FILE).write_bytes(raw)
    with contextlib.suppress(LifeosError):
        record = read_record(folder)
        assert record is not None and not is_running(record)


@USUAL
@given(raw=(st.fixed_dictionaries({"current_step": JSON}) | JSON).map(as_bytes) | st.binary(max_size=60))
def test_states(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    state = make_state(tmp_path_factory.mktemp("state"), 5, None)
    (state / "train_state.json").write_bytes(raw)
    with contextlib.suppress(LifeosError):
        assert read_state(state).step >= 1


@USUAL
@given(raw=(st.fixed_dictionaries({"variants": st.lists(JSON, min_size=1, max_size=1)}) | JSON).map(as_bytes) | st.binary(max_size=60))
def test_parameters_and_batches_of_a_scorecard(folder: Path, raw: bytes) -> None:
    (folder / "batch.json").write_bytes(raw)
    with contextlib.suppress(LifeosError):
        json.dumps(read_training_params(str(folder / "batch.json")), allow_nan=False)
    with contextlib.suppress(LifeosError):
        read_training_params("{" + raw.decode("utf-8", "replace"))
    with contextlib.suppress(LifeosError):
        assert isinstance(read_batch_config(folder), str | None)


@USUAL
@given(line=st.text(max_size=80) | st.from_regex(r"steps:  \d+%\|.*\| \d+/\d+ \[\d+:\d+<[\d?]+, [\d.?]+(s/it|it/s)(, avr_loss=\S+)?\]"))
def test_lines_of_a_trainer(line: str) -> None:
    output = KohyaOutput(20)
    output.read(line, "stderr")
    output.cause()
