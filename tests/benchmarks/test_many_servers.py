"""many_servers: a small fleet is driven, struck and survives a kill; what would be wrong with a batch is seen."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.light_batch import make_plan
from benchmarks.many_servers import Driver, Fleet, Storm, inspect, main, what_they_could
from benchmarks.seeded_pictures import make_picture, seed_in
from lifeos import cli
from tools.production.intake import picture_names


def test_a_small_fleet_makes_every_picture_once_though_the_program_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    fleet = ["--servers", "3", "--fastest", "0.05", "--slowest", "0.2"]
    assert cli.run(lambda: main([*fleet, "--pictures", "12", "--disturbed", "24", "--kills", "1", "--json"])) == 0
    document = json.loads(capsys.readouterr().out)
    figures = {figure["name"]: figure for figure in document["figures"]}
    assert 0 < figures["share of what they could make in the time of the batch"]["value"] <= 1
    assert figures["pictures that are missing"]["status"] == "shown"
    assert figures["pictures that are missing"]["pictures"] == 24


def test_what_servers_could_make_leaves_out_the_time_that_they_were_gone() -> None:
    fast = {"seconds": 0.5, "first": 100.0, "away": [(104.0, 107.0)]}
    slow = {"seconds": 5.0, "first": None, "away": []}
    assert what_they_could({"servers": [fast, slow]}, 120.0) == pytest.approx((20 - 3) / 0.5 + 20 / 5)


def test_each_seed_has_a_picture_of_its_own_that_names_it() -> None:
    for seed in (0, 7, 2**64 - 1):
        data = make_picture(seed)
        assert seed_in(data) == seed
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            assert (picture.size, picture.mode) == ((64, 64), "RGB")
    assert make_picture(1) != make_picture(2)


@pytest.fixture
def batch(tmp_path: Path) -> Driver:
    """A folder that holds three pictures of a plan, as they should be."""
    driver, plan = Driver(Fleet([], ""), tmp_path, 3), make_plan(3)
    for place in ("approved", "rejected", ".work/incoming"):
        (driver.folder / place).mkdir(parents=True)
    for index in (1, 2, 3):
        item = plan.item(index)
        (name,) = picture_names(plan, item, [data := make_picture(item.seed or 0)])
        (driver.folder / ("approved" if index < 3 else "rejected") / name).write_bytes(data)
    return driver


def first(driver: Driver) -> Path:
    return next((driver.folder / "approved").glob("0001_*"))


def lose(driver: Driver) -> None:
    first(driver).unlink()


def double(driver: Driver) -> None:
    (driver.folder / "rejected" / first(driver).name).write_bytes(first(driver).read_bytes())


def swap(driver: Driver) -> None:
    first(driver).write_bytes(make_picture(99))


def leave(driver: Driver) -> None:
    (driver.folder / ".work" / "incoming" / "half.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [(None, {}), (lose, {"lost": 1}), (double, {"doubled": 1}), (swap, {"foreign": 1}), (leave, {"left": ["half.png"]})],
    ids=["sound", "lost", "doubled", "foreign", "left"],
)
def test_what_is_wrong_with_a_batch_is_seen(batch: Driver, spoil: Callable[[Driver], None] | None, wrong: dict[str, object]) -> None:
    if spoil is not None:
        spoil(batch)
    storm = Storm(3, 0)
    inspect(batch, {"servers": [{"made": [(1, "a", 1.0)] * 4, "struck": {"failed": 2}, "away": [(1.0, 2.0)]}]}, {}, storm)
    found = {name: getattr(storm, name) for name in ("lost", "doubled", "foreign", "left")}
    assert found == {"lost": 0, "doubled": 0, "foreign": 0, "left": []} | wrong
    assert (storm.made, storm.struck, storm.vanished) == (4, {"failed": 2}, 1)


def test_a_filed_picture_that_changed_since_a_kill_is_seen(batch: Driver) -> None:
    storm = Storm(3, 1)
    inspect(batch, {"servers": []}, {f"approved/{first(batch).name}": "another digest", "approved/gone.png": "x"}, storm)
    assert storm.changed == 2
