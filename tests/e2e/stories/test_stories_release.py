"""A release, published to a registry and installed by the README's own commands.

Images and chart are pushed to a real registry as the release workflow pushes them, but by buildah, and for this
machine's platform only. The registry stands for that of a GitHub project: it has no TLS, and nothing in it is signed.
"""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from cluster import Node, images, registry
from e2e.stories.platform import APPS, OPERATOR, ROOT, SPACE, SYSTEM, Platform
from generate import CHART
from generate.release import main as release

PLACEHOLDER = "ghcr.io/OWNER"


def commands_of_the_readme() -> list[list[str]]:
    """What it says about a cluster: helm's command, a namespace, and a pipeline in it."""
    section = (ROOT / "README.md").read_text().partition("## Run it on Kubernetes")[2]
    block = re.search(r"```\n(helm install .*?)```", section, re.DOTALL)
    assert block is not None
    commands = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    assert [command[0] for command in commands] == ["helm", "kubectl", "kubectl"]
    return commands


def pulled(world: Platform) -> set[str]:
    """The images that kubelet has pulled for pods of the platform."""
    events = [event for space in (SYSTEM, SPACE) for event in world.all("events", namespace=space)]
    told = [re.match(r'Successfully pulled image "([^"]+)"', event["message"]) for event in events]
    return {match[1] for match in told if match}


@pytest.mark.long
def test_the_three_commands_of_the_readme_install_what_was_published(world, tmp_path):
    published = f"{registry.start(Node.from_environment())}/someone"
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    built = {
        f"{published}/clickstream-apps:{version}": APPS,
        f"{published}/clickstream-operator:{version}": OPERATOR,
    }
    for reference, name in built.items():
        images.push(name, reference)
    where = ["--registry", published, "--source", "https://git.example/someone/clickstream", "--tag", f"v{version}"]
    assert release([*where, str(tmp_path)]) == 0
    chart = tmp_path / f"clickstream-{version}.tgz"
    world.helm("push", str(chart), f"oci://{published}/charts", "--plain-http")

    install, *pipeline = commands_of_the_readme()
    with world.uninstalled():
        try:
            world.helm(*(word.replace(PLACEHOLDER, published) for word in install[1:]), "--plain-http")
            for command in pipeline:
                world.kubectl(*(word if not (ROOT / word).is_file() else str(ROOT / word) for word in command[1:]))
            world.until_ready("shop")
            world.helm("test", "clickstream", "--namespace", SYSTEM)
            # The images are on the node under other names, too; by these it had to ask the registry for them.
            assert pulled(world) == set(built)
            world.let_data_go("shop")
            world.ours("delete", "csp", "shop", "--timeout=120s")
        finally:
            world.helm("uninstall", "clickstream", "--namespace", SYSTEM)
            world.kubectl("-n", SYSTEM, "wait", "pods", "--all", "--for=delete", "--timeout=60s")
