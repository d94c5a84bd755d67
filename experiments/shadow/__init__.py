"""From an exported policy to one that has earned its place beside the incumbent."""
