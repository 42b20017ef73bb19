"""The torch engine: any decoder that Transformers loads, on CUDA, Apple silicon or a CPU."""

import os

# On a CPU, torch keeps 1024 compiled products, and oneDNN as many again: one for each shape. Packed
# batches have a new shape at nearly every step, so that they are never used again and fill a
# gigabyte. Both are read at the first product.
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
