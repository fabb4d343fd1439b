"""Mixes of a batch: one base that carries images, masks and labels alike, labels, pairing, and the field's controls."""
