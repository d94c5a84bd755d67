"""The work: train, evaluate, compare, report, export."""
