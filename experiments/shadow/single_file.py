"""The loader as one file that can be carried anywhere: its three modules, joined."""

import re
from pathlib import Path
from typing import Final

from experiments.shadow import bundle_files, bundle_format, loader
from sim.files import write_text

_OWN_IMPORT: Final = re.compile(r"^from experiments\.[^\n(]*(?:\([^)]*\)|[^\n]*)\n", re.MULTILINE)
_CAPTION: Final = re.compile(r'\A""".*?"""\n', re.DOTALL)
_CAPTION_OF_ALL: Final = '''"""Reads a bundle, verifies it and answers from it; needs NumPy and onnxruntime.

    import dwcp_loader
    policy = dwcp_loader.load("ppo.zip")
    policy.actions[policy.act(policy.row({"rtt_ms": 80, "bandwidth_mbps": 200, "size_mb": 64}))]

Made by ``dwcp-gym bundle loader``; Apache-2.0.
"""
'''


def single_file() -> str:
    """The text of the file: the modules in the order of their imports, without those of each other."""
    parts = [_CAPTION_OF_ALL]
    for module in (bundle_format, bundle_files, loader):
        text = Path(str(module.__file__)).read_text("utf-8")
        parts.append(_OWN_IMPORT.sub("", _CAPTION.sub("", text, count=1)).strip("\n") + "\n")
    return "\n\n".join(parts)


def write_single_file(path: Path) -> None:
    """Write it, whole or not at all."""
    write_text(path, single_file())
