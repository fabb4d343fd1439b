import pickle

import pytest
import torch
import torchvision
from torch import nn

from tobias_aug import RandomCNN
from tobias_aug.localization import CAM
from tobias_aug.weights import load_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(3)
    network = torchvision.models.resnet18(num_classes=7).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean)
    return network


@pytest.fixture(scope="module")
def images():
    return torch.randint(256, (3, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def normalized(images):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images / 255 - mean[:, None, None]) / std[:, None, None]


def features_of(network, images):
    body = nn.Sequential(*list(network.children())[:-2])
    with torch.no_grad():
        return body(normalized(images))


def write_plain(network, path):
    torch.save(network.state_dict(), path)


def write_moco(network, path):
    state = network.state_dict()
    named = {f"module.encoder_q.{name}": value for name, value in state.items()}
    named |= {f"module.encoder_k.{name}": torch.zeros_like(value) for name, value in state.items()}
    torch.save({"epoch": 5, "arch": "resnet18", "state_dict": named | {"module.queue": torch.zeros(8, 16)}}, path)


def write_safetensors(network, path):
    pytest.importorskip("safetensors.torch").save_file(network.state_dict(), path)


@pytest.mark.parametrize(
    ("write", "name"), [(write_plain, "a.pth"), (write_moco, "b.pth.tar"), (write_safetensors, "c.safetensors")]
)
def test_own_weights_give_the_trained_networks_features(trained, images, tmp_path, write, name):
    write(trained, tmp_path / name)
    cnn = RandomCNN("resnet18", weights=tmp_path / name)
    torch.testing.assert_close(cnn.features(images), features_of(trained, images), rtol=1e-4, atol=1e-4)
    assert sorted(cnn.unused) == ["fc.bias", "fc.weight"]
    assert cnn.identity()["weights"] == RandomCNN("resnet18", weights=trained.state_dict()).identity()["weights"]
    assert cnn.identity()["weights"] != RandomCNN("resnet18").identity()["weights"]
    assert "own weights" in repr(cnn)


def test_rows_of_the_paper_take_torchvisions_checkpoints():
    torch.manual_seed(0)
    for row, whole in [("r50-conv1-3", torchvision.models.resnet50()), ("vgg11", torchvision.models.vgg11())]:
        state = whole.state_dict()
        cnn = RandomCNN(row, weights=state)
        for name, value in cnn.network.state_dict().items():
            assert torch.equal(value, state[name]), (row, name)


def test_a_vits_checkpoint_fits():
    torch.manual_seed(0)
    state = torchvision.models.vit_b_16().state_dict()
    cnn = RandomCNN("vit-b16", weights=state)
    assert torch.equal(cnn.network.state_dict()["encoder.pos_embedding"], state["encoder.pos_embedding"])
    assert "heads.head.weight" in cnn.unused


def test_what_does_not_fit_is_named(trained, tmp_path):
    state = dict(trained.state_dict())
    del state["layer3.0.conv1.weight"]
    with pytest.raises(ValueError, match=r"the state dict does not fit the network: layer3\.0\.conv1\.weight missing"):
        RandomCNN("resnet18", weights=state)
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight \(64, 64, 3, 3\) instead of \(64, 64, 1, 1\)"):
        RandomCNN(
            "resnet50",
            weights=torchvision.models.resnet50().state_dict() | {"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)},
        )
    write_plain(nn.Linear(2, 2), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth does not fit the network: conv1\.weight, .* and \d+ more missing"):
        RandomCNN("resnet18", weights=tmp_path / "other.pth")


def test_old_checkpoints_without_batch_counters_load(trained):
    old = {name: value for name, value in trained.state_dict().items() if "num_batches" not in name}
    fresh = torchvision.models.resnet18(num_classes=7)
    assert load_weights(fresh, old) == []
    assert torch.equal(fresh.layer4[1].conv2.weight, trained.layer4[1].conv2.weight)


def test_cam_is_the_features_weighted_by_the_classifiers_row(trained, images):
    cam = CAM("resnet18", weights=trained.state_dict())
    features = features_of(trained, images)
    classes = torch.tensor([6, 0, 3])
    expected = torch.stack(
        [sum(trained.fc.weight[k, c] * maps[c] for c in range(512)) for maps, k in zip(features, classes, strict=True)]
    )
    torch.testing.assert_close(cam.heatmaps(images, classes), expected.detach(), rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        seen = trained(normalized(images)).argmax(1)
    assert torch.equal(cam.heatmaps(images), cam.heatmaps(images, seen))
    assert cam.cell_scores(images).shape == (3, 4, 4)
    assert cam.heatmaps(images[:0]).shape == (0, 7, 7)


def test_an_untrained_cam_is_its_seeds():
    first, again, other = CAM("resnet18", 1), CAM("resnet18", 1), CAM("resnet18", 2)
    assert first.identity() == again.identity() != other.identity()
    assert pickle.loads(pickle.dumps(first)).identity() == first.identity()


def test_cam_without_a_linear_classifier_on_the_features_is_rejected():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"CAM needs one linear classifier on 512 channels .* classifier\.0\.weight"):
        CAM("vgg11", weights=torchvision.models.vgg11().state_dict())


def test_inception_checkpoints_see_the_input_they_were_trained_on():
    torch.manual_seed(0)
    inception = torchvision.models.inception_v3(init_weights=False).eval()
    inception.transform_input = True
    images = torch.randint(256, (1, 3, 224, 224), dtype=torch.uint8)
    seen = []
    inception.Mixed_7c.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        inception(normalized(images))
    cnn = RandomCNN("inception", weights=inception.state_dict())
    torch.testing.assert_close(cnn.features(images), seen[0], rtol=1e-3, atol=1e-4)
