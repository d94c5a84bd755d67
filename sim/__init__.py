"""The network: bytes, seconds, nothing of learning."""
