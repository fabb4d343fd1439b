"""Localizers: what points at objects without having been taught."""
