"""What follows a batch, as targets of a storm: publishing its approved pictures, and taking in what a person decided about them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from benchmarks.storm_batches import find_in_two, find_torn_records, in_one_place, prepare_batch
from benchmarks.storm_places import Kept, Place, Step, Target, digests, filed, find_doubles, find_torn, read_whole, script

REGISTER = Path("tools/published_register.jsonl")
DECISIONS = "decided.jsonl"


def publish(place: Place) -> list[str]:
    return script("tools/publish.py", {"--project-root": place.root}, "batch")


def copies(place: Place) -> Kept:
    """A copy lies in published/ once it was verified; from then on it is never written again."""
    return digests(place.root, (place.root / "batch" / "published").glob("*.jpg"))


def find_publishing_faults(place: Place) -> list[str]:
    """Copies that lack a label, pictures with two ids, ids of two pictures."""
    from lifeos.policy.defaults import DEFAULTS
    from tools.publishing.label_check import verify_file
    from tools.publishing.publishing_settings import settings_of

    faults = find_torn(place.root / REGISTER)
    if faults:
        return faults
    ids: dict[str, set[int]] = defaultdict(set)
    for row in read_whole(place.root / REGISTER):
        if row["event"] == "claimed":
            ids[row["picture"]["sha256"]].add(row["id"])
    faults += [f"a picture has the ids {sorted(found)}" for found in ids.values() if len(found) > 1]
    faults += find_doubles((str(number) for found in ids.values() for number in found), "id")
    settings = settings_of(DEFAULTS, place.root)
    whole = [verify_file(place.root / name, settings) for name in copies(place)]
    return faults + [f"{each.path.name} lacks a label" for each in whole if not each.report.is_whole]


def published_result(place: Place) -> Kept:
    """The ids come from the batch and the pictures, so that names are the same; time and salt of a signature are not."""
    published = sorted({row["publication"]["file"] for row in read_whole(place.root / REGISTER) if row["event"] == "published"})
    return {"copies": "\n".join(sorted(copies(place))), "register": "\n".join(published)}


def prepare_decisions(place: Place) -> None:
    """A batch of which somebody sees every picture the other way."""
    prepare_batch(place)
    lines: list[str] = []
    for name, digest in filed(place.root / "batch").items():
        verdict = "rejected" if name.startswith("approved/") else "approved"
        said = {"schema": 1, "picture": {"name": Path(name).name, "sha256": digest}, "verdict": verdict, "by": "anna"}
        lines.append(json.dumps({**said, "when": f"2026-11-29T17:00:{len(lines):02d}.000Z", "from": "review", "reason": "seen"}))
    (place.root / DECISIONS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def apply(place: Place) -> list[str]:
    return script("tools/review.py", {"--apply": DECISIONS}, "batch")


def decided(place: Place) -> Kept:
    """What the file of decisions holds, line by line: none is lost, none is written twice."""
    lines = read_whole(place.root / "batch" / "decisions.jsonl")
    return {f"{line['picture']['name']} by {line['by']}": line["verdict"] for line in lines}


def find_decision_faults(place: Place) -> list[str]:
    faults = find_torn(place.root / "batch" / "decisions.jsonl")
    twice = (
        []
        if faults
        else find_doubles((line["picture"]["name"] for line in read_whole(place.root / "batch" / "decisions.jsonl")), "decision")
    )
    return faults + twice + find_in_two(place) + find_torn_records(place)


DECISION_TARGETS = (
    Target("publish", prepare_batch, (Step(publish),), copies, published_result, find_publishing_faults),
    Target(
        "review",
        prepare_decisions,
        (Step(apply),),
        kept=lambda place: {**in_one_place(place), **decided(place)},
        result=lambda place: {**filed(place.root / "batch"), **decided(place)},  # the row goes to the history that the batch names
        find_faults=find_decision_faults,
    ),
)
