"""IRN (Ahn et al., CVPR 2019): edges between objects, and a random walk that they stop."""
