"""Print a script that completes the project's commands in a shell: verbs, scripts, flags and the values of choices.

It is made from the parsers as they are now, and needs nothing of ours when a key is pressed. It completes `python -m lifeos …` and
`python` with a script of `tools/` or `evals/`; everything else after `python` is completed as before.

    python -m lifeos completion bash >> ~/.bashrc
    python -m lifeos completion zsh >> ~/.zshrc
    python -m lifeos completion fish | source

Exit codes: 0 printed · 2 bad usage.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lifeos import cli
from lifeos.errors import EXIT_OK
from lifeos.reference import find_pages

SHELLS = ("bash", "zsh", "fish")
PYTHONS = ("python", "python3")
PLAIN_VERBS = ("test", "help")
"""Verbs of the launcher without flags of their own."""
LONGEST_TEXT = 60


@dataclass(frozen=True, slots=True)
class FlagWords:
    """One flag: its spellings, the values that it chooses between (none for any), whether it takes a value, what it does in short."""

    spellings: tuple[str, ...]
    choices: tuple[str, ...]
    takes_value: bool
    text: str


@dataclass(frozen=True, slots=True)
class CommandWords:
    """A verb or script and its flags."""

    name: str
    flags: tuple[FlagWords, ...]


def read_commands(root: Path) -> list[CommandWords]:
    """Every command that has a parser, and those verbs that have none, by name."""
    found = [CommandWords(page.name, tuple(_flags(page.parser))) for page in find_pages(root) if page.parser is not None]
    return sorted([*found, *(CommandWords(verb, ()) for verb in PLAIN_VERBS)], key=lambda command: command.name)


def _flags(parser: argparse.ArgumentParser) -> Iterator[FlagWords]:
    for action in parser._actions:
        spellings = tuple(option for option in action.option_strings if option.startswith("--"))
        if spellings:
            text = " ".join((action.help or "").split())
            short = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
            yield FlagWords(spellings, tuple(map(str, action.choices or ())), action.nargs != 0, short)


def render_bash(commands: list[CommandWords]) -> str:
    return BASH.format(words=_shell_words(commands), verbs=" ".join(command.name for command in commands), pythons=" ".join(PYTHONS))


def render_zsh(commands: list[CommandWords]) -> str:
    return ZSH.format(words=_shell_words(commands), verbs=" ".join(command.name for command in commands), pythons=" ".join(PYTHONS))


def _shell_words(commands: Iterable[CommandWords]) -> str:
    """Two functions that bash and zsh both read: the flags of a command, the choices of a flag."""
    flags, choices = [], []
    for command in commands:
        spellings = [spelling for flag in command.flags for spelling in flag.spellings]
        if spellings:
            flags.append(f"    {command.name}) echo '{' '.join(spellings)}' ;;")
        for flag in command.flags:
            if flag.takes_value:
                patterns = "|".join(f"'{command.name} {spelling}'" for spelling in flag.spellings)
                choices.append(f"    {patterns}) echo '{' '.join(flag.choices) or '-'}' ;;")
    return "\n".join(
        ["_lifeos_flags() {", '  case "$1" in', *flags, "  esac", "}", "_lifeos_choices() {", '  case "$1 $2" in', *choices, "  esac", "}"]
    )


BASH = """\
# LifeOS in bash: python -m lifeos completion bash
{words}
_lifeos_verbs='{verbs}'
_lifeos_before=$(complete -p python 2>/dev/null | sed -n 's/.* -F \\([^ ]*\\) .*/\\1/p')
[[ $_lifeos_before == _lifeos ]] && _lifeos_before=
_lifeos() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} flag=${{COMP_WORDS[COMP_CWORD-1]}} name= word values i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case $word in
      lifeos|*/lifeos)
        if ((i + 1 == COMP_CWORD)); then
          COMPREPLY=($(compgen -W "$_lifeos_verbs" -- "$cur"))
          return
        fi
        name=${{COMP_WORDS[i+1]}}
        break ;;
      tools/*.py|*/tools/*.py|evals/*.py|*/evals/*.py)
        word=${{word##*/}}
        name=${{word%.py}}
        break ;;
    esac
  done
  if [[ -z $name ]]; then
    [[ -n $_lifeos_before ]] && "$_lifeos_before" "$@"
    return
  fi
  [[ $flag == '=' ]] && flag=${{COMP_WORDS[COMP_CWORD-2]}}
  [[ $cur == '=' ]] && cur=
  values=$(_lifeos_choices "$name" "$flag")
  if [[ $values == '-' ]]; then
    return
  elif [[ -n $values ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$(_lifeos_flags "$name")" -- "$cur"))
  fi
}}
complete -o bashdefault -o default -F _lifeos {pythons}
"""
"""An empty answer leaves the word to bash, which completes file names."""

ZSH = """\
# LifeOS in zsh: python -m lifeos completion zsh
{words}
_lifeos_verbs='{verbs}'
_lifeos() {{
  local name= flag= word values i
  for ((i = 2; i < CURRENT; i++)); do
    word=${{words[i]}}
    case $word in
      lifeos|*/lifeos)
        if ((i + 1 == CURRENT)); then
          compadd -- ${{=_lifeos_verbs}}
          return
        fi
        name=${{words[i+1]}}
        break ;;
      tools/*.py|*/tools/*.py|evals/*.py|*/evals/*.py)
        name=${{word:t:r}}
        break ;;
    esac
  done
  if [[ -z $name ]]; then
    if (( $+functions[_python] )); then _python "$@"; else _default; fi
    return
  fi
  flag=${{words[CURRENT-1]}}
  if [[ $PREFIX == --*=* ]]; then
    flag=${{PREFIX%%=*}}
    compset -P '*='
  fi
  values=$(_lifeos_choices "$name" "$flag")
  if [[ -n $values && $values != '-' ]]; then
    compadd -- ${{=values}}
  elif [[ -z $values && $PREFIX == -* ]]; then
    compadd -- ${{=$(_lifeos_flags "$name")}}
  else
    _files
  fi
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}
compdef _lifeos {pythons}
"""

FISH = """\
# LifeOS in fish: python -m lifeos completion fish
function __lifeos_command
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        switch $words[$i]
            case lifeos '*/lifeos'
                test $i -lt (count $words); and echo $words[(math $i + 1)]; or echo VERB
                return
            case 'tools/*.py' '*/tools/*.py' 'evals/*.py' '*/evals/*.py'
                string replace -r '.*/' '' -- $words[$i] | string replace -r '\\.py$' ''
                return
        end
    end
end
function __lifeos_is
    test (__lifeos_command)x = $argv[1]x
end
"""


def render_fish(commands: list[CommandWords]) -> str:
    lines = [FISH.rstrip()]
    for python in PYTHONS:
        verbs = " ".join(command.name for command in commands)
        lines.append(f"complete -c {python} -n '__lifeos_is VERB' -f -a '{verbs}'")
        for command in commands:
            for flag in command.flags:
                names = " ".join(f"-l {spelling.removeprefix('--')}" for spelling in flag.spellings)
                value = f" -x -a '{' '.join(flag.choices)}'" if flag.choices else " -r" if flag.takes_value else ""
                lines.append(f"complete -c {python} -n '__lifeos_is {command.name}' {names}{value} -d '{_quoted(flag.text)}'")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Text within single quotes of fish, which knows two escapes there."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, prog="python -m lifeos completion")
    parser.add_argument("shell", choices=SHELLS, help="the shell that the script is for")
    return parser


def main(argv: list[str] | None = None) -> int:
    shell = build_parser().parse_args(argv).shell
    render = {"bash": render_bash, "zsh": render_zsh, "fish": render_fish}[shell]
    cli.say(render(read_commands(cli.PROJECT_ROOT)).rstrip("\n"))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
