"""The same transfers for real: real codecs over real TCP between two processes, on emulated paths."""
