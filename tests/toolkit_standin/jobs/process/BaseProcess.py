"""Where the real trainer asks for the keys of a process."""

KEYS = ("name", "training_folder", "training_seed", "network", "save", "datasets", "train", "model", "log_dir")
