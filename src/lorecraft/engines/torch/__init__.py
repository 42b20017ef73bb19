"""The torch engine: any decoder that Transformers loads, on CUDA, Apple silicon or a CPU."""

import os

# On a CPU, torch and oneDNN each keep the last 1024 products that they prepared, one for a size.
# The demo's exam then holds 1.2 GB; with 256 it holds 0.8 GB and is as fast. Read at the first
# product.
os.environ.setdefault("LRU_CACHE_CAPACITY", "256")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
