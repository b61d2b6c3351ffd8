"""Figures that a run shows at its end, whichever process has measured them."""

from __future__ import annotations

FIGURE = "figure"
"""Name of a test's property (`record_property`) whose text is shown."""
