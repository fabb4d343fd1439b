"""CamVid, clear to foggy, by adversarial dropout regularization: two dropout samples of one head."""

_base_ = ["_camvid240_domains.py"]

# The paper's divergence as a mean over the 11 classes, as the official code takes it.
model = dict(type="ADRSegmentor", updates=4, weight=1 / 11)
