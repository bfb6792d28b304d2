"""Load and validate the policy: `evals/thresholds.yaml`, with built-in defaults for whatever it leaves out.

A value on the command line wins over evals/thresholds.yaml; that file wins over the built-in default. Reads one YAML file, writes
nothing.

    python evals/load_thresholds.py                # the policy in force
    python evals/load_thresholds.py --explain      # each value with its source
    python evals/load_thresholds.py --check        # only say whether the file is sound

Exit codes: 0 the policy is valid · 2 it is not (each fault with file and line) · 3 PyYAML is not installed.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.counting import counted
from lifeos.errors import EXIT_OK
from lifeos.findings import render_annotations, wants_annotations
from lifeos.policy.loading import BUILT_IN, PolicyError, flatten, load_policy, load_thresholds

__all__ = ["load_thresholds"]


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    parser.add_argument("--thresholds", type=Path, metavar="FILE", help="another policy file (default: evals/thresholds.yaml)")
    parser.add_argument("--explain", action="store_true", help="each value with its source: file:line or built-in")
    parser.add_argument("--check", action="store_true", help="only say whether the policy is valid")
    parser.add_format()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        policy = load_policy(args.project_root, args.thresholds)
    except PolicyError as error:
        for fault in error.faults[1:]:
            cli.note(f"{error.path}:{fault.line}: {fault.text}")
        if wants_annotations(args.format):
            cli.say(render_annotations(error.faults))
        raise
    flat = flatten(policy.values)
    if args.json or args.format == "json":
        cli.print_json({"values": policy.values, "sources": policy.sources} if args.explain else policy.values)
    elif args.check:
        cli.say(
            f"sound: {counted(len(flat), 'value')}, {sum(source != BUILT_IN for source in policy.sources.values())} of them from the file"
        )
    else:
        width = max(len(key) for key in flat)
        for key, value in flat.items():
            cli.say(f"{key:{width}}  {value!s}" + (f"  [{policy.sources[key]}]" if args.explain else ""))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
