"""timm's attention layers under the definitions of their papers.

timm's own defaults differ in small ways (rounded widths, left-out biases), and published parameter counts
depend on them. The defaults here give the counts of the papers' official code; each function says which.
"""

from __future__ import annotations

from typing import Any, Literal

from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn
from timm.layers.eca import EcaModule
from timm.layers.gather_excite import GatherExcite
from timm.layers.global_context import GlobalContext
from timm.layers.selective_kernel import SelectiveKernel
from timm.layers.squeeze_excite import SEModule
from torch import Tensor, nn

from robustbench_ms.errors import UserError, choose
from robustbench_ms.models.arguments import dividing, natural, odd, rank, reduced

__all__ = ["cbam", "coord", "eca", "gc", "ge", "se", "sk"]


def _expect_maps(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    rank(type(module).__name__, inputs[0], "(B, C, H, W)")


def _checked(block: nn.Module) -> nn.Module:
    """Give timm's layer our answer to an input of the wrong rank; the names of its parameters stay."""
    block.register_forward_pre_hook(_expect_maps)
    return block


def _zero(tensor: Tensor | None) -> None:
    if tensor is not None:
        nn.init.zeros_(tensor)


def se(channels: int, *, reduction: int = 16, bias: bool = True, **factory: Any) -> nn.Module:
    """Squeeze-and-excitation (Hu et al., CVPR 2018): 2 C^2/r + C/r + C parameters with biases.

    The hidden width is C // reduction exactly, as in the paper; timm rounds it to a multiple of 8.
    """
    return _checked(
        SEModule(channels, rd_channels=reduced("reduction", reduction, channels), bias=bias, **factory)
    )


def eca(channels: int, *, gamma: float = 2, beta: float = 1, **factory: Any) -> nn.Module:
    """Efficient channel attention (Wang et al., CVPR 2020).

    k parameters, k = |log2(C) + beta| / gamma made odd and at least 3. The published ResNets have other
    kernels than the paper's rule gives: ResNet-50's 3, 5, 5, 7, which gamma=1 and beta=-5 are.
    """
    return _checked(EcaModule(channels, gamma=gamma, beta=beta, **factory))


def cbam(
    channels: int, *, reduction: int = 16, kernel_size: int = 7, bias: bool = True, **factory: Any
) -> nn.Module:
    """Convolutional block attention module (Woo et al., ECCV 2018), with the official code's biases and start.

    2 C^2/r + C/r + C parameters for the channels and 2 k^2 + 2 for the map. The two input channels of
    the k x k convolution are (mean, max); the official code has (max, mean). The biases start at zero, and
    so does the scale of the map's batch norm, whose momentum is .01: at first that gate is 1/2 everywhere.
    """
    block = CbamModule(
        channels,
        rd_channels=reduced("reduction", reduction, channels),
        spatial_kernel_size=odd("kernel_size", kernel_size),
        mlp_bias=bias,
        **factory,
    )
    for layer in (block.channel.fc1, block.channel.fc2):
        _zero(layer.bias)
    norm: Any = block.spatial.conv.bn
    _zero(norm.weight)
    norm.momentum = 0.01
    return _checked(block)


def gc(
    channels: int, *, reduction: int = 16, fusion: Literal["scale", "add"] = "scale", **factory: Any
) -> nn.Module:
    """Global context (Cao et al., ICCVW 2019): x * sigmoid(t), or x + t with `fusion` "add", the paper's.

    t is a perceptron of hidden width d = C/r over the attended mean; 2 C d + 3 d + 2 C + 1 parameters. Its
    last layer starts at zero, where scaling halves and adding is the identity.
    """
    choose(fusion, ("scale", "add"), "fusion", "fusion")
    hidden = reduced("reduction", reduction, channels)
    add = fusion == "add"
    block = GlobalContext(channels, rd_channels=hidden, fuse_add=add, fuse_scale=not add, **factory)
    last: Any = (block.mlp_add if add else block.mlp_scale).fc2
    _zero(last.weight)
    _zero(last.bias)
    return _checked(block)


def coord(channels: int, *, reduction: int = 32, bias: bool = True, **factory: Any) -> nn.Module:
    """Coordinate attention (Hou et al., CVPR 2021): 3 C m + 3 m + 2 C parameters, m = max(8, C // r)."""
    hidden = max(8, channels // natural("reduction", reduction))
    return _checked(CoordAttn(channels, rd_channels=hidden, bias=bias, **factory))


def ge(channels: int, *, extent: int = 0, **factory: Any) -> nn.Module:
    """Gather-excite without parameters, GE-theta-minus (Hu et al., NeurIPS 2018); extent 0 is global."""
    if extent not in {0, 2, 4, 8}:
        raise UserError(f"extent must be 0 (global), 2, 4 or 8, not {extent!r}")
    return _checked(GatherExcite(channels, extent=extent, use_mlp=False, **factory))


def sk(
    channels: int,
    *,
    reduction: int = 16,
    split_input: bool = True,
    groups: int = 1,
    hidden: int | None = None,
    **factory: Any,
) -> nn.Module:
    """Selective kernel (Li et al., CVPR 2019), timm's form: a 3x3 and a dilated 3x3 path, softly selected.

    The paper's is groups=32, hidden=max(C/16, 32) and split_input=False: two paths that see all C channels,
    18 C^2/32 + 4 C + 3 C d + 2 d parameters with d = hidden. By default each path sees half of the channels
    in one group, and d is C // reduction, rounded to a multiple of 8.

    It convolves all channels, so after a bottleneck it is dear; timm's own SKNets (`timm:skresnet50`) put
    it in the place of the 3x3 convolution.
    """
    if split_input and channels % 2:
        raise UserError(
            f"sk splits its channels into two paths, which {channels} do not allow; split_input=false"
        )
    if hidden is None:
        reduced("reduction", reduction, channels)
    dividing("groups", groups, channels // 2 if split_input else channels)
    width = None if hidden is None else natural("hidden", hidden)
    return _checked(
        SelectiveKernel(
            channels,
            rd_ratio=1 / reduction,
            rd_channels=width,
            split_input=split_input,
            groups=groups,
            **factory,
        )
    )
