"""Whatever the Tiltfile and kind-config.yaml name exists: files, images, resources, ports."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from clickstream.simulator.settings import read_settings
from support.resources import of_kind
from support.tiltfile import ROOT, run_tiltfile


@pytest.fixture(scope="module")
def asked():
    return run_tiltfile()


@pytest.fixture(scope="module")
def workloads(asked):
    kinds = {"Deployment", "StatefulSet", "DaemonSet", "ClickstreamPipeline"}
    return {one["metadata"]["name"]: one for one in asked.resources if one["kind"] in kinds}


def names(asked):
    own = [call.get("new_name") or call["workload"] for call in asked.calls["k8s_resource"]]
    return own + [call["name"] for call in asked.calls["local_resource"]]


def test_the_images_are_built_from_files_and_stages_that_exist_and_are_used(asked):
    used, live = str(asked.resources), (ROOT / "images" / "live.py").read_text()
    assert len(asked.calls["docker_build"]) == 2
    for build in asked.calls["docker_build"]:
        dockerfile = (ROOT / build["dockerfile"]).read_text()
        assert re.search(rf"^FROM \S+ AS {build['target']}$", dockerfile, re.MULTILINE)
        assert re.search(rf"'image': '{build['ref']}[:']", used)
        for synced in build["live_update"]:
            source, target = ROOT / build["context"] / synced["local_path"], Path(synced["remote_path"])
            assert source.is_dir()
            assert target.parent == Path("/tmp/live")
            assert f"PYTHONPATH={target.parent}" in dockerfile
            assert source.name == target.name  # the package's own name
            assert f'"{source.name}"' in re.search(r"^PACKAGES = .*$", live, re.MULTILINE)[0]


def test_every_workload_has_a_group_and_every_name_a_workload(asked, workloads):
    for call in asked.calls["k8s_resource"]:
        assert call["labels"], call
        if "workload" in call:
            assert call["workload"] in workloads
    assert set(workloads) <= set(names(asked))
    assert len(names(asked)) == len(set(names(asked)))


def test_every_other_resource_belongs_to_a_group_too(asked, workloads):
    grouped = [reference for call in asked.calls["k8s_resource"] for reference in call.get("objects", [])]
    there = [f"{one['metadata']['name']}:{one['kind'].lower()}" for one in asked.resources]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= set(there)
    selected = [
        one
        for one in asked.resources
        if one["kind"] == "Service" and f"{one['metadata']['name']}:service" not in grouped
    ]
    services = {f"{one['metadata']['name']}:service" for one in selected}
    # Tilt puts a Service to the workload that its selector finds.
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in workloads.values() if "template" in one["spec"]]
    assert all(any(one["spec"]["selector"].items() <= labels.items() for labels in pods) for one in selected)
    own = {f"{one['metadata']['name']}:{one['kind'].lower()}" for one in workloads.values()}
    assert set(there) - set(grouped) - services - own == set()


def test_resources_wait_for_what_exists_and_come_in_pipeline_order(asked):
    calls = asked.calls["k8s_resource"] + asked.calls["local_resource"]
    group = {call.get("new_name") or call.get("workload") or call["name"]: call["labels"][0] for call in calls}
    assert sorted(set(group.values())) == ["1-dependencies", "2-operator", "3-pipeline", "4-traffic"]
    for call in calls:
        name = call.get("new_name") or call.get("workload") or call["name"]
        for dependency in call.get("resource_deps", []):
            assert dependency in group
            assert group[dependency] <= group[name]


def test_nothing_is_applied_before_its_namespace_and_its_definition_are_there(asked, workloads):
    """Tilt applies several groups at once, and does not apply one again that the API server has refused."""
    calls = [*asked.calls["k8s_resource"], *asked.calls["local_resource"]]
    groups = {call.get("new_name") or call.get("workload") or call["name"]: call for call in calls}

    def with_those_before(name):
        return {name}.union(*map(with_those_before, groups[name].get("resource_deps", [])))

    def group_of(one):
        """Where Tilt puts it: where it is listed, to the workload of its name, or a Service to that of its selector."""
        name, kind = one["metadata"]["name"], one["kind"]
        for group, call in groups.items():
            if f"{name}:{kind.lower()}" in call.get("objects", []) or workloads.get(call.get("workload")) == one:
                return group
        (owner,) = (
            each["metadata"]["name"]
            for each in workloads.values()
            if "template" in each["spec"]
            and one["spec"]["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
        )
        return owner

    namespaces = {one["metadata"]["name"]: group_of(one) for one in of_kind(asked.resources, "Namespace")}
    definitions = {
        one["spec"]["group"]: group_of(one) for one in of_kind(asked.resources, "CustomResourceDefinition")
    } | {"kafka.strimzi.io": "strimzi"}
    assert namespaces.keys() == {"clickstream", "clickstream-system", "kafka"}
    for one in asked.resources:
        wanted = {
            namespaces.get(one["metadata"].get("namespace")),
            definitions.get(one["apiVersion"].partition("/")[0]),
        } - {None}
        assert wanted <= with_those_before(group_of(one)), one["metadata"]
    for call in asked.calls["local_resource"]:
        named = re.findall(r"(?:-n|--namespace) (\S+)", call.get("cmd", ""))
        assert {namespaces[name] for name in named if name in namespaces} <= with_those_before(call["name"])


def test_forwarded_ports_are_ports_of_the_container(asked, workloads):
    forwarded = []
    for call in asked.calls["k8s_resource"]:
        for port in call.get("port_forwards", []):
            local, container = (
                (port["local_port"], port["container_port"]) if isinstance(port, dict) else map(int, port.split(":"))
            )
            pod = workloads[call["workload"]]["spec"]["template"]["spec"]
            assert container in [one["containerPort"] for box in pod["containers"] for one in box.get("ports", [])]
            forwarded.append(local)
    mapped = [port["hostPort"] for port in mappings()]
    assert len(forwarded + mapped) == len({*forwarded, *mapped})
    # Not the ones that everything else on a laptop has, nor those that systems give to connections (from 32768 on).
    assert all(10_000 < port < 32_768 for port in forwarded + mapped)


def mappings():
    config = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    return [port for node in config["nodes"] for port in node["extraPortMappings"]]


def test_kind_maps_the_node_ports_that_links_and_buttons_open(asked):
    services = of_kind(asked.resources, "Service")
    node_ports = {port["nodePort"] for one in services for port in one["spec"]["ports"] if "nodePort" in port}
    assert {port["containerPort"] for port in mappings()} == node_ports
    opened = {int(port) for port in re.findall(r"localhost:(\d+)", (ROOT / "Tiltfile").read_text())}
    assert opened == {port["hostPort"] for port in mappings()}


def test_the_cluster_is_the_one_that_kind_config_makes(asked):
    config = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    assert config["apiVersion"] == "kind.x-k8s.io/v1alpha4"
    assert [call["contexts"] for call in asked.calls["allow_k8s_contexts"]] == [f"kind-{config['name']}"]
    tested = yaml.safe_load((ROOT / "cluster" / "manifests" / "kind.yaml").read_text())
    assert [node["image"] for node in config["nodes"]] == [node["image"] for node in tested["nodes"]]


def test_the_example_goes_to_the_namespace_of_its_dependencies(asked):
    namespaces = {one["metadata"]["name"] for one in of_kind(asked.resources, "Namespace")}
    for one in asked.resources:
        assert one["metadata"].get("namespace", "clickstream") in namespaces
    (pipeline,) = of_kind(asked.resources, "ClickstreamPipeline")
    secrets = {one["metadata"]["name"]: one["stringData"] for one in of_kind(asked.resources, "Secret")}
    assert pipeline["spec"]["image"] == "clickstream-apps"
    assert "uri" in secrets[pipeline["spec"]["sinks"]["postgres"]["connectionSecretRef"]["name"]]
    assert "uri" in secrets[pipeline["spec"]["dashboards"]["datasources"]["postgres"]["connectionSecretRef"]["name"]]
    assert "write-key" in secrets[pipeline["spec"]["sources"][0]["writeKeySecretRef"]["name"]]
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in of_kind(asked.resources, "Service")}
    assert [port["port"] for port in services["elasticsearch"]] == [9200]
    (kafka,) = of_kind(asked.resources, "Kafka")
    assert pipeline["spec"]["kafka"]["strimzi"]["cluster"] == kafka["metadata"]["name"]


def test_commands_name_files_that_exist_and_options_that_are_known(asked):
    commands = [call[key] for call in asked.calls["local_resource"] for key in ("cmd", "serve_cmd") if key in call]
    commands += [" ".join(button["argv"]) for button in asked.calls["cmd_button"]]
    for command in commands:
        for file in re.findall(r"manifests/\S+", command):
            assert (ROOT / file).exists()
    simulations = [
        command.partition("clickstream simulate")[2] for command in commands if "clickstream simulate" in command
    ]
    assert len(simulations) == 2
    for options in simulations:
        settings = read_settings(shlex.split(re.sub(r"\$\w+", "7", options)), {})
        assert settings.target.url == "http://localhost:30080"
        assert settings.target.write_key == "change-me"


def test_the_buttons_send_traffic_and_open_grafana(asked):
    buttons = {button["text"]: button for button in asked.calls["cmd_button"]}
    assert buttons.keys() == {"Send traffic", "Open Grafana"}
    inputs = {one["name"] for one in buttons["Send traffic"]["inputs"]}
    assert inputs == set(re.findall(r'"\$(\w+)"', buttons["Send traffic"]["argv"][-1]))
    for button in buttons.values():
        assert (button["location"] == "nav") == ("resource" not in button)
