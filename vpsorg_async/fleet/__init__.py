"""The fleet layer: many servers at once, one outcome for each."""

from __future__ import annotations

from .fleet import Fleet
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded

__all__ = ["Failed", "Fleet", "Outcome", "Report", "Skipped", "Succeeded"]
