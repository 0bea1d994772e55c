"""timm's attention layers under the definitions of their papers.

timm's own defaults differ in small ways (rounded widths, left-out biases), and published parameter counts
depend on them. The defaults here give the counts of the papers' official code; each function says which.
"""

from __future__ import annotations

from typing import Any

from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn, EfficientLocalAttn
from timm.layers.eca import EcaModule
from timm.layers.gather_excite import GatherExcite
from timm.layers.global_context import GlobalContext
from timm.layers.selective_kernel import SelectiveKernel
from timm.layers.squeeze_excite import SEModule
from torch import Tensor, nn

from robustbench_ms.errors import UserError
from robustbench_ms.models.arguments import natural, odd, rank, reduced

__all__ = ["cbam", "coord", "eca", "ela", "gc", "ge", "se", "sk"]


def _expect_maps(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    rank(type(module).__name__, inputs[0], "(B, C, H, W)")


def _checked(block: nn.Module) -> nn.Module:
    """Give timm's layer our answer to an input of the wrong rank; the names of its parameters stay."""
    block.register_forward_pre_hook(_expect_maps)
    return block


def se(channels: int, *, reduction: int = 16, bias: bool = True, **factory: Any) -> nn.Module:
    """Squeeze-and-excitation (Hu et al., CVPR 2018): 2 C^2/r + C/r + C parameters with biases.

    The hidden width is C // reduction exactly, as in the paper; timm rounds it to a multiple of 8.
    """
    return _checked(
        SEModule(channels, rd_channels=reduced("reduction", reduction, channels), bias=bias, **factory)
    )


def eca(channels: int, *, gamma: float = 2, beta: float = 1, **factory: Any) -> nn.Module:
    """Efficient channel attention (Wang et al., CVPR 2020).

    k parameters, k = |log2(C) + beta| / gamma made odd and at least 3.
    """
    return _checked(EcaModule(channels, gamma=gamma, beta=beta, **factory))


def cbam(
    channels: int, *, reduction: int = 16, kernel_size: int = 7, bias: bool = True, **factory: Any
) -> nn.Module:
    """Convolutional block attention module (Woo et al., ECCV 2018), with the official code's biases.

    2 C^2/r + C/r + C parameters for the channels and 2 k^2 + 2 for the map. The two input channels of
    the k x k convolution are (mean, max); the official code has (max, mean).
    """
    hidden = reduced("reduction", reduction, channels)
    return _checked(
        CbamModule(
            channels,
            rd_channels=hidden,
            spatial_kernel_size=odd("kernel_size", kernel_size),
            mlp_bias=bias,
            **factory,
        )
    )


def gc(channels: int, *, reduction: int = 16, **factory: Any) -> nn.Module:
    """Global context (Cao et al., ICCVW 2019), fused by scaling; d = C/r.

    2 C d + 3 d + 2 C + 1 parameters.
    """
    return _checked(GlobalContext(channels, rd_channels=reduced("reduction", reduction, channels), **factory))


def coord(channels: int, *, reduction: int = 32, bias: bool = True, **factory: Any) -> nn.Module:
    """Coordinate attention (Hou et al., CVPR 2021): 3 C m + 3 m + 2 C parameters, m = max(8, C // r)."""
    hidden = max(8, channels // natural("reduction", reduction))
    return _checked(CoordAttn(channels, rd_channels=hidden, bias=bias, **factory))


def ge(channels: int, *, extent: int = 0, **factory: Any) -> nn.Module:
    """Gather-excite without parameters, GE-theta-minus (Hu et al., NeurIPS 2018); extent 0 is global."""
    if extent not in {0, 2, 4, 8}:
        raise UserError(f"extent must be 0 (global), 2, 4 or 8, not {extent!r}")
    return _checked(GatherExcite(channels, extent=extent, use_mlp=False, **factory))


def sk(channels: int, *, reduction: int = 16, split_input: bool = True, **factory: Any) -> nn.Module:
    """Selective kernel (Li et al., CVPR 2019), timm's form: a 3x3 and a dilated 3x3 path, softly selected.

    It convolves all channels, so after a bottleneck it is dear; timm's own SKNets (`timm:skresnet50`) put
    it in the place of the 3x3 convolution.
    """
    if split_input and channels % 2:
        raise UserError(
            f"sk splits its channels into two paths, which {channels} do not allow; split_input=false"
        )
    reduced("reduction", reduction, channels)
    return _checked(SelectiveKernel(channels, rd_ratio=1 / reduction, split_input=split_input, **factory))


def ela(channels: int, *, kernel_size: int = 7, **factory: Any) -> nn.Module:
    """Efficient local attention (Xu and Wan, arXiv 2403.01123): 2 C k + 4 C parameters."""
    return _checked(EfficientLocalAttn(channels, kernel_size=odd("kernel_size", kernel_size), **factory))
