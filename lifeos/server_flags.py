"""The flags that say which servers make the pictures: the same in every script that speaks to one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

NAMES = ("comfy_urls", "servers_file", "comfy_token_env", "insecure_token")
"""What the flags are called in a request."""

KINDS = (
    "http(s)://HOST:PORT for ComfyUI, comfy+https://HOST for Comfy API v2 (Comfy Cloud, comfy-api-proxy), runpod://ENDPOINT_ID for RunPod "
    "serverless (key in RUNPOD_API_KEY), `embedded` for the demo server"
)


def add_server_flags(group: argparse._ActionsContainer) -> None:
    """`--comfy-url` (a list, None if not given) and what belongs to it."""
    urls = f"a server; repeat it for several: {KINDS} (default: http://127.0.0.1:8188)"
    group.add_argument("--comfy-url", action="append", metavar="URL", help=urls)
    file = "servers, also beside those of --comfy-url: a YAML file with the address, token, price and limits of each"
    group.add_argument("--servers", type=Path, metavar="FILE", help=file)
    add_token_flags(group, "the server of --comfy-url")


def add_token_flags(group: argparse._ActionsContainer, whose: str) -> None:
    """How the token of a server is given: never as itself, which others would read in the list of processes."""
    token = f"the environment variable that holds the token of {whose}; it is sent to that server only"
    group.add_argument("--comfy-token-env", metavar="NAME", help=token)
    insecure = "send a token over plain http too, beyond this machine and private addresses: everybody on the way can read it"
    group.add_argument("--insecure-token", action="store_true", help=insecure)


def given_servers(args: argparse.Namespace) -> dict[str, Any]:
    """The flags as given, by the names of a request; None where they were not."""
    return {
        "comfy_urls": tuple(args.comfy_url) if args.comfy_url else None,
        "servers_file": args.servers,
        "comfy_token_env": args.comfy_token_env,
        "insecure_token": args.insecure_token or None,
    }
