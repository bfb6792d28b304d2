"""The servers of a command line: those of `--comfy-url`, and those of a YAML file with the token, the price and the limits of each.

servers:
  - url: comfy+https://cloud.comfy.org
    token_env: COMFY_API_KEY       # or token_file: a file of mode 600
    usd_per_credit: 0.0047
    most_at_once: 3
  - url: https://POD-8188.proxy.runpod.net
    token_file: pod_token
    header: X-Api-Key              # the token as it is; without this line, `Authorization: Bearer TOKEN`
    usd_per_hour: 0.69
    has_loras: true                # prepare_servers leaves it alone
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lifeos.errors import InputError, did_you_mean
from tools.backends.address import read_address
from tools.backends.backend import Tariff
from tools.backends.credentials import AUTHORIZATION, VARIABLE_NAME, Credential, token_in
from tools.backends.registry import BACKENDS, scheme_of
from tools.backends.server_entry import ServerEntry

USUAL_VARIABLE = {"runpod": "RUNPOD_API_KEY"}
"""Where the token of a kind of server is if nothing says it, by the scheme of the address."""

USUAL_PORTS = {"http": 80, "https": 443}
PRICES = ("usd_per_hour", "usd_per_second", "usd_per_credit")
KEYS = ("url", "token_env", "token_file", "header", *PRICES, "most_at_once", "has_loras")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,80}")
TAKEN_HEADERS = frozenset({"host", "content-length", "content-type", "accept", "accept-encoding", "user-agent", "connection", "cookie"})
MOST_SERVERS = 1000


def list_servers(
    urls: Sequence[str], file: Path | None = None, *, token_env: str | None = None, insecure_token: bool = False
) -> tuple[ServerEntry, ...]:
    """The servers of the flags, each once; a server of both is the file's. Raises InputError: one line, for a file with its line number."""
    over_http = insecure_token
    named = [ServerEntry(url.strip(), _usual(url, over_http)) for url in urls]
    if token_env is not None:
        named = _with_token(named, token_env, over_http)
    told = read_servers(file, over_http=over_http) if file is not None else ()
    known = {_key(entry.url) for entry in told}
    once = {_key(entry.url): entry for entry in reversed(named)}  # of an address that is written in two ways, the first
    kept = (entry for entry in named if entry.url == "embedded" or once[_key(entry.url)] is entry)
    return (*told, *(entry for entry in kept if _key(entry.url) not in known))


def _with_token(named: list[ServerEntry], variable: str, over_http: bool) -> list[ServerEntry]:
    """The token goes to one server: with several, nothing says whose it is."""
    remote = {_key(entry.url) for entry in named if entry.url != "embedded"}
    credential = token_in(variable, over_http)
    if len(remote) != 1:
        why = (
            "is for the one server of --comfy-url, and none is given"
            if not remote
            else f"says not which of {len(remote)} servers it is for"
        )
        raise InputError(f"--comfy-token-env {variable}", why, "name each server with its token in the file of --servers")
    return [entry if entry.url == "embedded" else replace(entry, credential=credential) for entry in named]


def _usual(url: str, over_http: bool) -> Credential | None:
    variable = USUAL_VARIABLE.get(url.strip().partition("://")[0].lower())
    return Credential(variable=variable, over_http=over_http) if variable is not None else None


def _key(url: str) -> str:
    """One text for each way to write an address."""
    text, scheme = url.strip(), scheme_of(url)
    if scheme.startswith("comfy+"):
        return f"comfy+{_one_spelling(text.partition('+')[2])}"
    if scheme in ("http", "https", "ws", "wss"):
        return _one_spelling(text)
    return f"{scheme}://{text.partition('://')[2].rstrip('/')}" if "://" in text else text


def _one_spelling(text: str) -> str:
    """An address without the port that its scheme has anyway; this machine under one name."""
    parts = urlsplit(read_address(text).base)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or USUAL_PORTS[parts.scheme]}{parts.path}"


def read_servers(file: Path, *, over_http: bool = False) -> tuple[ServerEntry, ...]:
    """The servers of a file. Raises InputError for the first fault, which says how many more there are."""
    document, lines = _read(file)
    faults = [(lines.get(str(key), 1), f"{key}: no such key", did_you_mean(str(key), ["servers"])) for key in document if key != "servers"]
    rows = document.get("servers")
    if not isinstance(rows, list) or not rows:
        faults.append((lines.get("servers", 1), "servers: a list of servers is wanted", "write `servers:` and below it `- url: …`"))
        rows = []
    if len(rows) > MOST_SERVERS:
        faults.append((lines.get("servers", 1), f"servers: {len(rows):,} are more than the {MOST_SERVERS:,} that are read", "name fewer"))
        rows = []
    entries: list[ServerEntry] = []
    seen: dict[str, int] = {}
    for place, row in enumerate(rows):
        line = lines.get(f"servers.{place}", 1)
        found = list(_faults_of(row))
        faults += [(lines.get(f"servers.{place}.{key}", line), f"{key}: {why}" if key else why, fix) for key, why, fix in found]
        if found:
            continue
        entries.append(_entry(row, file, over_http, f"{file}:{line}"))
        key = _key(entries[-1].url)
        if key in seen and key != "embedded":
            faults.append((line, f"url: the same server as at line {seen[key]}", "name each server once"))
        seen.setdefault(key, line)
    if faults:
        line, why, fix = min(faults, key=lambda fault: fault[0])
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"{file}:{line}", why + more, fix)
    return tuple(entries)


def _read(file: Path) -> tuple[dict[str, Any], Mapping[str, int]]:
    from lifeos.policy.loading import read_yaml

    try:
        if not file.is_file() or not file.read_bytes().strip():
            why = "is empty" if file.is_file() else "is no file" if file.exists() else "no such file"
            raise InputError(file, why, "write `servers:` and below it `- url: …`")
        document, lines, faults = read_yaml(file)
    except OSError as error:
        raise InputError(file, f"cannot be read: {error.strerror or error}", "look at the file") from None
    if faults:
        raise InputError(f"{file}:{faults[0].line}", faults[0].text, "mend that line")
    return document, lines


def _faults_of(row: Any) -> Iterable[tuple[str, str, str]]:
    """Key, what is wrong and how to mend it."""
    if not isinstance(row, dict):
        yield "", "a server is `- url: …`, with its other keys below", ""
        return
    for key in row:
        if key not in KEYS:
            yield key, "no such key", did_you_mean(str(key), KEYS)
    url = row.get("url")
    if not isinstance(url, str) or not url.strip():
        yield "url", "an address is wanted", "write `url: http://127.0.0.1:8188`, say"
    else:
        yield from _faults_of_url(url)
    if row.get("token_env") is not None and row.get("token_file") is not None:
        yield "token_file", "given beside token_env", "keep one of the two"
    if "token_env" in row and (not isinstance(row["token_env"], str) or VARIABLE_NAME.fullmatch(row["token_env"]) is None):
        yield "token_env", "the name of a variable is wanted, never the token itself", "export NAME=…, and write NAME"
    if "token_file" in row and (not isinstance(row["token_file"], str) or not row["token_file"]):
        yield "token_file", "the path of a file is wanted", ""
    yield from _faults_of_header(row)
    for key in PRICES:
        if key in row and (not isinstance(row[key], int | float) or isinstance(row[key], bool) or not 0 <= row[key] < 1e6):
            yield key, f"dollars are wanted, 0 or more, not {_shown(row[key])}", ""
    most = row.get("most_at_once", 1)
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= 10_000:
        yield "most_at_once", f"a whole number of 1 or more is wanted, not {_shown(most)}", ""
    if not isinstance(row.get("has_loras", False), bool):
        yield "has_loras", "true or false is wanted", ""


def _shown(value: Any) -> str:
    """What stands there; text with its quotes, which may be the fault."""
    return f"the text {value[:40]!r}" if isinstance(value, str) else str(value)[:40]


def _faults_of_header(row: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    if "header" not in row:
        return
    name = row["header"]
    if not isinstance(name, str) or HEADER_NAME.fullmatch(name) is None or name.lower() in TAKEN_HEADERS:
        yield "header", "the name of a header for the token is wanted, such as X-Api-Key", ""
    elif row.get("token_env") is None and row.get("token_file") is None:
        yield "header", "given without a token", "add token_env or token_file"


def _faults_of_url(url: str) -> Iterable[tuple[str, str, str]]:
    if scheme_of(url) not in BACKENDS:
        yield "url", f"{scheme_of(url)[:40]}:// is no back end that is known", did_you_mean(scheme_of(url), BACKENDS)
        return
    try:
        _key(url)
    except InputError as error:
        yield "url", error.why, error.fix


def _entry(row: dict[str, Any], file: Path, over_http: bool, place: str) -> ServerEntry:
    credential = _usual(row["url"], over_http)
    if row.get("token_env") or row.get("token_file"):
        path = file.parent / Path(row["token_file"]).expanduser() if row.get("token_file") else None
        credential = Credential(row.get("token_env"), path, row.get("header", AUTHORIZATION), over_http)
    hour, second, credit = (row.get(key) for key in PRICES)
    tariff = None if (hour, second, credit) == (None, None, None) else Tariff(hour or 0.0, second or 0.0, credit or 0.0)
    return ServerEntry(row["url"].strip(), credential, tariff, row.get("most_at_once"), row.get("has_loras", False), place)
