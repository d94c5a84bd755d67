"""The answers: heuristics, oracles, supervised selectors and learners."""
