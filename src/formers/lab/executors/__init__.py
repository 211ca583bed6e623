"""The places where jobs are trained: this process, several of them, a Ray or Slurm cluster, all ranks of torchrun."""
