"""All that is known about PostgreSQL: connection, migrations, rows, partitions, transactions, retention."""
