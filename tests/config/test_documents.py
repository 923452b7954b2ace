from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from proxy.config.documents import json_schema, settings_table
from proxy.config.layers import file_layer
from proxy.config.resolve import resolve
from proxy.config.settings import SETTINGS

SECRETS = {"client_secret", "client_certificate_password", "github_token", "key", "token", "token_cache_key"}
ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "config").glob("*.toml"))
TABLE_START, TABLE_END = "<!-- settings: start -->\n", "<!-- settings: end -->"


def named(path: Path) -> str:
    return path.name


def test_ready_made_files_are_there() -> None:
    assert {path.stem for path in FILES} >= {
        "anonymous",
        "azd",
        "azure-cli",
        "client-secret",
        "command",
        "container",
        "device-code",
        "interactive",
        "managed-identity",
        "powershell",
        "several-servers",
        "token",
    }


@pytest.mark.parametrize("path", FILES, ids=named)
def test_ready_made_file_is_a_configuration(path: Path) -> None:
    effective = resolve([file_layer(tomllib.loads(path.read_text("utf-8")), path.name, path.parent)])

    assert effective.config.servers


@pytest.mark.parametrize("path", FILES, ids=named)
def test_ready_made_file_holds_to_the_schema(path: Path) -> None:
    errors = Draft202012Validator(json_schema()).iter_errors(tomllib.loads(path.read_text("utf-8")))

    assert [error.message for error in errors] == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_ready_made_file_explains_itself(path: Path) -> None:
    assert path.read_text("utf-8").startswith("# ")


def test_schema_is_valid() -> None:
    Draft202012Validator.check_schema(json_schema())

    assert json_schema()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def properties(schema: dict[str, object]) -> dict[str, dict[str, object]]:
    return schema["properties"]  # type: ignore[return-value]


def test_schema_describes_every_setting_at_the_top() -> None:
    described = {key for key, value in properties(json_schema()).items() if value["description"]}

    assert {*SETTINGS, "server"} == described


def test_schema_describes_the_settings_of_a_server() -> None:
    items = properties(json_schema())["server"]["items"]

    assert {key for key, setting in SETTINGS.items() if setting.per_server} == set(properties(items))


def test_schema_marks_secrets_alone_as_write_only() -> None:
    marked = {key for key, value in properties(json_schema()).items() if value.get("writeOnly")}

    assert SECRETS == marked


@pytest.mark.parametrize(
    ("key", "default"),
    [("listen", "localhost:8080"), ("sign_in_wait", 20.0), ("aliases", []), ("auth", "auto")],
)
def test_schema_holds_defaults(key: str, default: object) -> None:
    assert default == properties(json_schema())[key]["default"]


REFUSED = [
    {"lisen": "x"},
    {"auth": "magic"},
    {"read_timeout": 0},
    {"authority": None},
    {"server": {"base_url": "https://h"}},
    {"server": [{"log_level": "info"}]},
]


@pytest.mark.parametrize("document", REFUSED, ids=str)
def test_schema_refuses_what_the_proxy_refuses(document: dict[str, object]) -> None:
    assert not Draft202012Validator(json_schema()).is_valid(document)


def test_table_has_a_row_for_every_setting() -> None:
    head, _, *rows = settings_table().splitlines()

    assert head == "| key | flag | environment | default | what it is |"
    assert [f"| `{key}` |" for key in SETTINGS] == [" ".join(row.split(" ")[:3]) for row in rows]


ROWS = [
    (
        "tenant",
        (
            "| `tenant` | `--tenant` | `FHIR_AUTH_PROXY_TENANT`, `AZURE_TENANT_ID` | none | "
            "Entra tenant, as GUID or domain name. |"
        ),
    ),
    (
        "aliases",
        (
            "| `aliases` | `--alias`, repeatable | `FHIR_AUTH_PROXY_ALIASES` | none | "
            "Other base URLs that the server uses for itself in what it sends. |"
        ),
    ),
    (
        "token",
        (
            "| `token` | none: a secret | `FHIR_AUTH_PROXY_TOKEN` | none | "
            "Bearer token for the method `token`. |"
        ),
    ),
    (
        "rewrite",
        (
            "| `rewrite` | `--rewrite` | `FHIR_AUTH_PROXY_REWRITE` | `on` | "
            "Make the server's URLs local ones in what it sends. One of on, off. |"
        ),
    ),
    (
        "base_url",
        "| `base_url` | `BASE_URL` | `FHIR_AUTH_PROXY_BASE_URL` | required | Base URL of the FHIR server. |",
    ),
]


@pytest.mark.parametrize(("key", "row"), ROWS)
def test_table_tells_all_names_of_a_setting(key: str, row: str) -> None:
    assert [row] == [line for line in settings_table().splitlines() if line.startswith(f"| `{key}` ")]


def test_document_holds_the_table() -> None:
    readme = (ROOT / "docs" / "settings.md").read_text("utf-8")
    _, start, rest = readme.partition(TABLE_START)
    table, end, _ = rest.partition(TABLE_END)

    assert (start, end) == (TABLE_START, TABLE_END)
    assert settings_table() == table
