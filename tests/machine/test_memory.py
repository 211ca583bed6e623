"""The peak of this process, and errors that mean there was too little memory."""

from __future__ import annotations

import sys

import pytest
import torch

from formers.machine.memory import is_out_of_memory, peak_bytes, reset_peak


@pytest.mark.parametrize("bytes_", [1 << 50, 1 << 62], ids=["too many", "more than there are addresses"])
def test_what_torch_raises_on_a_cpu_is_known(bytes_: int) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        torch.empty(bytes_, bytes_ >> 40)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), False),
        (ValueError("the task is out of memory"), False),
    ],
)
def test_errors_by_their_words(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no peak that can be reset")
def test_the_peak_of_a_process_begins_anew() -> None:
    size = 200 << 20
    if not reset_peak("cpu"):
        pytest.skip("this system does not let a process forget its peak")
    before = peak_bytes("cpu")
    torch.ones(size, dtype=torch.uint8)
    after = peak_bytes("cpu")
    assert before is not None
    assert after is not None
    assert after - before > 0.9 * size
    assert reset_peak("cpu")
    again = peak_bytes("cpu")
    assert again is not None
    assert again < after - 0.5 * size
