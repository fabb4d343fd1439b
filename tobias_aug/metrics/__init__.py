"""How right predictions are: segmentation, and classification of an open set."""
