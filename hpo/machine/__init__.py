"""Resources of this machine: CPU cores, GPUs, memory, NVIDIA MPS and environment variables."""
