"""The first process."""

import argparse

from musubi_tuner.caches import cache


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vae")
    cache(parser, "_0128x0128_zi.safetensors")


if __name__ == "__main__":
    main()
