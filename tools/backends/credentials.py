"""Tokens: where a server's comes from, and where it may go. The token itself is in no command line, no record and no message."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from lifeos.errors import InputError
from tools.backends.address import Address, read_address

AUTHORIZATION = "Authorization"
MAX_TOKEN_BYTES = 8192
"""Servers refuse longer headers."""

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TokenError(InputError):
    """The token is not where it should be: the variable is not set, the file cannot be read, or others can read it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Where a token is: in the environment (`variable`), or in a file that only its owner can read. It goes into `header`: as
    `Bearer TOKEN` into Authorization, as it is into any other. `over_http`: also over a line where others can read along."""

    variable: str | None = None
    file: Path | None = None
    header: str = AUTHORIZATION
    over_http: bool = False

    @property
    def place(self) -> str:
        """Where the token is, as people call it."""
        return str(self.file) if self.file is not None else f"the variable {self.variable}"

    def read(self, environ: Mapping[str, str] = os.environ) -> str:
        """The value of the header. Raises InputError that names the place, never the token."""
        where = self.place
        if self.file is not None:
            text = _read_private(self.file)
        else:
            text = environ.get(self.variable or "", "")
            if not text.strip():
                raise TokenError(where, "holds no token", f"export {self.variable}=… before the command")
        token = text.strip()
        if not token:
            raise TokenError(where, "holds no token", "write the token alone into it")
        if not all("!" <= char <= "~" for char in token) or len(token) > MAX_TOKEN_BYTES:
            why = "holds no token: one is a single word of ASCII characters, without spaces and line ends"
            raise TokenError(where, why, "write the token alone into it, without `Bearer` before it")
        return f"Bearer {token}" if self.header.lower() == "authorization" else token


def token_in(variable: str, over_http: bool) -> Credential:
    """The token of `--comfy-token-env`. Raises InputError for what is no variable's name: that may be the token itself, and is not told."""
    if VARIABLE_NAME.fullmatch(variable) is None:
        raise InputError("--comfy-token-env", "wants the name of a variable, never the token itself", "export NAME=…, and give NAME")
    return Credential(variable=variable, over_http=over_http)


def address_of(url: str, credential: Credential | None) -> Address:
    """Where a server is, with what lets us in. Raises InputError where the token is not there, or would be readable on its way."""
    address = read_address(url)
    if credential is None:
        return address
    if address.authorization is not None:
        why = "has user:password@ in its address, and a token besides"
        raise InputError(f"--comfy-url {address.base}", why, "give one of the two")
    if not (address.base.startswith("https://") or credential.over_http or is_private(address.base)):
        why = "a token would go there over plain http, where everybody on the way can read it"
        raise InputError(address.base, why, "use its https address; --insecure-token sends it all the same")
    return replace(address, authorization=credential.read(), header=credential.header, token_place=credential.place)


def is_private(base: str) -> bool:
    """Whether an address is this machine's, or one of a private network (RFC 1918, RFC 4193). A name is not looked up: it may change."""
    host = urlsplit(base).hostname or ""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_private and not address.is_unspecified


def _read_private(file: Path) -> str:
    try:
        with open(file, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if os.name == "posix" and mode & OTHERS:
                raise TokenError(file, f"can be read by others (mode {stat.S_IMODE(mode):o})", f"chmod 600 {file}")
            return opened.read(2 * MAX_TOKEN_BYTES).decode("utf-8", "replace").removeprefix("\ufeff")
    except OSError as error:
        raise TokenError(
            file, f"the token cannot be read: {error.strerror or error}", "write the token into it, and chmod 600 it"
        ) from None
