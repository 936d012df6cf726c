"""Named shapes that tests and benchmarks share: the documented network, ResNet-50, VGG-16, and the odd ones.

A case is geometry and nothing else; `with_batch` gives the same layer at another batch size. FLOPs count a
multiply-add as two and only taps on real pixels, never those on padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cnnlite_kernels.window import Padding, Pair, Window2D

Shape2 = tuple[int, int]
Shape4 = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ConvCase:
    """A convolution: x (n, h, w, cin), w (kh, kw, cin // groups, cout), y (n, oh, ow, cout).

    >>> case = ConvCase("stem", 1, 224, 224, 3, 64, (7, 7), (2, 2), "same")
    >>> case.w_shape, case.y_shape
    ((7, 7, 3, 64), (1, 112, 112, 64))
    """

    name: str
    n: int
    h: int
    w: int
    cin: int
    cout: int
    kernel: Pair
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    groups: int = 1

    def __str__(self) -> str:
        return self.name

    def with_batch(self, n: int) -> ConvCase:
        return replace(self, n=n)

    @property
    def window(self) -> Window2D:
        return Window2D.of(self.kernel, self.strides, self.dilation, self.padding)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of conv2d, conv2d_grad_input and conv2d_grad_weights."""
        return {
            "strides": self.strides,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    @property
    def x_shape(self) -> Shape4:
        return self.n, self.h, self.w, self.cin

    @property
    def w_shape(self) -> Shape4:
        return *self.kernel, self.cin // self.groups, self.cout

    @property
    def y_shape(self) -> Shape4:
        return self.n, *self.window.output_size(self.h, self.w), self.cout

    @property
    def flops(self) -> int:
        """Of the forward pass, and of either gradient: 2 for each tap of each window on a real pixel."""
        window = self.window
        oh, ow = window.output_size(self.h, self.w)
        (top, _), (left, _) = window.pads(self.h, self.w)
        rows = _real_taps(self.h, oh, self.kernel[0], self.strides[0], self.dilation[0], top)
        columns = _real_taps(self.w, ow, self.kernel[1], self.strides[1], self.dilation[1], left)
        return 2 * self.n * rows * columns * (self.cin // self.groups) * self.cout


@dataclass(frozen=True, slots=True)
class PoolCase:
    """Max pooling: x (n, h, w, c), y (n, oh, ow, c). strides None is the pool size."""

    name: str
    n: int
    h: int
    w: int
    c: int
    pool_size: Pair
    strides: Pair | None = None
    padding: Padding = "valid"

    def __str__(self) -> str:
        return self.name

    def with_batch(self, n: int) -> PoolCase:
        return replace(self, n=n)

    @property
    def window(self) -> Window2D:
        return Window2D.of(
            self.pool_size, self.strides or self.pool_size, padding=self.padding, op="max_pool2d"
        )

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of max_pool2d and max_pool2d_grad."""
        return {"strides": self.strides, "padding": self.padding}

    @property
    def x_shape(self) -> Shape4:
        return self.n, self.h, self.w, self.c

    @property
    def y_shape(self) -> Shape4:
        return self.n, *self.window.output_size(self.h, self.w, op="max_pool2d"), self.c


@dataclass(frozen=True, slots=True)
class MatmulCase:
    """y (m, n) of a (m, k), or (k, m) with transpose_a, and b (k, n), or (n, k) with transpose_b."""

    name: str
    m: int
    n: int
    k: int
    transpose_a: bool = False
    transpose_b: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of matmul."""
        return {"transpose_a": self.transpose_a, "transpose_b": self.transpose_b}

    @property
    def a_shape(self) -> Shape2:
        return (self.k, self.m) if self.transpose_a else (self.m, self.k)

    @property
    def b_shape(self) -> Shape2:
        return (self.n, self.k) if self.transpose_b else (self.k, self.n)

    @property
    def y_shape(self) -> Shape2:
        return self.m, self.n

    @property
    def flops(self) -> int:
        return 2 * self.m * self.n * self.k


def _real_taps(size: int, windows: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """How many (window, tap) pairs of one axis look at one of its `size` pixels."""
    positions = (p * stride + i * dilation - before for p in range(windows) for i in range(kernel))
    return sum(0 <= position < size for position in positions)


# The documented network in layer order, at its usual batch.
DOCUMENTED: tuple[ConvCase | PoolCase | MatmulCase, ...] = (
    ConvCase("documented_conv1", 32, 28, 28, 1, 32, (3, 3)),
    PoolCase("documented_pool1", 32, 26, 26, 32, (2, 2)),
    ConvCase("documented_conv2", 32, 13, 13, 32, 64, (3, 3)),
    PoolCase("documented_pool2", 32, 11, 11, 64, (2, 2)),
    ConvCase("documented_conv3", 32, 5, 5, 64, 64, (3, 3)),
    MatmulCase("documented_dense1", 32, 64, 576),
    MatmulCase("documented_dense2", 32, 10, 64),
)


def _resnet_stage(stage: int, size: int, cin: int, width: int, stride: int) -> tuple[ConvCase, ...]:
    """The distinct convolutions of one stage whose input is size x size x cin, in the order they first run.

    The first block changes the size in its 3 x 3 convolution (version 1.5; the original did in the first
    1 x 1) and in the 1 x 1 convolution of its shortcut. Later blocks map 4 * width channels to themselves.
    """
    small, name, wide = size // stride, f"resnet50_conv{stage}", 4 * width
    around = ((1, 1), (1, 1))
    layers = [
        ConvCase(f"{name}_1x1_first", 1, size, size, cin, width, (1, 1)),
        ConvCase(f"{name}_3x3", 1, small, small, width, width, (3, 3), padding=around),
        ConvCase(f"{name}_1x1_expand", 1, small, small, width, wide, (1, 1)),
        ConvCase(f"{name}_1x1_shortcut", 1, size, size, cin, wide, (1, 1), (stride, stride)),
        ConvCase(f"{name}_1x1_reduce", 1, small, small, wide, width, (1, 1)),
    ]
    if stride != 1:
        halving = ConvCase(f"{name}_3x3_stride2", 1, size, size, width, width, (3, 3), (2, 2), around)
        layers.insert(1, halving)
    else:
        # Without a stride the shortcut has the shape of the expanding layer.
        layers = [layer for layer in layers if layer.name != f"{name}_1x1_shortcut"]
    return tuple(layers)


# The distinct convolutions of ResNet-50 on one 224 x 224 image, padded as PyTorch pads: one pixel on every
# side for a 3 x 3 window, three for the 7 x 7.
RESNET50: tuple[ConvCase, ...] = (
    ConvCase("resnet50_conv1_7x7_stride2", 1, 224, 224, 3, 64, (7, 7), (2, 2), ((3, 3), (3, 3))),
    *_resnet_stage(2, 56, 64, 64, 1),
    *_resnet_stage(3, 56, 256, 128, 2),
    *_resnet_stage(4, 28, 512, 256, 2),
    *_resnet_stage(5, 14, 1024, 512, 2),
)

# The distinct convolutions of VGG-16 on one 224 x 224 image.
VGG16: tuple[ConvCase, ...] = tuple(
    ConvCase(f"vgg16_{name}", 1, size, size, cin, cout, (3, 3), padding="same")
    for name, size, cin, cout in (
        ("conv1_1", 224, 3, 64),
        ("conv1_2", 224, 64, 64),
        ("conv2_1", 112, 64, 128),
        ("conv2_2", 112, 128, 128),
        ("conv3_1", 56, 128, 256),
        ("conv3_2", 56, 256, 256),
        ("conv4_1", 28, 256, 512),
        ("conv4_2", 28, 512, 512),
        ("conv5_1", 14, 512, 512),
    )
)

# Small convolutions, each with something that a fast path may forget.
ODD: tuple[ConvCase, ...] = (
    ConvCase("one_of_everything", 1, 1, 1, 1, 1, (1, 1)),
    ConvCase("image_of_kernel_size", 2, 3, 3, 3, 10, (3, 3)),
    ConvCase("image_of_dilated_kernel_size", 2, 5, 3, 3, 10, (3, 2), dilation=(2, 2)),
    ConvCase("kernel_1x1", 2, 5, 4, 17, 33, (1, 1)),
    ConvCase("kernel_1x1_strides_2x3", 2, 7, 8, 5, 10, (1, 1), (2, 3)),
    ConvCase("kernel_2x3", 3, 6, 7, 5, 10, (2, 3)),
    ConvCase("kernel_2x3_same", 2, 6, 7, 5, 10, (2, 3), padding="same"),
    ConvCase("kernel_5x5", 1, 9, 8, 3, 33, (5, 5)),
    ConvCase("kernel_5x5_same_strides_3x2", 2, 9, 8, 3, 10, (5, 5), (3, 2), "same"),
    ConvCase("kernel_7x1", 2, 9, 5, 17, 3, (7, 1)),
    ConvCase("kernel_7x1_same", 1, 4, 5, 3, 3, (7, 1), padding="same"),
    ConvCase("kernel_larger_than_image_same", 2, 2, 3, 5, 3, (5, 5), padding="same"),
    ConvCase("strides_1x3", 2, 6, 11, 5, 3, (3, 3), (1, 3)),
    ConvCase("strides_larger_than_kernel", 2, 9, 10, 3, 10, (2, 1), (3, 3)),
    ConvCase("same_odd_pad_strides_2", 2, 8, 6, 3, 10, (3, 3), (2, 2), "same"),
    ConvCase("same_even_kernel", 1, 5, 5, 3, 10, (4, 2), padding="same"),
    ConvCase("same_dilation_2", 2, 7, 6, 5, 10, (3, 3), padding="same", dilation=(2, 2)),
    ConvCase("dilation_2x1_strides_2x1", 1, 9, 7, 3, 3, (3, 2), (2, 1), dilation=(2, 1)),
    ConvCase("uneven_pads", 2, 5, 6, 3, 10, (3, 3), padding=((0, 2), (3, 1))),
    ConvCase("uneven_pads_strides_dilation", 1, 8, 7, 5, 10, (3, 2), (2, 3), ((2, 1), (0, 3)), (1, 2)),
    ConvCase("pads_larger_than_kernel", 1, 2, 3, 3, 3, (2, 2), padding=((3, 4), (4, 3))),
    ConvCase("groups_2", 2, 5, 6, 10, 6, (3, 3), padding="same", groups=2),
    ConvCase("groups_2_odd_channels", 1, 6, 5, 6, 34, (3, 2), (2, 1), groups=2),
    ConvCase("groups_3_dilation", 1, 7, 7, 9, 3, (2, 2), dilation=(2, 2), groups=3),
    ConvCase("depthwise", 2, 6, 5, 17, 17, (3, 3), padding="same", groups=17),
    ConvCase("depthwise_strides_2", 1, 7, 8, 5, 5, (3, 3), (2, 2), "same", groups=5),
    ConvCase("depth_multiplier_2", 2, 6, 5, 5, 10, (3, 3), groups=5),
    ConvCase("one_channel_to_33", 1, 7, 7, 1, 33, (3, 3)),
    ConvCase("channels_33_to_one", 1, 5, 5, 33, 1, (3, 3)),
    ConvCase("wide_row", 1, 1, 40, 3, 10, (1, 5)),
    ConvCase("tall_column", 1, 40, 1, 3, 10, (5, 1), (2, 1)),
    ConvCase("batch_0", 0, 6, 6, 3, 10, (3, 3)),
)

# What the networks above lack, in the sizes of networks that have it, on one image.
LARGE_CONVS: tuple[ConvCase, ...] = (
    # MobileNet's first, a strided and a late depthwise layer.
    ConvCase("depthwise_112", 1, 112, 112, 32, 32, (3, 3), padding="same", groups=32),
    ConvCase("depthwise_112_stride2", 1, 112, 112, 64, 64, (3, 3), (2, 2), "same", groups=64),
    ConvCase("depthwise_14", 1, 14, 14, 512, 512, (3, 3), padding="same", groups=512),
    # The 1 x 1 that follows each of them.
    ConvCase("pointwise_112", 1, 112, 112, 32, 64, (1, 1)),
    ConvCase("pointwise_14", 1, 14, 14, 512, 512, (1, 1)),
    # DeepLab's: dilated instead of strided.
    ConvCase("dilated2_28", 1, 28, 28, 256, 256, (3, 3), padding="same", dilation=(2, 2)),
    ConvCase("dilated4_28", 1, 28, 28, 512, 512, (3, 3), padding="same", dilation=(4, 4)),
    # ResNeXt's.
    ConvCase("groups32_28", 1, 28, 28, 256, 256, (3, 3), padding="same", groups=32),
)

ODD_POOLS: tuple[PoolCase, ...] = (
    PoolCase("one_pixel", 1, 1, 1, 1, (1, 1)),
    PoolCase("pool_2", 2, 6, 8, 33, (2, 2)),
    PoolCase("pool_2_drops_last", 2, 5, 7, 3, (2, 2)),
    PoolCase("image_of_pool_size", 2, 3, 2, 17, (3, 2)),
    PoolCase("pool_3_overlapping", 2, 7, 8, 5, (3, 3), (2, 2)),
    PoolCase("pool_3_strides_1_same", 1, 5, 4, 10, (3, 3), (1, 1), "same"),
    PoolCase("pool_2_same_odd_image", 2, 5, 5, 3, (2, 2), padding="same"),
    PoolCase("pool_2x3_strides_3x1", 2, 8, 6, 5, (2, 3), (3, 1)),
    PoolCase("pool_1x4", 1, 3, 9, 17, (1, 4)),
    PoolCase("strides_larger_than_pool", 2, 9, 8, 3, (2, 2), (3, 4)),
    PoolCase("resnet_stem", 1, 9, 8, 5, (3, 3), (2, 2), ((1, 1), (1, 1))),
    PoolCase("uneven_pads", 1, 6, 5, 3, (3, 4), (2, 1), ((2, 0), (1, 3))),
    PoolCase("batch_0", 0, 4, 4, 3, (2, 2)),
)

# ResNet-50's only one, with overlapping windows, and VGG-16's first and last.
LARGE_POOLS: tuple[PoolCase, ...] = (
    PoolCase("resnet50_pool1", 1, 112, 112, 64, (3, 3), (2, 2), ((1, 1), (1, 1))),
    PoolCase("vgg16_pool1", 1, 224, 224, 64, (2, 2)),
    PoolCase("vgg16_pool5", 1, 14, 14, 512, (2, 2)),
)

SQUARE: tuple[MatmulCase, ...] = tuple(
    MatmulCase(f"square_{size}", size, size, size) for size in (64, 128, 256, 512, 1024, 2048, 4096)
)

ODD_MATMULS: tuple[MatmulCase, ...] = (
    MatmulCase("1x1x1", 1, 1, 1),
    MatmulCase("17x33x5", 17, 33, 5),
    MatmulCase("17x33x5_transpose_a", 17, 33, 5, transpose_a=True),
    MatmulCase("17x33x5_transpose_b", 17, 33, 5, transpose_b=True),
    MatmulCase("17x33x5_transpose_both", 17, 33, 5, True, True),
    MatmulCase("one_row", 1, 65, 130),
    MatmulCase("one_column", 65, 1, 130),
    MatmulCase("one_term", 31, 47, 1),
    MatmulCase("long_sum", 3, 10, 1000),
    MatmulCase("long_sum_transpose_a", 10, 3, 1000, transpose_a=True),
    MatmulCase("tall", 257, 10, 7),
    MatmulCase("wide", 7, 257, 10, transpose_b=True),
    MatmulCase("m_0", 0, 5, 3),
    MatmulCase("n_0", 5, 0, 3),
    MatmulCase("k_0", 5, 3, 0),
)
