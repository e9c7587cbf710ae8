"""What every process uses: settings, logs, telemetry, probes, files, Kafka clients and their credentials."""
