"""The transcriptions of the published code against the libraries it calls."""

from __future__ import annotations

import ctypes
import ctypes.util
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.oracles.blur import clipped_zoom
from tests.oracles.digital import affine_points, warp_affine
from tests.oracles.motion import magick_motion_blur
from tests.oracles.photographs import photographs
from tests.oracles.reference import SIZES, Variant

CHAR_PIXEL = 1


@pytest.fixture(scope="module")
def wand():
    """ImageMagick 6's C interface, where libmagickwand is installed."""
    path = ctypes.util.find_library("MagickWand-6.Q16")
    if path is None:
        pytest.skip("libMagickWand-6.Q16 is not installed (Debian: libmagickwand-6.q16-6)")
    library = ctypes.CDLL(path)
    library.NewMagickWand.restype = ctypes.c_void_p
    library.MagickReadImageBlob.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.MagickMotionBlurImage.argtypes = [ctypes.c_void_p, *[ctypes.c_double] * 3]
    library.MagickExportImagePixels.argtypes = [
        ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_size_t, ctypes.c_size_t,
        ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p,
    ]  # fmt: skip
    library.DestroyMagickWand.argtypes = [ctypes.c_void_p]
    library.MagickWandGenesis()
    return library


def _magick(library, image, radius, sigma, angle):
    """The library's own blur, reduced to bytes by the library and not by its PNG writer (see oracles.motion)."""
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    handle = library.NewMagickWand()
    out = np.zeros_like(image)
    try:
        assert library.MagickReadImageBlob(handle, file.getvalue(), len(file.getvalue()))
        assert library.MagickMotionBlurImage(handle, radius, sigma, angle)
        height, width = image.shape[:2]
        pixels = out.ctypes.data
        assert library.MagickExportImagePixels(handle, 0, 0, width, height, b"RGB", CHAR_PIXEL, pixels)
    finally:
        library.DestroyMagickWand(handle)
    return out


@pytest.mark.parametrize("profile", SIZES)
def test_motion_blur_is_that_of_imagemagick(profile, wand):
    rng = np.random.default_rng(0)
    for name, low, high in (("motion_blur", -45, 45), ("snow", -135, -45)):
        for severity, image in enumerate(photographs(SIZES[profile], 5), start=1):
            parameters = Variant(name, profile, severity).p
            radius, sigma = parameters if name == "motion_blur" else parameters[4:6]
            angle = rng.uniform(low, high)
            theirs = _magick(wand, image, radius, sigma, angle)
            assert np.array_equal(magick_motion_blur(image, radius, sigma, angle), theirs)


@pytest.mark.parametrize("profile", SIZES)
def test_the_affine_is_that_of_opencv(profile):
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("OpenCV before 5 rounds the coordinates to 1/32 of a pixel")
    rng = np.random.default_rng(1)
    size = SIZES[profile]
    for severity, image in enumerate(photographs(size, 5), start=1):
        reach = Variant("elastic_transform", profile, severity).p[2]
        source = affine_points(size, size)
        target = source + rng.uniform(-reach, reach, (3, 2)).astype(np.float32)
        matrix = cv2.getAffineTransform(source, target)
        theirs = cv2.warpAffine(
            image.astype(np.float32), matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101
        )
        assert np.abs(warp_affine(image.astype(float), matrix) - theirs).max() < 0.01


@pytest.mark.parametrize("profile", SIZES)
def test_the_middle_and_the_corner_of_a_zoom_are_one_at_the_published_sizes(profile):
    """Why one definition can serve both sources there: the surplus is at most one row and column, cut at the end."""
    size = SIZES[profile]
    image = photographs(size, 1)[0] / 255.0
    for severity in range(1, 6):
        for factor in Variant("zoom_blur", profile, severity).p:
            corner = clipped_zoom(image, factor, package=True)[:size, :size]
            assert np.array_equal(clipped_zoom(image, factor, package=False), corner)


def test_a_mirror_at_the_centres():
    ramp = np.arange(5.0)[None, :, None].repeat(5, axis=0)
    moved = warp_affine(ramp, np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]))
    assert moved[0, :, 0].tolist() == [2, 1, 0, 1, 2]
