"""A part of the suite once more for processors with narrower vectors, and with none but SSE2 and no FMA.

With NUMBA_CPU_NAME alone the features of this host would stay: NUMBA_CPU_FEATURES is set, and empty.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CHOSEN = (
    "test_conv2d.py::test_integers_equal_reference[kernel_1x1-float32]",
    "test_conv2d.py::test_integers_equal_reference[kernel_1x1-float64]",
    "test_conv2d.py::test_integers_equal_reference[kernel_5x5_same_strides_3x2-float32]",
    "test_conv2d.py::test_integers_equal_reference[groups_2_odd_channels-float32]",
    "test_conv2d.py::test_integers_equal_reference[depthwise-float32]",
    "test_conv2d.py::test_integers_equal_reference[documented_conv2-float32]",
    "test_conv2d.py::test_integers_equal_reference_where_images_are_cut[cut_rows_same]",
    "test_conv2d.py::test_normals_are_close_to_reference[relu-float32]",
    "test_line_tile.py::test_bits_of_the_tile[three_vectors_ragged-float32]",
    "test_line_tile.py::test_integers_equal_reference[strides_dilation-float64-True]",
    "test_winograd.py::test_integers[wide_last_block-many tiles-winograd-float32]",
    "test_winograd.py::test_integers[wide_last_block-few tiles-winograd2x2-float64]",
    "test_matmul.py::test_integers_equal_reference[17x33x5_transpose_both-float64]",
    "test_matmul.py::test_integers_equal_reference_in_blocks_and_parts[rows_a_page_apart]",
    "test_matmul.py::test_integers_equal_reference_in_blocks_and_parts[transpose_both]",
    "test_matmul.py::test_integers_equal_reference_in_blocks_and_parts[two_rows]",
    "test_matmul.py::test_integers_equal_reference_in_blocks_and_parts[row_of_dots]",
    "test_matmul.py::test_nan_reaches_exactly_what_it_should",
    "test_max_pool2d.py::test_nan_wins_and_the_first_one_stays[float32]",
    "test_min_pool2d.py::test_by_hand",
    "test_prelu.py::test_by_hand",
    "test_rectifiers.py::test_prelu[10-float32]",
    "test_rectifiers.py::test_prelu[64-float64]",
    "test_rectifiers.py::test_relu_and_leaky_relu[130-float32]",
    "test_average_pool2d.py::test_integers_equal_reference[pool_3_overlapping-float32]",
    "test_batch_normalization.py::test_exact_numbers_equal_reference",
    "test_network_normalization.py::test_a_rectifier_inside_has_the_bits_of_one_behind[0.125-None-20-float32-True]",
    "test_up_sampling2d.py::test_integers_equal_reference[bilinear-2-float32]",
    "test_up_sampling2d.py::test_integers_equal_reference[nearest-2-float32]",
    "test_few_outputs.py::test_forward_and_gradient_of_the_weights[5-case1-float32]",
    "test_exponential.py::test_tanh_and_sigmoid_to_three_units_in_the_last_place[tanhs_32-float32]",
    "test_bands.py::test_the_bits_of_an_image_do_not_depend_on_the_batch[depthwise]",
    "test_activations.py::test_infinity_nan_and_huge_numbers",
    "test_frames.py::test_by_hand",
    "test_sparse.py::test_integers_equal_reference[documented-float32]",
    "test_sparse.py::test_integers_equal_reference[ragged_channels_same-float32]",
    "test_sparse.py::test_few_taps_equal_reference[ragged_channels_same-float32]",
    "test_sparse.py::test_few_taps_forward_has_the_bits_of_the_tile[ragged_channels_same-float32-True]",
    "test_softmax_cross_entropy.py::test_close_to_reference[32-10-float32]",
    "test_mixed_network.py::test_a_processor_without_the_instructions_computes_in_float32",
)


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="the processors named are x86-64"
)
@pytest.mark.parametrize(("name", "vector_bytes"), [("haswell", 32), ("generic", 16)])
def test_chosen_tests_pass_on(name: str, vector_bytes: int, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NUMBA_CPU_NAME": name,
        "NUMBA_CPU_FEATURES": "",
        "CNNLITE_CACHE_DIR": str(tmp_path),
        "CNNLITE_TEST_VECTOR_BYTES": str(vector_bytes),
    }
    chosen = [str(TESTS / test) for test in (*CHOSEN, "narrow_host.py")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen],
        env=env, cwd=TESTS.parent, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
