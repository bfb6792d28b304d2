"""What is proposed, why something is not, and that too little is said to be too little. Simulated verdicts: nobody looked at a picture."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from evals.judging.records import Reading
from evals.load_thresholds import load_thresholds
from evals.taste import holding_out
from evals.taste.opinions import FREE, Opinion
from evals.taste.proposing import Proposal, propose
from evals.taste.verdict_table import with_limits
from tests.evals.taste.worlds import judge, make_picture

POLICY = load_thresholds()
FACE, TEXTURE = "face_similarity.pass_threshold", "skin_realism.texture_pass_threshold"
COLOUR = "skin_realism.color_naturalness_pass_threshold"


@cache
def by_face(cost_ratio: float = 1.0) -> Proposal:
    """200 verdicts of somebody who looks at the face alone, and takes it from 0.55."""
    return propose(judge({"face": 0.55}, seed=1), POLICY, cost_ratio=cost_ratio)


def test_the_limit_moves_to_where_people_put_it() -> None:
    found = by_face()
    face = found.gates[0]
    assert face.limit.low is not None and face.limit.high is not None
    assert face.limit.low < 0.55 < face.limit.high and face.limit.high - face.limit.low < 0.10
    assert face.now == 0.60 and abs(found.changes[FACE] - 0.55) < 0.02
    assert not face.may_be_chance and not face.adds_nothing and face.more == 0


def test_a_gate_that_people_do_not_go_by_adds_nothing() -> None:
    found = by_face()
    assert [each.gate.key for each in found.gates if each.adds_nothing] == ["skin", "texture", "color"]
    texture = found.gates[2]
    assert texture.only[0] == texture.only[1] > 10, "people approve all that it alone rejects"
    assert texture.limit.low == 0.0 and texture.held == "the judged scores end there"


def test_the_proposal_is_tried_on_verdicts_that_it_was_not_found_with(monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_face()
    assert found.held_out is not None and found.held_out.folds == 10
    assert found.now.kappa.value is not None and found.held_out.proposed.kappa.value is not None
    assert found.held_out.proposed.kappa.value > found.now.kappa.value + 0.3
    assert found.held_out.saved.low is not None and found.held_out.saved.low > 0

    asked = []
    monkeypatch.setattr(holding_out, "fit", lambda table, weights, *, start: asked.append(weights) or start_like(start, weights))
    propose(judge({"face": 0.55}, seed=1, verdicts=40, prompts=20), POLICY, cost_ratio=1.0)
    [weights] = asked
    assert (weights.sum(axis=0) == 9).all(), "each verdict is kept out of one fit of ten"
    assert all(weights[fold, place] == weights[fold, place + 20] for fold in range(10) for place in range(20)), "and its prompt with it"


def start_like(start: holding_out.Tastes, weights: object) -> holding_out.Tastes:
    count = len(weights)  # type: ignore[arg-type]
    parts = start.limits, start.noise, start.slip, start.lapse, start.fitness
    return holding_out.Tastes(*(np.repeat(each, count, axis=0) for each in parts))


def test_a_dearer_mistake_raises_the_limit() -> None:
    assert by_face(8.0).gates[0].proposed > by_face().gates[0].proposed + 0.03


@pytest.mark.parametrize(
    ("seed", "why"),
    [
        (5, "on held-out verdicts the limits in force cost no more than the model's"),
        (6, "the verdicts allow the limits in force as well"),
    ],
)
def test_limits_that_fit_already_stay(seed: int, why: str) -> None:
    """Somebody who takes faces from 0.60, as the policy does: what the model finds differs by chance, and once it happens to cost less."""
    open_skin = with_limits(POLICY, {"skin_realism.overall_pass_threshold": 0.4, TEXTURE: 0.4, COLOUR: 0.4})
    found = propose(judge({"face": 0.60}, seed=seed, verdicts=60, prompts=20), open_skin, cost_ratio=1.0)
    assert found.gates[0].proposed != 0.60
    assert found.changes == {} and found.kept == why


def test_too_few_verdicts_are_said_and_still_point_somewhere() -> None:
    """Three rejected pictures that somebody approves: the limit goes below them, no further, and nothing is claimed."""
    three = [Opinion(make_picture(f"{n}.png", f"p{n}", face), "anna", True, FREE) for n, face in enumerate((0.58, 0.557, 0.57))]
    found = propose(three, POLICY, cost_ratio=1.0)
    assert found.changes == {FACE: 0.55}
    assert (
        found.few
        == "3 verdicts that a limit can explain: at least 17 more are wanted, with 2 more approvals and 5 more rejections among them"
    )
    assert found.held_out is None and found.in_rates == 0 and found.gates[0].limit.low is None and found.gates[0].may_be_chance


def test_few_prompts_have_no_interval() -> None:
    found = propose(judge({"face": 0.55}, seed=1, verdicts=40, prompts=3), POLICY, cost_ratio=1.0)
    assert found.few == "verdicts on 3 prompts: intervals need 5, with about as many verdicts on each"


def test_more_verdicts_are_asked_for_where_the_interval_is_wide() -> None:
    face = propose(judge({"face": 0.55}, seed=4, verdicts=40, prompts=20, noise=0.12), POLICY, cost_ratio=1.0).gates[0]
    assert face.limit.low is not None and face.limit.high is not None and face.more is not None
    width = face.limit.high - face.limit.low
    assert width > 0.12 and face.more == pytest.approx(40 * ((width / 0.10) ** 2 - 1), abs=1)


def test_a_limit_stops_where_the_policy_would_not_be_sound() -> None:
    """The pass mark of a face lies at its warning mark or above."""
    face = propose(judge({"face": 0.42}, seed=1), POLICY, cost_ratio=1.0).gates[0]
    assert face.proposed == 0.50 and "below warn_threshold" in face.held


def test_nothing_moves_where_no_judged_picture_depends_on_it() -> None:
    """0.80 is approved and 0.30 rejected: the model's limit is lower than 0.78, and would judge no picture otherwise."""
    opinions = [Opinion(make_picture(f"{n}.png", f"p{n}", 0.3 if n % 2 else 0.8), "anna", n % 2 == 0, FREE) for n in range(12)]
    found = propose(opinions, with_limits(POLICY, {FACE: 0.78}), cost_ratio=1.0)
    assert found.gates[0].limit.value is not None and found.gates[0].limit.value < 0.75
    assert found.changes == {} and found.gates[0].held == "no judged picture depends on it"


def test_of_two_gates_that_reject_the_same_one_moves() -> None:
    """Approved pictures have the texture 0.5 to 0.6 and the colour 1.0, so that their skin realism passes; rejected ones fail in both."""
    good = [Opinion(make_picture(f"{n}.png", f"p{n}", 0.8, 0.5 + n / 100, 1.0), "anna", True, FREE) for n in range(10)]
    bad = [Opinion(make_picture(f"b{n}.png", f"p{n}", 0.8, 0.2 + n / 100, 0.9), "anna", False, FREE) for n in range(10)]
    found = propose([*good, *bad], POLICY, cost_ratio=1.0)
    assert list(found.changes) == [TEXTURE] and 0.29 < found.changes[TEXTURE] <= 0.50
    assert found.gates[1].limit.value != 0.60 and found.gates[1].proposed == 0.60


def test_pictures_that_were_chosen_are_no_rates() -> None:
    """The same verdicts place the same limit, whoever chose the pictures; only the rates are not known."""
    drawn = judge({"face": 0.55}, seed=1, verdicts=60)
    chosen = propose([replace(each, weight=None, choice=FREE) for each in drawn], POLICY, cost_ratio=1.0)
    assert chosen.in_rates == 0 and chosen.held_out is None and chosen.now.precision.value is None
    assert chosen.gates[0].limit.value == propose(drawn, POLICY, cost_ratio=1.0).gates[0].limit.value


def test_what_a_gate_could_not_measure_counts_in_the_rates_alone() -> None:
    faceless = [Opinion(make_picture(f"f{n}.png", f"prompt {n}", None), "anna", True, "random", 1.0) for n in range(20)]
    found = propose([*judge({"face": 0.55}, seed=1, verdicts=60), *faceless], POLICY, cost_ratio=1.0)
    assert found.unmeasured == 20 and found.in_rates == 80 and found.now.second_alone >= 20


def test_another_policy_is_another_present() -> None:
    lower = with_limits(POLICY, {FACE: 0.55, TEXTURE: 0.45})
    found = propose(judge({"face": 0.55}, seed=1, verdicts=60), lower, cost_ratio=1.0)
    assert [each.now for each in found.gates] == [0.55, 0.60, 0.45, 0.55]
    assert POLICY["face_similarity"]["pass_threshold"] == 0.60


def test_no_verdict_moves_a_guard_of_publishing() -> None:
    """Ten pictures with a second face are approved by somebody: whether they may be published is no matter of taste."""
    guarded = with_limits(POLICY, {"gates.second_face.limit": 0.5})

    def with_second_face(opinion: Opinion, share: float) -> Opinion:
        picture = opinion.picture
        assessment = replace(picture.assessment, measures={"second_face": Reading(share)})
        return replace(opinion, picture=replace(picture, assessment=assessment), approved=opinion.approved or share > 0.5)

    opinions = [with_second_face(each, 0.9 if place < 10 else 0.1) for place, each in enumerate(judge({"face": 0.55}, seed=1, verdicts=60))]
    found = propose(opinions, guarded, cost_ratio=1.0)
    assert found.guarded == 10 and len(found.opinions) == 50
    assert [each.gate.key for each in found.gates] == ["face", "skin", "texture", "color"]
