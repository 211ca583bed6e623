"""What a GPU is measured for: kernels, encoders, training steps and decoding against the best there.

`python -m benchmarks.gpu` needs torch, transformers and triton, and one GPU for less than six minutes; where
flash-linear-attention can be imported, it is compared with, too. On a CPU, `--device cpu --toy` runs every case at toy
sizes, which measures nothing but that the cases work.
"""
