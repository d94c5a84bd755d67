"""dwcp-bench: frozen episodes on which any policy can be set beside all others, and its leaderboard."""
