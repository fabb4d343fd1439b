"""Between-class learning: train on mixes of two classes, tell the ratio (Tokozume, Ushiku and Harada, 2018)."""
