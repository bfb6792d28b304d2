"""Does the embedding tell the same clothes in the same place from other pictures, and what does it cost?

Pictures of one scene against each other should reach the cosine from which sameness counts them as one; pictures of different scenes should
not. Without folders: demo portraits (one scene) and scikit-image's photographs (all different).

    python benchmarks/likeness.py
    python benchmarks/likeness.py --scenes FOLDER --different FOLDER

Exit codes: 0 measured · 2 bad usage · 3 a model or package is missing.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.memorised import LONGEST, photographs, portraits
from benchmarks.sample_pictures import read_reduced
from lifeos import cli
from lifeos.errors import EXIT_OK
from lifeos.images import find_pictures
from lifeos.project import require_directory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from evals.likeness.embedding import Embedder

    Rgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of one kind: how many, how many count as one scene, and their cosines."""

    title: str
    pairs: int
    same: int
    lowest: float
    median: float
    highest: float


def compare(title: str, couples: Sequence[tuple[str, str]]) -> Pairs | None:
    """The cosines of pairs of records, as sameness compares them; None without a pair."""
    from evals.likeness.embedding import SAME_SCENE, read_record

    vectors = [(read_record(first), read_record(second)) for first, second in couples]
    cosines = [float(first @ second) for first, second in vectors if first is not None and second is not None]
    if not cosines:
        return None
    same = sum(cosine >= SAME_SCENE for cosine in cosines)
    return Pairs(title, len(cosines), same, min(cosines), statistics.median(cosines), max(cosines))


def embed_all(pictures: Sequence[tuple[str, Rgb]], embedder: Embedder, seconds: list[float]) -> list[str]:
    """The record of each picture; `seconds` takes the time of each on one core."""
    from evals.likeness.embedding import to_record

    records = []
    for _, rgb in pictures:
        began = time.process_time()
        records.append(to_record(embedder.embed(rgb)))
        seconds.append(time.process_time() - began)
    return records


def run(scenes: Path | None, different: Path | None) -> tuple[list[Pairs], float]:
    """The pairs of each kind, and the median seconds of an embedding with its record."""
    from evals.likeness.embedding import open_embedder

    embedder, seconds = open_embedder(), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        groups = {"demo portraits": portraits(Path(folder))}
    if scenes is not None:
        for place in sorted(path for path in scenes.iterdir() if path.is_dir()):
            groups[place.name] = list(read_reduced(find_pictures(place), place.name, LONGEST))
    found = {name: embed_all(pictures, embedder, seconds) for name, pictures in groups.items()}
    others = list(read_reduced(find_pictures(different, recursive=True), "different", LONGEST)) if different else photographs()
    apart = embed_all(others, embedder, seconds)
    named = {name: records for name, records in found.items() if name != "demo portraits"}
    kinds = [
        compare("one scene: demo portraits", list(combinations(found["demo portraits"], 2))),
        compare("one scene: --scenes", [pair for records in named.values() for pair in combinations(records, 2)]),
        compare("two of --scenes", [(a, b) for one, two in combinations(named.values(), 2) for a in one for b in two]),
        compare("different pictures", list(combinations(apart, 2))),
    ]
    return [pairs for pairs in kinds if pairs is not None], statistics.median(seconds)


def render(kinds: Sequence[Pairs], seconds: float) -> str:
    lines = [f"{'':28}{'pairs':>7}{'counted as one scene':>24}{'lowest':>9}{'median':>9}{'highest':>9}"]
    for each in kinds:
        share = f"{each.same} ({each.same / each.pairs:.1%})"
        lines.append(f"{each.title:28}{each.pairs:>7}{share:>24}{each.lowest:>9.2f}{each.median:>9.2f}{each.highest:>9.2f}")
    return "\n".join([*lines, f"{1000 * seconds:.1f} ms of one core for an embedding and its record"])


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "--scenes", type=Path, metavar="DIR", help="a folder of folders; each holds pictures of the same clothes in one place"
    )
    parser.add_argument("--different", type=Path, metavar="DIR", help="a folder of pictures of different scenes")
    parser.add_json()
    args = parser.parse_args(argv)
    for folder, flag in ((args.scenes, "--scenes"), (args.different, "--different")):
        if folder is not None:
            require_directory(folder, flag)
    kinds, seconds = run(args.scenes, args.different)
    if args.json:
        cli.print_json({"kinds": [asdict(pairs) for pairs in kinds], "milliseconds": round(1000 * seconds, 1)})
    else:
        cli.say(render(kinds, seconds))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
