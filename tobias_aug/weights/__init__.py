"""A user's checkpoints, weights drawn from a seed, detectron2's layout."""
