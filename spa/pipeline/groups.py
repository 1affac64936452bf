"""Groups as a report has them."""

from __future__ import annotations

from typing import Any

from spa.coupling.cost import Cost
from spa.coupling.model import Coupling, KeptUnits


def group_facts(
    coupling: Coupling, kept: KeptUnits | None, cost: Cost | None = None
) -> list[dict[str, Any]]:
    """The section `groups`: every group that can be cut, with what it loses if `kept` is given."""
    whole = cost(coupling.everything()) if cost else None
    facts = []
    for group in coupling.groups:
        after = group.channels if kept is None else int(kept[group.cells].sum())
        fact: dict[str, Any] = {
            "id": group.id,
            "name": group.name,
            "channels_before": group.channels,
            "channels_after": after,
            "members": [{"tensor": m.tensor, "axis": m.axis} for m in group.members],
            "frozen": False,
            "reason": None,
        }
        if cost is not None and whole is not None:
            without = coupling.everything()
            without[group.cells] = False
            left = cost(without)
            fact["params"] = round(whole.params - left.params)
            fact["macs"] = round(whole.macs - left.macs)
        facts.append(fact)
    return facts
