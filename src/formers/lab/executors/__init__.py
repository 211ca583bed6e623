"""The places where jobs are trained: in this process, in several, on a Ray cluster, or by all ranks of torchrun."""
