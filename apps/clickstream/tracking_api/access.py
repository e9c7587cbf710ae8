"""Who may send: write keys and browser origins, per source.

A write key stands in every page that uses it, so it identifies a source and keeps noise out; it proves nothing. The
origins are what keeps another site from using it in a browser. Keys are compared in constant time all the same.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from clickstream.tracking_api import rejections
from clickstream.tracking_api.rejections import Rejection

ANY_ORIGIN: Final = "*"


@dataclass(frozen=True, slots=True)
class SourceAccess:
    """One source: its name, its write key, the origins whose pages may use it (`*` for any, empty for no browser)."""

    name: str
    write_key: bytes
    origins: frozenset[str]

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may send."""
        return ANY_ORIGIN in self.origins or origin in self.origins


@dataclass(frozen=True, slots=True)
class Access:
    """All sources of the pipeline."""

    sources: tuple[SourceAccess, ...]

    def source_of(self, key: bytes | None) -> SourceAccess | Rejection:
        """The source that a write key belongs to."""
        if not key:
            return rejections.MISSING_KEY
        found: SourceAccess | None = None
        for source in self.sources:  # no early exit: the time must not show how much of a key was right
            if hmac.compare_digest(source.write_key, key):
                found = source
        return found or rejections.UNKNOWN_KEY

    def admit(self, key: bytes | None, origin: str | None) -> SourceAccess | Rejection:
        """The source of a request with this key from this origin (None: not a cross-origin browser request)."""
        source = self.source_of(key)
        if isinstance(source, SourceAccess) and origin is not None and not source.allows(origin):
            return rejections.ORIGIN_NOT_ALLOWED
        return source

    def readable_by(self, origin: str, key: bytes | None) -> bool:
        """Whether a page of this origin may read answers: of the key's source, without a key of any source.

        A preflight cannot carry the X-Write-Key header, which is why it may ask without a key.
        """
        if not key:
            return any(source.allows(origin) for source in self.sources)
        source = self.source_of(key)
        return isinstance(source, SourceAccess) and source.allows(origin)
