"""The objects of the Helm chart, rendered by the real helm: valid, restricted, consistent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.cli.reference.commands import visible_commands
from relay.config.admin_address import admin_address
from relay.config.settings import Settings
from relay.process.timings import DEFAULTS
from tests.deploy.helm import (
    CHART,
    KUBERNETES,
    SETS,
    Object,
    by_key,
    environment,
    helm,
    key_of,
    mistakes,
    pods,
)
from tests.docs.pages import ROOT_COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_helm = pytest.mark.needs_tool("helm")
VERSIONS = ("1.31", "1.37")
SECRETS = {"REDIS_URL": "redis://redis", "RELAY_SECRET_KEY": "wq0kNT5lrYlTjVYvtOtCtLVo4HVIe-cv1a4c9xcmvTo="}


def each_pod(rendered: dict[str, list[Object]]) -> Iterator[tuple[str, Object]]:
    """Yield every pod template of every set of values, with a name."""
    for name, objects in rendered.items():
        for key, pod in pods(objects).items():
            yield f"{name}: {key}", pod


@needs_helm
def test_lint_finds_nothing() -> None:
    for values in SETS:
        lint = helm("lint", "--strict", "--kube-version", KUBERNETES, str(CHART), "--values", str(values))
        assert "[WARNING]" not in lint, values


@needs_helm
@pytest.mark.parametrize("version", VERSIONS)
def test_objects_match_the_schemas_of_kubernetes(rendered: dict[str, list[Object]], version: str) -> None:
    assert len(rendered) >= 5
    assert [error for objects in rendered.values() for each in objects for error in mistakes(each, version)] == []


@needs_helm
def test_sets_of_values_have_every_kind(rendered: dict[str, list[Object]]) -> None:
    kinds = {each["kind"] for objects in rendered.values() for each in objects}
    assert {
        "Deployment", "Service", "ConfigMap", "Secret", "ExternalSecret", "ServiceAccount", "Job", "Ingress",
        "HTTPRoute", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "ServiceMonitor",
        "PrometheusRule", "StatefulSet",
    } == kinds  # fmt: skip
    for objects in rendered.values():
        by_key(objects)  # no two of the same kind and name


@needs_helm
def test_pods_keep_the_restricted_security_standard(rendered: dict[str, list[Object]]) -> None:
    for name, pod in each_pod(rendered):
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert name.startswith("gateway") or spec["securityContext"]["runAsUser"] == 65532, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        assert not any("hostPath" in volume for volume in volumes.values()), name
        assert {mount["name"] for mount in container["volumeMounts"]} - {"data"} == volumes.keys(), name


@needs_helm
def test_every_reference_between_objects_is_met(rendered: dict[str, list[Object]]) -> None:
    for name, objects in rendered.items():
        labels = [pod["metadata"]["labels"] for pod in pods(objects).values()]
        keys = by_key(objects).keys()
        for each in objects:
            for selector in selectors(each):
                assert any(selector.items() <= found.items() for found in labels), f"{name}: {key_of(each)} {selector}"
            for service in backends(each):
                assert f"Service/{service}" in keys, f"{name}: {key_of(each)}"
        given = {"Secret/linq-relay", "ConfigMap/relay-toml"}  # by the values: existingSecret, existingConfigMap
        made = {key.replace("ExternalSecret", "Secret") for key in keys} | given
        for pod in pods(objects).values():
            for volume in pod["spec"].get("volumes", ()):
                if volume["name"] in {"config", "secret"}:
                    assert reference(volume) in made, f"{name}: {reference(volume)}"


def selectors(each: Object) -> Iterator[dict[str, str]]:
    """Yield the labels by which an object selects pods."""
    spec = each.get("spec", {})
    match each["kind"]:
        case "Service":
            yield spec["selector"]
        case "Deployment" | "StatefulSet" | "PodDisruptionBudget" | "PodMonitor":
            yield spec["selector"]["matchLabels"]
        case "NetworkPolicy":
            yield spec["podSelector"]["matchLabels"]
        case _:
            pass


def reference(volume: Object) -> str:
    """Return kind and name of the object that a volume shows."""
    if "secret" in volume:
        return f"Secret/{volume['secret']['secretName']}"
    return f"ConfigMap/{volume['configMap']['name']}"


def backends(each: Object) -> Iterator[str]:
    """Yield the names of the Services that an object sends requests to."""
    if each["kind"] == "Ingress":
        for rule in each["spec"]["rules"]:
            assert rule["host"] == "relay.example.com"
            yield from (path["backend"]["service"]["name"] for path in rule["http"]["paths"])
    if each["kind"] == "HTTPRoute":
        assert each["spec"]["hostnames"] == ["relay.example.com"]
        yield from (to["name"] for rule in each["spec"]["rules"] for to in rule["backendRefs"])


@needs_helm
def test_commands_and_variables_are_those_of_the_relay(
    rendered: dict[str, list[Object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = dict(visible_commands(ROOT_COMMAND))
    offered = {option for each in commands.values() for parameter in each.params for option in parameter.opts}
    for name, pod in each_pod(rendered):
        (container,) = pod["spec"]["containers"]
        if container["name"] == "valkey":
            continue
        variables = environment(pod)
        assert variables.keys() <= {field.upper() for field in Settings.model_fields}, name
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, SECRETS.get(variable, "") if value is None else value)
            settings = Settings.load(env_file=None)
        assert admin_address(settings, "worker").port == 8081
        words = [word for word in container["args"] if not word.startswith("--") and not word.isdecimal()]
        assert " ".join(["relay", *words]) in commands, name
        assert {word for word in container["args"] if word.startswith("--")} <= offered, name


@needs_helm
def test_ingress_has_only_the_secrets_that_it_uses(rendered: dict[str, list[Object]]) -> None:
    for name, pod in each_pod(rendered):
        container = pod["spec"]["containers"][0]
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        if container["name"] == "ingress":
            assert "envFrom" not in container, name
            assert "secret" not in mounts, name
            secret = {entry["name"] for entry in container["env"] if "valueFrom" in entry}
            assert "RELAY_SECRET_KEY" in secret, name
            assert not any(variable.startswith("LINQ_API") for variable in secret), name
        elif container["name"] != "valkey":
            assert container["envFrom"], name
            assert "secret" in mounts, name


@needs_helm
def test_roles_have_probes_and_the_time_to_stop(rendered: dict[str, list[Object]]) -> None:
    for name, objects in rendered.items():
        for each in objects:
            if each["kind"] != "Deployment":
                continue
            spec = each["spec"]["template"]["spec"]
            (container,) = spec["containers"]
            assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/live"}
            assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "admin"}
            assert {"name": "admin", "containerPort": 8081} in container["ports"]
            grace, variables = spec["terminationGracePeriodSeconds"], environment(each["spec"]["template"])
            if container["name"] == "ingress":
                delay = int(str(variables["RELAY_SHUTDOWN_DELAY"]).removesuffix("s"))
                assert grace >= delay + DEFAULTS.drain_idle + 10, name
            if container["name"] == "worker":
                assert grace > DEFAULTS.stop + 5, name
