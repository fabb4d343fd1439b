"""Patch merge: keep the object's cells, fill the others with another image's background (Cao and Wu, AAAI 2022)."""
