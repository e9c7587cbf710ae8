"""2,000 generated pipelines that a real API server takes: no pass over one fails or tells a Secret's characters.

Admission is the API server's (a dry run). The passes run over a cluster in memory: 2,000 whole pipelines would take an
API server an hour.
"""

from __future__ import annotations

import os
import random

import kubernetes
import pytest

from clickstream_operator import naming
from e2e.pipelines.surroundings import Json, Surroundings
from support.generated_pipelines import Generator
from support.passes import troubles

CASES = 2_000


@pytest.mark.long
def test_any_pipeline_that_is_taken_with_any_secrets(control_plane: Surroundings, web: str, caplog):
    seed = int(os.environ.get("FUZZ_SEED", random.randrange(2**32)))
    client = kubernetes.config.new_client_from_config(str(control_plane.api.kubeconfig))
    resources = kubernetes.client.CustomObjectsApi(client)

    def taken(made: Json) -> Json | None:
        """As the API server would store it, None where it refuses."""
        wanted = made | {"metadata": {"name": "shop", "namespace": web}}
        try:
            answer = resources.create_namespaced_custom_object(
                naming.GROUP, naming.VERSION, web, naming.PLURAL, wanted, dry_run="All"
            )
        except kubernetes.client.ApiException as refused:
            if refused.status not in {400, 422}:
                raise
            return None
        return made | {"spec": answer["spec"]}

    generator, admitted, made = Generator(seed), 0, 0
    while admitted < CASES:
        made += 1
        stored = taken(generator.pipeline())
        if stored is not None:
            admitted += 1
            assert troubles(stored, generator, caplog) == [], f"FUZZ_SEED={seed}, number {made}"
        assert made < 3 * CASES, "the generator makes what is not taken"
