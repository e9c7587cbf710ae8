"""All that is specific to Elasticsearch: client, templates, documents, bulk requests, retention."""
