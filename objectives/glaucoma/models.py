"""Classifiers of (n, 3, S, S) images to (n,) logits: a convolutional backbone, and a head with dropout.

The residual networks are written here, since timm imports torchvision, which does not import beside the CPU build of
torch that is pinned ("operator torchvision::nms does not exist"). Their modules have the names that state_dicts of them
usually have, so that such weights load.

Sources: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016 (residual networks; the stride
of a bottleneck is in its 3x3 convolution, as in the weights that go around); He et al., "Delving Deep into
Rectifiers", ICCV 2015, eq. 10, and Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural
networks", AISTATS 2010, eq. 16 (initialisation).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.wording import first_line

STEMS = ("small", "standard")
INITIALISATIONS = ("he", "glorot")


class Classifier(nn.Module):
    """A classifier: backbone, mean over the pixels, head."""

    def __init__(self, backbone: nn.Module, features: int, base_width: int, dropouts: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head(features, 8 * base_width, dropouts)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (n,), for images, (n, 3, S, S)."""
        logits: Tensor = self.head(self.backbone(x).mean((2, 3)))
        return logits.squeeze(1)

    def penalty(self) -> Tensor:
        """Return the sum of squares of the kernels of the head's dense layers; times l2, Keras adds it to the loss."""
        dense = [module for module in self.head if isinstance(module, nn.Linear)]
        return torch.stack([layer.weight.square().sum() for layer in dense]).sum()

    def layers(self) -> list[nn.Module]:
        """Return the backbone's convolutions and normalisations, in the order of the forward pass."""
        return [module for module in self.backbone.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]


def head(features: int, hidden: int, dropouts: Sequence[float]) -> nn.Sequential:
    """Build the head: dropout, dense, normalise, ReLU; twice, the second half as wide; dropout, dense to one logit."""
    return nn.Sequential(OrderedDict([
        ("dropout_1", nn.Dropout(dropouts[0])),
        ("dense_1", nn.Linear(features, hidden, bias=False)),  # the normalisation has one
        ("bn_1", nn.BatchNorm1d(hidden)),
        ("relu_1", nn.ReLU()),
        ("dropout_2", nn.Dropout(dropouts[1])),
        ("dense_2", nn.Linear(hidden, hidden // 2, bias=False)),
        ("bn_2", nn.BatchNorm1d(hidden // 2)),
        ("relu_2", nn.ReLU()),
        ("dropout_3", nn.Dropout(dropouts[2])),
        ("dense_3", nn.Linear(hidden // 2, 1)),
    ]))  # fmt: skip


class Plain(nn.Sequential):
    """Four times 3x3 convolution, normalise, ReLU, at widths f, 2f, 4f, 8f, halving the image in between."""

    def __init__(self, base_width: int) -> None:
        layers: list[tuple[str, nn.Module]] = []
        inputs = 3
        for stage in range(4):
            outputs = base_width * 2**stage
            if stage:
                layers.append((f"pool{stage}", nn.MaxPool2d(2)))
            layers += [
                (f"conv{stage + 1}", convolution(inputs, outputs, 3)),
                (f"bn{stage + 1}", nn.BatchNorm2d(outputs)),
                (f"relu{stage + 1}", nn.ReLU()),
            ]
            inputs = outputs
        super().__init__(OrderedDict(layers))
        self.features = inputs


class ResNet(nn.Module):
    """Four stages of residual blocks at widths f, 2f, 4f, 8f (times 4 for bottlenecks), f = `base_width`.

    The stem is "standard" (7x7, stride 2, then pooling: a quarter of the size) or "small" (3x3, the size as it is).
    """

    def __init__(self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], base_width: int, stem: str) -> None:
        super().__init__()
        small = stem == "small"
        self.conv1 = convolution(3, base_width, 3) if small else convolution(3, base_width, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(base_width)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        inputs = base_width
        stages: list[nn.Sequential] = []
        for stage, depth in enumerate(depths):
            width = base_width * 2**stage
            blocks: list[nn.Module] = []
            for index in range(depth):
                blocks.append(block(inputs, width, stride=2 if stage and not index else 1))
                inputs = width * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.features = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return features, (n, features, S', S')."""
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        features: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return features


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, width, S / stride, S / stride)."""
        body = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(body + self.downsample(x))


class Bottleneck(nn.Module):
    """Residual block of a 1x1, a 3x3 and a 1x1 convolution."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, 4 width, S / stride, S / stride)."""
        body = F.relu(self.bn1(self.conv1(x)))
        body = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(body)))))
        return F.relu(body + self.downsample(x))


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Build a padded convolution without a bias, since a normalisation follows."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Build the way around a block: nothing where the size stays, else a normalised 1x1 convolution."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


RESNETS: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
ARCHITECTURES = ("cnn", *RESNETS)


def build(
    architecture: str,
    base_width: int = 64,
    dropouts: Sequence[float] = (0.3, 0.3, 0.2),
    initialisation: str = "he",
    stem: str = "standard",
    seed: int = 0,
) -> Classifier:
    """Build the network called `architecture`, its weights drawn from `seed` alone.

    Args:
        architecture: One of ARCHITECTURES.
        base_width: 64 is the published size of the residual networks.
        dropouts: Before each of the head's three dense layers.
        initialisation: One of INITIALISATIONS; see `initialise`.
        stem: Of the residual networks; see `ResNet`.
        seed: Of the weights.

    Raises:
        ValueError: An argument is out of its range.
    """
    for name, value, known in (
        ("architecture", architecture, ARCHITECTURES),
        ("initialisation", initialisation, INITIALISATIONS),
        ("stem", stem, STEMS),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    if not isinstance(base_width, int) or base_width < 1:
        raise ValueError(f"base_width is {base_width!r}; expected a whole number of at least 1")
    for index, rate in enumerate(dropouts, start=1):
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ValueError(f"dropout_{index} is {rate!r}; expected a number from 0 to below 1")
    backbone = Plain(base_width) if architecture == "cnn" else ResNet(*RESNETS[architecture], base_width, stem)
    model = Classifier(backbone, backbone.features, base_width, dropouts)
    initialise(model, initialisation, seed)
    return model


def initialise(model: nn.Module, how: str, seed: int) -> None:
    """Draw the kernels of convolutions and dense layers anew, biases 0.

    he: normal, of variance 2 / fan-in. glorot: uniform, of variance 2 / (fan-in + fan-out).
    """
    draws = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if how == "he":
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=draws)
            else:
                nn.init.xavier_uniform_(module.weight, generator=draws)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load the weights of a state_dict into the backbone, without those of its classifier (fc.*).

    Raises:
        ValueError: The file is not there or no state_dict, or names or shapes do not fit.
    """
    if not path.is_file():
        raise ValueError(f"the weights {path} do not exist; expected a file with a state_dict of the backbone")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything for a damaged file
        expected = "expected a state_dict saved with torch.save"
        raise ValueError(f"the weights {path} cannot be read ({first_line(error)}); {expected}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"the weights {path} are not a state_dict; expected a mapping of names to tensors")
    given = {name: value for name, value in state.items() if not name.startswith("fc.")}
    wanted = backbone.state_dict()
    # Older files do not count batches.
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    unknown = [name for name in given if name not in wanted]
    other = [
        f"{name} ({_shape(value)} in place of {_shape(wanted[name])})"
        for name, value in given.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    problems = [
        f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("without", missing), ("with an unknown", unknown), ("with another shape of", other))
        if names
    ]
    if problems:
        raise ValueError(
            f"the weights {path} do not fit the backbone: they are {', '.join(problems)}; expected those of the same "
            "architecture and base_width (published ones: base_width 64, stem standard)"
        )
    backbone.load_state_dict(given, strict=False)


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "one number"
