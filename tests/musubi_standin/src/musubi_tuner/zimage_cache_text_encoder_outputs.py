"""The second process."""

import argparse

from musubi_tuner.caches import cache


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--text_encoder", required=True)
    cache(parser, "_zi_te.safetensors")


if __name__ == "__main__":
    main()
