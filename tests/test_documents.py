"""Documents say what runs and code say."""

import re
from pathlib import Path

from benchmarks.tables import documents

ROOT = Path(__file__).parents[1]


def test_tables_are_those_of_the_committed_results():
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, f"run python -m benchmarks.tables: {path.name} is stale"


def test_links_between_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readmes_code_runs(photos, tmp_path, monkeypatch, brightness):
    """Every Python block, with the folders and names that its text speaks of."""
    import lightly.data
    import lightly.transforms
    import torch
    from torch.utils.data import DataLoader

    import tobias_aug

    tobias_aug.build_masks(photos, brightness, tmp_path / "MASKS", workers=0, quiet=True)
    photos.rename(tmp_path / "IMAGES")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        names = {
            **vars(lightly.data),
            **vars(lightly.transforms),
            "DataLoader": DataLoader,
            "images": torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8),
            "keys": ["cat/01.jpg", "dog/00.jpg"],
            "source_loader": [(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 1]))],
            "target_loader": [torch.rand(4, 3, 32, 32)],
        }
        exec(block.replace("input_size=224", "input_size=32").replace("batch_size=256", "batch_size=4"), names)
        if "loader" in names:
            views, _, _ = next(iter(names["loader"]))
            assert views[0].shape == (4, 3, 32, 32)
        else:
            assert names["images"].shape == (2, 3, 64, 64)


def test_the_code_of_the_guide_to_localizers_runs(tmp_path, monkeypatch):
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.save({"state_dict": torchvision.models.resnet50().state_dict()}, tmp_path / "checkpoint.pth")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "localizers.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(block, names)
    assert names["cam"].heatmaps(torch.zeros(1, 3, 224, 224)).shape == (1, 7, 7)


def test_the_code_of_the_guide_to_scale_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "scale.md").read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(block, names)
    assert names["picture"].size == (60, 40)
