"""`completion`: what a shell needs to complete commands, flags and their values.

bash, zsh and fish ask click at each key. PowerShell, which click does not know, gets a table of all words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import click
from click.shell_completion import get_completion_class

from .options import SettingOption

PROGRAM = "fhir-auth-proxy"
VARIABLE = "_FHIR_AUTH_PROXY_COMPLETE"
"""What click derives from the program's name, and reads when a shell asks."""

POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName '{program}' -ScriptBlock {{
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @{{
{words}
    }}
    $values = @{{
{values}
    }}
    $path = ''
    $before = ''
    foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {{
        if ($element.Extent.EndOffset -lt $cursorPosition) {{
            $before = $element.Extent.Text
            $longer = "$path $before".Trim()
            if ($words.ContainsKey($longer)) {{ $path = $longer }}
        }}
    }}
    $option = "$path $before".Trim()
    $found = if ($values.ContainsKey($option)) {{ $values[$option] }} else {{ $words[$path] }}
    $found | Where-Object {{ $_.StartsWith($wordToComplete) }} | ForEach-Object {{
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }}
}}"""

HOW_TO = MappingProxyType(
    {
        "bash": f'eval "$({PROGRAM} completion bash)"           in ~/.bashrc',
        "zsh": f'eval "$({PROGRAM} completion zsh)"            in ~/.zshrc',
        "fish": f"{PROGRAM} completion fish | source             in ~/.config/fish/config.fish",
        "powershell": f"{PROGRAM} completion powershell | Out-String | Invoke-Expression   in $PROFILE",
    }
)
"""Each shell with the line that a person puts into its start-up file."""


@click.command(
    "completion",
    short_help="Print what a shell needs to complete commands.",
    epilog="\b\n" + "\n".join(HOW_TO.values()),
)
@click.argument("shell", type=click.Choice(list(HOW_TO)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a script for your shell; its start-up file runs it by the line below."""
    root = ctx.find_root().command
    script = powershell(root, ctx.find_root()) if shell == "powershell" else _by_click(root, shell)
    click.echo(script)


def _by_click(root: click.Command, shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no shell named {shell}")
    return kind(root, {}, PROGRAM, VARIABLE).source()


def powershell(root: click.Command, ctx: click.Context) -> str:
    """A script with every command, flag and choice that there is now."""
    words: dict[str, list[str]] = {}
    values: dict[str, list[str]] = {}
    for path, command_ in _tree(root, ctx, ""):
        names = command_.list_commands(ctx) if isinstance(command_, click.Group) else []
        words[path] = list(names)
        for parameter in command_.get_params(ctx):
            if isinstance(parameter, click.Argument):
                words[path].extend(_choices(parameter))
                continue
            words[path].extend(option for option in parameter.opts if option.startswith("--"))
            if choices := _choices(parameter):
                values |= {f"{path} {option}".strip(): choices for option in parameter.opts}
    return POWERSHELL.format(program=PROGRAM, words=_table(words), values=_table(values))


def _tree(command_: click.Command, ctx: click.Context, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that lead to it."""
    yield path, command_
    if isinstance(command_, click.Group):
        for name in command_.list_commands(ctx):
            if (child := command_.get_command(ctx, name)) is not None:
                yield from _tree(child, ctx, f"{path} {name}".strip())


def _choices(parameter: click.Parameter) -> list[str]:
    if isinstance(parameter, SettingOption):
        return list(parameter.setting.choices)
    return list(map(str, parameter.type.choices)) if isinstance(parameter.type, click.Choice) else []


def _table(rows: Mapping[str, list[str]]) -> str:
    """Rows of a PowerShell hash table; its quotes are doubled within a quoted word."""
    return "\n".join(
        f"        {_quoted(name)} = @({', '.join(map(_quoted, words))})" for name, words in rows.items()
    )


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"
