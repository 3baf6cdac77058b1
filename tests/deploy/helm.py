"""The chart, rendered by helm, and the schemas that its objects must match.

Kinds of Kubernetes have the schemas of kubernetes-validate; the others have those in `crds`, which are taken from the
custom resource definitions (or Go types) of their projects, without what is not for machines.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "deploy" / "chart"
SETS = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE = "relay"
NAMESPACE = "messaging"
KUBERNETES = "1.37"
"""A helm that go has compiled says 1.20 by itself."""
_SCHEMAS = Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema"
_CRDS = Path(__file__).parent / "crds"

Object = dict[str, Any]


class HelmError(Exception):
    """helm's message, when it refuses."""


def helm(*arguments: str) -> str:
    """Run helm and return its output."""
    program = shutil.which("helm")
    assert program
    done = subprocess.run([program, *arguments], text=True, capture_output=True, check=False)  # noqa: S603  our own words
    if done.returncode:
        raise HelmError(done.stdout + done.stderr)
    return done.stdout


def render(*values: Path | str, chart: Path = CHART) -> list[Object]:
    """Return the objects of a release with these values: files, or settings such as `worker.replicas=3`."""
    options = [option for value in values for option in _option(value)]
    text = helm("template", RELEASE, str(chart), "--namespace", NAMESPACE, "--kube-version", KUBERNETES, *options)
    return [document for document in yaml.load_all(text, _Loader) if document]


def render_notes(values: Path, folder: Path) -> str:
    """Return what `helm install` shows at its end; without a cluster that takes a chart of our own in `folder`."""
    chart = folder / values.stem
    shutil.copytree(CHART, chart)
    templates = chart / "templates"
    for template in templates.rglob("*.yaml"):
        template.unlink()
    notes = (templates / "NOTES.txt").read_text(encoding="utf-8")
    (templates / "_notes.tpl").write_text(f'{{{{ define "notes" }}}}{notes}{{{{ end }}}}', encoding="utf-8")
    (templates / "notes.yaml").write_text('notes: {{ include "notes" . | toJson }}\n', encoding="utf-8")
    (rendered,) = render(values, chart=chart)
    return str(rendered["notes"])


def _option(value: Path | str) -> tuple[str, str]:
    return ("--values", str(value)) if isinstance(value, Path) else ("--set-json", value)


class _Loader(yaml.CSafeLoader):
    """A loader that refuses what others take: a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is there twice: {sorted(keys)}"
        return super().construct_mapping(node, deep)


def key_of(each: Object) -> str:
    """Return kind and name of an object."""
    return f"{each['kind']}/{each['metadata']['name']}"


def by_key(objects: list[Object]) -> dict[str, Object]:
    """Return the objects by kind and name, which must be unique."""
    found = {key_of(each): each for each in objects}
    assert len(found) == len(objects)
    return found


def pods(objects: list[Object]) -> dict[str, Object]:
    """Return the pod templates by the kind and name of what makes the pods."""
    return {key_of(each): each["spec"]["template"] for each in objects if "template" in each.get("spec", {})}


def environment(pod: Object) -> dict[str, str | None]:
    """Return the variables that a pod's container has by name; those from a Secret are None."""
    entries = pod["spec"]["containers"][0]["env"]
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names))
    return {entry["name"]: entry.get("value") for entry in entries}


def mistakes(each: Object, version: str) -> list[str]:
    """Return what is wrong with an object in a version of Kubernetes."""
    name = _file_of(each)
    validator = _crd(each["kind"]) if name is None else _built_in(name, version)
    return [f"{key_of(each)} {error.json_path}: {error.message}" for error in validator.iter_errors(each)]


def _file_of(each: Object) -> str | None:
    """Return the name of the schema of a kind of Kubernetes: kind, first word of the group, version."""
    group, _, version = each["apiVersion"].rpartition("/")
    if group and "." in group and not group.endswith(".k8s.io"):
        return None
    if group == "gateway.networking.k8s.io":
        return None
    return "-".join(filter(None, (each["kind"].lower(), group.split(".")[0], version)))


@cache
def _crd(kind: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((_CRDS / f"{kind}.json").read_text(encoding="utf-8")))


@cache
def _built_in(name: str, version: str) -> Draft202012Validator:
    """Return the validator of a schema; `kubernetes_validate.validate` would read 3 MB for each object."""
    schema = json.loads(_folder(version).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema, registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    definitions = json.loads(_folder(version).joinpath("_definitions.json").read_text(encoding="utf-8"))
    resource = DRAFT202012.create_resource(definitions)
    registry: Registry[Any] = Registry().with_resource("/api/_definitions.json", resource).crawl()
    return registry


def _folder(version: str) -> Path:
    return _SCHEMAS / f"v{version}.0-local-strict"
