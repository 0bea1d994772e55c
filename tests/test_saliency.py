"""Heat maps: held to captum and to their equations; layers by name and by default; networks that give none."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustbench_ms.errors import UnknownName, UserError
from robustbench_ms.models import AMSRANet, resnet_cifar, squeezenet1_0
from robustbench_ms.saliency.layers import last_map, module_of, named_layer
from robustbench_ms.saliency.methods import METHODS, grad_cam, hires_cam, layer_cam
from robustbench_ms.saliency.taking import take

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CLASSES = [1, 7, 7]


class Deep(nn.Module):
    """A map with something that is not linear behind it, so that the methods differ."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Tanh())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 256, 20), nn.ReLU(), nn.Linear(20, 10))

    def forward(self, x):
        return self.head(self.features(x))


@pytest.fixture(scope="module")
def deep():
    return Deep().eval()


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return resnet_cifar(8, 8, attention="cbam", reduction=4).eval()


def taken(model, layer, classes=CLASSES, images=IMAGES):
    return take(model, model, layer, images, [[k] for k in classes])


@pytest.mark.filterwarnings("ignore")  # captum's own, of hooks and of backward
@pytest.mark.parametrize("layer", ["layer3", "layer2.0.conv2", "conv1"])
def test_grad_cam_and_hirescam_are_captums(net, layer):
    captum = pytest.importorskip("captum.attr")
    one = taken(net, layer)
    part = named_layer(net, layer)

    wanted = captum.LayerGradCam(net, part).attribute(IMAGES, target=CLASSES, relu_attributions=True)
    assert torch.allclose(grad_cam(one.activations, one.gradients), wanted[:, 0], atol=1e-6)
    product = captum.LayerGradientXActivation(net, part).attribute(IMAGES, target=CLASSES)
    assert torch.allclose(hires_cam(one.activations, one.gradients), product.sum(dim=1).relu(), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_they_are_captums_where_they_differ(deep):
    captum = pytest.importorskip("captum.attr")
    one, part = taken(deep, "features"), deep.features

    wanted = captum.LayerGradCam(deep, part).attribute(IMAGES, target=CLASSES, relu_attributions=True)
    assert torch.allclose(grad_cam(one.activations, one.gradients), wanted[:, 0], atol=1e-6)
    product = captum.LayerGradientXActivation(deep, part).attribute(IMAGES, target=CLASSES)
    found = hires_cam(one.activations, one.gradients)
    assert torch.allclose(found, product.sum(dim=1).relu(), atol=1e-6)
    assert not torch.allclose(found, grad_cam(one.activations, one.gradients), atol=1e-3)


def test_each_map_is_its_equation(deep):
    """Place by place, with gradients that are taken anew of the features alone."""
    one = taken(deep, "features")
    features = deep.features(IMAGES).detach().requires_grad_()
    for i, k in enumerate(CLASSES):
        (g,) = torch.autograd.grad(deep.head(features)[i, k], features)
        a, g = features[i].detach(), g[i]
        layer = torch.zeros(16, 16)
        for y in range(16):
            for x in range(16):
                layer[y, x] = max(0.0, sum(max(0.0, float(g[c, y, x])) * float(a[c, y, x]) for c in range(8)))
        grad = F.relu(sum(g[c].sum() / 256 * a[c] for c in range(8)))
        assert torch.allclose(layer_cam(one.activations, one.gradients)[i], layer, atol=1e-6)
        assert torch.allclose(grad_cam(one.activations, one.gradients)[i], grad, atol=1e-6)
        assert float(layer.max()) > 0


def test_hirescam_is_grad_cam_with_pooling_and_one_linear_layer(net):
    """The gradients are one number a channel, to the bit; their mean has a rounding."""
    one = taken(net, "layer3")
    assert torch.equal(one.gradients, one.gradients[:, :, :1, :1].expand_as(one.gradients))
    maps = [method(one.activations, one.gradients) for method in (grad_cam, hires_cam)]
    assert torch.allclose(*maps, rtol=1e-6, atol=1e-8)
    assert set(METHODS) == {"grad-cam", "layer-cam", "hires-cam"}


def test_several_classes_of_a_sample_are_asked_one_by_one(net):
    many = take(net, net, "layer2", IMAGES, [[4], [], [0, 9, 4]])

    assert many.owner.tolist() == [0, 2, 2, 2]
    for row, (i, k) in enumerate([(0, 4), (2, 0), (2, 9), (2, 4)]):
        alone = taken(net, "layer2", [k], IMAGES[i : i + 1])
        assert torch.allclose(many.gradients[row], alone.gradients[0], atol=1e-6)
        assert torch.allclose(many.activations[row], alone.activations[0], atol=1e-6)
    none = take(net, net, "layer2", IMAGES, [[], [], []])
    assert len(none.owner) == len(none.activations) == 0
    assert none.logits.shape == (3, 10)


def test_nothing_of_the_network_is_changed(net):
    before = {name: (p.requires_grad, p.grad) for name, p in net.named_parameters()}
    with torch.no_grad():
        logits = net(IMAGES)
    found = taken(net, "layer1")

    assert torch.allclose(found.logits, logits, atol=1e-6)
    assert {name: (p.requires_grad, p.grad) for name, p in net.named_parameters()} == before
    assert not named_layer(net, "layer1")._forward_hooks
    assert not found.logits.requires_grad


class InPlace(nn.Module):
    """Writes over its layer's output, as torchvision's networks do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.fc = nn.Conv2d(3, 6, 3, 4), nn.Linear(6, 10)

    def forward(self, x):
        return self.fc(F.relu_(self.conv(x)).mean((2, 3)))


def test_a_relu_in_place_leaves_the_activations_as_the_layer_gave_them():
    model = InPlace().eval()
    found = taken(model, "conv")

    assert torch.equal(found.activations, model.conv(IMAGES).detach())
    assert float(found.activations.min()) < 0


def test_the_last_map_is_found():
    torch.manual_seed(0)
    one = IMAGES[:1]
    assert last_map(m := resnet_cifar(8, 8).eval(), m, one) == "layer3"
    assert last_map(m := AMSRANet(width=8).eval(), m, one) == "blocks"
    squeeze = squeezenet1_0().eval()
    large = torch.randn(1, 3, 96, 96)
    assert last_map(squeeze, squeeze, large) == "features"  # its last map is a channel a class: its answer
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    with pytest.raises(UserError, match="none of its layers gives a map"):
        last_map(flat, flat, one)


def test_maps_with_channels_last_are_refused():
    model = InPlace()
    model.output_fmt = "NHWC"
    with pytest.raises(UserError, match=r"channels last \(timm's NHWC\)"):
        last_map(model, model, IMAGES)


class Detached(InPlace):
    def forward(self, x):
        return self.fc(self.conv(x).detach().mean((2, 3)))


class Without(InPlace):
    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)


class Inferred(InPlace):
    def forward(self, x):
        with torch.inference_mode():
            return super().forward(x)


@pytest.mark.parametrize("kind", [Detached, Without, Inferred])
def test_a_network_that_detaches_its_gradients_is_told(kind):
    with pytest.raises(UserError, match=r"no gradient by its layer 'conv', .* detaches them"):
        taken(kind().eval(), "conv")


class FrozenBody(InPlace):
    """Its body alone is kept from gradients: those of the map are there."""

    def forward(self, x):
        with torch.inference_mode():
            x = self.conv(x)
        return self.fc(x.clone().mean((2, 3)))


def test_a_body_that_is_kept_from_gradients_is_no_obstacle():
    """What the layer gives is an ordinary tensor, whatever mode it is called in."""
    found = taken(FrozenBody().eval(), "conv")
    assert float(found.gradients.abs().max()) > 0


def test_layers_that_are_not_there_or_no_map_are_told(net):
    with pytest.raises(
        UnknownName, match=r"\[output\] layer: no layer named 'layr3'; did you mean 'layer3'\?"
    ):
        taken(net, "layr3")
    with pytest.raises(UserError, match=r"its layer 'linear' gives \(3, 10\), which is no map"):
        taken(net, "linear")
    many = nn.Sequential(nn.Sequential(*(nn.ReLU() for _ in range(50))), nn.Flatten())
    for name in ("quite other", ""):
        with pytest.raises(UnknownName, match=rf"no layer named '{name}'; known: 0, 1$"):
            named_layer(many, name)
    deep = Deep()
    deep.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(UserError, match="its layer 'spare' is not called"):
        taken(deep.eval(), "spare")

    class Pair(InPlace):
        def __init__(self):
            super().__init__()
            self.both = nn.LSTM(4, 4)

        def forward(self, x):
            self.both(x[:, 0, 0, :4])
            return super().forward(x)

    with pytest.raises(UserError, match="its layer 'both' answers with tuple, which is no map"):
        taken(Pair().eval(), "both")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TorchScript's
def test_what_has_no_layers_is_told():
    with pytest.raises(UserError, match="it is function, whose layers cannot be reached"):
        module_of(lambda x: x)
    with pytest.raises(UserError, match="a program of TorchScript"):
        module_of(torch.jit.trace(InPlace().eval(), IMAGES))
