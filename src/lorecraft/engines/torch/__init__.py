"""The torch engine: any decoder that Transformers loads, on CUDA, Apple silicon or a CPU."""
