"""The fused forms for CUDA, in Triton: what `defined` says, in few passes over the images."""
