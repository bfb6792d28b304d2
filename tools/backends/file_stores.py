"""Files that a server keeps elsewhere, such as in an S3 store: fetched from there with nothing of ours but the request."""

from __future__ import annotations

from urllib.parse import urlsplit

from tools.backends.address import Address
from tools.backends.bounded_connection import RefusedReplyError, Reply
from tools.backends.credentials import is_private
from tools.backends.transport import Transport


def fetch_elsewhere(server: str, here: str, url: str, *, timeout_seconds: float, limit: int) -> Reply:
    """What is at `url`, at most `limit` bytes, whatever the status. `server` is how errors call the server that named it, `here` where
    that is: only one in a private network may name a file on plain http, in a private network.

    Raises RefusedReplyError for any other address, ValueError for what is none, NoReplyError.
    """
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    origin = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_private(here) and is_private(origin))):
        raise RefusedReplyError(server, f"keeps an output at {origin[:80]}: only https is followed", "look at the server")
    elsewhere = Transport(Address(origin, None), timeout_seconds=timeout_seconds)
    try:
        return elsewhere.get_once((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), limit=limit)
    finally:
        elsewhere.close()
