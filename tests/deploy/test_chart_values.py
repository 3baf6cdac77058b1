"""The values of the Helm chart: where they go, what is refused, and what the chart says about them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from relay import __version__
from relay.core.config.relay_toml import parse_config
from tests.deploy.chart_files import copies, readme, values_of_chart
from tests.deploy.helm import (
    CHART,
    SETS,
    HelmError,
    Object,
    by_key,
    environment,
    key_of,
    pods,
    render,
    render_notes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_helm = pytest.mark.needs_tool("helm")
ROLES = ("ingress", "worker", "admin")
MINIMAL = CHART / "ci" / "minimal-values.yaml"
EVERYTHING = CHART / "ci" / "everything-values.yaml"


@needs_helm
def test_values_reach_the_pods_of_their_role(rendered: dict[str, list[Object]]) -> None:
    found = pods(rendered["everything"])
    ingress, worker, admin = (found[f"Deployment/messages-{role}"] for role in ROLES)
    assert ingress["spec"]["containers"][0]["args"] == ["ingress", "--processes", "2"]
    assert worker["spec"]["containers"][0]["args"] == ["worker"]
    assert worker["spec"]["nodeSelector"] == {"example.com/pool": "workers"}
    assert admin["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert worker["spec"]["priorityClassName"] == "less-important"
    assert environment(ingress)["RELAY_IDLE_TIMEOUT"] == "75s"
    assert environment(ingress)["RELAY_DEDUPE_WINDOW"] == environment(worker)["RELAY_DEDUPE_WINDOW"] == "1d"
    assert (environment(worker)["RELAY_LOG_LEVEL"], environment(admin)["RELAY_LOG_LEVEL"]) == ("debug", "warning")
    spread = worker["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    assert spread["app.kubernetes.io/component"] == "worker"
    autoscaled = by_key(rendered["existing-secret"])["Deployment/relay-ingress"]
    assert "replicas" not in autoscaled["spec"]


@needs_helm
@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("rediss://redis.example.com:16379/0", 16379),
        ("redis+sentinel://a:26380,b:26381/mymaster?db=1", 26381),
        ("redis+cluster://a:7000,b:7001", 7001),
    ],
)
def test_network_policy_opens_the_ports_of_the_redis_url(url: str, port: int) -> None:
    policy = by_key(render(MINIMAL, f'redis.url="{url}"'))["NetworkPolicy/relay-ingress"]
    assert {"port": port} in policy["spec"]["egress"][1]["ports"]


@needs_helm
def test_relay_toml_is_passed_on_as_it_is(rendered: dict[str, list[Object]]) -> None:
    for objects in rendered.values():
        for each in objects:
            if "relay.toml" in each.get("data", {}):
                assert parse_config(each["data"]["relay.toml"], "relay.toml").topics
    text = by_key(rendered["everything"])["ConfigMap/messages"]["data"]["relay.toml"]
    assert text == yaml.safe_load(EVERYTHING.read_text())["config"]


@needs_helm
def test_bootstrap_job_has_a_new_name_when_its_contents_change() -> None:
    def job(*values: str) -> str:
        (name,) = (key_of(each) for each in render(MINIMAL, *values) if "bootstrap-" in each["metadata"]["name"])
        return name

    before = job()
    assert job() == before
    assert job("worker.replicas=5") == before
    assert job('config="[[topics]]"') != before
    assert job('image.tag="other"') != before


@needs_helm
def test_hook_keeps_its_name(rendered: dict[str, list[Object]]) -> None:
    job = by_key(rendered["existing-secret"])["Job/relay-bootstrap"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"


@needs_helm
def test_pods_change_when_the_charts_secret_or_a_rolled_config_does() -> None:
    def worker(*values: Path | str) -> Any:
        return pods(render(*values))["Deployment/relay-worker"]

    other = 'config="[[topics]]"'
    assert worker(MINIMAL) == worker(MINIMAL, other)  # reloaded by the processes themselves
    assert worker(MINIMAL, "rollOnConfigChange=true") != worker(MINIMAL, "rollOnConfigChange=true", other)
    own = (EVERYTHING, 'fullnameOverride=""')
    assert worker(*own) != worker(*own, 'secret.values.BOT_SECRET="other"')


@needs_helm
def test_alerts_and_board_are_those_of_the_repository(rendered: dict[str, list[Object]]) -> None:
    objects = by_key(rendered["monitoring"])
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text(encoding="utf-8"))
    text = json.dumps(rules).replace("https://docs.example.com/linq-relay/", "https://wiki.example.com/relay/")
    assert objects["PrometheusRule/relay"]["spec"] == json.loads(text)
    board = (CHART / "files" / "dashboard.json").read_text(encoding="utf-8")
    assert json.loads(objects["ConfigMap/relay-dashboard"]["data"]["linq-relay.json"]) == json.loads(board)


@needs_helm
def test_notes_name_objects_that_exist(rendered: dict[str, list[Object]], tmp_path: Path) -> None:
    kinds = {"deploy": "Deployment", "service": "Service", "Service": "Service"}
    for values in SETS:
        keys = by_key(rendered[values.stem.removesuffix("-values")]).keys()
        notes = render_notes(values, tmp_path)
        named = re.findall(r"(deploy|service)/(\S+)", notes) + re.findall(r"(Service)\s+([\w-]+)", notes)
        assert named, notes
        assert {f"{kinds[kind]}/{name}" for kind, name in named} <= keys, notes
        assert not re.search(r"\n{3}|[ \t]$|<no value>", notes), notes


NOT_TOGETHER = {
    "no Secret": (['secret.existingSecret=""'], "set secret.existingSecret to its name"),
    "two Secrets": (['secret.values={"RELAY_SECRET_KEY":"x"}'], "set one of existingSecret, values"),
    "no public URL": (['publicUrl=""'], "set it (such as https://relay.example.com)"),
    "path": (['publicUrl="https://a.example/relay"', "expose.ingress.enabled=true"], "give it a host of its own"),
    "gateway": (['expose.httpRoute={"enabled":true}'], "name the Gateway"),
    "password": (['redis.url="redis://:secret@redis"'], "put REDIS_PASSWORD (or all of REDIS_URL) into the Secret"),
    "two Redis": (['redis.url="redis://redis"', "valkey.enabled=true"], "set one of them"),
    "replicas": (["ingress.autoscaling.minReplicas=50"], "minReplicas is larger than maxReplicas"),
}


@needs_helm
@pytest.mark.parametrize(("values", "message"), NOT_TOGETHER.values(), ids=NOT_TOGETHER)
def test_values_that_do_not_go_together_are_refused(values: list[str], message: str) -> None:
    with pytest.raises(HelmError) as refused:
        render(MINIMAL, *values)
    assert message in str(refused.value)


INVALID = {
    'publicUrl="http://relay.example.com"': "at '/publicUrl': 'http://relay.example.com' does not match",
    'worker.replicas="two"': "at '/worker/replicas': got string, want integer",
    "worker.replica=2": "at '/worker': additional properties 'replica' not allowed",
    'workers={"replicas":2}': "additional properties 'workers' not allowed",
    "worker.terminationGracePeriodSeconds=5": "at '/worker/terminationGracePeriodSeconds': minimum",
    'redis.url="http://redis"': "at '/redis/url'",
    'monitoring.scrape="prometheus"': "at '/monitoring/scrape': value must be one of 'none',",
    'worker.resources.limits={"memory":"1 GB"}': "at '/worker/resources/limits/memory'",
    'extraEnv=[{"nmae":"X"}]': "at '/extraEnv/0': missing property 'name'",
}


@needs_helm
def test_invalid_values_are_all_named() -> None:
    with pytest.raises(HelmError) as refused:
        render(MINIMAL, *INVALID)
    assert [message for message in INVALID.values() if message not in str(refused.value)] == []


def test_schema_has_the_same_keys_as_the_values() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    def compare(node: Any, value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict) or "properties" not in node:
            return
        if node.get("additionalProperties") is not False:
            yield f"{path} allows unknown keys"
        if path != "secret.externalSecret.secretStoreRef":
            yield from (f"{path}.{key}" for key in (node["properties"].keys() - {"global"}) ^ value.keys())
        for key in value:
            yield from compare(node["properties"].get(key, {}), value[key], f"{path}.{key}".strip("."))

    assert list(compare(schema, values, "")) == []


def test_version_is_that_of_the_relay() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__


def test_readme_and_copies_are_up_to_date() -> None:
    assert len(values_of_chart()) > 100
    assert (CHART / "README.md").read_text(encoding="utf-8") == readme(), "run: python -m tests.deploy.chart_files"
    for copy, text in copies().items():
        assert copy.read_text(encoding="utf-8") == text, "run: python -m tests.deploy.chart_files"
