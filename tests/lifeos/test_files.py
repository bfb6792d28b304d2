"""Files that survive a crash, and logs that only grow."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lifeos import files
from lifeos.errors import InputError
from tests.capabilities import POSIX, replaces_in_one_step


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    files.write_text(path, "old\n")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.md"]


def test_text_is_written_as_utf8_with_unix_line_ends(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "é\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\n"


def test_folders_above_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "c.txt", "1")
    files.append_record(tmp_path / "d" / "e" / "f.jsonl", {"n": 1})
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "1"
    assert (tmp_path / "d" / "e" / "f.jsonl").read_text() == '{"n": 1}\n'


def test_json_is_written_for_people_and_never_holds_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"name": "Ámira", "scores": [1, None]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "Ámira",\n  "scores": [\n    1,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "b.json", {"score": float("nan")})
    files.append_record(tmp_path / "log.jsonl", {"name": "Ámira"})
    assert (tmp_path / "log.jsonl").read_bytes() == '{"name": "Ámira"}\n'.encode()


@pytest.mark.parametrize(
    ("raised", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "report.md"),
        (OSError(errno.ENOSPC, "No space left on device", "another"), "another"),
    ],
    ids=["writing does not say what was written", "what is named stays so"],
)
def test_a_full_disk_names_the_file(tmp_path: Path, raised: OSError, named: str) -> None:
    with pytest.raises(OSError) as caught, files.replacing(tmp_path / "report.md"):
        raise raised
    assert caught.value is raised and Path(str(raised.filename)).name == named
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_tells_its_own_failure_though_its_file_is_gone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the reason"), files.replacing(tmp_path / "a") as temporary:
        temporary.unlink()
        raise RuntimeError("the reason")


def test_a_volume_that_cannot_sync_folders_can_still_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    files.write_text(tmp_path / "a", "1")
    assert (tmp_path / "a").read_text() == "1"


def test_no_handle_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handles: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: handles.append(handle) or real(handle))
    files.write_text(tmp_path / "a", "1")
    for handle in handles:
        with pytest.raises(OSError):
            os.fstat(handle)


@pytest.mark.usefixtures("permission_bits")
@pytest.mark.skipif(not POSIX, reason="permission bits are POSIX")
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.write_text(path, "1")
    path.chmod(0o640)
    files.write_text(path, "2")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"\xef\xbb\xbfa\r\nb", "a\nb"), (b"a\nb", "a\nb"), (b"", "")],
    ids=["byte order mark and CRLF", "plain", "empty"],
)
def test_read_text(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "a").write_bytes(data)
    assert files.read_text(tmp_path / "a") == text


def test_text_that_is_not_utf8_is_named_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"first\nsecond \xe9\n")
    with pytest.raises(InputError) as caught:
        files.read_text(path)
    assert str(caught.value) == f"{path}:2: not UTF-8 (byte 0xe9) (save it as UTF-8)"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as missing:
        files.read_text(tmp_path / "a")
    assert str(missing.value) == f"{tmp_path / 'a'}: no such file"
    with pytest.raises(InputError) as missing:
        list(files.read_records(tmp_path / "a"))
    assert str(missing.value) == f"{tmp_path / 'a'}: no such file"
    if POSIX:
        with pytest.raises(InputError) as folder:
            files.read_text(tmp_path)
        assert str(folder.value) == f"{tmp_path}: is a directory, not a file"


def test_a_warning_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.jsonl").write_text("[]\n")
    assert list(files.read_records(tmp_path / "log.jsonl")) == []
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"warning: {tmp_path / 'log.jsonl'}:1: line skipped (not a JSON object)\n")


def test_json_that_is_broken_is_named_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{\n"a": 1,\n}')
    with pytest.raises(InputError, match=r"a\.json:3: not JSON: "):
        files.read_json(path)


def test_a_torn_last_line_is_skipped_with_a_warning_and_never_overwritten(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"n": 1}\n{"n": 2, "half')
    files.append_record(log, {"n": 3})
    warnings: list[str] = []
    assert [record.data["n"] for record in files.read_records(log, warnings.append)] == [1, 3]
    assert log.read_bytes() == b'{"n": 1}\n{"n": 2, "half\n{"n": 3}\n'
    assert warnings == [f"{log}:2: line skipped (not JSON)"]


def test_a_line_that_is_no_object_is_skipped_and_named(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'[1]\n\n{"n": 1}\n\xff\xfe\n{"torn')
    warnings: list[str] = []
    records = list(files.read_records(log, warnings.append))
    assert [(record.line, record.data) for record in records] == [(3, {"n": 1})]
    assert [warning.rsplit(":", 2)[1] for warning in warnings] == ["1", "4", "5"]
    assert warnings[-1].endswith("(torn by a crash?)")


def test_nan_never_reaches_a_log(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        files.append_record(tmp_path / "log.jsonl", {"score": float("nan")})
    assert not (tmp_path / "log.jsonl").exists()


def test_appending_at_once_loses_no_line(tmp_path: Path, project_root: Path) -> None:
    log = tmp_path / "log.jsonl"
    program = (
        "import sys; from pathlib import Path; from lifeos.files import append_record\n"
        "for n in range(40): append_record(Path(sys.argv[1]), {'writer': sys.argv[2], 'n': n, 'pad': 'x' * 5000})"
    )

    def write(writer: int) -> int:
        return subprocess.call([sys.executable, "-c", program, str(log), str(writer)], cwd=project_root)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, range(4))) == [0, 0, 0, 0]
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted((int(row["writer"]), row["n"]) for row in rows) == [(writer, n) for writer in range(4) for n in range(40)]


@pytest.mark.skipif(not POSIX, reason="kill -9 is POSIX")
def test_a_kill_while_writing_leaves_the_old_or_the_new_file(tmp_path: Path, project_root: Path) -> None:
    if not replaces_in_one_step(tmp_path):
        pytest.skip("this volume replaces a file in two steps")
    path = tmp_path / "state.json"
    files.write_json(path, {"n": 0, "pad": ""})
    program = (
        "import sys; from pathlib import Path; from lifeos.files import write_json\n"
        "print('go', flush=True)\n"
        "for n in range(1, 10**6): write_json(Path(sys.argv[1]), {'n': n, 'pad': 'x' * 200_000})"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=project_root, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            while files.read_json(path)["n"] < 3:
                pass
        finally:
            child.kill()
    assert len(files.read_json(path)["pad"]) == 200_000


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert files.sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_name_that_is_not_utf8_is_written_and_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    files.write_json(tmp_path / "a.json", {"file": name})
    files.append_record(tmp_path / "a.jsonl", {"file": name})
    files.write_text(tmp_path / "a.md", f"{name}\n")
    assert (tmp_path / "a.md").read_bytes() == b"caf\\udce9.png\n"
    assert files.read_json(tmp_path / "a.json") == {"file": name}
    assert [record.data for record in files.read_records(tmp_path / "a.jsonl")] == [{"file": name}]


class HeldOpen(PermissionError):
    """What Windows answers while another program has the file open."""

    winerror = 32


@pytest.mark.parametrize(("refused", "replaced"), [(3, True), (10_000, False)], ids=["for a moment", "for good"])
def test_a_file_that_another_program_holds_open_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int, replaced: bool
) -> None:
    path = tmp_path / "state.json"
    path.write_text("old")
    tries = []
    real = Path.replace

    def replace(source: Path, target: Path) -> Path:
        tries.append(source)
        if len(tries) <= refused:
            raise HeldOpen(errno.EACCES, "in use", str(source), None, str(target))
        return real(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(files, "HELD_SECONDS", 0.5)
    if replaced:
        files.write_text(path, "new")
        assert (path.read_text(), len(tries)) == ("new", refused + 1)
    else:
        with pytest.raises(PermissionError) as caught:
            files.write_text(path, "new")
        assert caught.value.filename == str(path)  # not the temporary name that nobody knows
        assert len(tries) > 1
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


def test_a_folder_that_may_not_be_written_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def refuse(source: Path, target: Path) -> Path:
        tries.append(source)
        raise PermissionError(errno.EACCES, "Permission denied", str(source), None, str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        files.write_text(tmp_path / "state.json", "new")
    assert len(tries) == 1


def test_a_record_that_did_not_reach_the_disk_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails while the row is brought to it: the command ends with that, and is run again."""
    log = tmp_path / "history.jsonl"
    log.write_bytes(b'{"n": 1}\n{"torn')
    real = os.fsync

    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError) as caught:
        files.append_record(log, {"n": 2})
    assert caught.value.filename == str(log)
    monkeypatch.setattr(os, "fsync", real)
    files.append_record(log, {"n": 2})
    assert log.read_bytes() == b'{"n": 1}\n{"torn\n{"n": 2}\n'


@pytest.mark.skipif(not POSIX, reason="limits of files are POSIX")
def test_a_record_over_the_limit_of_files_leaves_the_log_as_it_was(tmp_path: Path, project_root: Path) -> None:
    """A real limit, met in the middle of a row: no half of it stays, and the end is one line with the file's name."""
    log = tmp_path / "history.jsonl"
    log.write_text('{"n": 1}\n')
    program = (
        "import resource, sys; from pathlib import Path; from lifeos import cli, files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "def main(): files.append_record(Path(sys.argv[1]), {'n': 'x' * 100}); return 0\n"
        "raise SystemExit(cli.run(main))\n"
    )
    command = [sys.executable, "-c", program, str(log)]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert done.stderr.startswith(f"error: {log}: File too large")
    assert log.read_text() == '{"n": 1}\n'
