"""The parser that every script shares: types of values, spellings of flags, `--version`."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evals.judging.gates import GATES
from lifeos import cli
from lifeos.arguments import OLD_SPELLINGS
from lifeos.errors import InputError
from lifeos.files import read_text
from lifeos.policy.defaults import DEFAULTS
from lifeos.project import project_version
from tests.checkouts import ROOT
from tests.parsers import PARSERS, make_parser

OF_GUARDS = {key for gate in GATES if gate.is_guard for key in (gate.limit_key, gate.folder.key if gate.folder else "")}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (cli.fraction, "0", 0.0),
        (cli.fraction, "1", 1.0),
        (cli.positive, "1e-3", 0.001),
        (cli.non_negative, "0", 0.0),
        (cli.positive_int, "7", 7),
        (cli.duration, "4h", 14_400.0),
        (cli.duration, "1h30m", 5_400.0),
        (cli.duration, "2D", 172_800.0),
    ],
)
def test_numbers_within_range(kind, text: str, value: float) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (cli.fraction, "1.01", "1.01 is not between 0 and 1"),
        (cli.fraction, "nan", "nan is not a finite number"),
        (cli.fraction, "high", "'high' is not a number"),
        (cli.positive, "0", "0 is not above 0"),
        (cli.non_negative, "-0.1", "-0.1 is below 0"),
        (cli.positive_int, "0", "0 is not 1 or more"),
        (cli.whole_number, "1.5", "'1.5' is not a whole number"),
        (cli.duration, "4", "'4' is no time such as 4h, 90m or 1h30m"),
        (cli.duration, "0h", "'0h' is no time such as 4h, 90m or 1h30m"),
        (cli.duration, "999d", "'999d' is no time such as 4h, 90m or 1h30m"),
    ],
)
def test_numbers_out_of_range(kind, text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{message}$"):
        kind(text)


def _parser() -> cli.Parser:
    parser = cli.Parser("Decides nothing.", prog="script.py")
    parser.add_argument("--threshold", type=cli.fraction, help=cli.policy_help("pass from here", "face_similarity.pass_threshold"))
    parser.add_argument("--count", type=int, default=5, help="pictures per prompt")
    return parser


def test_an_unknown_flag_gets_the_nearest_one() -> None:
    with pytest.raises(InputError) as caught:
        _parser().parse_args(["--treshold", "0.5"])
    assert str(caught.value) == "script.py: unknown argument --treshold (did you mean --threshold?)"


def test_flags_are_not_abbreviated() -> None:
    with pytest.raises(InputError):
        _parser().parse_args(["--thresh", "0.5"])


def test_explicit_zero_is_a_value() -> None:
    assert _parser().parse_args(["--threshold", "0"]).threshold == 0.0


@pytest.mark.parametrize("script", PARSERS)
def test_every_parser_says_its_version(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser(script).parse_args(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(rf".* \(LifeOS\) {re.escape(project_version())}\n", capsys.readouterr().out)


def test_the_version_is_the_project_s() -> None:
    (line,) = [line for line in read_text(ROOT / "pyproject.toml").splitlines() if line.startswith("version = ")]
    assert project_version() == line.partition('"')[2].rstrip('"')


@pytest.mark.parametrize("script", PARSERS)
def test_old_spellings_mean_what_the_new_ones_mean(script: str) -> None:
    """In every script: an old word is another word for one flag, and never a flag of its own."""
    parser = make_parser(script)
    flags: dict[str, Any] = parser._option_string_actions
    shadowed = {old for old in OLD_SPELLINGS if old in flags and OLD_SPELLINGS[old] not in flags[old].option_strings}
    assert shadowed == set()
    for old, new in parser.spellings.items():
        if new in flags:
            assert parser._in_new_words([old, "x", f"{old}=x", "--", old]) == [new, "x", f"{new}=x", "--", old]
            assert f"{old} ({new})" in " ".join(parser.format_help().split())


@pytest.mark.parametrize(
    ("script", "command", "name", "value"),
    [
        ("evals/compare_versions.py", "--history h.jsonl", "history", Path("h.jsonl")),
        ("evals/leaderboard.py", "--history-file=h.jsonl", "history", Path("h.jsonl")),
        ("evals/scorecard.py", "--generated out --reference refs --lora a.safetensors", "lora", Path("a.safetensors")),
        ("evals/scorecard.py", "--generated-dir out --reference-dir refs --lora-file a.safetensors", "lora", Path("a.safetensors")),
        ("evals/face_similarity_eval.py", "--generated=out --reference=refs", "reference", Path("refs")),
        ("tools/production_pipeline.py", "--prompts p.txt --reference refs --output-dir o", "reference_dir", Path("refs")),
        ("tools/production_pipeline.py", "--prompts p.txt --lora a.safetensors --output-dir o", "lora", ["a.safetensors"]),
        ("tools/production_pipeline.py", "--prompts p.txt --history h --output-dir o", "history_file", Path("h")),
        ("tools/parameter_sweep.py", "--prompts p.txt --output-dir o", "prompts", Path("p.txt")),
        ("tools/generate_batch.py", "--prompts p.txt --output-dir o", "prompts_file", Path("p.txt")),
        ("tools/run_full_cycle.py", "--production-prompts p.txt", "production_prompts", Path("p.txt")),
        ("tools/run_full_cycle.py", "--generated out --reference refs", "generated_dir", Path("out")),
    ],
)
def test_commands_of_the_specification_and_of_before(script: str, command: str, name: str, value: object) -> None:
    assert getattr(make_parser(script).parse_args(command.split()), name) == value


def examples() -> list[tuple[str, str]]:
    """Every command of a docstring, as its help prints it."""
    found = []
    for script in PARSERS:
        text = re.sub(r"\\\n\s*", "", make_parser(script).description or "")
        commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        found += [(script, command) for command in commands if command.startswith("python ")]
    return found


@pytest.mark.parametrize(("script", "command"), examples())
def test_every_example_can_be_pasted(script: str, command: str) -> None:
    program, *words = shlex.split(re.split(r" [>|]", command)[0], comments=True)
    words = words[2:] if words[0] == "-m" else words
    assert program == "python"
    assert words[0] in (script, Path(script).stem)
    make_parser(script).parse_args(words[1:])


def test_every_script_has_an_example() -> None:
    assert {script for script in PARSERS if script.startswith(("evals/", "tools/"))} - {script for script, _ in examples()} == set()


@pytest.mark.parametrize("script", PARSERS)
def test_a_default_of_the_policy_is_a_key_of_the_policy(script: str) -> None:
    for action in make_parser(script)._actions:
        for key in action.help.keys if isinstance(action.help, cli.PolicyHelp) else ():
            if key in OF_GUARDS:  # absent, and off, until somebody switches the guard on
                continue
            value: Any = DEFAULTS
            for part in key.split("."):
                value = value[part]


def test_an_unknown_flag_gets_the_nearest_new_name() -> None:
    with pytest.raises(InputError) as caught:
        make_parser("evals/leaderboard.py").parse_args(["--history-fil", "x"])
    assert caught.value.fix.startswith("did you mean --history-file")


@pytest.mark.parametrize("script", ["tools/production_pipeline.py", "lifeos"])
def test_a_script_says_its_version_from_anywhere(script: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / script), "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[-1], done.stderr) == (0, project_version(), "")


def test_a_home_folder_is_meant_wherever_a_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows' shells leave `~` as it is, and every shell does in `--flag=~/x`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    parser = cli.Parser("Doc.")
    parser.add_argument("--output-dir", type=Path)
    parser.add_argument_group("more").add_argument("--also", type=Path, action="append")
    given = parser.parse_args(["--output-dir=~/out", "--also", "~/a", "--also", "b~"])
    assert (given.output_dir, given.also) == (tmp_path / "out", [tmp_path / "a", Path("b~")])
