"""Whether two face engines agree: on which pictures they find the face, on likeness, and (`skin_validity.py`) on the verdict on skin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.goals import Figure, share
from benchmarks.rank_figures import rank_correlation
from benchmarks.sample_pictures import Sample, SampleSets, sight
from lifeos.errors import LifeosError, UnavailableError
from lifeos.progress import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.faces.face_engine import FaceEngine
    from evals.faces.policy_scale import PolicyScale

    Rgb = NDArray[np.uint8]

ENGINES = "engines"
ORDER = ("sface", "insightface", "dlib")
CLOSE_UP = 0.4
"""Face height over picture height."""


def ready_engines(policy: Mapping[str, Any], model_root: Path | None) -> Iterator[FaceEngine]:
    """Those that are ready here, the default one first, each opened when it is asked for."""
    from evals.faces.engines import choose_engine

    for name in ORDER:
        try:
            yield choose_engine(name, policy, prefer_cpu=True, model_root=model_root)
        except LifeosError:
            continue


def second_engine(engine: FaceEngine, policy: Mapping[str, Any], model_root: Path | None) -> FaceEngine:
    """Another engine than that one. Raises UnavailableError where none is ready."""
    found = next((other for other in ready_engines(policy, model_root) if other.scale_key != engine.scale_key), None)
    if found is None:
        fix = "give --model-root a folder with a model pack, or run: python -m lifeos setup --dlib"
        raise UnavailableError("--engines", f"no other engine than {engine.scale_key} is ready here", fix)
    return found


def agreement_rows(engine: FaceEngine, other: FaceEngine, sets: SampleSets, policy: Mapping[str, Any]) -> list[Figure]:
    """Which faces each finds that the other finds, and how they order and judge likeness."""
    pairs = list(_seen_by_both(other, sets))
    first, second = engine.scale_key, other.scale_key
    close = [one for _, one, two in pairs if two is not None and two.face.box[3] - two.face.box[1] >= CLOSE_UP * two.rgb.shape[0]]
    by_second = [one for _, one, two in pairs if two is not None]
    by_first = [two for _, one, two in pairs if one is not None]
    rows = [
        _found(f"close-ups that {second} finds: found by {first}", close, 1.0),
        _found(f"pictures with a face for {second}: found by {first}", by_second, None),
        _found(f"pictures with a face for {first}: found by {second}", by_first, None),
    ]
    return rows + _likeness_rows((engine, other), pairs, policy)


def _seen_by_both(other: FaceEngine, sets: SampleSets) -> Iterator[tuple[str, Sample | None, Sample | None]]:
    pictures: list[tuple[str, str, Rgb, Sample | None]] = [(label, one.name, one.rgb, one) for label, one in sets.distinct]
    pictures += [(label, name, rgb, None) for label, unseen in sets.unseen.items() for name, rgb in unseen]
    for label, name, rgb, one in track(pictures, f"looking with {other.scale_key}", unit="picture"):
        yield label, one, sight(other, name, rgb)


def _found(name: str, seen: Sequence[Sample | None], goal: float | None) -> Figure:
    return share(ENGINES, name, sum(sample is not None for sample in seen), len(seen), goal, at_least=True)


def _likeness_rows(
    engines: tuple[FaceEngine, FaceEngine], pairs: Sequence[tuple[str, Sample | None, Sample | None]], policy: Mapping[str, Any]
) -> list[Figure]:
    """By the pictures that both find, each engine with its own references and its own row."""
    import numpy as np

    from evals.faces.centroid import centroid_of
    from evals.faces.policy_scale import PolicyScale

    both = [(label, one, two) for label, one, two in pairs if one is not None and two is not None]
    references = [(one, two) for label, one, two in both if label == "references"]
    judged = [(one, two) for label, one, two in both if label not in ("references", "photos")]
    rows = policy["face_similarity"]["engines"]
    if len(references) < 2 or not judged or any(engine.scale_key not in rows for engine in engines):
        return []
    cosines = []
    for place in range(2):
        middle = centroid_of(np.stack([pair[place].embedding for pair in references]))
        cosines.append([float(middle @ pair[place].embedding) for pair in judged])
    scales = [PolicyScale.from_policy(rows[engine.scale_key]) for engine in engines]
    verdicts = [[_verdict(cosine, scale) for cosine in each] for each, scale in zip(cosines, scales, strict=True)]
    same = sum(one == two for one, two in zip(*verdicts, strict=True))
    return [
        share(ENGINES, "likeness: the same of pass, warn and fail", same, len(judged)),
        Figure(ENGINES, "likeness: Spearman of the cosines", rank_correlation(*cosines), None, len(judged)),
    ]


def _verdict(cosine: float, scale: PolicyScale) -> str:
    return "pass" if cosine >= scale.passing else "warn" if cosine >= scale.warn else "fail"
