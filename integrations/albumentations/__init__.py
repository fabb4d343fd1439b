"""albumentations: patch merge and between-class mixing inside a ``Compose``; the other image comes in as data.

Import this package before ``A.load`` reads a pipeline that holds its transforms. Like all of albumentations 2.0.8 they
draw from the ``Compose``'s generator, which a ``DataLoader`` copies into every worker. Give each worker a seed of its
own, so that workers do not repeat each other::

    def seed_worker(worker):
        info = torch.utils.data.get_worker_info()
        info.dataset.transform.set_random_seed(info.seed % 2**32)

    DataLoader(dataset, num_workers=4, worker_init_fn=seed_worker)
"""

from .._hosts import require

require("albumentations", extra="albumentations")
from .between_class import TobiasBetweenClass  # noqa: E402
from .cut_paste import TobiasCutPaste  # noqa: E402
from .patch_merge import TobiasPatchMerge  # noqa: E402

__all__ = ["TobiasBetweenClass", "TobiasCutPaste", "TobiasPatchMerge"]
