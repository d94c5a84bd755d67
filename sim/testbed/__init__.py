"""The same transfers for real: real codecs over real TCP between two processes, on paths of one's own making."""
