"""Supervised models: trained on telemetry, set beside naive baselines and ceilings, watched in use."""
