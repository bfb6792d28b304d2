"""kill_storm: a few kills of two cheap scripts hold, and what a careless script breaks is noticed."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from benchmarks.kill_storm import TARGETS, Calm, Findings, Pace, Round, build_parser, main, render
from benchmarks.storm_places import Place, Step, Target, find_doubles, find_torn
from lifeos import cli

FOLLOWED = "import sys, time; {body}; time.sleep(float(sys.argv[1]))"


def test_two_cheap_scripts_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: main(["--script", "cost", "--script", "promote_findings", "--kills", "5", "--json"])) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kills"], document["faults"]) == (5, [])
    assert [(one["script"], one["kills"]) for one in document["scripts"]] == [("cost", 3), ("promote_findings", 2)]
    assert all(one["rounds"] for one in document["scripts"])


def test_every_script_that_keeps_something_is_there() -> None:
    batches = {"production_pipeline", "generate_batch", "parameter_sweep", "rejudge", "scorecard"}
    assert {*TARGETS} == batches | {
        "repairing",
        "publish",
        "review",
        "dataset_manifest",
        "cost",
        "promote",
        "promote_findings",
        "commit",
        "retrain",
    }
    assert cli.run(lambda: main(["--script", "no such script"])) == 2


def toy(body: str) -> Target:
    """A script that does `body` in its folder, and sleeps for as long as it is told."""

    def lines(place: Place) -> list[str]:
        path = place.root / "log.txt"
        return path.read_text().split() if path.exists() else []

    return Target(
        "toy",
        lambda place: None,
        (Step(lambda place: [sys.executable, "-c", FOLLOWED.format(body=body), str(place.options.seconds)]),),
        kept=lambda place: dict.fromkeys(lines(place), "there"),
        result=lambda place: {"lines": " ".join(lines(place))},
        find_faults=lambda place: find_doubles(lines(place), "line") + find_torn(place.root / "out.json"),
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("open('log.txt', 'a').write('one ')", "line one is there 2 times"),
        ("open('out.json', 'w').write('{'); open('log.txt', 'w').write('one ')", "out.json is not whole: "),
        ("import os; open('log.txt', 'w').write(f'p{os.getpid()} ')", " was lost"),
        ("open('.log.txt.tmp', 'w').close(); open('log.txt', 'w').write('one ')", "left behind: .log.txt.tmp"),
        ("open('log.txt', 'w').write('two ')", "lines differs from the undisturbed run: two, not one"),
        ("import os; os.path.exists('log.txt') and sys.exit(7); open('log.txt', 'w').write('one ')", "the last run ended with 7: nothing"),
        ("open('log.txt', 'w').write('one ')", ""),
    ],
    ids=["twice", "torn", "lost", "left behind", "another result", "does not continue", "faultless"],
)
def test_what_a_careless_script_breaks_is_noticed(body: str, told: str, tmp_path: Path) -> None:
    options = build_parser().parse_args([])
    options.seconds = 30.0  # a run is at work when it is killed; the last one ends at once
    place, findings = Place(tmp_path / "round", options), Findings("toy")
    place.root.mkdir()
    round_ = Round(toy(body), place, Calm([Pace(0.0, 0.2)], {"lines": "one"}), findings, random.Random(3))
    assert round_.strike(round_.target.steps[0], round_.calm.paces[0], 1)
    options.seconds = 0.0
    round_.finish(round_.target.steps[0])
    round_.compare()
    assert (findings.kills, bool(findings.faults)) == (1, bool(told))
    assert told in "\n".join(findings.faults)
    assert told in render([findings])
