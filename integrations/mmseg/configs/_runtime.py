"""What mmseg's own tools and its inferencer read of a configuration beside model, data and schedule."""

vis_backends = [dict(type="LocalVisBackend")]
# Without a name it takes the run's, and runs that follow each other in one process do not share one.
visualizer = dict(type="SegLocalVisualizer", vis_backends=vis_backends)
default_hooks = dict(visualization=dict(type="SegVisualizationHook"))
tta_model = dict(type="SegTTAModel")
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
