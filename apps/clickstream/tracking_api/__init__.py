"""The tracking API: events come in over HTTP, are judged at the door, and are in Kafka before they are acknowledged.

The invariant of this package: *a 2xx means that the brokers have the event*. Everything between the request and that
promise is pure (`events`, `envelope`, `body`, `access`, `address`, `pixel`); `collect` is the thin shell around it.

Deliberately absent: any store but Kafka, any state that outlives a request, rate limits (a later decision).
"""
