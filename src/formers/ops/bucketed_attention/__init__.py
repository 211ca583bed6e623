"""Attention inside groups that the data chose: sorted buckets, picked clusters."""
