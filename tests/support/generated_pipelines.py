"""Pipelines out of the resource's own schema: every field now and then, at its limits, with text that means ill; and
Secrets for them.

What the schema's CEL rules ask for is kept to mostly, not always: who needs admitted ones asks an API server, or
`admitted`, which knows these rules as far as the generator may break them.
"""

from __future__ import annotations

import base64
import random
import re
from typing import Any, Final

from clickstream_operator.defaults import spec_schema, with_defaults
from support.crd_schema import pipeline_errors

Json = dict[str, Any]

WORD: Final = "XqZ"
"""In every piece of a Secret, so that a piece of one is known wherever it shows up."""

_TEXT: Final = [
    *("a", "shop", "web", "Straße", "日本", "x" * 63, "y" * 253, " ", "\n", "\t", "\x7f", "\u2028", "\\", "'", '"'),
    *("$", "${HOME}", "$$", "%s", "%00", "{key}", "{{ x }}", "../..", "/", "*", ":", "#", "null", "true", "0", "-1"),
    *("<b>", "&", ",", "=", "@", "|", "\ud7ff", "\U0001f600", "e\u0301", "\u202e", "\u00a0", "1e400", "~", "- a: b"),
]
_HOSTS: Final = ["kafka", "a-b.example", "10.0.0.1", "[::1]", "[2001:db8::1]", "UPPER_case", "-", "_", "xn--a.example"]
_PORTS: Final = ["1", "80", "443", "9092", "65535"]
_NAMES: Final = [
    "a",
    "0-a",
    "x" * 60,
    "A_B",
    "SSL_CERT_FILE",
    "-.",
    "CLICKSTREAM_LOG_FORMAT",
    "/data",
    "/a b/日本",
    "/tmp/x",
]
"""Of variables, volumes and folders."""
_DURATIONS: Final = ["1ms", "10m", "7d", "1h30m", "0s", "999999999d", "1ms1s1m1h1d", "000000001s", "30d"]
_ORIGINS: Final = ["*", "https://shop.example", "http://localhost:3000", "app+x.y-z://a:b/", "https://日本.example"]
_NETWORKS: Final = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "::1", "0.0.0.0/0"]


class Generator:
    """The same pipelines for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._schema = spec_schema()

    def pipeline(self) -> Json:
        """One named web/shop, which the schema takes; mostly what its rules take, too."""
        self._rare = self._random.choice([0.1, 0.4, 0.9])
        spec = self._object(self._schema, "spec")
        for store in ("elasticsearch", "postgres"):
            if not spec["sinks"] and self._random.random() < 0.9:
                spec["sinks"][store] = self._object(self._schema["properties"]["sinks"]["properties"][store], store)
        if self._random.random() < 0.5:  # whose connection string the operator itself reads
            dashboards = spec.setdefault("dashboards", {})
            reader = {"connectionSecretRef": {"name": "reader"}}
            dashboards.setdefault("datasources", {}).setdefault("postgres", reader)
        self._agree(spec)
        metadata = {"name": "shop", "namespace": "web", "uid": "u", "generation": 1}
        return {
            "apiVersion": "clickstream.dev/v1alpha1", "kind": "ClickstreamPipeline", "metadata": metadata, "spec": spec
        }  # fmt: skip

    def secret(self) -> bytes:
        """A Secret's value: every run of three characters of its own has a part of WORD in it."""
        pieces = ["", "%20", *"#[]@:/%$'\"\\ \n=&,?é{\0"]
        word = [WORD + self._random.choice(pieces) for _ in range(self._random.randrange(1, 6))]
        hostile = "".join(word)
        shape = self._random.choice([
            "{0}", "postgresql://{0}:{0}@{0}/{0}", "postgresql://{0}@{0}:{0}/{0}?sslmode={0}", "postgresql://{0}:{0}@[{0}",
            "host={0} user={0} password={0}", "host={0} user='{0}' password='{0}",
            "postgresql://{0}:{0}@{0}-0:5432,{0}-1:5432/{0}",
        ])  # fmt: skip
        text = shape.format(hostile).encode()
        return self._random.choice([text, text, text, b"\xff" + text, text * 50])

    def _object(self, schema: Json, path: str) -> Json:
        if "properties" not in schema:
            return self._map(schema, path)
        required = schema.get("required", [])
        return {
            name: self._value(child, f"{path}.{name}")
            for name, child in schema["properties"].items()
            if name in required or self._random.random() < self._rare
        }

    def _map(self, schema: Json, path: str) -> Json:
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return {"key": self._text(16), "operator": "Exists"} | self._random.choice([{}, {"stray": {"a": [1]}}])
        values = schema["additionalProperties"]
        names = [self._random.choice(["a", "example.com/b", "cpu", "memory", self._text(20)]) for _ in range(3)]
        return {name: self._value(values, path) for name in names[: self._random.randrange(4)]}

    def _value(self, schema: Json, path: str) -> Any:
        match schema.get("type"):
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "integer":
                least, most = schema.get("minimum", -(2**31)), schema.get("maximum", 2**31 - 1)
                return self._random.choice([least, most, min(most, least + 1), self._random.randint(least, most)])
            case "boolean":
                return self._random.random() < 0.5
            case "string":
                return self._string(schema, path)
            case _:  # a quantity, as a number or as text
                return self._random.choice([1, 0, -1, 2**40, "100m", "1Gi", "1.5", "lots", "", self._text(8)])

    def _array(self, schema: Json, path: str) -> list[Any]:
        least, most = schema.get("minItems", 0), schema.get("maxItems", 4)
        size = self._random.choice([least, least, min(most, least + 1), min(most, 3), most if most < 40 else 3])
        found = [self._value(schema["items"], path) for _ in range(size)]
        if schema.get("x-kubernetes-list-type") == "map":
            (key,) = schema["x-kubernetes-list-map-keys"]
            return list({item[key]: item for item in found}.values())
        return found

    def _string(self, schema: Json, path: str) -> str:
        if "enum" in schema:
            return str(self._random.choice(schema["enum"]))
        rules = " ".join(rule["rule"] for rule in schema.get("x-kubernetes-validations", []))
        if "pattern" in schema:
            return self._random.choice([name for name in _NAMES if re.search(schema["pattern"], name)])
        if "https?" in rules:
            scheme, host = self._random.choice(["http", "https"]), self._random.choice(_HOSTS)
            port = self._random.choice(["", *(f":{port}" for port in _PORTS)])
            return f"{scheme}://{host}{port}{self._random.choice(['', '/', '/prefix', '/$HOME/日本/%zz'])}"
        if "ms|s|m|h|d" in rules:
            return self._random.choice(_DURATIONS)
        if path.endswith("bootstrapServers"):
            servers = [f"{self._random.choice(_HOSTS)}:{self._random.choice(_PORTS)}" for _ in range(3)]
            return self._random.choice([",", " , ", "\t,\n"]).join(servers[: self._random.randrange(1, 4)])
        if "a-z0-9+.-" in rules:
            return self._random.choice(_ORIGINS)
        if "isCIDR" in rules:
            return self._random.choice(_NETWORKS)
        if path == "spec.sources.name":
            return self._random.choice(["web", "a", "0", "x" * 40, "a-b"])
        if "{key}" in rules:
            return self._random.choice(["/p/{key}", "{key}", "/*/{key}*", "/{key}/日本"])
        return self._text(schema.get("maxLength", 64), schema.get("minLength", 0))

    def _text(self, most: int, least: int = 0) -> str:
        text = "".join(self._random.choices(_TEXT, k=self._random.randrange(1, 4)))
        if self._random.random() < 0.05:
            text = self._random.choice(["z", "é", "$", "/"]) * most
        return text[:most] if len(text[:most]) >= least else "a" * least

    def _agree(self, spec: Json) -> None:
        """Members that exclude each other, or bound each other."""
        kafka = spec["kafka"]
        authentication = kafka.get("authentication")
        if authentication is not None:
            fields = self._schema["properties"]["kafka"]["properties"]["authentication"]["properties"]
            if authentication["type"] == "tls":
                kafka.setdefault("tls", {})
            names = ["certificateSecretRef"] if authentication["type"] == "tls" else ["username", "passwordSecretRef"]
            for name in names:
                authentication.setdefault(name, self._value(fields[name], name))
        topics = kafka.get("topics", {})
        partitions = {name: topics.get(name, {}).get("partitions", 12) for name in ("rawClicks", "enrichedClicks")}
        sources = spec.get("dashboards", {}).get("datasources", {})
        for holder in (spec["sinks"].get("elasticsearch", {}), sources.get("elasticsearch", {})):
            if {"credentialsSecretRef", "apiKeySecretRef"} <= holder.keys():
                del holder[self._random.choice(["credentialsSecretRef", "apiKeySecretRef"])]
        bounded = [(spec.setdefault("trackingApi", {}), 1_000)]
        bounded += [(spec.setdefault("enricher", {}), partitions["rawClicks"])]
        bounded += [(sink, partitions["enrichedClicks"]) for sink in spec["sinks"].values()]
        for component, most in bounded:
            bounds = component.setdefault("autoscaling", {})
            bounds["maxReplicas"] = min(bounds.get("maxReplicas", most), most)
            bounds["minReplicas"] = max(1, min(bounds.get("minReplicas", 1), bounds["maxReplicas"]))
            if "replicas" in bounds:
                bounds |= {"scaler": "None", "replicas": min(bounds["replicas"], bounds["maxReplicas"])}
            if bounds.get("scaler", "HPA") != "HPA":
                bounds.pop("metrics", None)
        geoip = spec["enricher"].get("geoip", {})
        if "path" in geoip:
            geoip["path"] = geoip["path"].lstrip("/").replace("..", "") or "a"
        for component in (*(component for component, _ in bounded), spec.get("jobs", {})):
            self._agree_pods(component.get("podTemplate", {}))
        service = spec["trackingApi"].get("service", {})
        if service.get("type") != "LoadBalancer":
            for name in ("loadBalancerClass", "loadBalancerSourceRanges"):
                service.pop(name, None)
        if service.get("type", "ClusterIP") == "ClusterIP":
            for name in ("nodePort", "externalTrafficPolicy"):
                service.pop(name, None)
        if "loadBalancerSourceRanges" in service:
            service["loadBalancerSourceRanges"] = ["10.0.0.0/8", "2001:db8::/32"]
        for part in (spec.get("dashboards", {}), sources):
            if "labels" in part:
                part["labels"] = {name[:63]: str(value)[:63] for name, value in part["labels"].items()}

    def _agree_pods(self, template: Json) -> None:
        for each in template.get("env", []):
            if {"value", "valueFrom"} <= each.keys():
                del each[self._random.choice(["value", "valueFrom"])]
        for volume in template.get("volumes", []):
            sources = [name for name in volume if name != "name"] or ["emptyDir"]
            kept = self._random.choice(sources)
            given = volume.get(kept, {})
            for name in sources:
                volume.pop(name, None)
            volume[kept] = given
        names = [volume["name"] for volume in template.get("volumes", [])]
        for mount in template.get("volumeMounts", []):
            mount["name"] = self._random.choice(names or ["missing"])
        if not names:
            template.pop("volumeMounts", None)


def admitted(pipeline: Json) -> bool:
    """Whether an API server would take it, as far as that is known without one."""
    whole = pipeline | {"spec": with_defaults(spec_schema(), pipeline["spec"])}
    return bool(whole["spec"]["sinks"]) and pipeline_errors(whole) == []


def leaks(text: str) -> bool:
    """Whether something of a Secret that `Generator.secret` made is in a text, also in base64."""
    if WORD in text:
        return True
    codes = {base64.b64encode(b"\0" * shift + WORD.encode() * 2)[4:7].decode() for shift in range(3)}
    return any(code in text for code in codes) and any(_decodes(part) for part in text.replace('"', " ").split())


def _decodes(text: str) -> bool:
    try:
        return WORD.encode() in base64.b64decode(text, validate=True)
    except ValueError:
        return False
