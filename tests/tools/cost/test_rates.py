"""The rate of a card by whatever name it has: the policy's, `nvidia-smi`'s, RunPod's."""

from __future__ import annotations

import pytest

from lifeos.errors import InputError
from lifeos.policy.defaults import DEFAULTS
from tools.cost.rates import find_rate

RATES = DEFAULTS["cost"]["rates_per_hr"]  # RTX 4090, RTX 3090, A100 80GB, H100


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("RTX 4090", "RTX 4090"),
        ("rtx 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("A100 80 GB", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("H100 SXM", "H100"),
        ("RTX 4090 24GB", "RTX 4090"),
    ],
)
def test_names_of_one_card(name: str, row: str) -> None:
    assert find_rate(RATES, name) == row


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA A100-SXM4-40GB",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA H100 NVL",
        "NVIDIA GH200 480GB",
        "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
        "NVIDIA RTX A6000",
        "NVIDIA",
        "",
    ],
)
def test_another_card_has_no_rate_of_this_one(name: str) -> None:
    with pytest.raises(InputError, match="no rate for this GPU in the policy"):
        find_rate(RATES, name)


def test_the_closest_row_wins_and_two_equal_ones_are_refused() -> None:
    rates = {"H100": 2.0, "H100 SXM": 3.0, "H100 80GB": 2.5}
    assert find_rate(rates, "NVIDIA H100 PCIe") == "H100"
    assert find_rate(rates, "H100 SXM") == "H100 SXM"
    with pytest.raises(InputError, match="several rates that fit: H100 SXM, H100 80GB"):
        find_rate(rates, "H100 SXM 80GB")
