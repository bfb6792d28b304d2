"""Which face engines there are, and whether each can run here, as JSON: what `python -m lifeos doctor` asks the environment.

Exit codes: 0 done · 2 the policy is not sound, or a models folder that was named does not exist.
"""

from __future__ import annotations

from typing import Any

from evals.faces import engines
from lifeos import cli
from lifeos.errors import EXIT_OK, LifeosError
from lifeos.policy.loading import load_thresholds


def examine_engines() -> list[dict[str, Any]]:
    """A row for each engine of the registry: `ready` with what it would run with in `found`, or why not and what fixes it."""
    request = engines.read_request(load_thresholds(section="face_similarity"))
    rows: list[dict[str, Any]] = []
    for row in engines.ENGINES:
        try:
            found, fix, ready = row.load().check(request), "", True
        except LifeosError as error:
            found, fix, ready = f"{error.what}: {error.why}", error.fix, False
        rows.append({"engine": row.name, "summary": row.summary, "ready": ready, "found": found, "fix": fix})
    return rows


def main() -> int:
    cli.print_json({"schema": 1, "engines": examine_engines()})
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
