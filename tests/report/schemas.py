"""The published schemas, as they are and strict.

The schemas let further keys be there, since readers ignore what they do not know. What boxcheck writes today is held
against the strict form, in which a key that no schema names is an error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
NAMES = sorted(path.name for path in REFERENCE.glob("*.schema.json"))


def published(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REFERENCE / name).read_text())
    return found


def strict(schema: Any) -> Any:
    """The schema with every object closed that names its keys."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed
