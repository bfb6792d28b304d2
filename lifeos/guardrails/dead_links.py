"""Whether what a Markdown or workflow file points to is there: links, anchors, backticked paths, scripts of commands.

A token in backticks is taken for a path only where it can hardly be anything else (TRAPS: a check that cries wolf is switched
off): it lies in a folder of ours, or has the name of a root document. Commands, flags, globs, templates, URLs are left alone.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from urllib.parse import unquote

from lifeos.errors import nearest
from lifeos.findings import Finding
from lifeos.guardrails.checkout import OUR_FOLDERS, Checkout, Document, is_made_by_runs

RULE = "broken-reference"
LIKE_ENOUGH, MUCH_ALIKE = 0.6, 0.8
"""How like a name beside, and a whole path elsewhere, must be to be worth suggesting (difflib's ratio)."""

FENCE = re.compile(r" {0,3}(```+|~~~+)")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*(?:<([^<>]*)>|([^\s()]*(?:\([^\s()]*\)[^\s()]*)*))(?:\s+[\"'(][^)]*)?\s*\)")
DEFINITION = re.compile(r" {0,3}\[[^\]^][^\]]*\]:\s*(?:<([^<>]*)>|(\S+))")
HTML_TARGET = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=[\"']([^\"']+)[\"']")
HTML_ANCHOR = re.compile(r"<[a-zA-Z][^>]*?\b(?:id|name)=[\"']([^\"']+)[\"']")
SCHEME = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*:|//)")
GITHUB_PAGE = re.compile(r"(?:\.\./)+(?:issues|pull|pulls|actions|releases|wiki|discussions|security)\b")
HEADING = re.compile(r" {0,3}#{1,6}\s+(.+?)\s*#*\s*$")
PATH = re.compile(r"[\w.@+-]+(?:/[\w.@+-]+)*/?")
WINDOWS_PATH = re.compile(r"[\w.-]+(?:\\[\w.-]+)+")
PLACE_SUFFIX = re.compile(r"(?:::[\w:\[\]-]+|:\d+(?:[-:]\d+)*|#[\w-]*)$")
TEMPLATE = re.compile(r"YYYY|NNNN|\.\.\.|(?:^|/)x{1,3}(?:\.\w+)?$|(?:^|/)X(?:\.\w+)?$")
ROOT_DOCUMENT = re.compile(r"(?:[A-Z][A-Z0-9_-]+\.md|requirements[\w-]*\.(?:txt|in)|pyproject\.toml|\.pre-commit-config\.yaml)")
SCRIPT = re.compile(r"(?<![\w./-])(?:python(?:3(?:\.\d+)?)?|bash|sh)\s+(?:-[IEsSBuOX]+\s+)*([\w.-]+(?:[/\\][\w.-]+)+\.(?:py|sh))(?![\w/])")
VERB = re.compile(r"(?<![\w./-])python(?:3(?:\.\d+)?)?\s+(?:-m\s+|/path/to/checkout/)lifeos\s+([a-z]\w*)")
LAUNCHER_VERBS = frozenset({"test", "doctor", "setup", "reference", "completion", "help"})
"""What `python -m lifeos` knows beside the names of scripts."""
MODULE = re.compile(r"(?<![\w./-])python(?:3(?:\.\d+)?)?\s+-m\s+((?:lifeos|evals|tools|benchmarks)(?:\.\w+)+)")


def check_references(checkout: Checkout) -> list[Finding]:
    """Every reference to nothing, at its line, with the nearest path that exists."""
    found = [finding for path in find_documents(checkout) for finding in _check_document(checkout, checkout.document(path))]
    absent = checkout.ignored(sorted({target for target, _ in found}))
    return [finding for target, finding in found if target not in absent]


def find_documents(checkout: Checkout) -> list[str]:
    """The Markdown files that people and assistants read, and the YAML files that run our scripts; not what tests feed to themselves."""
    return [
        path
        for path in checkout.files
        if not path.startswith("tests/")
        and not is_made_by_runs(path)
        and (path.endswith(".md") or (path.startswith(".") and path.endswith((".yml", ".yaml"))))
    ]


def _check_document(checkout: Checkout, document: Document) -> Iterator[tuple[str, Finding]]:
    """Pairs of the path that is missing and the finding about it."""
    markdown = document.path.endswith(".md")
    fenced = ""
    for number, line in enumerate(document.lines, 1):
        fence = FENCE.match(line) if markdown else None
        if fence and (not fenced or fence.group(1).startswith(fenced)):
            fenced = "" if fenced else fence.group(1)
        elif fenced or not markdown:
            yield from _check_commands(checkout, document.path, number, line)
        else:
            yield from _check_line(checkout, document, number, line)


def _check_line(checkout: Checkout, document: Document, number: int, line: str) -> Iterator[tuple[str, Finding]]:
    for match in CODE_SPAN.finditer(line) if "`" in line else ():
        token = match.group(2).strip()
        yield from _check_commands(checkout, document.path, number, token)
        path = as_path(token, checkout)
        if path and not _is_there(checkout, document.path, path):
            yield path, _broken(checkout, document.path, number, f"`{token}`", path)
    if "](" not in line and "]:" not in line and "<" not in line:
        return
    prose = CODE_SPAN.sub(lambda match: " " * len(match.group(0)), line)
    definition = DEFINITION.match(prose)
    for match in [*LINK.finditer(prose), *([definition] if definition else [])]:
        yield from _check_link(checkout, document, number, match.group(1) or match.group(2) or "")
    for match in HTML_TARGET.finditer(prose):
        yield from _check_link(checkout, document, number, match.group(1))


def _check_commands(checkout: Checkout, source: str, number: int, text: str) -> Iterator[tuple[str, Finding]]:
    for match in SCRIPT.finditer(text):
        path = match.group(1).replace("\\", "/").removeprefix("./")
        if path.partition("/")[0] in OUR_FOLDERS and path not in checkout.present:
            yield path, _broken(checkout, source, number, match.group(0), path)
    for match in VERB.finditer(text):
        name = match.group(1)
        scripts = [f"{folder}/{name}.py" for folder in ("tools", "evals")]
        if name not in LAUNCHER_VERBS and not any(path in checkout.present for path in scripts):
            yield scripts[0], _broken(checkout, source, number, match.group(0), scripts[0])
    for match in MODULE.finditer(text):
        base = match.group(1).replace(".", "/")
        if not any(path in checkout.present for path in (f"{base}.py", f"{base}/__main__.py", f"{base}/__init__.py")):
            yield f"{base}.py", _broken(checkout, source, number, match.group(0), f"{base}.py")


def _check_link(checkout: Checkout, document: Document, number: int, target: str) -> Iterator[tuple[str, Finding]]:
    if not target or SCHEME.match(target) or GITHUB_PAGE.match(target):
        return
    name, _, anchor = target.partition("#")
    name = unquote(name.partition("?")[0]).replace("\\", "/")
    if name.startswith("/"):
        path = posixpath.normpath(name.lstrip("/") or ".")
    else:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(document.path), name)) if name else document.path
    if path != "." and path not in checkout.present:
        yield path, _broken(checkout, document.path, number, f"link {target}", path)
    elif anchor and path.endswith(".md"):
        anchors = find_anchors(checkout.document(path))
        if anchor.lower() not in anchors:
            close = nearest(anchor, sorted(anchors), 1)
            fix = f"did you mean #{close[0]}?" if close else "no heading has it"
            yield f"{path}#{anchor}", Finding(RULE, f"link {target}: {path} has no heading #{anchor}", fix, path=document.path, line=number)


def as_path(token: str, checkout: Checkout) -> str:
    """The path that a backticked token means, else "". Relative to the root or to the document: either will do."""
    text = PLACE_SUFFIX.sub("", token.replace("\\", "/") if WINDOWS_PATH.fullmatch(token) else token)
    text = text.removeprefix("./")
    if not PATH.fullmatch(text) or TEMPLATE.search(text) or text.startswith("/"):
        return ""
    if "/" in text.rstrip("/"):
        first = text.partition("/")[0]
        # ours even when the folder itself has been renamed
        return text.rstrip("/") if first in OUR_FOLDERS or first in checkout.folders else ""
    return text if ROOT_DOCUMENT.fullmatch(text) else ""


def _is_there(checkout: Checkout, source: str, path: str) -> bool:
    known = checkout.present
    if path in known or is_made_by_runs(path):
        return True
    if posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) in known:
        return True
    return "/" not in path and any(other.endswith(f"/{path}") for other in checkout.files)


def find_anchors(document: Document) -> frozenset[str]:
    """The anchors that GitHub gives a Markdown file: a slug for each heading, and explicit ids."""
    seen: Counter[str] = Counter()
    anchors: set[str] = set()
    fenced = ""
    for line in document.lines:
        fence = FENCE.match(line)
        if fence and (not fenced or fence.group(1).startswith(fenced)):
            fenced = "" if fenced else fence.group(1)
        if fenced:
            continue
        anchors.update(anchor.lower() for anchor in HTML_ANCHOR.findall(line))
        heading = HEADING.match(line)
        if heading:
            slug = slug_of(heading.group(1))
            anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return frozenset(anchors)


def slug_of(heading: str) -> str:
    """GitHub's anchor for a heading (github-markup's table of contents filter): lower case, no punctuation, spaces to hyphens."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"<[^>]+>", "", text)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def _broken(checkout: Checkout, source: str, number: int, shown: str, path: str) -> Finding:
    close = find_nearest(checkout, path)
    return Finding(
        RULE,
        f"{shown}: {path} does not exist",
        f"did you mean {close}?" if close else "remove it, or make the file",
        path=source,
        line=number,
    )


def find_nearest(checkout: Checkout, path: str) -> str:
    """The existing path most like `path`: the same name elsewhere, the same name in another case, else the most similar; or ""."""
    known = checkout.present
    name = posixpath.basename(path)
    same_name = sorted(
        (other for other in known if posixpath.basename(other).lower() == name.lower()), key=lambda other: (len(other), other)
    )
    if same_name:
        close = nearest(path, same_name, 1)
        return close[0] if close else same_name[0]
    folder = posixpath.dirname(path)
    beside = {posixpath.basename(other).lower(): other for other in sorted(known) if posixpath.dirname(other) == folder}
    close = get_close_matches(name.lower(), beside, n=1, cutoff=LIKE_ENOUGH)
    if close:
        return beside[close[0]]
    anywhere = get_close_matches(path, sorted(known), n=1, cutoff=MUCH_ALIKE)
    return anywhere[0] if anywhere else ""
