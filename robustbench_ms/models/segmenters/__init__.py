"""Networks with a class for every pixel: torchvision's heads on any backbone with attention, and small ones."""

from robustbench_ms.models.segmenters.build import deeplabv3, fcn
from robustbench_ms.models.segmenters.floors import background, patches
from robustbench_ms.models.segmenters.tiny_fcn import tiny_fcn

__all__ = ["background", "deeplabv3", "fcn", "patches", "tiny_fcn"]
