"""Video on demand: a file that somebody uploaded becomes one CMAF set for HLS and DASH. Files in, files out.

`engine` has the calls (probe, encode_chunk, encode_audio, make_pictures), each of which runs a child process of its own
that decodes what is hostile until proven otherwise; `plan` decides what is made; `packaging` writes the playlists.
"""
