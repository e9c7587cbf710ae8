"""The resource itself: what the API server takes, what it refuses, and whether it says why."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from devstack.errors import StartError
from e2e.pipelines.surroundings import ROOT, Json, Surroundings, pipeline

STEPS = [{"name": "Homepage", "page": "/"}, {"name": "Checkout", "page": "/checkout"}]


def changed(path: str, value: Any) -> Json:
    """The small pipeline with one member of its spec set, or removed where the value is `...`."""
    made = copy.deepcopy(pipeline())
    *parents, last = path.split(".")
    target = made["spec"]
    for part in parents:
        target = target[int(part)] if part.isdigit() else target.setdefault(part, {})
    if value is ...:
        del target[last]
    else:
        target[int(last) if last.isdigit() else last] = value
    return made


KEPT = (
    *(f"kafka.topics.{topic}" for topic in ("rawClicks", "enrichedClicks", "sessions", "deadLetters")),
    "sinks.elasticsearch",
    "sinks.postgres",
)
PODS = ("trackingApi", "enricher", "sinks.elasticsearch", "sinks.postgres", "jobs")
VOLUMES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"
)  # fmt: skip
MOUNTS = [{"name": "a", "mountPath": path} for path in ("/etc/ssl", "/tmp/a", "/etc/clickstreams", "/data")]
TOO_SHORT_OR_LONG = ("0s", "59m59s999ms", "36500d1ms", "999999999d", "999999999h999999999m")
VALID = [
    ("suspend", True),
    ("deletionPolicy", "Delete"),
    ("timeZone", "Europe/Berlin"),
    ("image", "registry.example.com/clickstream:1"),
    ("kafka.bootstrapServers", "a:9092, b.example.com:9093"),
    ("kafka.strimzi", ...),
    ("kafka.strimzi.namespace", "kafka"),
    ("kafka.tls", {}),
    ("kafka.authentication", {"type": "plain", "username": "u", "passwordSecretRef": {"name": "s"}}),
    ("kafka.topics.rawClicks", {"partitions": 24, "replicas": 3, "retention": "36h"}),
    ("kafka.topics.deadLetters.retention", "1d12h"),
    *((f"{where}.retention", value) for where in KEPT for value in ("1h", "59m59s1000ms", "36499d23h60m")),
    ("sources.0.allowedOrigins", ["https://shop.example:8443", "http://localhost:3000", "*"]),
    ("sources.0.limits", {}),
    ("sources.0.limits", {"source": {"eventsPerSecond": 1}, "address": {"eventsPerSecond": 20, "burst": 500}}),
    ("sources.0.limits.deadLetters", {"bytesPerSecond": 1_024}),
    ("trackingApi.ingress", {"host": "clicks.example.com"}),
    ("trackingApi.trustedProxies", ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]),
    ("trackingApi.privacy", {"keepIp": False, "reduceUserAgent": True, "redactEmails": False, "redactParameters": []}),
    ("trackingApi.privacy", {"keepParameters": ["page", "q"], "redactParameters": ["member id"]}),
    ("trackingApi.autoscaling", {"minReplicas": 3}),
    ("trackingApi.autoscaling", {"scaler": "None", "replicas": 10}),
    ("trackingApi.autoscaling.metrics", [{"type": "External", "external": {"metric": {"name": "rate"}}}]),
    ("enricher.autoscaling", {"scaler": "KEDA", "lagThreshold": 5_000}),
    ("enricher.autoscaling", {"scaler": "None"}),
    ("sinks.postgres.autoscaling", {"scaler": "KEDA", "triggerAuthenticationRef": {"name": "kafka"}}),
    ("trackingApi.resources", {"requests": {"cpu": 1, "memory": "1Gi"}}),
    ("enricher.sessionGap", "23h50m"),
    ("enricher.groupBy", "session_id"),
    ("enricher.joins", [{"name": "product", "topic": "catalogue", "page": "/products/{key}"}]),
    ("enricher.geoip", {"claimName": "geo"}),
    ("funnels", [{"name": "checkout", "steps": STEPS}, {"name": "signup", "steps": STEPS}]),
    ("sinks.postgres", ...),
    ("sinks.elasticsearch", ...),
    ("sinks.elasticsearch.url", "https://es.example.com/prefix"),
    ("sinks.elasticsearch.url", "http://[2001:db8::1]:65535"),
    ("kafka.bootstrapServers", "[::1]:9092 , 10.0.0.1:1"),
    ("sinks.elasticsearch.apiKeySecretRef", {"name": "key"}),
    ("dashboards", {"enabled": False}),
    (
        "dashboards.datasources",
        {"postgres": {"connectionSecretRef": {"name": "reader"}, "caSecretRef": {"name": "ca"}}},
    ),
    ("dashboards.datasources", {"elasticsearch": {"apiKeySecretRef": {"name": "key"}, "caSecretRef": {"name": "ca"}}}),
    ("dashboards.datasources", {"prometheus": {"url": "http://prometheus.monitoring/prefix"}}),
    ("dashboards.labels", {"example.com/mine": "1"}),
    ("telemetry", {"otlpEndpoint": "http://collector:4318", "logLevel": "DEBUG"}),
    ("networkPolicies", {"enabled": False, "additionalEgressPorts": [9094]}),
    ("scheduling.tolerations", [{"key": "dedicated", "operator": "Exists"}]),
    ("imagePullSecrets", [{"name": "registry"}]),
    ("serviceAccount.annotations", {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/clicks"}),
    *((f"{where}.logLevel", "DEBUG") for where in PODS),
    *(
        (f"{where}.podTemplate", {"metadata": {"labels": {"team": "web"}, "annotations": {"a.example/b": "c"}}})
        for where in PODS
    ),
    ("enricher.podTemplate.affinity", {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}),
    ("enricher.podTemplate.topologySpreadConstraints", [{"maxSkew": 1, "topologyKey": "rack"}]),
    ("enricher.podTemplate.nodeSelector", {"pool": "batch"}),
    ("enricher.podTemplate.tolerations", [{"operator": "Exists"}]),
    ("enricher.podTemplate.priorityClassName", "batch"),
    ("enricher.podTemplate.env", [{"name": "CLICKSTREAM_LOG_FORMAT", "value": "text"}, {"name": "A-b.c"}]),
    ("enricher.podTemplate.env", [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]),
    *(("enricher.podTemplate.volumes", [{"name": "data", source: {}}]) for source in VOLUMES),
    ("enricher.podTemplate", {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": MOUNTS}),
    ("trackingApi.service", {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8", "2001:db8::/32"]}),
    ("trackingApi.service", {"type": "NodePort", "nodePort": 30080, "externalTrafficPolicy": "Local"}),
    ("trackingApi.service", {"annotations": {"example.com/a": "b"}, "ipFamilyPolicy": "PreferDualStack"}),
    ("trackingApi.httpRoute", {"parentRefs": [{"name": "public"}], "hostnames": ["clicks.example.com"]}),
    ("trackingApi.resources", {"limits": {"memory": "2Gi"}}),
]

INVALID = [
    ("kafka", ..., "spec.kafka: Required value"),
    ("kafka.bootstrapServers", "kafka", "write host:port"),
    ("kafka.bootstrapServers", "kafka:9092,", "write host:port"),
    ("kafka.bootstrapServers", "", "at least 1 chars long"),
    ("kafka.authentication", {"type": "scram-sha-512"}, "need username and passwordSecretRef"),
    ("kafka.authentication", {"type": "kerberos"}, 'supported values: "scram-sha-512"'),
    (
        "kafka.authentication",
        {"type": "tls", "certificateSecretRef": {"name": "user"}},
        "authentication of type tls needs kafka.tls",
    ),
    ("kafka.authentication", {"type": "tls"}, "type tls needs certificateSecretRef"),
    ("kafka.strimzi.namespace", ..., "name the namespace that Strimzi's Topic Operator watches"),
    ("kafka.topics.rawClicks.partitions", 0, "greater than or equal to 1"),
    ("kafka.topics.rawClicks.partitions", "many", "must be of type integer"),
    ("kafka.topics.sessions.retention", "a week", "write a number and a unit"),
    *((f"{where}.retention", value, "at least 1h and at most 36500d") for where in KEPT for value in TOO_SHORT_OR_LONG),
    ("kafka.topics.rawClicks.partitions", 2, "enricher.autoscaling.maxReplicas must not be greater than"),
    ("kafka.topics.enrichedClicks.partitions", 2, "sinks.postgres.autoscaling.maxReplicas must not be greater"),
    ("sources", [], "at least 1 items"),
    ("sources", ..., "spec.sources: Required value"),
    ("sources.0.name", "Web Shop", "a source's name has a-z, 0-9 and '-' only"),
    ("sources.0.writeKeySecretRef", ..., "writeKeySecretRef: Required value"),
    ("sources.0.writeKeySecretRef.name", "", "at least 1 chars long"),
    ("sources.0.allowedOrigins", ["shop.example"], "write an origin such as https://shop.example"),
    ("sources.0.allowedOrigins", ["https://shop.example/path"], "write an origin such as https://shop.example"),
    ("sources.0.limits.source", {}, "limits.source.eventsPerSecond: Required value"),
    ("sources.0.limits.source", {"eventsPerSecond": 0}, "greater than or equal to 1"),
    ("sources.0.limits.address", {"eventsPerSecond": 5, "burst": 499}, "greater than or equal to 500"),
    ("sources.0.limits.deadLetters", {"bytesPerSecond": 1_023}, "greater than or equal to 1024"),
    (
        "sources",
        [{"name": "web", "writeKeySecretRef": {"name": key}} for key in ("a", "b")],
        'Duplicate value: {"name":"web"}',
    ),
    ("trackingApi.autoscaling", {"minReplicas": 11}, "minReplicas must not be greater than maxReplicas"),
    ("trackingApi.autoscaling.scaler", "KEDA", 'supported values: "HPA", "None"'),
    ("enricher.autoscaling.replicas", 2, "replicas counts with scaler None only"),
    ("enricher.autoscaling", {"scaler": "None", "replicas": 7}, "replicas must not be greater than maxReplicas"),
    ("enricher.autoscaling", {"scaler": "KEDA", "metrics": [{}]}, "they count with scaler HPA only"),
    ("sinks.postgres.autoscaling.triggerAuthenticationRef", {}, "triggerAuthenticationRef.name: Required value"),
    ("trackingApi.autoscaling.minReplicas", 0, "greater than or equal to 1"),
    ("trackingApi.autoscaling.scaleDownWindow", "soon", "write a number and a unit"),
    ("trackingApi.trustedProxies", ["everyone"], "write an address or a network"),
    ("trackingApi.privacy.redactParameters", [""], "should be at least 1 chars long"),
    ("trackingApi.privacy.keepParameters", ["a" * 65], "may not be more than 64"),
    ("trackingApi.privacy.redactParameters", ["a"] * 101, "must have at most 100 items"),
    ("trackingApi.ingress", {}, "trackingApi.ingress.host: Required value"),
    ("enricher.sessionGap", "10 minutes", "write a number and a unit"),
    ("enricher.groupBy", "ip", 'supported values: "user_id", "session_id"'),
    ("enricher.joins", [{"name": "p", "topic": "t", "page": "/products/*"}], "exactly one {key}"),
    ("enricher.joins", [{"name": "p", "topic": "t", "page": "/{key}/{key}"}], "exactly one {key}"),
    ("enricher.geoip", {"claimName": "geo", "path": "../etc/passwd"}, "write a path below the volume's root"),
    ("funnels", [{"name": "empty", "steps": []}], "at least 1 items"),
    ("funnels", [{"name": "twice", "steps": STEPS}] * 2, 'Duplicate value: {"name":"twice"}'),
    ("sinks", {}, "a pipeline needs at least one sink"),
    ("sinks.elasticsearch.url", "elasticsearch:9200", "write an http or https URL without credentials"),
    ("sinks.elasticsearch.url", "http://user:secret@es:9200", "write an http or https URL without credentials"),
    (
        "sinks.elasticsearch",
        {"url": "http://es:9200", "credentialsSecretRef": {"name": "a"}, "apiKeySecretRef": {"name": "b"}},
        "not both",
    ),
    *(
        (path, url, "with a port of 1 to 65535 if any")
        for path in (
            "sinks.elasticsearch.url",
            "telemetry.otlpEndpoint",
            "dashboards.datasources.elasticsearch.url",
            "dashboards.datasources.prometheus.url",
        )
        for url in (
            "http://es:0",
            "http://es:65536",
            "http://es:99999",
            "http://es:http",
            "http://[es",
            "http://es:",
            "http://u:secret@es",
            "http://es?a=b",
            "ftp://es",
            "es:9200",
            "http://",
            "http://es:80\n",
        )
    ),
    *(
        ("kafka.bootstrapServers", servers, "with a port of 1 to 65535")
        for servers in ("kafka:0", "kafka:65536", "kafka:99999", "kafka:", "a:1,b:70000", "[::1:9092")
    ),
    ("dashboards.labels", {"clickstream.dev/pipeline": "other"}, "are the operator's own"),
    ("dashboards.datasources.labels", {"app.kubernetes.io/instance": "other"}, "are the operator's own"),
    (
        "dashboards.datasources.elasticsearch",
        {"credentialsSecretRef": {"name": "a"}, "apiKeySecretRef": {"name": "b"}},
        "not both",
    ),
    ("sinks.postgres.connectionSecretRef", ..., "connectionSecretRef: Required value"),
    ("sinks.postgres.retention", "1 year", "write a number and a unit"),
    ("deletionPolicy", "Forget", 'supported values: "Retain", "Delete"'),
    ("telemetry.logLevel", "LOUD", 'supported values: "DEBUG"'),
    ("telemetry.otlpEndpoint", "collector:4318", "write an http or https URL"),
    ("networkPolicies.additionalEgressPorts", [70_000], "less than or equal to 65535"),
    ("suspend", "yes", "must be of type boolean"),
    *(
        (f"{where}.podTemplate.metadata", {"labels": {key: "x"}}, "are the operator's own")
        for where in PODS
        for key in ("app.kubernetes.io/component", "clickstream.dev/pipeline")
    ),
    *(
        (f"{where}.podTemplate.metadata", {"annotations": {"clickstream.dev/checksum": "x"}}, "are the operator's own")
        for where in PODS
    ),
    *(
        ("enricher.podTemplate.env", [{"name": name, "value": "x"}], told)
        for name, told in (
            ("CLICKSTREAM_PIPELINE", "the operator sets CLICKSTREAM_PIPELINE"),
            ("CLICKSTREAM_HTTP_PORT", "the operator sets CLICKSTREAM_PIPELINE"),
            ("CLICKSTREAM_OPS_PORT", "the operator sets CLICKSTREAM_PIPELINE"),
            ("CLICKSTREAM_DRAIN_SECONDS", "the operator sets CLICKSTREAM_PIPELINE"),
            ("CLICKSTREAM_LOG_LEVEL", "set the component's logLevel"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "set telemetry.otlpEndpoint"),
            ("1A", "should match"),
        )
    ),
    ("enricher.podTemplate.env", [{"name": "A", "value": "x", "valueFrom": {}}], "give value or valueFrom, not both"),
    ("enricher.podTemplate.env", [{"name": "A"}, {"name": "A"}], 'Duplicate value: {"name":"A"}'),
    *(
        ("enricher.podTemplate.volumes", [{"name": name, "emptyDir": {}}], "are the operator's own")
        for name in ("pipeline", "secrets", "tmp", "geoip")
    ),
    ("enricher.podTemplate.volumes", [{"name": "a", "hostPath": {"path": "/"}}], 'unknown field "spec.enricher'),
    ("enricher.podTemplate.volumes", [{"name": "a"}], "a volume has one source"),
    ("enricher.podTemplate.volumes", [{"name": "a", "emptyDir": {}, "csi": {}}], "a volume has one source"),
    ("enricher.podTemplate.volumeMounts", [{"name": "a", "mountPath": "/a"}], "must name one of volumes"),
    *(
        (
            "enricher.podTemplate",
            {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": path}]},
            told,
        )
        for path, told in (
            *((path, "are the operator's own") for path in ("/", "/etc", "/tmp", "/tmp/", "//tmp", "/etc/clickstream")),
            ("/etc/clickstream/secrets/kafka", "are the operator's own"),
            ("/etc//clickstream/", "are the operator's own"),
            ("data", "should match"),
        )
    ),
    ("trackingApi.service", {"type": "ExternalName"}, 'supported values: "ClusterIP"'),
    ("trackingApi.service", {"loadBalancerClass": "x"}, "need type LoadBalancer"),
    ("trackingApi.service", {"type": "NodePort", "loadBalancerSourceRanges": ["10.0.0.0/8"]}, "need type LoadBalancer"),
    ("trackingApi.service", {"nodePort": 30080}, "need type NodePort or LoadBalancer"),
    ("trackingApi.service", {"externalTrafficPolicy": "Local"}, "need type NodePort or LoadBalancer"),
    (
        "trackingApi.service",
        {"type": "LoadBalancer", "loadBalancerSourceRanges": ["everybody"]},
        "write a network such as",
    ),
    ("trackingApi.service.annotations", {"clickstream.dev/applied": "x"}, "are the operator's own"),
    ("serviceAccount.annotations", {"clickstream.dev/applied": "x"}, "are the operator's own"),
    ("trackingApi.httpRoute", {"hostnames": ["clicks.example.com"]}, "parentRefs: Required value"),
    ("trackingApi.httpRoute", {"parentRefs": [{"name": "public"}], "hostnames": []}, "at least 1 items"),
]

NAMES = [
    ("x" * 41, "at most 40 characters"),
    ("shop.eu", "at most 40 characters"),
    ("1shop", "begins with a letter"),
    ("pg-shop", "PostgreSQL keeps names that begin with pg_"),
]


@pytest.fixture(scope="module")
def server(control_plane: Surroundings) -> Surroundings:
    control_plane.namespace("web")
    return control_plane


def tried(server: Surroundings, made: Json) -> str | None:
    """What the API server has against it; None when it would take it."""
    try:
        server.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", text=yaml.safe_dump(made))
    except StartError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("path", "value"), VALID, ids=[path for path, _ in VALID])
def test_it_is_taken(server, path, value):
    assert tried(server, changed(path, value)) is None


@pytest.mark.parametrize(("path", "value", "told"), INVALID, ids=[f"{path}={value}"[:60] for path, value, _ in INVALID])
def test_it_is_refused_and_told_why(server, path, value, told):
    answer = tried(server, changed(path, value))
    assert answer is not None, "it was taken"
    assert told in answer


@pytest.mark.parametrize(("name", "told"), NAMES)
def test_a_name_that_topics_or_postgresql_could_not_have_is_refused(server, name, told):
    answer = tried(server, pipeline(name))
    assert answer is not None, "it was taken"
    assert told in answer


def test_an_unknown_field_is_refused_by_name(server):
    assert 'unknown field "spec.kafak"' in str(tried(server, changed("kafak", {})))


@pytest.mark.parametrize("case", ["minimal", "full"])
def test_the_examples_are_taken(server, case):
    for made in yaml.safe_load_all((ROOT / "manifests" / "examples" / f"{case}.yaml").read_text()):
        made["metadata"]["namespace"] = "web"
        assert tried(server, made) is None


@pytest.mark.parametrize(
    ("path", "before", "after", "told"),
    [
        ("kafka.topics.rawClicks.partitions", 12, 24, "partitions cannot be changed: clicks of a user would move"),
        ("enricher.groupBy", "user_id", "session_id", "groupBy cannot be changed: it is the key of the topics"),
    ],
)
def test_what_cannot_change_says_what_to_do_instead(server, path, before, after, told):
    first, second = changed(path, before), changed(path, after)
    first["metadata"]["name"] = second["metadata"]["name"] = "fixed"
    server.apply(first)
    try:
        with pytest.raises(StartError) as refused:
            server.apply(second)
        assert told in str(refused.value)
        assert "create a new pipeline instead" in str(refused.value)
    finally:
        server.delete("csp", "fixed")


def test_defaults_are_filled_in(server):
    answer = server.kubectl(
        "create", "--dry-run=server", "-f", "-", "-o", "yaml", text=yaml.safe_dump(pipeline(enricher={}))
    )
    spec = yaml.safe_load(answer)["spec"]
    assert spec["kafka"]["topics"]["rawClicks"] == {"partitions": 12, "retention": "7d"}
    assert spec["enricher"]["sessionGap"] == "10m"
    assert spec["trackingApi"]["autoscaling"] == {
        "minReplicas": 2,
        "maxReplicas": 10,
        "targetCPUUtilizationPercentage": 70,
        "scaleDownWindow": "5m",
        "scaler": "HPA",
    }
    assert spec["deletionPolicy"] == "Retain"
    assert spec["trackingApi"]["service"] == {"type": "ClusterIP"}


def test_who_gives_limits_alone_keeps_the_requests(server):
    made = pipeline(enricher={"resources": {"limits": {"memory": "4Gi"}}})
    answer = server.kubectl("create", "--dry-run=server", "-f", "-", "-o", "yaml", text=yaml.safe_dump(made))
    resources = yaml.safe_load(answer)["spec"]["enricher"]["resources"]
    assert resources == {"requests": {"cpu": "250m", "memory": "384Mi"}, "limits": {"memory": "4Gi"}}


def test_kubectl_explain_reads_well(server):
    told = server.kubectl("explain", "csp.spec.enricher")
    assert "The enricher, which makes enriched clicks, sessions and funnels" in told
    assert "Inactivity that ends a session." in told
    every = server.kubectl("explain", "csp.spec", "--recursive")
    assert "targetCPUUtilizationPercentage" in every
