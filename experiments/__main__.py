"""``python -m experiments``: the same as ``dwcp-gym``."""

from experiments.cli import main

if __name__ == "__main__":
    main()
