"""The tracking API: events come in over HTTP, are validated, and are in Kafka before they are acknowledged.

`endpoints` is the way of a request from its headers to its answer. *A 2xx means that the brokers have the event.*
"""
