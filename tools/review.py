"""Look at the pictures of a batch in your browser and decide: approve, reject, say why, undo. Your verdict wins over the gates.

Serves the batch directory on this machine alone, at an address that holds a token. Each decision is on the disk (decisions.jsonl) before
the page shows it; pictures move and reports follow a moment later, or when a batch that is at work ends. `?` shows the keys.

    python tools/review.py lifeos_demo                              # look, decide; Ctrl-C ends
    python tools/review.py batch_003 --reviewer anna --open         # a second person; verdicts stay apart
    python tools/review.py batch_003 --blind --sample 40            # without verdicts and scores: what calibration learns from
    python tools/review.py batch_003 --apply decisions_batch_003.json      # what batch_report.html exported

Exit codes: 0 done · 1 a decision of --apply was left out · 2 bad usage or input · 3 the port, or room on the disk, is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import secrets
import stat
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli, foreign, signals
from lifeos.counting import counted, verb
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError, UnavailableError
from lifeos.files import write_json
from lifeos.pages.opening import open_in_browser

if TYPE_CHECKING:
    from tools.reviewing.applying import AppliedFile
    from tools.reviewing.carrying import Carrier
    from tools.reviewing.desk import ReviewDesk
    from tools.reviewing.review_server import ReviewServer
    from tools.reviewing.reviewed_batch import ReviewedBatch

HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class ReviewAddress:
    """Where a review was served, its token, and of which directory: a copy of the batch is another review."""

    port: int
    token: str
    directory: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.port <= HIGHEST_PORT and re.fullmatch(r"[\w-]{20,}", self.token, re.ASCII)):
            raise ValueError("a port and a token are wanted")


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the batch directory")
    parser.add_argument("--reviewer", metavar="NAME", help="who decides; verdicts of several reviewers stay apart (default: owner)")
    parser.add_argument("--blind", action="store_true", help="hide verdicts and scores")
    sample = "ask for N pictures alone: half those whose verdict is the nearest thing, the others drawn at random; the record says which"
    parser.add_argument("--sample", type=cli.positive_int, metavar="N", help=sample)
    apply = "take in a file of decisions (exported by batch_report.html, or a decisions.jsonl) and end; serves nothing"
    parser.add_argument("--apply", type=Path, metavar="FILE", help=apply)
    parser.add_argument("--port", type=_port, metavar="N", help="serve there (default: where the last review was, if that is free)")
    parser.add_open()
    parser.add_project_root()
    parser.add_json()
    return parser


def _port(text: str) -> int:
    port = cli.whole_number(text)
    if not 0 <= port <= HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 (any that is free) to {HIGHEST_PORT}")
    return port


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from tools.production.decisions import OWNER
    from tools.production.filing import BatchFolder
    from tools.reviewing.reviewed_batch import ReviewedBatch

    batch = ReviewedBatch(BatchFolder(args.out), args.project_root, cli.note)
    reviewer = args.reviewer if args.reviewer is not None else OWNER
    if args.apply is not None:
        if args.sample is not None or args.blind or args.open or args.port is not None:
            raise InputError("--apply", "serves nothing, so --sample, --blind, --port and --open have no use", "leave them out")
        return apply(args, batch, reviewer)
    return review(args, batch, reviewer)


def apply(args: argparse.Namespace, batch: ReviewedBatch, reviewer: str) -> int:
    """`--apply`: take in a file, let pictures and reports follow, say what was left out."""
    from tools.production.batch_home import copy_line
    from tools.reviewing.applying import apply_file
    from tools.reviewing.carrying import Carrier

    applied = apply_file(args.apply, batch, reviewer)
    if line := copy_line(args.out):
        cli.note(line)
    if applied.fresh or applied.already:  # a run that was killed may have written them down and moved nothing
        carrier = Carrier(batch.folder, args.project_root, cli.note)
        carrier.wake()
        carrier.end()
    for each in applied.left_out:
        cli.note(f"left out: {each.where}: {each.why}")
    for remark in applied.remarks:
        cli.note(f"{args.apply}: {remark}")
    if args.json:
        left_out = [{"where": each.where, "why": each.why} for each in applied.left_out]
        taken = [decision.to_json() for decision in applied.fresh]
        cli.print_json({"applied": taken, "already": applied.already, "left_out": left_out, "remarks": list(applied.remarks)})
    cli.say(render_applied(applied), as_json=args.json)
    return EXIT_GATE if applied.left_out else EXIT_OK


def render_applied(applied: AppliedFile) -> str:
    ups = sum(decision.approved for decision in applied.fresh)
    new = len(applied.fresh)
    text = f"{counted(new, 'decision')} taken: {ups} approved, {new - ups} rejected or taken back"
    text += f"; {applied.already} stood already" if applied.already else ""
    return text + (f"; {len(applied.left_out)} left out" if applied.left_out else "")


def review(args: argparse.Namespace, batch: ReviewedBatch, reviewer: str) -> int:
    """Serve the page until Ctrl-C."""
    from tools.reviewing.carrying import Carrier
    from tools.reviewing.desk import ReviewDesk

    found = batch.look()
    if not found.pictures and not batch.is_running:
        raise InputError(args.out, "no picture of this batch was scored yet", "continue it with the command that began it")
    for line in circumstances(batch):
        cli.note(line)
    desk = ReviewDesk(batch, reviewer, blind=args.blind, sample=args.sample)
    carrier = Carrier(batch.folder, args.project_root, cli.note)
    desk.on_change = carrier.wake
    with open_server(desk, carrier, args.port) as server, signals.stop_signals():
        carrier.start()
        threading.Thread(target=batch.find_groups, name="look for duplicates", daemon=True).start()
        announce(args, server)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            cli.note("")
        finally:
            with signals.deaf_to_signals():
                carrier.end()
    cli.say(render_end(desk, args.out), as_json=args.json)
    return EXIT_OK


def circumstances(batch: ReviewedBatch) -> list[str]:
    """What to know of this batch before its pictures are looked at, one line each."""
    from tools.production.batch_home import copy_line

    found, lines = batch.look(), []
    if line := copy_line(batch.folder.root):
        lines.append(line)
    if batch.is_running:
        lines.append("the batch is at work: new pictures appear as they are scored; what you decide is carried out when it ends")
    if found.settled.gone:
        gone = len(found.settled.gone)
        lines.append(f"{counted(gone, 'picture')} {verb(gone, 'is', 'are')} gone (deleted or taken away) and cannot be decided")
    if not Path(found.plan.reference_dir).is_dir():
        lines.append(f"the references are not here ({found.plan.reference_dir}): pictures cannot be compared with the nearest one")
    if found.state.rescored:
        done = f"{len(found.state.rescored)} of {counted(len(found.state.scored), 'picture')}"
        lines.append(f"the batch is being scored under another protocol ({done} done), and the old scores are shown: continue it first")
    return lines


def open_server(desk: ReviewDesk, carrier: Carrier, port: int | None) -> ReviewServer:
    """The server, at the address of the last review where that is free: a page that was open goes on then."""
    from tools.production.filing import WORK
    from tools.reviewing.review_server import ReviewServer

    kind = f"{desk.reviewer}\n{desk.blind}\n{desk.sample.size if desk.sample else 0}"  # an open page must not go on as somebody else
    path = desk.batch.folder.root / WORK / f"review_{hashlib.sha256(kind.encode()).hexdigest()[:8]}.json"
    directory = str(desk.batch.folder.root.resolve())
    last = _read_address(path, directory)
    token, wanted = (last.token, last.port if port is None else port) if last else (secrets.token_urlsafe(24), port or 0)
    try:
        server = ReviewServer(desk, carrier, port=wanted, token=token)
    except UnavailableError:
        if port is not None:
            raise
        return ReviewServer(desk, carrier, port=0, token=secrets.token_urlsafe(24))  # the same review is open already, say
    _keep_address(path, ReviewAddress(server.port, token, directory))
    return server


def _read_address(path: Path, directory: str) -> ReviewAddress | None:
    try:
        found = foreign.read_file(path, ReviewAddress)
        return found if _is_private(path) and found.directory == directory else None
    except (InputError, OSError):
        return None


def _keep_address(path: Path, address: ReviewAddress) -> None:
    """For the owner alone; not kept where the volume knows no permissions."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
        os.close(handle)
        path.chmod(0o600)
        if _is_private(path):
            write_json(path, asdict(address))
        else:
            path.unlink()
    except OSError:
        return


def _is_private(path: Path) -> bool:
    return os.name == "posix" and not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def announce(args: argparse.Namespace, server: ReviewServer) -> None:
    if args.json:
        cli.print_json({"address": server.address, "port": server.port, "reviewer": server.desk.reviewer, "pid": os.getpid()})
        sys.stdout.flush()
    cli.say(f"review of {args.out}: open {server.address}\nCtrl-C ends it; what you decide is kept", as_json=args.json)
    if args.open and not open_in_browser(server.address):
        cli.note("no browser could be opened: open the address yourself")


def render_end(desk: ReviewDesk, out: Path) -> str:
    """What was decided, for a person."""
    found = desk.batch.look()
    asked, own = desk.asked(found), desk.own_verdicts(found)
    decided = [name for name in asked if name in own]
    against = sum(own[name].approved != found.pictures[name].gates_approve for name in decided)
    opinions = sum(own[name].opinion and own[name].approved for name in decided)
    lines = [f"{len(decided)} of {counted(len(asked), 'picture')} decided by {desk.reviewer}, {against} against the gates"]
    if opinions:
        lines.append(f"{opinions} approved blind, though a guard of publishing or a duplicate rejects them: they stay rejected")
    return "\n".join([*lines, f"report: {out / 'batch_report.html'}"])


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
