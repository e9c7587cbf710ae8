"""Kubernetes quantities as numbers: the API server writes `1000m` as `1` and `1024Mi` as `1Gi`, and means the same."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_FORM: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d+)?")
_BINARY: Final = {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}
_DECIMAL: Final = {unit: Decimal(1000) ** power for power, unit in enumerate("num", -3)} | {
    unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)
}


def same_quantity(one: object, other: object) -> bool:
    """Whether two values are the same amount; False for anything that is no quantity."""
    amounts = [_amount(str(value)) for value in (one, other)]
    return None not in amounts and amounts[0] == amounts[1]


def _amount(text: str) -> Decimal | None:
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    number, unit = match[1], match[2] or ""
    if unit[:1] in {"e", "E"} and len(unit) > 1:
        return Decimal(number + unit)
    return Decimal(number) * (_BINARY | _DECIMAL | {"": Decimal(1)})[unit]
