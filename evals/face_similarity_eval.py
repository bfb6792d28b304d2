"""Score how much the faces in generated pictures look like the character in the references.

Reads two folders of pictures and the policy (evals/thresholds.yaml); writes the results as JSON with --output-json. The score of a
picture is the cosine of its subject's face to the middle of the references (the unit mean of their unit embeddings), converted to one scale
for all engines: 0 an average stranger, 0.60 the pass mark, 1 the middle itself.

    python evals/face_similarity_eval.py --generated-dir out/ --reference-dir references/ --output-json face.json

Exit codes: 0 scored · 1 the mean is below the threshold (only with --fail-on-threshold) · 2 bad usage or input, or no reference with a
face · 3 a model or package is missing · 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.judging import eval_command
from evals.judging.assessor import Assessor
from evals.judging.gate_limits import add_gate_limits, given_limits
from evals.judging.gates import gate_of, means
from evals.judging.inputs import left_out_lines
from evals.judging.likeness_range import describe_likeness
from evals.judging.records import Assessment
from evals.load_thresholds import load_thresholds
from lifeos import cli
from lifeos.counting import counted
from lifeos.escaping import escape_line
from lifeos.images import LeftOut

SHOWN = 10


@dataclass(frozen=True, slots=True)
class FaceEvaluation:
    """The face scores of a folder. `mean` is None where no picture has a score; then it does not pass."""

    generated: Path
    reference: Path
    threshold: float
    assessments: tuple[Assessment, ...]
    mean: float | None
    faceless: int
    protocol: Mapping[str, Any]
    provider: str
    left_out: tuple[LeftOut, ...] = ()
    references_left_out: tuple[str, ...] = ()
    likeness: Mapping[str, Any] = field(default_factory=dict)
    """What a score stands between (`LikenessRange`)."""
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.mean is not None and gate_of("face").passes(self.mean, self.threshold)

    def to_json(self) -> dict[str, Any]:
        """The results document: fields as in DESIGN, then what else is known."""
        return {
            "schema": eval_command.SCHEMA,
            "generated_dir": self.generated.as_posix(),
            "reference_dir": self.reference.as_posix(),
            "threshold": self.threshold,
            "images_evaluated": len(self.assessments),
            "images_without_face": self.faceless,
            **eval_command.inputs_document(self.left_out, self.generated, self.references_left_out),
            "mean_similarity": self.mean,
            "likeness": dict(self.likeness) or None,
            "warnings": list(self.warnings),
            "pass": self.passed,
            "protocol": dict(self.protocol),
            "provider": self.provider,
            "per_image": [self._image(item) for item in self.assessments],
        }

    def _image(self, item: Assessment) -> dict[str, Any]:
        face, geometry = item.face, item.geometry
        return {
            "image": eval_command.relative_name(item.file, self.generated),
            "sha256": item.sha256,
            "score": face.score,
            "reason": face.reason,
            "face_detected": face.faces > 0,
            "faces": face.faces,
            "best_reference": face.best_reference,
            "cosine": face.cosine,
            "pass": face.score is not None and gate_of("face").passes(face.score, self.threshold),
            "attempt": face.attempt or None,
            "flags": list(face.flags),
            "yaw": geometry.yaw if geometry else None,
            "roll": geometry.roll if geometry else None,
            "face_height": geometry.face_height if geometry else None,
        }


def evaluate_faces(assessor: Assessor, generated: Path, reference: Path, policy: Mapping[str, Any]) -> FaceEvaluation:
    """Score every picture in a folder against an open assessor's references."""
    listing = eval_command.list_generated(generated, reference)
    assessments = eval_command.assess_pictures(assessor, listing.pictures)
    return FaceEvaluation(
        generated=generated,
        reference=reference,
        threshold=policy["face_similarity"]["pass_threshold"],
        assessments=tuple(assessments),
        mean=means(assessments, policy).value("face"),
        faceless=eval_command.count_faceless(assessments),
        protocol=assessor.protocol,
        provider=assessor.provider,
        left_out=listing.left_out,
        references_left_out=assessor.references.left_out,
        likeness=assessor.likeness,
        warnings=assessor.warnings,
    )


def render(evaluation: FaceEvaluation) -> str:
    """The result for a person: the lowest pictures, what has no score, and the mean."""
    scored = [item for item in evaluation.assessments if item.face.score is not None]
    lines = [_line(item, evaluation) for item in _lowest(scored)]
    if len(scored) > SHOWN:
        lines.insert(0, f"lowest {SHOWN} of {len(scored)}:")
    lines += [
        *eval_command.unscored_lines(evaluation.assessments),
        *left_out_lines(evaluation.left_out, evaluation.generated),
    ]
    if evaluation.mean is None:
        return "\n".join([*lines, "no picture has a score: fail"])
    verdict = "pass" if evaluation.passed else "fail"
    count = f"{len(scored)} of {counted(len(evaluation.assessments), 'picture')}"
    between = describe_likeness(evaluation.mean, evaluation.likeness)
    lines += [f"face similarity {between}"] if between else []
    return "\n".join([*lines, f"mean face similarity {evaluation.mean:.4f} over {count}, threshold {evaluation.threshold:.2f}: {verdict}"])


def _lowest(scored: Sequence[Assessment]) -> list[Assessment]:
    return sorted(scored, key=lambda item: item.face.score or 0.0)[:SHOWN]


def _line(item: Assessment, evaluation: FaceEvaluation) -> str:
    face = item.face
    flags = f"  [{', '.join(flag.replace('_', ' ') for flag in face.flags)}]" if face.flags else ""
    name = escape_line(eval_command.relative_name(item.file, evaluation.generated))
    return f"  {face.score:.4f}  {name}  (nearest {escape_line(face.best_reference)}){flags}"


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, spellings={"--threshold": "--face-threshold"})
    eval_command.add_judging_arguments(parser)
    add_gate_limits(parser, subjects={"face"})
    parser.add_argument("--output-json", type=Path, metavar="FILE", help="write the results here")
    eval_command.add_gate_arguments(parser, fails_when="the mean is below the threshold")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    cli.end_as_interrupted()
    policy = load_thresholds(args.project_root, overrides=given_limits(args))
    from tools.publishing.marked_pictures import refuse_marked_inputs

    listing = eval_command.list_generated(args.generated, args.reference)  # an empty folder shows before the models load
    refuse_marked_inputs(listing.pictures, args.reference, allow=args.allow_marked)
    assessor = eval_command.open_assessor_for(args, policy, want_skin=False)
    evaluation = evaluate_faces(assessor, args.generated, args.reference, policy)
    eval_command.warn_of_overlap(evaluation.assessments, assessor)
    return eval_command.hand_over(evaluation.to_json(), render(evaluation), args, passed=evaluation.passed)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
