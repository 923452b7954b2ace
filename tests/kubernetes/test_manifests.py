"""Every manifest against Kubernetes' own schemas, and against the program that it starts."""

from __future__ import annotations

import base64
import re
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from aiohttp import ClientSession
from click.testing import CliRunner

from proxy import __version__
from proxy.auth.clouds import SIGN_IN_HOSTS, cloud_of
from proxy.cli.config import command as config_command
from proxy.model import BaseUrl

from ..admin.running import operated
from ..test_delivery import parsed
from .rendering import IMAGE, MANIFESTS, Object, containers, each, ours, rendered

VERSIONS = ("1.30", "1.33", "1.35")
"""1.30 is the first whose pods know `preStop: sleep`, which the replicas use."""

ONES = ("deployment", "job", "replicas")
INJECTED = {
    "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000000",
    "AZURE_TENANT_ID": "11111111-1111-1111-1111-111111111111",
    "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
    "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
}
"""What Azure Workload Identity sets in each container of a pod that is labelled for it."""


@cache
def one(name: str) -> list[Object]:
    return rendered(MANIFESTS / name)


def overlay(folder: Path, text: str) -> list[Object]:
    """A kustomization of one's own, beside the ones here."""
    for path in MANIFESTS.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "own").mkdir()
    (folder / "own" / "kustomization.yaml").write_text(text, "utf-8")
    return rendered(folder / "own")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ONES)
def test_objects_hold_to_the_schemas_of_kubernetes(name: str, version: str) -> None:
    for object_ in one(name):
        kubernetes_validate.validate(object_, version, strict=True)


@pytest.mark.parametrize("name", ONES)
def test_program_accepts_the_arguments_and_settings(name: str) -> None:
    objects = one(name)
    [container] = ours(objects)
    [settings] = [object_["data"] for object_ in objects if "ConfigMap" == object_["kind"]]
    command, *arguments = container["args"]  # type: ignore[misc]
    [source] = container["envFrom"]  # type: ignore[misc]
    [settings_name] = [object_["metadata"]["name"] for object_ in objects if "ConfigMap" == object_["kind"]]  # type: ignore[index]
    result = CliRunner(env={**INJECTED, **settings}).invoke(config_command, ["show", *arguments])  # type: ignore[dict-item]

    assert {"configMapRef": {"name": settings_name}} == source
    assert parsed([command, settings["FHIR_AUTH_PROXY_BASE_URL"], *arguments])  # type: ignore[index]
    assert 0 == result.exit_code, result.output


@pytest.mark.parametrize("name", ONES)
def test_image_is_of_this_version(name: str) -> None:
    assert {f"{IMAGE}{__version__}"} == {container["image"] for container in ours(one(name))}


@pytest.mark.parametrize("name", ONES)
def test_containers_may_do_nothing_that_they_need_not(name: str) -> None:
    for container in containers(one(name)):
        rights = container["securityContext"]
        assert {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }.items() <= rights.items()  # type: ignore[union-attr]
        assert "memory" in container["resources"]["limits"]  # type: ignore[index]


@pytest.mark.parametrize("name", ["deployment", "job"])
def test_sidecar_starts_before_the_workload_and_listens_to_its_pod_alone(name: str) -> None:
    [pod] = [mapping for object_ in one(name) for mapping in each(object_) if "initContainers" in mapping]
    [sidecar] = ours(one(name))

    assert [sidecar] == pod["initContainers"]
    assert "Always" == sidecar["restartPolicy"]
    assert "--listen" not in " ".join(sidecar["args"])  # type: ignore[arg-type]  # the default is loopback
    assert [8079] == [port["containerPort"] for port in sidecar["ports"]]  # type: ignore[union-attr,index]


@pytest.mark.parametrize("name", ONES)
async def test_probes_ask_what_the_admin_listener_answers(name: str) -> None:
    [container] = ours(one(name))
    paths = {probe["httpGet"]["path"] for key, probe in container.items() if key.endswith("Probe")}  # type: ignore[index]

    async with operated("http://127.0.0.1:9") as running, ClientSession() as kubelet:
        for path in paths:
            async with kubelet.get(running.url + path) as answer:
                assert answer.status in {200, 503}


def test_cron_jobs_get_the_same_sidecar() -> None:
    templates = [yaml.safe_load((MANIFESTS / "sidecar" / name).read_text("utf-8")) for name in ("pod-template.yaml", "cron-job.yaml")]  # fmt: skip

    assert templates[0]["spec"]["template"] == templates[1]["spec"]["jobTemplate"]["spec"]["template"]


@pytest.mark.parametrize(
    ("kind", "api", "spec"),
    [
        ("StatefulSet", "apps/v1", {"serviceName": "s", "selector": {"matchLabels": {"app": "s"}}, "template": {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [{"name": "s", "image": "s"}]}}}),
        ("CronJob", "batch/v1", {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "s", "image": "s"}]}}}}}),
    ],
)  # fmt: skip
def test_sidecar_comes_to_other_workloads_that_ask_for_it(
    kind: str, api: str, spec: Object, tmp_path: Path
) -> None:
    (tmp_path / "workloads").mkdir()
    for name, asking in (("asks", {"fhir-auth-proxy": "sidecar"}), ("does-not", {})):
        metadata = {"name": name, "annotations": asking}
        workload = {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
        (tmp_path / "workloads" / f"{name}.yaml").write_text(yaml.safe_dump(workload), "utf-8")
    (tmp_path / "workloads" / "kustomization.yaml").write_text(
        "resources: [asks.yaml, does-not.yaml]\n", "utf-8"
    )
    objects = overlay(tmp_path, "resources: [../workloads]\ncomponents: [../sidecar]\n")
    workloads = {o["metadata"]["name"]: o for o in objects if kind == o["kind"]}  # type: ignore[index]

    kubernetes_validate.validate(workloads["asks"], VERSIONS[-1], strict=True)
    assert ["asks"] == [name for name, workload in workloads.items() if ours([workload])]


def test_named_hosts_are_those_that_the_program_calls(tmp_path: Path) -> None:
    objects = overlay(tmp_path, "resources: [../replicas]\ncomponents: [../cilium]\n")
    [settings] = [object_["data"] for object_ in objects if "ConfigMap" == object_["kind"]]
    host = BaseUrl.parse(settings["FHIR_AUTH_PROXY_BASE_URL"]).host  # type: ignore[index]
    cloud = cloud_of(host)
    named = {name["matchName"] for mapping in each(objects) for name in mapping.get("toFQDNs", [])}  # type: ignore[union-attr,index]
    [policy] = [object_ for object_ in objects if "NetworkPolicy" == object_["kind"]]

    assert cloud is not None
    assert {host, SIGN_IN_HOSTS[cloud]} == named
    assert not any("ipBlock" in mapping for mapping in each(policy))


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Replicas with one token cache."""
    text = "resources: [../replicas]\ncomponents: [../shared-cache]\n"
    return overlay(tmp_path_factory.mktemp("sharing"), text)


@pytest.mark.parametrize("version", VERSIONS)
def test_shared_cache_holds_to_the_schemas_of_kubernetes(sharing: list[Object], version: str) -> None:
    for object_ in sharing:
        kubernetes_validate.validate(object_, version, strict=True)


def test_program_takes_the_shared_cache_from_a_secret(sharing: list[Object]) -> None:
    [container] = ours(sharing)
    [settings] = [object_["data"] for object_ in sharing if "ConfigMap" == object_["kind"]]
    told = (MANIFESTS / "shared-cache" / "kustomization.yaml").read_text("utf-8")
    made = re.search(r'secret generic (\S+) .*?url="(.*?)"', told, re.DOTALL)
    assert made is not None
    name, url = made.groups()
    secret = {"url": url, "keys": base64.b64encode(bytes(32)).decode()}
    sources = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container["env"]}  # type: ignore[attr-defined]
    given = {variable: secret[source["key"]] for variable, source in sources.items()}
    result = CliRunner(
        env={**INJECTED, **settings, **given}
    ).invoke(  # type: ignore[dict-item]
        config_command,
        ["show", *container["args"][1:]],  # type: ignore[index]
    )

    assert {name} == {source["name"] for source in sources.values()}
    assert 0 == result.exit_code, result.output
    assert "device-code" in result.output
    assert "redis.cache.svc" in result.output
    assert not any(hidden in result.output for hidden in (secret["keys"], "PASSWORD"))


def test_pod_lives_while_it_waits_for_a_person(sharing: list[Object]) -> None:
    [container] = ours(sharing)
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")
    }  # type: ignore[index]

    assert {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"} == paths


def test_network_policy_lets_out_to_the_redis_that_is_named(sharing: list[Object]) -> None:
    [policy] = [object_ for object_ in sharing if "NetworkPolicy" == object_["kind"]]
    [before] = [object_ for object_ in one("replicas") if "NetworkPolicy" == object_["kind"]]
    *rest, redis = policy["spec"]["egress"]  # type: ignore[index]
    told = (MANIFESTS / "shared-cache" / "kustomization.yaml").read_text("utf-8")
    namespace = redis["to"][0]["namespaceSelector"]["matchLabels"]

    assert before["spec"]["egress"] == rest  # type: ignore[index]
    assert f"@redis.{namespace['kubernetes.io/metadata.name']}.svc:{redis['ports'][0]['port']}" in told  # type: ignore[index]
