"""From shadow to all of the traffic: gates, tests that may be looked at, rollback, retraining."""
