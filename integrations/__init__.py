"""Adapters to host libraries; each imports its host at its top, and says which extra brings it."""
