"""Find, key and decode images."""
