"""What the servers of a command line say of themselves, as one JSON document: `doctor` asks, which has no packages.

    python -m tools.backends.server_report --comfy-url comfy+http://127.0.0.1:8189

Exit codes: 0 asked, whatever came out · 2 bad usage.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from lifeos import cli
from lifeos.errors import EXIT_OK, UnavailableError
from lifeos.server_flags import add_server_flags
from tools.backends.backend import Backend, BackendOptions, ServerInfo
from tools.backends.registry import open_possible
from tools.backends.server_groups import LeftOutServer, ask_all, tell_left_out
from tools.backends.server_list import list_servers

ANSWER_SECONDS = 5.0


def describe_servers(args: Any) -> list[dict[str, str]]:
    """A finding for each server that answers, and one for each reason why others do not. All are asked at once.

    Raises InputError for flags and files that cannot be used.
    """
    entries = list_servers(args.comfy_url or (), args.servers, token_env=args.comfy_token_env, insecure_token=args.insecure_token)
    with open_possible(entries, BackendOptions(timeout_seconds=ANSWER_SECONDS)) as opened:
        answers = list(zip(opened.servers, ask_all(opened.servers, lambda server: server.connect()), strict=True))
        left = [LeftOutServer.of(server.url, error, comes_back=False) for server, error in answers if isinstance(error, UnavailableError)]
        left += [LeftOutServer(url, f"{error.what} {error.why}", error.fix, comes_back=False) for url, error in opened.tokenless]
        well = [_told(server, info) for server, info in answers if isinstance(info, ServerInfo)]
    said = [{"severity": "ok", "message": message, "fix": ""} for message in well]
    total = len(opened.servers) + len(opened.tokenless)
    return [*said, *({"severity": "warning", "message": line, "fix": ""} for line in tell_left_out(left, total))]


def _told(server: Backend, info: ServerInfo) -> str:
    """`0.33.0 at http://…, on NVIDIA …`, and that it lists nothing, where that is so."""
    asked = "" if server.offers.lists_nodes else "; what nodes and models it has cannot be asked"
    return f"{info.version} at {info.url}, on {info.device}{asked}"


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, prog="python -m tools.backends.server_report")
    add_server_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    sys.stdout.write(json.dumps({"servers": describe_servers(build_parser().parse_args(argv))}))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
