"""Stands in for kohya's musubi-tuner v0.3.4 with Z-Image: the command lines, outputs and files of its three processes, without a GPU.

What it does was observed on the real trainer, which trained a shrunken Z-Image on a CPU: caches by the picture's name, the counter of
tqdm on stderr, `saving checkpoint:` on stdout, logs on stderr, states without a step, and that it counts from 0 when it goes on.

Environment: as in `tests/trainer_standin/sdxl_train_network.py`, from which the counter, the files and the failures are taken.
"""
