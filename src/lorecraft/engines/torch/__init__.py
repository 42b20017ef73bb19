"""The torch engine: any decoder that Transformers loads, on CUDA, Apple silicon or a CPU."""

import os

# On a CPU, torch and oneDNN keep the last 1024 products that they prepared, one for each size, in
# up to half a megabyte each. A step of training meets fewer than 256. Read at the first product.
os.environ.setdefault("LRU_CACHE_CAPACITY", "256")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
