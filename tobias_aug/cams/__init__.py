"""Class activation maps of the user's own CNNs and ViTs, by gradient, weights, attention or relevance."""
