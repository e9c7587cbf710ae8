"""The bare cluster: pods from an image that was built here, names, policies, volumes, autoscaling; and nothing left
behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cluster import Node, images
from cluster.build import require
from cluster.node import COMMANDS
from devstack.errors import StartError
from devstack.process import ProcessId
from support.waiting import until

DOCKERFILE = """\
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --quiet PyYAML
FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY pond.py /pond.py
USER 10001:10001
ENTRYPOINT ["/opt/venv/bin/python", "/pond.py"]
"""
POND = """\
import http.server, pathlib, time, yaml

class Pond(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/burn":
            until = time.thread_time() + 0.2
            while time.thread_time() < until:
                pass
        diary = pathlib.Path("/data/diary")
        if self.path == "/write":
            diary.write_text("a duck was here")
        answer = yaml.safe_dump({"said": "quack", "diary": diary.read_text() if diary.exists() else ""}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

http.server.ThreadingHTTPServer(("", 8080), Pond).serve_forever()
"""
RESTRICTED = """\
      securityContext: {runAsNonRoot: true, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 1
      containers:
        - name: pond
          image: pond:1
          imagePullPolicy: Never
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
"""
MANIFESTS = f"""\
apiVersion: v1
kind: Namespace
metadata: {{name: pond, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data, namespace: pond}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: pond, namespace: pond}}
spec:
  selector: {{matchLabels: {{app: pond}}}}
  template:
    metadata: {{labels: {{app: pond}}}}
    spec:
{RESTRICTED}\
          resources: {{requests: {{cpu: 50m, memory: 32Mi}}, limits: {{cpu: 500m, memory: 128Mi}}}}
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
          volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: pond, namespace: pond}}
spec: {{selector: {{app: pond}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: pond, namespace: pond}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: pond}}
  minReplicas: 1
  maxReplicas: 3
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 50}}}}}}]
"""
VISITOR = f"""\
apiVersion: batch/v1
kind: Job
metadata: {{name: NAME, namespace: pond}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
{RESTRICTED}\
          command: [python3, -c, CODE]
"""
NOBODY = """\
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: pond}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
"""
DENY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: pond}
spec: {podSelector: {matchLabels: {app: pond}}, policyTypes: [Ingress]}
"""
GET = "import urllib.request; print(urllib.request.urlopen('http://pond/PATH', timeout=5).read().decode())"
# What a pod gets from a service: it tries until it is what it should be, for half a minute.
TRY = """\
import socket, time
time.sleep(AFTER)
end = time.time() + 30
while True:
    try:
        socket.create_connection(("SERVICE", 80), timeout=3).close()
        got = "connected"
    except OSError as error:
        got = type(error).__name__
    if got == "WANTED" or time.time() > end:
        break
    time.sleep(0.2)
print(got)
"""


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    require(COMMANDS)
    Node.from_environment().down()
    return machine()


@pytest.fixture(scope="module")
def node(before: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node.from_environment()
    folder = tmp_path_factory.mktemp("pond")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "pond.py").write_text(POND)
    images.build(folder, "pond:1")
    try:
        node.up()
        node.load(images.save("pond:1", folder / "image.tar"))
        node.kubectl("apply", "-f", "-", text=MANIFESTS)
        try:
            node.kubectl("rollout", "status", "deployment/pond", "-n", "pond", "--timeout=90s")
        except StartError:
            print(node.kubectl("describe", "pods", "-n", "pond"))
            raise
        yield node
    finally:
        node.down()


def machine() -> dict[str, str]:
    """What a cluster could leave on a machine."""

    def output(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    home = str(Node.from_environment().home)
    rules = [line for line in output("iptables-save").splitlines() if not line.startswith("#")]
    links = [link["ifname"] for link in json.loads(output("ip", "-json", "link"))]
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/*/") if "e2e" in path.name or "kube" in path.name]
    folders = [name for name in (home, "/var/lib/kubelet", "/var/lib/cni", "/var/log/pods") if Path(name).exists()]
    values = [
        Path("/proc/sys", name).read_text() for name in ("vm/overcommit_memory", "kernel/panic", "net/ipv4/ip_forward")
    ]
    return {
        "rules": "\n".join(rules),
        "sets": output("ipset", "list", "-name"),
        "links": str(sorted(links)),
        "routes": output("ip", "route"),
        "mounts": str(sorted(mounts)),
        "cgroups": str(sorted(groups)),
        "folders": str(folders),
        "settings": str(values),
        "processes": str(sorted(running(home))),
    }


def running(home: str) -> list[str]:
    """The programs at work in that folder; API servers of other tests have folders of their own."""
    names = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ends just now
            if home in (folder / "cmdline").read_text() and ProcessId.of(int(folder.name)) is not None:
                names.append((folder / "comm").read_text().strip())
    return names


def visit(node: Node, name: str, code: str) -> str:
    """Run Python in a pod of its own and return what it printed."""
    node.kubectl("apply", "-f", "-", text=VISITOR.replace("NAME", name).replace("CODE", json.dumps(code)))
    node.kubectl("wait", "--for=condition=Complete", f"job/{name}", "-n", "pond", "--timeout=60s")
    return node.kubectl("logs", f"job/{name}", "-n", "pond")


def tries(node: Node, name: str, service: str, wanted: str, after: int = 0) -> str:
    code = TRY.replace("SERVICE", service).replace("WANTED", wanted).replace("AFTER", str(after))
    return visit(node, name, code).strip()


def hpa(node: Node) -> dict[str, object]:
    return json.loads(node.kubectl("get", "hpa", "pond", "-n", "pond", "-o", "json"))["status"]


def test_a_pod_reaches_another_by_the_name_of_its_service(node: Node) -> None:
    assert "said: quack" in visit(node, "by-name", GET.replace("PATH", ""))


def test_the_machine_reaches_a_service_too(node: Node) -> None:
    address = node.kubectl("get", "service", "pond", "-n", "pond", "-o", "jsonpath={.spec.clusterIP}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://{address}/", timeout=5) as answer:
        assert b"said: quack" in answer.read()


def test_a_service_without_pods_refuses(node: Node) -> None:
    node.kubectl("apply", "-f", "-", text=NOBODY)
    # By then the packet filter knows the visitor, too.
    assert tries(node, "nobody-there", "nobody", "ConnectionRefusedError", after=3) == "ConnectionRefusedError"


def test_a_pod_that_a_policy_denies_is_out_of_reach_until_the_policy_is_deleted(node: Node) -> None:
    assert tries(node, "before-policy", "pond", "connected") == "connected"
    node.kubectl("apply", "-f", "-", text=DENY)
    assert tries(node, "denied", "pond", "ConnectionRefusedError") == "ConnectionRefusedError"
    ready = node.kubectl("get", "pods", "-n", "pond", "-l", "app=pond", "-o", "jsonpath={..containerStatuses[*].ready}")
    assert ready == "true", "the policy refused, and not a service without pods"
    node.kubectl("delete", "networkpolicy", "deny", "-n", "pond")
    assert tries(node, "after-policy", "pond", "connected") == "connected"


def test_nothing_of_this_machine_is_in_the_image(node: Node) -> None:
    code = "import pathlib; print([p.read_text() for p in map(pathlib.Path, ('/etc/pip.conf', '/etc/uv/uv.toml'))])"
    assert visit(node, "look-inside", code).strip() == "['', '']"


def test_data_on_a_volume_outlives_a_pod_that_was_deleted_by_force(node: Node) -> None:
    assert "a duck was here" in visit(node, "write", GET.replace("PATH", "write"))
    node.kubectl("delete", "pods", "-l", "app=pond", "-n", "pond", "--grace-period=0", "--force")
    node.kubectl("rollout", "status", "deployment/pond", "-n", "pond", "--timeout=60s")
    assert "a duck was here" in visit(node, "read", GET.replace("PATH", ""))


def test_a_pod_that_may_become_root_is_refused(node: Node) -> None:
    with pytest.raises(StartError, match="violates PodSecurity"):
        node.kubectl("run", "root", "-n", "pond", "--image=pond:1")


def test_load_makes_the_autoscaler_add_pods(node: Node) -> None:
    until(lambda: "currentMetrics" in hpa(node), "the autoscaler knows the CPU that is used", 90)
    load = "import time, urllib.request\nend = time.time() + 40\nwhile time.time() < end:\n  urllib.request.urlopen('http://pond/burn').read()"
    node.kubectl("apply", "-f", "-", text=VISITOR.replace("NAME", "load").replace("CODE", json.dumps(load)))
    until(lambda: hpa(node)["currentReplicas"] != 1, "a second pod", 90)


def test_a_second_up_changes_nothing(node: Node) -> None:
    pods = node.kubectl("get", "pods", "-A", "-o", "name")
    began = time.monotonic()
    Node.from_environment().up()
    assert time.monotonic() - began < 10
    assert set(node.kubectl("get", "pods", "-A", "-o", "name").split()) >= set(pods.split())


def test_nothing_is_left_after_it_was_killed_and_taken_down(node: Node, before: dict[str, str]) -> None:
    # As a crash would: everything at once, without a word to anybody.
    holder = node.namespaces.holder()
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    node.down()
    assert machine() == before
    node.up()
    node.down()
    assert machine() == before
