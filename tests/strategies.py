"""Hypothesis strategies that draw small random geometry: what the named cases forgot."""

from __future__ import annotations

from cases import ConvCase, MatmulCase, PoolCase
from hypothesis import strategies as st

from cnnlite_kernels.window import Padding, Window2D


def _pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


def _paddings(most_rows: int, most_columns: int) -> st.SearchStrategy[Padding]:
    pads = st.tuples(_pairs(0, most_rows), _pairs(0, most_columns))
    return st.one_of(st.sampled_from(["valid", "same"]), pads)


def _image(draw: st.DrawFn, window: Window2D, slack: int) -> tuple[int, int]:
    """(h, w) that the window fits, up to `slack` larger than it must be."""
    (eh, ew), (rows, columns) = window.extent, window.pads(1, 1)
    if window.padding == "same":
        eh = ew = 1
        rows = columns = (0, 0)
    least_h, least_w = max(1, eh - sum(rows)), max(1, ew - sum(columns))
    return draw(st.integers(least_h, least_h + slack)), draw(st.integers(least_w, least_w + slack))


@st.composite
def conv_cases(
    draw: st.DrawFn,
    *,
    max_batch: int = 3,
    max_kernel: int = 4,
    max_strides: int = 3,
    max_dilation: int = 3,
    max_pad: int = 3,
    max_groups: int = 3,
    max_channels: int = 4,
    slack: int = 6,
) -> ConvCase:
    """Convolutions of any geometry that has an output; batch 0 included.

    max_channels is per group, so that cin and cout reach max_groups * max_channels. An image exceeds the
    smallest that the window fits by at most `slack`.
    """
    window = Window2D.of(
        draw(_pairs(1, max_kernel)),
        draw(_pairs(1, max_strides)),
        draw(_pairs(1, max_dilation)),
        draw(_paddings(max_pad, max_pad)),
    )
    h, w = _image(draw, window, slack)
    groups = draw(st.integers(1, max_groups))
    cin, cout = (groups * channels for channels in draw(_pairs(1, max_channels)))
    n = draw(st.integers(0, max_batch))
    return ConvCase(
        "drawn", n, h, w, cin, cout, window.kernel, window.strides, window.padding, window.dilation, groups
    )


@st.composite
def pool_cases(
    draw: st.DrawFn,
    *,
    max_batch: int = 3,
    max_pool: int = 4,
    max_strides: int = 5,
    max_channels: int = 4,
    slack: int = 6,
) -> PoolCase:
    """Max poolings of any geometry that has an output; explicit padding is smaller than the pool."""
    ph, pw = draw(_pairs(1, max_pool))
    strides = draw(st.one_of(st.none(), _pairs(1, max_strides)))
    window = Window2D.of((ph, pw), strides or (ph, pw), padding=draw(_paddings(ph - 1, pw - 1)))
    h, w = _image(draw, window, slack)
    n, c = draw(st.integers(0, max_batch)), draw(st.integers(1, max_channels))
    return PoolCase("drawn", n, h, w, c, (ph, pw), strides, window.padding)


@st.composite
def matmul_cases(draw: st.DrawFn, *, max_size: int = 20) -> MatmulCase:
    """Matrix products of any shape, sides of 0 included, either operand transposed or not."""
    m, n, k = (draw(st.integers(0, max_size)) for _ in range(3))
    return MatmulCase("drawn", m, n, k, draw(st.booleans()), draw(st.booleans()))
