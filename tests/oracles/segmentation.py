"""mmsegmentation's IoUMetric, written again from its definition in plain Python: nothing of the package is used.

Pixel by pixel into one confusion matrix over the set; a class without a pixel in truth and answer is left out, as
numpy's nanmean leaves it.
"""

from __future__ import annotations

import math


def scores(truths, answers, classes, ignored=255):
    """mIoU, mAcc, aAcc as fractions, and how many classes mIoU is of, of lists of rows of class numbers a picture."""
    confusion = [[0] * classes for _ in range(classes)]
    for true, said in zip(truths, answers, strict=True):
        for true_row, said_row in zip(true, said, strict=True):
            for t, s in zip(true_row, said_row, strict=True):
                if t != ignored:
                    confusion[t][s] += 1
    overlaps, rights = [], []
    for k in range(classes):
        hit, true, said = confusion[k][k], sum(confusion[k]), sum(row[k] for row in confusion)
        overlaps.append(hit / (true + said - hit) if true + said - hit else math.nan)
        rights.append(hit / true if true else math.nan)
    total = sum(map(sum, confusion))
    right = sum(confusion[k][k] for k in range(classes))
    there = [v for v in overlaps if not math.isnan(v)]
    return mean(there), mean([v for v in rights if not math.isnan(v)]), right / total, len(there)


def mean(values):
    return sum(values) / len(values)
