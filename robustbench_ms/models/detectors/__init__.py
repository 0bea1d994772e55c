"""torchvision's detectors on any backbone with attention under a feature pyramid."""

from robustbench_ms.models.detectors.build import faster_rcnn, fcos, retinanet

__all__ = ["faster_rcnn", "fcos", "retinanet"]
