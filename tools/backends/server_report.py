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
from tools.backends.backend import BackendOptions
from tools.backends.registry import open_backends
from tools.backends.server_list import list_servers

ANSWER_SECONDS = 5.0


def describe_servers(args: Any) -> list[dict[str, str]]:
    """A finding for each server. Raises InputError for flags and files that cannot be used."""
    entries = list_servers(args.comfy_url or (), args.servers, token_env=args.comfy_token_env, insecure_token=args.insecure_token)
    found: list[dict[str, str]] = []
    with open_backends(entries, BackendOptions(timeout_seconds=ANSWER_SECONDS)) as servers:
        for server in servers:
            try:
                info = server.connect()
            except UnavailableError as error:
                found.append({"severity": "warning", "message": f"{server.url}: {error.why}", "fix": error.fix})
            else:
                found.append({"severity": "ok", "message": f"{info.version} at {info.url}, on {info.device}", "fix": ""})
    return found


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, prog="python -m tools.backends.server_report")
    add_server_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    sys.stdout.write(json.dumps({"servers": describe_servers(build_parser().parse_args(argv))}))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
