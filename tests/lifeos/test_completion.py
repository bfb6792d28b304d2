"""The completion scripts, tried in the shells themselves: bash everywhere, zsh and fish where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lifeos import completion
from lifeos.completion import CommandWords, FlagWords, read_commands
from lifeos.errors import InputError
from tests.checkouts import ROOT
from tests.parsers import PARSERS

COMMANDS = read_commands(ROOT)


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "lifeos.bash"
    path.write_text(completion.render_bash(COMMANDS), encoding="utf-8")
    return path


def bash(program: str) -> str:
    done = subprocess.run(["bash", "--norc", "--noprofile", "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr == ""
    return done.stdout.strip()


def completed(script: Path, *words: str, before: str = "") -> list[str]:
    """What bash offers for the last word of a command line; empty leaves it to bash, which offers file names."""
    typed = " ".join(f"'{word}'" for word in words)
    lines = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _lifeos python"
    return bash(f'{before}\nsource {script}\n{lines}\nprintf "%s\\n" "${{COMPREPLY[@]}}"').split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["python", "-m", "lifeos", "sco"], ["scorecard"]),
        (["python3", "-m", "lifeos", "comp"], ["compare_versions", "completion"]),
        (["python", "/some/where/lifeos", "doc"], ["doctor"]),
        (["python", "-m", "lifeos", "scorecard", "--skin-t"], ["--skin-threshold", "--skin-texture-threshold"]),
        (["python", "tools/production_pipeline.py", "--prompts"], ["--prompts-file"]),
        (["python", "/x/tools/production_pipeline.py", "--lora-f"], ["--lora-file"]),
        (["python", "evals/scorecard.py", "--engine", ""], ["auto", "onnx", "insightface", "sface", "dlib"]),
        (["python", "evals/scorecard.py", "--engine", "=", "d"], ["dlib"]),
        (["python", "evals/scorecard.py", "--engine", "="], ["auto", "onnx", "insightface", "sface", "dlib"]),
        (["python", "evals/leaderboard.py", "--format", "m"], ["markdown"]),
        (["python", "evals/scorecard.py", "--reference-dir", "-"], []),
        (["python", "evals/scorecard.py", "--json", ""], []),
        (["python", "other.py", "--eng"], []),
        (["python", "-m", "lifeos", "no_such_script", "--"], []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_in_a_real_bash(words: list[str], offered: list[str], bash_script: Path) -> None:
    assert completed(bash_script, *words) == offered


def test_bash_knows_whom_to_ask(bash_script: Path) -> None:
    assert bash(f"source {bash_script}; complete -p python python3").splitlines() == [
        f"complete -o bashdefault -o default -F _lifeos {name}" for name in ("python", "python3")
    ]


def test_another_completion_of_python_goes_on_working(bash_script: Path) -> None:
    before = "_other() { COMPREPLY=(theirs); }; complete -F _other python"
    assert completed(bash_script, "python", "other.py", "--", before=before) == ["theirs"]
    assert completed(bash_script, "python", "-m", "lifeos", "sco", before=f"{before}; source {bash_script}") == ["scorecard"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_read_their_script(shell: str, tmp_path: Path) -> None:
    script = tmp_path / shell
    script.write_text({"zsh": completion.render_zsh, "fish": completion.render_fish}[shell](COMMANDS), encoding="utf-8")
    assert "scorecard" in script.read_text(encoding="utf-8")
    if not shutil.which(shell):  # what is written was tried with zsh 5.9 and fish 3.6
        return
    tried = {
        "zsh": f"autoload -Uz compinit; compinit -u -D; source {script}; print $_comps[python]; _lifeos_choices demo --engine",
        "fish": f"source {script}; complete -C 'python -m lifeos sco'; complete -C 'python tools/demo.py --engine d'",
    }[shell]
    bare = {"zsh": "-f", "fish": "--no-config"}[shell]
    done = subprocess.run([shell, bare, "-c", tried], capture_output=True, text=True, check=False, env=os.environ | {"HOME": str(tmp_path)})
    assert done.stderr == ""
    lines = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert lines == {"zsh": ["_lifeos", "auto onnx insightface sface dlib"], "fish": ["scorecard", "dlib"]}[shell]


def test_every_command_and_flag_is_in_it() -> None:
    names = {command.name for command in COMMANDS}
    assert names == {*(Path(path).stem for path in PARSERS), "test", "help"}
    assert all(any("--help" in flag.spellings for flag in command.flags) for command in COMMANDS if command.name not in ("test", "help"))


def test_help_texts_cannot_break_out_of_fish() -> None:
    flag = FlagWords(("--x",), (), True, "it's a \\ $(rm)")
    assert "-d 'it\\'s a \\\\ $(rm)'" in completion.render_fish([CommandWords("demo", (flag,))])


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.main(["bash"]) == 0
    assert capsys.readouterr().out == completion.render_bash(COMMANDS)
    with pytest.raises(InputError, match="choose from 'bash', 'zsh', 'fish'"):
        completion.main(["tcsh"])
