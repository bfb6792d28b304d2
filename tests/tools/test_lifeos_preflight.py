"""References, machine paths, dates, secrets, required files and commands: what is wrong is found, what is right is left alone."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifeos import cli
from lifeos.findings import Finding
from lifeos.guardrails import preflight, secret_shapes
from lifeos.guardrails.checkout import Checkout, Document
from lifeos.guardrails.dated_claims import check_dated_claims
from lifeos.guardrails.dead_links import check_references, find_anchors, slug_of
from lifeos.guardrails.machine_paths import check_machine_paths
from tests.capabilities import POSIX, takes_any_name
from tests.checkouts import commit, git, make_repository, small_project, write
from tools import lifeos_preflight

TREE: dict[str, str | bytes] = {
    "README.md": "# LifeOS\n\n## How to run\n",
    "context/goals.md": "# Goals\n\n## Köln & more!\n\n## Twice\n\n## Twice\n",
    "context/projects/pistachio/context.md": "x\n",
    "evals/scorecard.py": "x = 1\n",
    "tools/comfyui/client.py": "x = 1\n",
    "lifeos/__main__.py": "x = 1\n",
    "requirements.txt": "\n",
    ".gitignore": "/out/\ntools/.state.json\n",
}


def told(findings: list[Finding]) -> list[str]:
    return [f"{finding.place}: {finding.text}" for finding in findings]


def references(root: Path, text: str, name: str = "context/doc.md") -> list[str]:
    make_repository(root, TREE | {name: text})
    return told(check_references(Checkout(root)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("See [it](gaols.md).", "link gaols.md: context/gaols.md does not exist (did you mean context/goals.md?)"),
        ("See [it](goals.md#twins).", "link goals.md#twins: context/goals.md has no heading #twins (did you mean #twice?)"),
        (
            "See [it](#nothing-here-at-all).",
            "link #nothing-here-at-all: context/doc.md has no heading #nothing-here-at-all (no heading has it)",
        ),
        ("[it]: ../evals/scores.py", "link ../evals/scores.py: evals/scores.py does not exist (did you mean evals/scorecard.py?)"),
        ("![it](/picture.png)", "link /picture.png: picture.png does not exist (remove it, or make the file)"),
        ('<img src="a.png">', "link a.png: context/a.png does not exist (remove it, or make the file)"),
        ("Read `context/goal.md`.", "`context/goal.md`: context/goal.md does not exist (did you mean context/goals.md?)"),
        (
            "Read `evals/scorecards.py:12`.",
            "`evals/scorecards.py:12`: evals/scorecards.py does not exist (did you mean evals/scorecard.py?)",
        ),
        ("Read `context\\goal.md`.", "`context\\goal.md`: context/goal.md does not exist (did you mean context/goals.md?)"),
        ("Read `context/Goals.md`.", "`context/Goals.md`: context/Goals.md does not exist (did you mean context/goals.md?)"),
        ("Read `tools/client.py`.", "`tools/client.py`: tools/client.py does not exist (did you mean tools/comfyui/client.py?)"),
        ("Read `READNE.md`.", "`READNE.md`: READNE.md does not exist (did you mean README.md?)"),
        ("Read `agents/gone.md`.", "`agents/gone.md`: agents/gone.md does not exist (remove it, or make the file)"),
        ("Run `python evals/score.py --json`.", "python evals/score.py: evals/score.py does not exist (did you mean evals/scorecard.py?)"),
        ("```\npython3 evals/score.py\n```", "python3 evals/score.py: evals/score.py does not exist (did you mean evals/scorecard.py?)"),
        (
            "Run `python -m lifeos scorecards --json`.",
            "python -m lifeos scorecards: tools/scorecards.py does not exist (did you mean evals/scorecard.py?)",
        ),
        (
            "Run `python -m tools.comfyui.klient`.",
            "python -m tools.comfyui.klient: tools/comfyui/klient.py does not exist (did you mean tools/comfyui/client.py?)",
        ),
    ],
    ids=lambda value: value if len(value) < 40 else "",
)
def test_a_broken_reference_is_found_at_its_line(tmp_path: Path, text: str, message: str) -> None:
    line = 3 if text.startswith("```") else 2
    assert references(tmp_path, f"# Doc\n{text}\n") == [f"context/doc.md:{line}: {message}"]


@pytest.mark.parametrize(
    "text",
    [
        "[a](goals.md) [b](goals.md#twice) [c](goals.md#twice-1) [d](goals.md#köln--more)",
        "[e](../README.md#how-to-run) [f](/evals/scorecard.py)",
        "[web](https://example.org/a.md) [mail](mailto:a@example.org) [proto](//example.org/x) [page](../../issues/3)",
        '[title](goals.md "Goals") [angle](<goals.md>) [folder](../evals/) [paren](goals.md)',
        "`evals/` `evals/scorecard.py` `evals/scorecard.py:3` `evals/scorecard.py::test_x`",
        "`./evals/scorecard.py` `projects/pistachio/context.md`",
        "`README.md` `requirements.txt` `manifest.json` `batch_report.md` `sdxl_train_network.py` `scorecard.grade_boundaries`",
        "`--project-root DIR` `tools/*.py` `context/YYYY-MM-DD.md` `tools/{a,b}.py` `evals/<name>.py` `$HOME/evals/x.py` `evals/...`",
        "`https://example.org/evals/x.py` `/workspace/evals/x.py` `approved/` `rejected/` `w/o` `and/or` `16/8` `a / b` `x = evals/y`",
        "`evals/eval_history.jsonl` `tools/cost_log.jsonl` `tools/.state.json` `briefings/2026-11-23.md`",
        "`python -m lifeos doctor` `python -m lifeos scorecard …` `python -m lifeos SCRIPT` `python -m lifeos --help`",
        "`python -m tools.comfyui.client` `python -m pytest`",
        "```\nSee [it](nothing.md) and `evals/nothing.py`\n```",
        "~~~\n```\n[x](nothing.md)\n~~~",
        "[^1]: evals/nothing.py is a footnote",
        "``a ` b`` and `python x.py` and `bash setup.sh`",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_broken_reference_is_left_alone(tmp_path: Path, text: str) -> None:
    assert references(tmp_path, f"# Doc\n\n{text}\n") == []


def test_a_workflow_s_scripts_are_references(tmp_path: Path) -> None:
    found = references(
        tmp_path, "jobs:\n  a:\n    steps:\n      - run: python evals/score.py --project-root .\n", ".github/workflows/a.yml"
    )
    assert [line.partition(" python")[0] for line in found] == [".github/workflows/a.yml:4:"]


def test_a_file_deleted_but_not_committed_is_gone(tmp_path: Path) -> None:
    make_repository(tmp_path, TREE | {"doc.md": "`context/goals.md`\n"})
    (tmp_path / "context/goals.md").rename(tmp_path / "context/aims.md")
    assert told(check_references(Checkout(tmp_path))) == [
        "doc.md:1: `context/goals.md`: context/goals.md does not exist (did you mean context/aims.md?)"
    ]


def test_what_lies_about_untracked_is_not_read_but_new_documents_are(tmp_path: Path) -> None:
    make_repository(tmp_path, TREE)
    broken = "`evals/none.py` in /home/" + "alice/x\n"
    write(tmp_path, {"batch/report.md": broken, "venv/lib/a.md": broken, "out/b.md": broken, "evals/latest_report.md": broken})
    write(tmp_path, {"context/new.md": broken, "NOTES.md": broken})
    checkout = Checkout(tmp_path)
    assert {finding.path for finding in check_references(checkout)} == {"NOTES.md", "context/new.md"}
    assert {finding.path for finding in check_machine_paths(checkout)} == {"NOTES.md", "context/new.md"}
    assert not any(path.startswith(("batch/", "venv/", "out/")) for path in checkout.files)


def test_records_of_runs_may_name_places(tmp_path: Path) -> None:
    make_repository(tmp_path, {"evals/eval_history.jsonl": '{"dataset_manifest_path": "/home/' + 'alice/out/dataset_manifest.json"}\n'})
    assert check_machine_paths(Checkout(tmp_path)) == []


def test_outside_git_ignored_folders_are_not_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"a.md": "`evals/score.py`\n", "evals/y.py": "", ".lifeos/b.md": "`evals/z.py`", "env/pyvenv.cfg": "", "env/c.md": "`evals/z.py`"},
    )
    assert [line.partition(":")[0] for line in told(check_references(Checkout(tmp_path)))] == ["a.md"]


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("How to run", "how-to-run"),
        ("`evals/x.py`: what?", "evalsxpy-what"),
        ("A  b", "a--b"),
        ("[Link](x.md) & *more*", "link--more"),
        ("Über 50 %", "über-50-"),
        ("snake_case", "snake_case"),
    ],
)
def test_slugs_are_those_of_github(heading: str, slug: str) -> None:
    assert slug_of(heading) == slug


def test_explicit_anchors_count() -> None:
    assert find_anchors(Document("a.md", '<a id="Here"></a>\n# A\n')) == {"here", "a"}


PLANTED = {
    "a home": ("/home/" + "alice/lifeos/context/goals.md", "write context/goals.md, relative to the checkout"),
    "a Mac": ("/Users/" + "bob/work", "write it relative to the checkout, or with a placeholder such as <folder>"),
    "root": ("/root/" + "project", "write it relative to the checkout, or with a placeholder such as <folder>"),
    "Windows": ("C:\\" + "Users\\carol\\LifeOS\\evals\\scorecard.py", "write evals/scorecard.py, relative to the checkout"),
    "another drive": ("D:\\" + "projects\\x.txt", "write it relative to the checkout, or with a placeholder such as <folder>"),
    "WSL": ("/mnt/" + "c/Users/dave/x", "write it relative to the checkout, or with a placeholder such as <folder>"),
    "a temporary folder": ("/var/folders/" + "ab/x", "write it relative to the checkout, or with a placeholder such as <folder>"),
}


@pytest.mark.parametrize(("path", "fix"), PLANTED.values(), ids=PLANTED)
def test_a_path_of_one_machine_is_found(tmp_path: Path, path: str, fix: str) -> None:
    make_repository(tmp_path, TREE | {"context/notes.md": f"# Notes\n\nIt lies in {path}.\n"})
    assert told(check_machine_paths(Checkout(tmp_path))) == [f"context/notes.md:3: {path} is a path of one machine ({fix})"]


@pytest.mark.parametrize(
    "text",
    [
        "/home/<you>/x",
        "/Users/USERNAME/x",
        "$HOME/x",
        "~/x",
        "/workspace/lora",
        "https://example.org/home/alice",
        "a/home/bob",
        "12:/30",
        "file:/x",
        "C:",
    ],
)
def test_placeholders_and_urls_are_no_machine_paths(tmp_path: Path, text: str) -> None:
    make_repository(tmp_path, {"a.md": f"{text}\n"})
    assert told(check_machine_paths(Checkout(tmp_path))) == []


def day(days_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days_ago)).date().isoformat()


@pytest.mark.parametrize(
    ("claimed", "committed", "wanted"),
    [
        (0, 0, ""),
        (1, 0, ""),
        (5, 0, "warning says {claim}, but was changed since, on {commit} (write {commit}, or leave the date to git)"),
        (20, 0, "error says {claim}, but was changed since, on {commit} (write {commit}, or leave the date to git)"),
        (0, 5, "error says {claim}, but was last committed on {commit} (write {commit}, or leave the date to git)"),
        (-9, 0, "error says {claim}, which is in the future (write the day on which it was last checked)"),
    ],
    ids=["same day", "time zone", "older", "much older", "pretends to be fresh", "future"],
)
def test_dates_are_held_against_git(tmp_path: Path, claimed: float, committed: float, wanted: str) -> None:
    make_repository(tmp_path, {"a.md": f"# A\n**Last updated:** {day(claimed)}\n"}, days_ago=committed)
    found = check_dated_claims(Checkout(tmp_path), now=time.time(), tolerated_days=14)
    assert [f"{item.severity} {item.text}" for item in found] == (
        [wanted.format(claim=day(claimed), commit=day(committed))] if wanted else []
    )
    assert all(item.line == 2 for item in found)


@pytest.mark.parametrize(
    ("line", "dated"),
    [
        ("Last updated: 2020-01-01", True),
        ("_last reviewed on 2020-1-1_", True),
        ("last_verified = 2020-01-01", True),
        ("Updated 2020-01-01", True),
        ("released 2020-01-01", False),
        ("Last updated: yesterday", False),
        ("Read against the code on 2020-01-01", False),
    ],
)
def test_which_lines_are_claims(tmp_path: Path, line: str, dated: bool) -> None:
    make_repository(tmp_path, {"a.md": f"{line}\n"})
    assert bool(check_dated_claims(Checkout(tmp_path), now=time.time(), tolerated_days=14)) is dated


def test_an_impossible_date_is_named(tmp_path: Path) -> None:
    make_repository(tmp_path, {"a.md": "Last updated: 2026-02-30\n"})
    assert told(check_dated_claims(Checkout(tmp_path), now=time.time(), tolerated_days=14)) == [
        "a.md:1: 2026-02-30 is no date (write YYYY-MM-DD)"
    ]


RANDOM = "q7Zr2LxV9mKd4TgWb8Yc3NpHs6Jf1Ae5"
SECRETS = {
    "AWS": ("AKIA" + "ABCDEFGHIJKLMNOP", "an AWS access key: AKIA… (20 characters)"),
    "GitHub": ("ghp_" + RANDOM + "abcd", "a GitHub token: ghp_… (40 characters)"),
    "Hugging Face": ("hf_" + RANDOM, "a Hugging Face token: hf_q… (35 characters)"),
    "RunPod": ("rpa_" + RANDOM, "a RunPod API key: rpa_… (36 characters)"),
    "sk": ("sk-" + RANDOM, "an API key: sk-q… (35 characters)"),
    "private key": ("-----BEGIN RSA " + "PRIVATE KEY-----", "a private key: ----… (31 characters)"),
    "URL": ("https://me:" + "hunter22@git.company.net/x", "a password in a URL: hunt… (8 characters)"),
    "assigned": ("API_KEY = '" + RANDOM + "'", "a value that looks like a secret: q7Zr… (32 characters)"),
    "YAML": ("password: " + RANDOM, "a value that looks like a secret: q7Zr… (32 characters)"),
}


@pytest.mark.parametrize(("text", "message"), SECRETS.values(), ids=SECRETS)
def test_a_secret_is_found_and_never_shown(text: str, message: str) -> None:
    found = list(secret_shapes.find_secrets(Document("a.txt", f"x\n{text}\n")))
    assert [f"{item.line} {item.message}" for item in found] == [f"2 {message}"]
    assert RANDOM not in found[0].text


@pytest.mark.parametrize(
    "text",
    [
        "password = os.environ['LIFEOS_PASSWORD_FOR_X']",
        "token: ${{ secrets.GITHUB_TOKEN_FOR_THE_JOB }}",
        "api_key = read_the_key_from_the_environment",
        "sk-" + "short",
        "--hash=sha256:" + "0123456789abcdef" * 4,
        "https://user:$PASSWORD@git.company.net",
        "https://user:" + "hunter22@example.org",
        "http://user:" + "hunter22@host:80",
        "seed_key = positive_node_id_and_more",
        "password: xxxxxxxxxxxxxxxxxxxx1",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    assert list(secret_shapes.find_secrets(Document("a.txt", text))) == []


def complete_project(root: Path) -> Path:
    code: dict[str, str | bytes] = {path: "x = 1\n" for path in preflight.REQUIRED_FILES if path.endswith((".py", ".txt", ".yml"))}
    return small_project(root, code | {"PROGRESS.md": "# P\n", "context/projects/pistachio/context.md": "# P\n"})


def run(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = lifeos_preflight.main(["--project-root", str(root), "--json", *arguments])
    return code, [f"{item['severity']} {item['path']}: {item['message']}" for item in json.loads(capsys.readouterr().out)["findings"]]


def test_a_complete_project_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(complete_project(tmp_path), capsys, "--skip-commands") == (0, [])


def test_required_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = complete_project(tmp_path)
    git(root, "rm", "-q", "PROGRESS.md")
    (root / "context/patterns.md").unlink()
    write(root, {"CLAUDE.md": "", "requirements.txt": b"\xff\xfe\0", "context/progress.md": "x\n"})
    code, found = run(root, capsys, "--skip-commands")
    assert code == 1
    assert found == [
        "error CLAUDE.md: empty",
        "error PROGRESS.md: missing",
        "error context/patterns.md: committed, but not on the disk",
        "error requirements.txt: UTF-16, not UTF-8",
    ]


@pytest.mark.parametrize(("in_ci", "severity", "code"), [(False, "error", 1), (True, "warning", 0)], ids=["here", "CI"])
def test_a_missing_command_is_a_warning_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_ci: bool, severity: str, code: int
) -> None:
    root = complete_project(tmp_path)
    monkeypatch.setenv("CI", "true" if in_ci else "")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    wanted = [f"{severity} : git is not installed: it dates and lists the files"]
    wanted.append("warning : claude is not installed: the cycle's agent step needs an agent command")
    assert run(root, capsys) == (code, wanted)
    assert run(root, capsys, "--skip-commands") == (0, [])


def test_a_sparse_checkout_is_no_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = complete_project(tmp_path)
    git(root, "sparse-checkout", "set", "--no-cone", "/*", "!/context/")
    code, found = run(root, capsys, "--skip-commands")
    assert code == 1
    assert "error context/goals.md: committed, but not on the disk" in found


def test_an_empty_checkout_is_no_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(tmp_path, capsys, "--skip-commands")
    assert (code, len(found)) == (1, len(preflight.REQUIRED_FILES))


@pytest.mark.parametrize(
    "content", [b"\0\1\2", "é".encode("latin-1"), b"x" * 3_000_000, b"\xef\xbb\xbf# ok\r\n"], ids=["binary", "latin-1", "3 MB", "BOM"]
)
def test_odd_documents_never_end_in_a_traceback(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    root = complete_project(tmp_path)
    name = "context/a\nb.md" if takes_any_name(tmp_path) else "context/b.md"
    commit(root, {"context/odd.md": content, name: "`evals/none.py`\n"})
    assert cli.run(lambda: lifeos_preflight.main(["--project-root", str(root), "--skip-commands"])) == 1
    captured = capsys.readouterr()
    assert captured.err == ""
    assert f"error: {name.replace(chr(10), chr(92) + 'n')}:1: `evals/none.py`" in captured.out


@pytest.mark.skipif(not POSIX, reason="Windows has no such file names")
def test_no_line_of_ours_is_a_workflow_command_of_theirs(
    tmp_path: Path, names_of_any_bytes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    root = complete_project(tmp_path)
    commit(root, {"::error file=x::y.md": "`evals/none.py`\n"})
    assert lifeos_preflight.main(["--project-root", str(root), "--skip-commands", "--format", "github"]) == 1
    commands = [line for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("::")]
    assert commands == [
        "::error file=%3A%3Aerror file=x%3A%3Ay.md,line=1,title=broken-reference::`evals/none.py`: evals/none.py does not exist"
        " (remove it, or make the file)"
    ]
