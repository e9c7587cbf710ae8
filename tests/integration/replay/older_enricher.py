"""The enricher of a release that does not know the word `monitoring` for a bot. The code under test is unchanged."""

from __future__ import annotations

import sys

from clickstream.enricher import main
from clickstream.enrichment import bot

if __name__ == "__main__":
    words = bot.Bots([("(?i:crawl)", bot.OTHER)])
    bot.bots = lambda: words
    sys.exit(main.main(sys.argv[1:]))
