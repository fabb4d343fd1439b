"""CamVid, clear images alone, scored on foggy ones: what adaptation has to beat."""

_base_ = ["_camvid240_domains.py"]

train_dataloader = dict(
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(_delete_=True, **_base_.source),
)
optim_wrapper = dict(_delete_=True, type="OptimWrapper", optimizer=_base_.optimizer)
