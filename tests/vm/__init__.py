"""Tests in a kernel with modules: a virtual machine that needs nothing of this one's kernel."""
