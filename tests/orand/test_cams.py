"""Class maps of CNNs: against the formula written out, on many kinds of networks, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
import torchvision

from tobias_aug.orand.cams import class_activation_maps


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=7)


def irn_reference(network, image, classes, scales=(1, 0.5, 1.5, 2)):
    """The loops of section 6.1 for one image of a ResNet: scales, both mirror images, one class after the other."""
    height, width = image.shape[-2:]
    body = torch.nn.Sequential(*list(network.children())[:-2])
    result = torch.zeros(len(classes), height, width)
    for position, wanted in enumerate(classes):
        for scale in scales:
            size = (round(height * scale), round(width * scale))
            view = image[None]
            if scale != 1:
                view = F.interpolate(view, size, mode="bicubic", antialias=True, align_corners=False)
            both = []
            for mirrored in (False, True):
                features = body(view.flip(3) if mirrored else view)[0]
                cam = sum(weight * plane for weight, plane in zip(network.fc.weight[wanted], features, strict=True))
                cam = cam.clamp(min=0)
                both.append(cam.flip(1) if mirrored else cam)
            summed = (both[0] + both[1])[None, None]
            result[position] += F.interpolate(summed, (height, width), mode="bilinear", align_corners=False)[0, 0]
        result[position] /= result[position].max() + 1e-5
    return result


def test_maps_are_those_of_the_formula(resnet):
    images = torch.randn(2, 3, 64, 80)
    made = class_activation_maps(resnet, images, [[5, 2], [3]])
    resnet.eval()
    with torch.no_grad():
        for maps, image, classes in zip(made, images, [[2, 5], [3]], strict=True):
            assert maps.keys.tolist() == classes
            torch.testing.assert_close(torch.from_numpy(maps.maps), irn_reference(resnet, image, classes))
