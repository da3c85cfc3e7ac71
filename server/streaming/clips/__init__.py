"""Clips of broadcasts and videos, and trims of videos: segments copied, edges made anew."""
