"""Real servers as local processes: Apache Kafka, Elasticsearch and PostgreSQL, without a container engine.

The demo and the tests run on the servers that production runs on, with nothing but a JDK, Maven and Python. On the
command line it is `devstack up|down|status|logs|env`; in Python:

    from devstack import Stack

    with Stack.up(home=tmp_path / "stack", services=("kafka", "postgres"), progress=print) as stack:
        stack.kafka.bootstrap_servers      # "127.0.0.1:40123"
        stack.postgres.dsn                 # "postgresql://postgres@127.0.0.1:40125/postgres"
        stack.kafka.kill()                 # SIGKILL; also .stop() and .start(): same port, same data
        stack.kafka.start()                # returns once it is healthy again

`Stack.up()` without a home uses DEVSTACK_HOME or `.devstack` in the current folder; what runs there already is kept.
Leaving the `with` block stops the servers and keeps their data; `stack.down(wipe=True)` deletes it; without `with` they
run on until somebody calls `down`. `stack.elasticsearch.url` is the third address.

`Stack.up(secure=True)` starts Kafka with TLS, SCRAM, PLAIN and client certificates and PostgreSQL with TLS and a
password: `stack.security` names the files, `stack.kafka.member("tls")` is what a pipeline document says of that broker,
`stack.postgres.dsn` holds password and authority. Elasticsearch stays plain: its security module is not published.

`devstack.artifacts.kafka_libs()` and `devstack.jdk.find_jdk()` let a test run a Java program against Kafka's own
libraries. Every error that a user can fix is a `DevstackError`.

A server that runs elsewhere is used instead when DEVSTACK_KAFKA (bootstrap servers), DEVSTACK_ELASTICSEARCH (URL) or
DEVSTACK_POSTGRES (DSN) is set: it is checked, never started or stopped. Other variables: DEVSTACK_CACHE (downloads),
DEVSTACK_ES_HEAP and DEVSTACK_KAFKA_HEAP (such as 768m).

There is no supervision, there is one node of each, and topics are the caller's (`clickstream setup topics`).
"""

from devstack.errors import DevstackError
from devstack.settings import SERVICES, Settings
from devstack.stack import Stack

__all__ = ["SERVICES", "DevstackError", "Settings", "Stack"]
