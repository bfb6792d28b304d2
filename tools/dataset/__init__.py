"""Training sets: what is in them, whether it is fit to train on, and whether it is still the same.

Enter by `manifest.build_manifest`, `manifest.read_manifest`, `compare.compare_manifests` and `verify.verify_manifest`. Scanning,
hashing and verifying need the standard library alone.
"""
