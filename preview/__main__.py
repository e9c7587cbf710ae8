"""`python -m preview --pipeline FILE`: serve the dashboards of a pipeline until SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from clickstream.runtime.arguments import port
from clickstream.runtime.port_file import write_port
from clickstream.runtime.settings import load_pipeline
from preview.board import Stores
from preview.server import Preview, make_server


def main(arguments: Sequence[str]) -> int:
    """Exit status 2 for a pipeline without both stores."""
    parser = argparse.ArgumentParser(prog="python -m preview", description="Show a pipeline's dashboards.")
    parser.add_argument("--pipeline", type=Path, required=True, metavar="FILE", help="the pipeline document")
    parser.add_argument("--port", type=port, default=0, help="0 (the default) is a free one")
    parser.add_argument("--port-file", type=Path, metavar="FILE", help="write the port there")
    given = parser.parse_args(arguments)
    try:
        pipeline = load_pipeline(given.pipeline)
    except ValueError as error:
        sys.stderr.write(f"preview: {error}\n")
        return 2
    elasticsearch, postgres = pipeline.sinks.elasticsearch, pipeline.sinks.postgres
    if elasticsearch is None or postgres is None or postgres.dsn is None:
        sys.stderr.write("preview: it needs sinks.elasticsearch and sinks.postgres.dsn in the pipeline document\n")
        return 2
    url, dsn = elasticsearch.url, postgres.dsn
    server = make_server(Preview(pipeline, lambda: Stores(pipeline.names, url, dsn)), given.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    address = server.server_address
    if given.port_file is not None:
        write_port(given.port_file, address[1])
    sys.stdout.write(f"http://{address[0]!s}:{address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
