"""Adapters to host libraries; each imports its host at its top, or says which extra installs it."""
