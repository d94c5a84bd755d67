"""Where a policy does worst against what it is to replace: the search, and what it finds."""
