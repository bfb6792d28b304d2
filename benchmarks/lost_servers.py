"""A batch over three kinds of servers (embedded, Comfy API v2 by the official proxy, a RunPod stand-in) that loses one of them half way, in
each way that is known: whether it ends with the pictures and verdicts of one server alone, and whether a token is in anything it wrote.

With --repair, what the gates reject goes through a second graph, too. Prints a row for each way. Needs the packages of the tests.

    python benchmarks/lost_servers.py --count 9

Exit codes: 0 every batch ended as on one server · 1 one did not, or wrote a token · 2 usage.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK
from tests.tools.backends.three_kinds import (
    LOSSES,
    SECRETS,
    files_with_secrets,
    judged_pictures,
    losing,
    make_batch,
    records_of,
    three_kinds,
)
from tests.tools.production.repair_graphs import GRAPH
from tools.stand_in import render_references, start_embedded_server

SECONDS_PER_PICTURE = 0.3
LOST_AFTER_JOBS = 2


def make_quietly(root: Path, name: str, count: int, *flags: str) -> tuple[Path, str]:
    """A batch's folder, and all that it printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        _, folder = make_batch(root, name, count, *flags)
    return folder, said.getvalue()


def try_loss(root: Path, loss: str, count: int, wanted: dict[str, tuple[str, str]], flags: tuple[str, ...]) -> bool:
    began = time.monotonic()
    with three_kinds(root, SECONDS_PER_PICTURE) as servers:
        with losing(servers, loss, LOST_AFTER_JOBS) as lost:
            folder, said = make_quietly(root, "mixed", count, "--servers", str(servers.file), *flags)
        sent = Counter(record["server"] for record in records_of(folder, "submitted"))
        shares = [sent[url] for url in (servers.plain.url, servers.proxy_url, servers.endpoint.url)]
    same = judged_pictures(folder) == wanted
    told = files_with_secrets(root) or [secret for secret in SECRETS if secret in said]
    row = f"{loss:32} {'as on one server' if same else 'OTHER PICTURES'}, jobs {shares}, {time.monotonic() - began:.1f} s"
    sys.stdout.write(row + ("" if lost.is_set() else ", NOT LOST") + (f", A TOKEN in {told}" if told else "") + "\n")
    return same and lost.is_set() and not told


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--count", type=cli.positive_int, default=9, metavar="N", help="pictures of each batch (default: 9)")
    parser.add_argument("--loss", action="append", choices=[*LOSSES], help="only this way; repeat for several (default: all)")
    parser.add_argument("--repair", action="store_true", help="repair what the gates reject")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        render_references(root / "references", 1)
        (root / "repair.json").write_text(json.dumps(GRAPH), "utf-8")
        flags = ("--repair-workflow", str(root / "repair.json")) if args.repair else ()
        with start_embedded_server() as one:
            alone, _ = make_quietly(root, "alone", args.count, "--comfy-url", one.url, *flags)
        wanted = judged_pictures(alone)
        results = []
        for place, loss in enumerate(args.loss or LOSSES):
            mine = root / f"way{place}"
            (mine / "references").mkdir(parents=True)
            for file in (root / "references").iterdir():
                (mine / "references" / file.name).write_bytes(file.read_bytes())
            results.append(try_loss(mine, loss, args.count, wanted, flags))
    return EXIT_OK if all(results) else EXIT_GATE


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
