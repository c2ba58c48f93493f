"""Probes for every public request field of every dialect, and what is observed of them.

One module per dialect holds data alone; `observed` says what it means and finds the verdicts, `sdk`
lists the fields that there are, `table` writes docs/fields.md.
"""

from .observed import LOST, PROBES, Probe, Probes, columns, observations

__all__ = ["LOST", "PROBES", "Probe", "Probes", "columns", "observations"]
