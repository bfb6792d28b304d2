"""Run the embedded ComfyUI-protocol server alone, until Ctrl-C: for trying a client by hand, and for other programs' tests.

It renders variations of a public-domain portrait and says so. Files go to a temporary folder unless --output-dir is given.

Exit codes: 0 stopped by Ctrl-C or SIGTERM, 2 bad usage, 3 the port is taken.

    python -m tools.stand_in --port 8188 --seconds-per-picture 2
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from lifeos import cli
from lifeos.signals import take
from tools.stand_in.dialects import DIALECTS, NEWEST


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, prog="python -m tools.stand_in")
    parser.add_argument("--port", type=cli.whole_number, default=8188, metavar="N", help="loopback port to listen on; 0 takes a free one")
    parser.add_argument("--seconds-per-picture", type=cli.non_negative, default=0.0, metavar="X", help="pretended GPU time of a picture")
    parser.add_argument(
        "--seconds-per-model-load", type=cli.non_negative, default=0.0, metavar="X", help="pretended time to load a checkpoint or LoRA"
    )
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="folder for output/, input/ and temp/ (default: a temporary one)")
    parser.add_argument("--comfyui-version", choices=tuple(DIALECTS), default=NEWEST, help="the server version to behave like")
    parser.add_argument("--references", type=Path, metavar="DIR", help="also write six reference portraits of the rendered person to DIR")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from tools.stand_in import NOTICE, render_references, start_embedded_server

    server = start_embedded_server(
        seconds_per_picture=args.seconds_per_picture,
        seconds_per_model_load=args.seconds_per_model_load,
        port=args.port,
        output_dir=args.output_dir,
        version=args.comfyui_version,
    )
    with server:
        if args.references is not None:
            cli.say(f"references: {len(render_references(args.references))} in {args.references}")
        stop = threading.Event()
        take(lambda *_: stop.set())
        cli.say(f"{NOTICE}\nlistening on {server.url}, pictures in {server.output_dir}; Ctrl-C stops")
        stop.wait()
        cli.note("stopped")
    return 0


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
