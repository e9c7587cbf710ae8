"""What a pipeline needs beside itself, inside a cluster: Strimzi's resource definitions, Kafka, Elasticsearch,
PostgreSQL."""
