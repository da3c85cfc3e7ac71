"""Packaging: live samples in; CMAF segments and parts, HLS and DASH, and a recording out."""
