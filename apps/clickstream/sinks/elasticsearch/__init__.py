"""All that is known about Elasticsearch: client, templates, documents, bulk requests, retention."""
