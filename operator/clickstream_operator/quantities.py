"""Kubernetes' quantities: `250m`, `1Gi`, `4`."""

from __future__ import annotations

from kubernetes.utils.quantity import parse_quantity

Quantity = int | str


def same(one: Quantity, other: Quantity) -> bool:
    """Whether both are the same amount: the API server writes `1000m` as `1` and `1024Mi` as `1Gi`."""
    try:
        return bool(parse_quantity(one) == parse_quantity(other))
    except ValueError:
        return False


def less(one: Quantity | None, other: Quantity) -> bool:
    """Whether `one` is given and less than `other`; no where one of them is no quantity."""
    try:
        return one is not None and bool(parse_quantity(one) < parse_quantity(other))
    except ValueError:
        return False
