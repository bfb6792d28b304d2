"""The sentences of a comparison, for a person who does not know statistics."""

from __future__ import annotations

from evals.comparison.comparing import MetricResult, VersionComparison
from evals.comparison.estimating import OVERALL
from evals.comparison.inference import Estimate
from evals.comparison.verdicts import IMPROVED, INCONCLUSIVE, REGRESSED, UNCHANGED
from evals.judging.gates import grades_best_first, is_grade_enough
from lifeos.counting import counted, verb

NO_PICTURES = (
    "The history holds no scores of single pictures for {which}, so no interval can be computed: the verdicts above are plain "
    "differences and may be chance."
)
TWO_FILES = (
    "This compares two LoRA files. To compare two training recipes, train each with at least two seeds and pass "
    "--v1 a --v1 b --v2 c --v2 d: training again with another seed has been seen to move a mean by 0.08 to 0.11."
)
VERSIONS = "This compares two versions: {first} and {second}. The interval includes how much training runs of one version differ."


def verdict_sentence(comparison: VersionComparison) -> str:
    """The answer, first of all, in one plain sentence."""
    first, second = comparison.first.name, comparison.second.name
    overall = comparison.metrics[OVERALL]
    if not comparison.has_evidence:
        return _plain_sentence(comparison, overall)
    estimate = overall.estimate
    if overall.doubt or estimate is None or estimate.low is None or estimate.high is None:
        return f"It cannot be said which is better: {_as_sentence(overall.doubt or 'no score is known of both versions')}"
    span = f"the true difference in overall score is {_between(estimate, comparison)}"
    if overall.verdict == UNCHANGED:
        limit = comparison.policy["comparison"]["minimum_effect"]
        return f"There is no difference that matters between {first} and {second}: {span}, and less than {limit:g} does not matter."
    if overall.verdict == INCONCLUSIVE:
        leaning = f"{second} looks {'better' if estimate.effect > 0 else 'worse'}, but that may be chance"
        return f"It cannot be said yet which is better: {leaning}; {span}{_settling(overall)}."
    if overall.verdict == IMPROVED and comparison.more_stopped:
        return f"{second} is no improvement: {_stops(comparison)}, though its scores are better ({span})."
    better, worse = (second, first) if overall.verdict == IMPROVED else (first, second)
    return f"{better} is better than {worse}{_mixed(comparison)}: {span}."


def _stops(comparison: VersionComparison) -> str:
    return "; ".join(each.sentence for each in comparison.more_stopped)


def _as_sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _plain_sentence(comparison: VersionComparison, overall: MetricResult) -> str:
    first, second = comparison.first.name, comparison.second.name
    doubt = overall.doubt or next((result.doubt for result in comparison.metrics.values() if result.doubt), "")
    if doubt:
        return f"It cannot be said which is better: {_as_sentence(doubt)}"
    if overall.delta is None:
        return "It cannot be said which is better: no overall score is known of both versions."
    words = {IMPROVED: "looks better than", REGRESSED: "looks worse than", UNCHANGED: "looks like"}
    plain = f"{second} {words[overall.verdict]} {first} (overall score {overall.second:.2f} against {overall.first:.2f})"
    return f"{plain}, but how much of that is chance is not known."


def _between(estimate: Estimate, comparison: VersionComparison) -> str:
    assert estimate.low is not None and estimate.high is not None
    confidence = comparison.policy["comparison"]["confidence"]
    return f"between {estimate.low:+.2f} and {estimate.high:+.2f} ({confidence:.0%} sure)".replace("%", " %")


def _settling(result: MetricResult) -> str:
    return f"; {result.settle}" if result.settle else ""


def _mixed(comparison: VersionComparison) -> str:
    """What got worse while the whole got better, or the other way round."""
    against = REGRESSED if comparison.verdict == IMPROVED else IMPROVED
    parts = [result.gate.title for result in comparison.of_gates(against) if result.gate]
    return f" on the whole, though its {' and '.join(parts)} got worse" if parts else ""


def recommendation(comparison: VersionComparison, objections: tuple[str, ...] = (), warnings: tuple[str, ...] = ()) -> str:
    """The two sentences under `## Recommendation`, and one for each warning.

    `objections` are what else the promotion gate found against it, `warnings` what it found and does not mind.
    """
    return " ".join([_advice(comparison, objections), *(f"The pictures of {comparison.second.name} show {line}." for line in warnings)])


def _advice(comparison: VersionComparison, objections: tuple[str, ...]) -> str:
    second = comparison.second
    minimum = comparison.policy["scorecard"]["promotion_minimum_grade"]
    wanted = f"promotion threshold (grade >= {minimum})"
    keep = f"Recommend keeping {comparison.first.version} LoRA."
    if second.grade not in grades_best_first(comparison.policy):
        return f"Whether {second.name} meets {wanted} is not known: it has no grade of the policy. {keep}"
    if not is_grade_enough(second.grade, comparison.policy):
        return f"{second.name} does not meet {wanted}: its grade is {second.grade}. {keep}"
    meets = f"{second.name} meets {wanted}"
    if comparison.verdict == REGRESSED:
        return f"{meets}, but is worse than {comparison.first.name}. {keep}"
    if comparison.more_stopped:
        return f"{meets}, but {_stops(comparison)}. {keep}"
    if worse := [result.gate.title for result in comparison.of_gates(REGRESSED) if result.gate]:
        return f"{meets}, but its {' and '.join(worse)} got worse. {keep}"
    if objections:
        return f"{meets}, but: {'; '.join(objections)}. {keep}"
    if comparison.verdict == INCONCLUSIVE:
        settle = comparison.metrics[OVERALL].settle
        more = f" Make more pictures first: {settle}." if settle else ""
        return f"{meets}, but is not shown to be better than {comparison.first.name}. {keep}{more}"
    if comparison.verdict == UNCHANGED:
        return f"{meets}, but differs from {comparison.first.name} by less than matters. Either LoRA may be deployed."
    return f"{meets}. Recommend deploying {second.version} LoRA."


def claim(comparison: VersionComparison) -> str:
    """What the claim is about: two files, or two ways of training."""
    if not comparison.claims_versions:
        return TWO_FILES
    counts = [f"{len(side.runs)} run{'s' * (len(side.runs) > 1)} of {side.version}" for side in (comparison.first, comparison.second)]
    return VERSIONS.format(first=counts[0], second=counts[1])


def pairing_sentence(comparison: VersionComparison) -> str:
    """Which pictures are compared, and how many have no partner."""
    pairs = comparison.pairs
    if pairs is None:
        without = [run.run_id for side in (comparison.first, comparison.second) for run in side.runs if not run.images]
        return NO_PICTURES.format(which=" and ".join(dict.fromkeys(without)))
    if pairs.matched_by == "nothing":
        return (
            "No picture has a partner with the same prompt and seed in the other version. Make the pictures of both versions "
            "with the same prompts and the same --base-seed."
        )
    text = f"{counted(len(pairs.keys), 'pair')} of pictures with the same {pairs.matched_by}, from {counted(pairs.prompt_count, 'prompt')}"
    if pairs.matched_by == "file name":
        text = f"{counted(len(pairs.keys), 'pair')} of pictures with the same file name"
    if pairs.matched_by == "prompt":
        text += " (the seeds differ, so the means of each prompt are compared: expect wider intervals)"
    left = pairs.unmatched_first + pairs.unmatched_second
    if not left:
        return f"{text}."
    lack = f"{counted(left, 'picture')} {verb(left, 'has', 'have')} no partner in the other version"
    return f"{text}. {lack} and {verb(left, 'is', 'are')} left out of the differences below."
