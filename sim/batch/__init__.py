"""The same world, compiled, over many episodes at once."""
