"""A decision service: answers beside a store, with a candidate that is asked and cannot disturb."""
