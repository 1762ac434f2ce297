"""The local journal: what was about to be sent, and what was acknowledged, survives the process in an SQLite file."""

from .entries import Acknowledged, Intent, StandingPair
from .journal import Journal, JournalRun

__all__ = ["Acknowledged", "Intent", "Journal", "JournalRun", "StandingPair"]
