"""Self-contained HTML pages: the report of a run and the leaderboard over several; no scripts or fonts from outside."""
