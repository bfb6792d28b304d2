"""Make copies of a batch's approved pictures that may be published: marked as made with AI, and free of prompt and workflow.

Reads the approved pictures of a batch directory and the policy (evals/thresholds.yaml); writes published/ in it, and a line for each copy
in the register (publishing.register). Each copy holds the pixels of its original alone, an invisible watermark, IPTC's DigitalSourceType in
XMP, and content credentials (C2PA), which need `python -m lifeos setup --publish` once. A copy is read back and verified before it counts.
The originals stay as they are. The same command again goes on where it stopped; a picture that is no longer approved is taken out.

--verify says of any file which of the three labels it carries, what was changed and what is missing.

    python tools/publish.py batch_001
    python tools/publish.py batch_001 --format webp --max-side 1600 --certificate chain.pem --key key.pem
    python tools/publish.py --verify batch_001/published/*.jpg

Exit codes: 0 done, all verified · 1 a picture was not published, or with --verify a label is changed or missing · 2 bad usage or input,
such as a certificate that ran out · 3 the packages that sign are not installed · 4 another process works in the batch directory ·
130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError
from lifeos.escaping import escape_line


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("output_dir", nargs="?", type=Path, metavar="OUT", help="the directory of a batch")
    verify = "say which labels these files carry, and write nothing; OUT is left out"
    parser.add_argument("--verify", nargs="+", type=Path, metavar="FILE", help=verify)
    group = parser.add_argument_group("how copies are made")

    def add(flag: str, key: str, text: str, **kwargs: Any) -> None:
        group.add_argument(flag, help=cli.policy_help(text, f"publishing.{key}"), **kwargs)

    add("--format", "format", "of the copies", choices=("jpeg", "png", "webp"))
    add("--max-side", "max_side", "reduce larger pictures to so many pixels on the longer side; 0: never", type=side, metavar="PX")
    add("--quality", "quality", "of JPEG and WebP, 1 to 100", type=quality, metavar="N")
    group = parser.add_argument_group("who signs")
    certificate = "PEM file: the signer's certificate, then those above it; if not given, a self-made one"
    add("--certificate", "certificate", certificate, type=Path, metavar="FILE")
    add("--key", "key", "its private key: a PEM file that only you may read, or env:NAME", metavar="FILE")
    parser.add_project_root()
    parser.add_json()
    return parser


def side(text: str) -> int:
    value = cli.whole_number(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 65535")
    return value


def quality(text: str) -> int:
    value = cli.whole_number(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100")
    return value


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if (args.output_dir is None) == (args.verify is None):
        why = "a batch directory or --verify FILE is wanted" if args.verify is None else "OUT and --verify exclude one another"
        raise InputError("publish", why, "see publish --help")
    cli.end_as_interrupted()
    return verify_files(args) if args.verify is not None else publish(args)


def publish(args: argparse.Namespace) -> int:
    """Bring published/ of the batch up to date."""
    from lifeos.policy.loading import load_thresholds
    from tools.publishing.publishing_run import PublisherMaker, publish_batch, render_result
    from tools.publishing.publishing_settings import settings_of

    flags = {"format": args.format, "max_side": args.max_side, "quality": args.quality, "certificate": args.certificate, "key": args.key}
    policy = load_thresholds(args.project_root)
    settings = settings_of(policy, args.project_root, flags)
    result = publish_batch(args.output_dir, PublisherMaker(policy, settings, args.project_root, cli.note), cli.note)
    if args.json:
        cli.print_json(result.to_json())
    cli.say(render_result(result), as_json=args.json)
    return result.exit_code


def verify_files(args: argparse.Namespace) -> int:
    """Which labels each file carries."""
    from lifeos.policy.loading import load_thresholds
    from tools.publishing.label_check import Verified, verify_file
    from tools.publishing.publishing_settings import settings_of

    given = [flag for flag in ("format", "max_side", "quality", "certificate", "key") if getattr(args, flag) is not None]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')}", "has no use with --verify", "leave one of the two out")
    settings = settings_of(load_thresholds(args.project_root, section="publishing"), args.project_root)
    found: list[Verified] = [verify_file(path, settings) for path in args.verify]
    if args.json:
        cli.print_json({"files": [each.to_json() for each in found]})
    cli.say("\n".join(render_verified(each) for each in found), as_json=args.json)
    return EXIT_OK if all(each.report.is_whole for each in found) else EXIT_GATE


def render_verified(verified: Any) -> str:
    """One file for people."""
    report = verified.report
    lines = [f"{escape_line(str(verified.path))}: {'all labels are there' if report.is_whole else 'NOT as published'}"]
    lines += [f"  {label.name}: {label.state}; {label.told}" for label in report.labels]
    lines += [f"  {name}: {value}" for name, value in report.fields]
    if report.fault:
        lines.append(f"  {report.fault}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
