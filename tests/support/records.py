"""Records of the pipeline's topics, as tests read them."""

from __future__ import annotations

import msgspec

from clickstream.contracts.clicks import EnrichedClick

_decoder = msgspec.json.Decoder(EnrichedClick)


def decode_enriched(value: bytes) -> EnrichedClick:
    """The click in an enriched-clicks record. Raises msgspec.MsgspecError."""
    return _decoder.decode(value)
