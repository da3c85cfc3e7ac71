"""Companies and servers outside, one folder each, behind the Protocols that the kit or a feature declares."""
