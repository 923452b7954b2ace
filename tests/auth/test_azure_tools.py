from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from proxy.auth import Seams, authenticator
from proxy.auth.azure_tools import LOOK_AGAIN
from proxy.errors import AuthenticationFailed, ConfigError, SignInRequired
from proxy.model import Rejection
from proxy.sandbox.tenant import CLINIC, SERVICE, Tenant

from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Settings, token_of
from .keys import written

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the fake tools are scripts with a #! line")

LATER = 4_102_444_800  # 2100
SECOND_APP = "5e1271ce-5a3d-4b0c-8000-000000000009"

# What the real ones print, around the token; azd's dates are in UTC.
PRINTED = {
    "az": lambda token: json.dumps(
        {
            "accessToken": token,
            "expiresOn": "2100-01-01 00:00:00.000000",
            "expires_on": LATER,
            "subscription": "s",
            "tenant": "t",
            "tokenType": "Bearer",
        }
    ),
    "azd": lambda token: json.dumps({"token": token, "expiresOn": "2100-01-01T00:00:00Z"}),
    "pwsh": lambda token: f"\nazsdk%{token}%{LATER}\n",
}
PROGRAMS = {"azure-cli": "az", "azd": "azd", "powershell": "pwsh"}


class Tools:
    """A PATH with nothing but tiny programs that print a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, text: str, *, stderr: str = "", status: int = 0) -> None:
        program = self.folder / name
        program.write_text(
            f"#!{sys.executable}\nimport sys\n"
            f"open({str(self.folder / 'asked')!r}, 'a').write(repr(sys.argv[1:]) + '\\n')\n"
            f"sys.stdout.write({text!r}); sys.stderr.write({stderr!r}); sys.exit({status})\n"
        )
        program.chmod(0o700)

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")  # azure-identity starts PowerShell through it
    monkeypatch.setenv("PATH", str(folder))
    return Tools(folder)


@pytest.fixture
async def token(app_settings: Settings, seams: Seams) -> str:
    """A real token of the tenant, which a tool could have."""
    app = authenticator(app_settings(), seams)
    made = await token_of(app)
    await app.close()
    return made


@pytest.mark.parametrize("method", PROGRAMS)
async def test_tools_sign_in_is_reused_and_kept(
    tenant: Tenant,
    app_settings: Settings,
    seams: Seams,
    lines: list[str],
    tools: Tools,
    token: str,
    method: str,
) -> None:
    program = PROGRAMS[method]
    tools.install(program, PRINTED[program](token))
    signing = authenticator(app_settings(auth=method, tenant=CLINIC.id, authority=None), seams)
    for _ in range(3):
        assert token == await token_of(signing)
    await signing.close()

    assert tenant.verify(token, BASE_URL).appid == SERVICE.client_id
    assert len(tools.asked) == 1
    assert f"in the tenant {CLINIC.id}" in lines[0]


async def test_tool_is_asked_for_the_audience_and_tenant(
    app_settings: Settings, seams: Seams, tools: Tools, token: str
) -> None:
    tools.install("az", PRINTED["az"](token))
    signing = authenticator(app_settings(auth="azure-cli", tenant=CLINIC.id, authority=None), seams)
    await token_of(signing)
    await signing.close()

    assert f"'--resource', '{BASE_URL}'" in tools.asked[0]
    assert f"'--tenant', '{CLINIC.id}'" in tools.asked[0]


def jwt_of(oid: str, name: str) -> str:
    import jwt

    return jwt.encode({"oid": oid, "tid": CLINIC.id, "upn": name}, "k" * 32, "HS256")


async def test_account_switch_is_told_and_the_old_token_dropped(
    app_settings: Settings, seams: Seams, clock: FakeClock, lines: list[str], tools: Tools
) -> None:
    ada, mary = jwt_of("o1", "ada@clinic.example"), jwt_of("o2", "mary@clinic.example")
    tools.install("az", PRINTED["az"](ada))
    signing = authenticator(app_settings(auth="azure-cli"), seams)
    first = await signing.credentials()
    assert first is not None
    tools.install("az", PRINTED["az"](mary))
    clock.advance(1)
    await signing.credentials(Rejection(first))

    assert await token_of(signing) == mary
    await signing.close()
    assert "signed in as ada@clinic.example" in lines[0]
    assert "now signed in as mary@clinic.example" in lines[1]
    assert "was as ada@clinic.example" in lines[1]


# The file that says who is signed in, below the home folder, and the variable that moves its folder.
PROFILES = {
    "azure-cli": (".azure/azureProfile.json", "AZURE_CONFIG_DIR"),
    "azd": (".azd/auth.json", "AZD_CONFIG_DIR"),
    "powershell": (".Azure/AzureRmContext.json", ""),
}
PLACES = [(method, moved) for method, (_, variable) in PROFILES.items() for moved in (False, bool(variable))]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("AZURE_CONFIG_DIR", "AZD_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def profile(
    request: pytest.FixtureRequest, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The profile of a tool, as a sign-in of Ada left it."""
    method, is_moved = request.param
    place, variable = PROFILES[method]
    path = home / place
    if is_moved:
        path = tmp_path / "moved" / path.name
        monkeypatch.setenv(variable, str(path.parent))
    path.parent.mkdir(parents=True)
    path.write_text("ada")
    return path


@pytest.mark.parametrize(("profile", "method"), [(place, place[0]) for place in PLACES], indirect=["profile"])
async def test_account_switch_is_noticed_by_the_next_request(
    app_settings: Settings,
    seams: Seams,
    clock: FakeClock,
    lines: list[str],
    tools: Tools,
    profile: Path,
    method: str,
) -> None:
    program = PROGRAMS[method]
    ada, mary = jwt_of("o1", "ada@clinic.example"), jwt_of("o2", "mary@clinic.example")
    tools.install(program, PRINTED[program](ada))
    signing = authenticator(app_settings(auth=method), seams)
    before = [await token_of(signing) for _ in range(3)]
    clock.advance(LOOK_AGAIN)
    written(profile, b"ada")  # written again, with the same in it
    before.append(await token_of(signing))
    runs = len(tools.asked)
    tools.install(program, PRINTED[program](mary))
    written(profile, b"mary")
    after = [await token_of(signing) for _ in range(3)]
    await signing.close()

    assert (before, runs) == ([ada] * 4, 1)
    assert (after, len(tools.asked)) == ([mary] * 3, 2)
    assert "now signed in as mary@clinic.example" in lines[1]


@pytest.mark.parametrize("profile", [("azure-cli", False)], indirect=True)
async def test_sign_in_to_the_tool_ends_the_refusal_that_is_remembered(
    app_settings: Settings, seams: Seams, clock: FakeClock, tools: Tools, profile: Path
) -> None:
    ada = jwt_of("o1", "ada@clinic.example")
    tools.install("az", PRINTED["az"](ada))
    signing = authenticator(app_settings(auth="azure-cli"), seams)
    await token_of(signing)
    clock.advance(LOOK_AGAIN)
    written(profile, None)
    tools.install("az", "", stderr="Please run 'az login'", status=1)
    with pytest.raises(SignInRequired, match="az login"):
        await token_of(signing)
    clock.advance(LOOK_AGAIN)
    tools.install("az", PRINTED["az"](ada))
    written(profile, b"ada")

    assert await token_of(signing) == ada
    await signing.close()


@pytest.mark.parametrize("profile", [("azure-cli", False)], indirect=True)
async def test_tool_that_writes_its_profile_each_time_is_not_run_for_each_request(
    app_settings: Settings, seams: Seams, clock: FakeClock, tools: Tools, profile: Path
) -> None:
    tools.install("az", PRINTED["az"](jwt_of("o1", "ada@clinic.example")))
    signing = authenticator(app_settings(auth="azure-cli"), seams)
    for number in range(20):
        written(profile, b"written %d" % number)
        await token_of(signing)
        clock.advance(1)
    await signing.close()

    assert len(tools.asked) == 20 / LOOK_AGAIN


@pytest.mark.parametrize(
    ("method", "words"),
    [("azure-cli", "az login"), ("azd", "azd auth login"), ("powershell", "Connect-AzAccount")],
)
async def test_missing_program_is_explained(
    app_settings: Settings, seams: Seams, tools: Tools, method: str, words: str
) -> None:
    signing = authenticator(app_settings(auth=method), seams)
    with pytest.raises(AuthenticationFailed, match="is not found on the PATH") as raised:
        await token_of(signing)
    await signing.close()

    assert words in raised.value.hint
    assert "https://aka.ms/install-" in raised.value.hint


REFUSALS = [
    ("azure-cli", "ERROR: Please run 'az login' to setup account.", "Please run 'az login'"),
    ("azure-cli", "ERROR: AADSTS65001: The user has not consented.", "AADSTS65001"),
    ("azd", "ERROR: not logged in, run `azd auth login` to login", "azd auth login"),
]


@pytest.mark.parametrize(("method", "stderr", "words"), REFUSALS)
async def test_refusal_of_a_tool_is_told_with_the_way_out(
    app_settings: Settings, seams: Seams, tools: Tools, method: str, stderr: str, words: str
) -> None:
    tools.install(PROGRAMS[method], "hush", stderr=stderr, status=1)
    signing = authenticator(app_settings(auth=method), seams)
    with pytest.raises(SignInRequired, match=words) as raised:
        await token_of(signing)
    await signing.close()

    assert "no restart is needed" in raised.value.hint
    assert "hush" not in raised.value.message


async def test_missing_extra_is_explained(
    app_settings: Settings, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    signing = authenticator(app_settings(auth="azure-cli"), seams)
    with pytest.raises(ConfigError, match="needs azure-identity") as raised:
        await token_of(signing)
    await signing.close()

    assert "fhir-auth-proxy[azure]" in raised.value.hint
