"""Find out why an account can't be reached or read (`examine`), and what the service does (`LiveExamination`)."""

from __future__ import annotations

from .assumptions import ASSUMPTIONS
from .choice import choose, left_over, new_name
from .examination import Check, Finding, examine
from .live import LiveExamination
from .live_report import LiveReport
from .observer import Observer
from .trial import Pace
from .verdicts import Assumption, Ruling, Verdict

__all__ = [
    "ASSUMPTIONS",
    "Assumption",
    "Check",
    "Finding",
    "LiveExamination",
    "LiveReport",
    "Observer",
    "Pace",
    "Ruling",
    "Verdict",
    "choose",
    "examine",
    "left_over",
    "new_name",
]
