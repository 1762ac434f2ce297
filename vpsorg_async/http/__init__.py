"""The session manager: one HTTP exchange with a known outcome."""
