"""CamVid, clear to foggy, by maximum classifier discrepancy: two heads, four generator updates per iteration."""

_base_ = ["_camvid240_domains.py"]

model = dict(type="MCDSegmentor", updates=4)
