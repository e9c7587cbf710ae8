"""All that is specific to PostgreSQL: connection, migrations, rows, partitions, transactions, retention."""
