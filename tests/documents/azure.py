"""The commands of the Azure CLI that the documents show, with the options that Microsoft's reference gives them.

https://learn.microsoft.com/cli/azure/reference-index; the CLI itself is not installed for tests.
"""

from __future__ import annotations

import re
import shlex

EVERYWHERE = frozenset({"--query", "--output", "-o"})
COMMANDS = {
    "ad app create": {"--display-name", "--public-client-redirect-uris", "--is-fallback-public-client"},
    "ad app credential reset": {"--id", "--append", "--years", "--cert"},
    "ad app federated-credential create": {"--id", "--parameters"},
    "ad app permission add": {"--id", "--api", "--api-permissions"},
    "ad app permission admin-consent": {"--id"},
    "ad sp create": {"--id"},
    "ad sp list": {"--display-name"},
    "ad sp show": {"--id"},
    "aks show": {"--name", "--resource-group"},
    "identity create": {"--name", "--resource-group"},
    "identity federated-credential create": {"--name", "--identity-name", "--resource-group", "--issuer", "--subject", "--audiences"},
    "identity show": {"--name", "--resource-group"},
    "role assignment create": {"--role", "--scope", "--assignee"},
    "vm identity assign": {"--resource-group", "--name", "--identities"},
}  # fmt: skip


def strangers(code: str) -> list[str]:
    """What is no command of the CLI, or no option of that command."""
    return [problem for words in _commands(code) if (problem := _problem(words))]


def _commands(code: str) -> list[list[str]]:
    """Every call of az, those within $(…) too."""
    joined = code.replace("\\\n", " ")
    inner = re.findall(r"\$\((az [^)]*)\)", joined)
    outer = re.sub(r"\$\(az [^)]*\)", "VALUE", joined)
    parts = [part for text in (outer, *inner) for part in re.split(r"\n(?! )|&&|\|", text)]
    return [shlex.split(part, comments=True) for part in parts if part.strip().startswith("az ")]


def _problem(words: list[str]) -> str:
    options = [word for word in words if word.startswith("-")]
    command = " ".join(words[1 : words.index(options[0])] if options else words[1:])
    if command not in COMMANDS:
        return f"az {command}"
    unknown = set(options) - COMMANDS[command] - EVERYWHERE
    return f"az {command} {' '.join(sorted(unknown))}" if unknown else ""
