"""CamVid, clear to foggy, by maximum classifier discrepancy: two heads, four generator updates an iteration."""

_base_ = ["_camvid240_domains.py"]

model = dict(type="MCDSegmentor", updates=4)
