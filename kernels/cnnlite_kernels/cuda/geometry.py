"""The geometry of a convolution as its kernels are told it."""

from __future__ import annotations

from typing import NamedTuple

from cnnlite_kernels.window import Window2D


class Geometry(NamedTuple):
    """x (n, h, w, cin), w (kh, kw, cin // groups, cout), y (n, oh, ow, cout); strides, dilation and padding before the first pixel.

    >>> g = Geometry.of(Window2D.of(3, strides=2, padding="same"), 1, 9, 8, 4, 6)
    >>> (g.oh, g.ow), (g.top, g.left), g.pixels
    ((5, 4), (1, 0), 20)
    """

    n: int
    h: int
    w: int
    cin: int
    oh: int
    ow: int
    cout: int
    kh: int
    kw: int
    sh: int
    sw: int
    dh: int
    dw: int
    top: int
    left: int
    groups: int

    @classmethod
    def of(cls, window: Window2D, n: int, h: int, w: int, cin: int, cout: int, groups: int = 1) -> Geometry:
        """Of a window over n images.

        Raises:
            ValueError: the window does not fit, from Window2D.
        """
        (top, _), (left, _) = window.pads(h, w)
        return cls(
            n, h, w, cin, *window.output_size(h, w), cout, *window.kernel, *window.strides, *window.dilation, top, left, groups
        )  # fmt: skip

    @property
    def cin_group(self) -> int:
        return self.cin // self.groups

    @property
    def cout_group(self) -> int:
        return self.cout // self.groups

    @property
    def taps(self) -> int:
        return self.kh * self.kw

    @property
    def pixels(self) -> int:
        """Of all outputs."""
        return self.n * self.oh * self.ow

    @property
    def is_product(self) -> bool:
        """y = x w: a 1 x 1 window on every pixel."""
        return (
            self.taps == self.sh == self.sw == self.groups == 1
            and (self.oh, self.ow) == (self.h, self.w)
            and not (self.top or self.left)
        )

    @property
    def is_depthwise(self) -> bool:
        """Each input channel makes outputs of its own."""
        return self.groups > 1 and self.cin == self.groups
