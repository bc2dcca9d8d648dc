"""Resources of this machine: CPU cores, GPUs, memory, NVIDIA MPS, environment variables and files."""
