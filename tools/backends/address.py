"""Where a server is: addresses as people type them, with credentials apart."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from lifeos.errors import InputError


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. `base` has neither a trailing slash nor credentials: these are the header `header` with `authorization`.

    `token_place`: where the token was read, as people call it; empty for a password in the address, and for none.
    """

    base: str
    authorization: str | None
    header: str = "Authorization"
    token_place: str = ""

    @property
    def credentials(self) -> dict[str, str]:
        """The header that lets us in; none where the server wants none."""
        return {self.header: self.authorization} if self.authorization is not None else {}

    @property
    def look_at_token(self) -> str:
        """What to do where the server refuses what lets us in."""
        return f"check the token in {self.token_place}" if self.token_place else "check the user and password in its address"

    @property
    def is_loopback(self) -> bool:
        host = urlsplit(self.base).hostname or ""
        return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)

    def websocket_url(self, client_id: str) -> str:
        return f"ws{self.base.removeprefix('http')}/ws?clientId={quote(client_id)}"


def read_address(text: str) -> Address:
    """An address as people type it: without a scheme, with a slash or path at the end, with `user:password@`.

    Without a scheme it is http, but https for a name with dots and no port, such as a pod's proxy. Raises InputError.
    """
    wanted = "an address like http://127.0.0.1:8188 is wanted"
    raw = text.strip()
    shown = raw.rpartition("@")[2]  # an error never shows a password
    if "://" not in raw:
        host = raw.partition("/")[0]
        public = "." in host and ":" not in host and not _is_ip(host)
        raw = f"{'https' if public else 'http'}://{raw}"
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--comfy-url {shown}", str(error), wanted) from None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname or any(char.isspace() for char in raw):
        raise InputError(f"--comfy-url {shown}", "not an http or https address", wanted)
    if parts.query:
        raise InputError(f"--comfy-url {parts.hostname}", "an address with a query (?…) cannot be followed", wanted)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    base = urlunsplit(SplitResult(scheme, f"{host}:{port}" if port else host, parts.path.rstrip("/"), "", ""))
    return Address(base, _basic(parts) if parts.username else None)


def _basic(parts: SplitResult) -> str:
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
