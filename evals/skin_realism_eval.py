"""Score how real the skin looks in generated pictures: texture and colour, on skin only, compared with the skin of the references.

Reads two folders of pictures and the policy (evals/thresholds.yaml); writes the results as JSON with --output-json. Skin that is too
smooth or too noisy scores low. A picture without a face, without colour, or with too little skin has no score and is left out of the
mean.

    python evals/skin_realism_eval.py --generated-dir out/ --reference-dir references/ --output-json skin.json

Exit codes: 0 scored · 1 a mean is below its threshold (only with --fail-on-threshold) · 2 bad usage or input, or no reference with a
face · 3 a model or package is missing · 130 interrupted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.judging import eval_command
from evals.judging.assessor import Assessor
from evals.judging.gate_limits import add_gate_limits, given_limits
from evals.judging.gates import Gate, gate_of, limits_of, means
from evals.judging.inputs import left_out_lines
from evals.judging.records import Assessment, explain_reason
from evals.load_thresholds import load_thresholds
from evals.skin.realism import BORDERLINE
from lifeos import cli
from lifeos.counting import counted
from lifeos.escaping import escape_line
from lifeos.images import LeftOut

SHOWN = 10


@dataclass(frozen=True, slots=True)
class MeanResult:
    """The mean of one gate and the limit that it must reach. `mean` is None where no picture has a score; then it does not pass."""

    gate: Gate
    mean: float | None
    threshold: float

    @property
    def passed(self) -> bool:
        return self.mean is not None and self.gate.passes(self.mean, self.threshold)


@dataclass(frozen=True, slots=True)
class SkinEvaluation:
    """The skin scores of a folder."""

    generated: Path
    reference: Path
    assessments: tuple[Assessment, ...]
    overall: MeanResult
    texture: MeanResult
    color: MeanResult
    protocol: Mapping[str, Any]
    provider: str
    left_out: tuple[LeftOut, ...] = ()
    references_left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def gates(self) -> tuple[MeanResult, MeanResult, MeanResult]:
        return self.overall, self.texture, self.color

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)

    def to_json(self) -> dict[str, Any]:
        """The results document: fields as in DESIGN, then what else is known."""
        return {
            "schema": eval_command.SCHEMA,
            "generated_dir": self.generated.as_posix(),
            "reference_dir": self.reference.as_posix(),
            "threshold": self.overall.threshold,
            "texture_threshold": self.texture.threshold,
            "color_threshold": self.color.threshold,
            "images_evaluated": len(self.assessments),
            "images_without_score": sum(item.skin.score is None for item in self.assessments),
            "images_borderline": sum(BORDERLINE in item.skin.flags for item in self.assessments),
            **eval_command.inputs_document(self.left_out, self.generated, self.references_left_out),
            "overall_realism_score_mean": self.overall.mean,
            "texture_score_mean": self.texture.mean,
            "color_naturalness_score_mean": self.color.mean,
            "texture_pass": self.texture.passed,
            "color_naturalness_pass": self.color.passed,
            "pass": self.passed,
            "warnings": list(self.warnings),
            "protocol": dict(self.protocol),
            "provider": self.provider,
            "per_image": [self._image(item) for item in self.assessments],
        }

    def _image(self, item: Assessment) -> dict[str, Any]:
        skin = item.skin
        return {
            "image": eval_command.relative_name(item.file, self.generated),
            "sha256": item.sha256,
            "score": skin.score,
            "reason": skin.reason,
            "face_detected": item.face.faces > 0,
            "faces": item.face.faces,
            "best_reference": item.face.best_reference,
            "texture": skin.texture,
            "color_naturalness": skin.color,
            "pass": self._passes(item),
            "flags": list(skin.flags),
            "scale": skin.scale,
            "texture_offset": skin.texture_offset,
            "noise_offset": skin.noise_offset,
            "color_distance": skin.color_distance,
            "edge_offset": skin.edge_offset,
            "noise_share": skin.noise_share,
            "texture_range": list(skin.texture_range) if skin.texture_range is not None else None,
            "borderline": BORDERLINE in skin.flags,
        }

    def _passes(self, item: Assessment) -> bool:
        readings = [(result, result.gate.read(item, ()).score) for result in self.gates]
        return all(score is not None and result.gate.passes(score, result.threshold) for result, score in readings)


def evaluate_skin(assessor: Assessor, generated: Path, reference: Path, policy: Mapping[str, Any]) -> SkinEvaluation:
    """Score every picture in a folder against an open assessor's references."""
    listing = eval_command.list_generated(generated, reference)
    assessments = eval_command.assess_pictures(assessor, listing.pictures)
    found, limits = means(assessments, policy), limits_of(policy)
    overall, texture, color = (MeanResult(gate_of(key), found.value(key), limits[key]) for key in ("skin", "texture", "color"))
    return SkinEvaluation(
        generated=generated,
        reference=reference,
        assessments=tuple(assessments),
        overall=overall,
        texture=texture,
        color=color,
        protocol=assessor.protocol,
        provider=assessor.provider,
        left_out=listing.left_out,
        references_left_out=assessor.references.left_out,
        warnings=assessor.warnings,
    )


def render(evaluation: SkinEvaluation) -> str:
    """The result for a person: the lowest pictures and why, what has no score, and the three means."""
    scored = sorted((item for item in evaluation.assessments if item.skin.score is not None), key=lambda item: item.skin.score or 0.0)
    lines = [f"lowest {SHOWN} of {len(scored)}:"] if len(scored) > SHOWN else []
    lines += [_line(item, evaluation) for item in scored[:SHOWN]]
    marked = sum(BORDERLINE in item.skin.flags for item in scored)
    lines += [f"{marked} borderline: the texture could be judged either way, look at them first"] if marked else []
    unscored = Counter(item.skin.reason for item in evaluation.assessments if item.skin.reason is not None)
    lines += [f"{count} without a score: {explain_reason(reason)}" for reason, count in unscored.most_common()]
    lines += left_out_lines(evaluation.left_out, evaluation.generated)
    if not scored:
        return "\n".join([*lines, "no picture has a score: fail"])
    lines += [
        f"mean {result.gate.title} {result.mean:.4f}, threshold {result.threshold:.2f}: {_word(result.passed)}"
        for result in evaluation.gates
    ]
    return "\n".join([*lines, f"{len(scored)} of {counted(len(evaluation.assessments), 'picture')} scored: {_word(evaluation.passed)}"])


def _line(item: Assessment, evaluation: SkinEvaluation) -> str:
    skin = item.skin
    flags = f"  [{', '.join(flag.replace('_', ' ') for flag in skin.flags)}]" if skin.flags else ""
    name = escape_line(eval_command.relative_name(item.file, evaluation.generated))
    return f"  {skin.score:.4f}  {name}  (texture {skin.texture:.2f}, colour {skin.color:.2f}){flags}"


def _word(passed: bool) -> str:
    return "pass" if passed else "fail"


def build_parser() -> cli.Parser:
    old = {f"--{part}threshold": f"--skin-{part}threshold" for part in ("", "texture-", "color-")}
    parser = cli.Parser(__doc__, spellings=old)
    eval_command.add_judging_arguments(parser)
    add_gate_limits(parser, subjects={"skin"})
    parser.add_argument("--output-json", type=Path, metavar="FILE", help="write the results here")
    eval_command.add_gate_arguments(parser, fails_when="any of the three means is below its threshold")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.end_as_interrupted()
    policy = load_thresholds(args.project_root, overrides=given_limits(args))
    from tools.publishing.marked_pictures import refuse_marked_inputs

    listing = eval_command.list_generated(args.generated, args.reference)  # an empty folder shows before the models load
    refuse_marked_inputs(listing.pictures, args.reference, allow=args.allow_marked)
    assessor = eval_command.open_assessor_for(args, policy)
    evaluation = evaluate_skin(assessor, args.generated, args.reference, policy)
    eval_command.warn_of_overlap(evaluation.assessments, assessor)
    return eval_command.hand_over(evaluation.to_json(), render(evaluation), args, passed=evaluation.passed)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
