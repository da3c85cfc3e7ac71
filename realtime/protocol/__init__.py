"""What goes over the wire: messages, codes, codecs and frames. Nothing here reads or writes a socket."""
