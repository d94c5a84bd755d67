"""The same transfers for real: real codecs, real TCP over emulated paths."""
