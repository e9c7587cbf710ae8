"""Any pipeline that the resource's schema takes, with any Secrets: no pass fails, and none tells what is in a Secret.

Here a few hundred, by the schema alone and over a cluster in memory; tests/e2e/pipelines asks a real API server which
ones it takes, and has 2,000 of those.
"""

from __future__ import annotations

import os
import random

from support.generated_pipelines import Generator, admitted
from support.passes import troubles

CASES = int(os.environ.get("FUZZ_DEPTH", "1")) * 300


def test_any_pipeline_with_any_secrets(caplog):
    seed = int(os.environ.get("FUZZ_SEED", random.randrange(2**32)))
    made, taken = Generator(seed), 0
    for number in range(CASES):
        pipeline = made.pipeline()
        if admitted(pipeline):
            taken += 1
            assert troubles(pipeline, made, caplog) == [], f"FUZZ_SEED={seed}, number {number}"
    assert taken > CASES / 2, "the generator makes what is not taken"
