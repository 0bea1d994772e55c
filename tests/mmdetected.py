"""Small configs of mmdet whose backbones carry our attention."""

from __future__ import annotations

COMMON = """\
custom_imports = dict(imports=["robustbench_ms.models.mmdet"])
default_scope = "mmdet"
shown = dict(type="DetDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
             pad_size_divisor=32)
backbone = dict(type="RBMSBackbone", name="timm:resnet18", attention="ema", factor=8)
neck = dict(type="FPN", in_channels=[64, 128, 256, 512], out_channels=32, num_outs=5)
assigner = dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.3)
coder = dict(type="DeltaXYWHBBoxCoder")
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(160, 128), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
test_dataloader = dict(dataset=dict(type="CocoDataset", metainfo=dict(classes=CLASSES), pipeline=test_pipeline))
"""

RETINANET = """\
model = dict(
    type="RetinaNet", data_preprocessor=shown, backbone=backbone,
    neck=dict(**neck, start_level=1, add_extra_convs="on_output"),
    bbox_head=dict(
        type="RetinaHead", num_classes=len(CLASSES), in_channels=32, stacked_convs=1, feat_channels=32,
        anchor_generator=dict(type="AnchorGenerator", octave_base_scale=4, scales_per_octave=3,
                              ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
        bbox_coder=coder),
    train_cfg=dict(assigner=assigner, sampler=dict(type="PseudoSampler"), allowed_border=-1, pos_weight=-1,
                   debug=False),
    test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5),
                  max_per_img=30))
"""

FASTER_RCNN = """\
drawn = dict(type="RandomSampler", num=64, pos_fraction=0.25, neg_pos_ub=-1)
model = dict(
    type="FasterRCNN", data_preprocessor=shown, backbone=backbone, neck=neck,
    rpn_head=dict(
        type="RPNHead", in_channels=32, feat_channels=32,
        anchor_generator=dict(type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=coder),
    roi_head=dict(
        type="StandardRoIHead",
        bbox_roi_extractor=dict(type="SingleRoIExtractor", out_channels=32, featmap_strides=[4, 8, 16, 32],
                                roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0)),
        bbox_head=dict(type="Shared2FCBBoxHead", in_channels=32, fc_out_channels=64, roi_feat_size=7,
                       num_classes=len(CLASSES), bbox_coder=coder, reg_class_agnostic=False)),
    train_cfg=dict(
        rpn=dict(assigner=assigner, sampler=dict(**drawn, add_gt_as_proposals=False), allowed_border=-1,
                 pos_weight=-1, debug=False),
        rpn_proposal=dict(nms_pre=200, max_per_img=100, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(assigner=assigner, sampler=dict(**drawn, add_gt_as_proposals=True), pos_weight=-1, debug=False)),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=100, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=30)))
"""

MASK_RCNN = (
    FASTER_RCNN.replace('type="FasterRCNN"', 'type="MaskRCNN"')
    .replace(
        "reg_class_agnostic=False)),",
        """reg_class_agnostic=False),
        mask_roi_extractor=dict(type="SingleRoIExtractor", out_channels=32, featmap_strides=[4, 8, 16, 32],
                                roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=0)),
        mask_head=dict(type="FCNMaskHead", num_convs=1, in_channels=32, conv_out_channels=32,
                       num_classes=len(CLASSES))),""",
    )
    .replace("max_per_img=30)))", "max_per_img=30, mask_thr_binary=0.5)))")
)

TRAINED = """
train_pipeline = [*test_pipeline[:1], dict(type="LoadAnnotations", with_bbox=True), test_pipeline[1],
                  dict(type="PackDetInputs")]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="CocoDataset", data_root=ROOT, ann_file="annotations/instances_train2017.json",
                 data_prefix=dict(img="train2017/"), pipeline=train_pipeline))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=6, val_interval=100)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.002), clip_grad=dict(max_norm=10))
default_hooks = dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=6),
                     logger=dict(type="LoggerHook", interval=1))
randomness = dict(seed=0)
log_level = "WARNING"
"""

CONFIGS = {"retinanet": RETINANET, "faster_rcnn": FASTER_RCNN, "mask_rcnn": MASK_RCNN}


def write_config(path, kind, classes, root=None):
    """A config of CONFIGS for classes of these names; with a `root` of coco-mini it says how it is trained."""
    said = f"CLASSES = {tuple(classes)!r}\n" + COMMON + CONFIGS[kind]
    path.write_text(said + (f"ROOT = {str(root)!r}\n" + TRAINED if root else ""), encoding="utf-8")
    return path
