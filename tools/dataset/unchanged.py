"""Answer a repeated command at once where nothing that it rests on has changed since it last succeeded.

What it rests on: the command line and the folder it was given in, this program's own files, the policy, the manifest it wrote
(byte for byte) and, of every file in the set's folders, name, size, time, inode and kind. All of them are looked at again; only
reading what is unchanged, and judging it, is saved. The rules of `cache` hold: nothing young is trusted, `--no-cache` turns it off.

Asked before anything else of ours is imported: see `tree`.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence

from tools.dataset.tree import Fingerprint

VERSION = b"lifeos answer 1"
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUR_FOLDERS = ("evals", "lifeos", "tools", "tools/dataset")
ABSENT = "absent"
PathLike = str | os.PathLike[str]


def user_cache_folder() -> str:
    """Where this user's programs keep what they can do without: a dataset is never written into."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(base, "lifeos", "datasets")


def answer(argv: list[str]) -> None:
    """Print what this command printed and exit as it did, if it would again; else return."""
    try:
        found = recall(argv)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if found is not None:
        code, text = found
        try:
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # `… | head`: the reader left, nothing is wrong
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(code)


def recall(argv: list[str]) -> tuple[int, bytes] | None:
    """(exit code, text) of the same command's last success, if all that it rests on is unchanged."""
    try:
        path = _answer_file(argv)
        if path is None:
            return None
        with open(path, "rb") as file:
            digest, _, body = file.read().partition(b"\n")
        if digest != hashlib.sha256(body).hexdigest().encode():
            return None
        head, _, text = body.partition(b"\n\n")
        version, key, sets, leave_out, files, fingerprint, code = head.split(b"\n")
        if version != VERSION or key.decode() != _key(argv):
            return None
        if any(_hash_file(name) != sha256 for name, sha256 in zip(*[iter(_split(files))] * 2, strict=True)):
            return None
        found = Fingerprint()
        for folder in _split(sets):
            found.add_folder(folder, frozenset(_split(leave_out)))
        return (int(code), text) if found.value == fingerprint.decode() else None
    except (OSError, ValueError):
        return None


def remember(
    argv: list[str],
    sets: Sequence[PathLike],
    fingerprint: Fingerprint,
    *,
    leave_out: PathLike | None,
    rests_on: Sequence[PathLike],
    code: int,
    text: str,
) -> None:
    """Note how a command succeeded. `fingerprint`: of the folders `sets`, without the file `leave_out`; `rests_on`: files to be the same.

    Not to be called where a file was too young to be trusted. An answer that cannot be written is done without.
    """
    if fingerprint.has_links:
        return
    try:
        path = _answer_file(argv)
        if path is None:
            return
        pairs = [part for name in rests_on for part in (os.path.abspath(name), _hash_file(name))]
        folders = [os.path.abspath(folder) for folder in sets]
        left_out = [os.path.realpath(leave_out)] if leave_out else []
        head = [VERSION, _key(argv).encode(), _join(folders), _join(left_out), _join(pairs), fingerprint.value.encode(), b"%d" % code]
        body = b"\n".join(head) + b"\n\n" + text.encode("utf-8", "backslashreplace")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    except OSError:
        pass


def _answer_file(argv: list[str]) -> str | None:
    """Beside the cache of the command, found without its parser: what is kept there names its whole command."""
    if "--no-cache" in argv:
        return None
    for place, argument in enumerate(argv):
        if argument == "--cache-file" and place + 1 < len(argv):
            return os.path.abspath(argv[place + 1] + ".answer")
        if argument.startswith("--cache-file="):
            return os.path.abspath(argument.partition("=")[2] + ".answer")
    return os.path.join(user_cache_folder(), hashlib.sha256(_command(argv)).hexdigest()[:24] + ".answer")


def _command(argv: list[str]) -> bytes:
    return repr((argv, os.getcwd(), CHECKOUT)).encode("utf-8", "surrogateescape")


def _key(argv: list[str]) -> str:
    """One hash of the command and the program."""
    digest = hashlib.sha256(_command(argv) + sys.version.encode())
    programs = Fingerprint()
    for folder in OUR_FOLDERS:
        with os.scandir(os.path.join(CHECKOUT, folder)) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    programs.add(entry.name, entry.stat())
    digest.update(programs.value.encode())
    return digest.hexdigest()


def _hash_file(name: PathLike) -> str:
    try:
        with open(name, "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ABSENT


def _join(parts: Sequence[str]) -> bytes:
    return b" ".join(os.fsencode(part).hex().encode() for part in parts)


def _split(line: bytes) -> list[str]:
    return [os.fsdecode(bytes.fromhex(part.decode())) for part in line.split()]
