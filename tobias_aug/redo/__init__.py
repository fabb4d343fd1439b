"""ReDO: segment objects by redrawing them, without annotation (Chen, Artières and Denoyer, NeurIPS 2019)."""
